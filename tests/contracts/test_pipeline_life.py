"""Pipelines that come, go and die under load: nothing is lost, and with transactions nothing doubled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from pipeline.app import Pipeline
from pipeline.clock import SystemClock
from pipeline.control import Control
from pipeline.ports import LaneId, LaneState
from sandbox import Sandbox
from schemas.event import TopicPartition
from schemas.specs import Delivery
from tests.contracts.clusters import PARTITIONS, Cluster, KafkaCluster
from tests.contracts.scenes import event, scenario, until
from tests.contracts.streams import (
    Mortal,
    Progress,
    account,
    course,
    deed,
    reached,
    registry,
    running,
    stream,
)
from tests.services.kafka import KafkaBroker

COUNT = 8_000


@pytest.mark.parametrize("delivery", list(Delivery))
@pytest.mark.parametrize("end", ["cancelled", "killed"])
@scenario
async def test_an_end_without_drain_loses_nothing(
    honest_cluster: Cluster, sandbox: Sandbox, delivery: Delivery, end: str
) -> None:
    cluster = honest_cluster
    where, progress = await course(cluster, delivery=delivery, commit_interval="10ms"), Progress()
    await cluster.produce(where.topic, stream(COUNT))
    for enough in (COUNT // 16, COUNT // 3):
        mortal = Mortal(cluster, cluster.transport(where.registry))
        task = asyncio.create_task(where.pipeline(sandbox, mortal, progress).run())
        await reached(progress, enough, task)
        if end == "killed":
            await mortal.kill(task)
        else:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert progress.done < COUNT, "ended too late to matter"

    async def finished() -> bool:
        return sum((await cluster.committed(where.group, where.topic)).values()) == COUNT

    async with running(where.pipeline(sandbox)) as task:
        await until(finished, "everything is committed")
    assert (await account(where)).faults(COUNT, doubles_allowed=delivery is Delivery.AT_LEAST_ONCE) == []


@pytest.mark.parametrize("delivery", list(Delivery))
@scenario
async def test_pipelines_join_and_leave_under_load(
    honest_cluster: Cluster, sandbox: Sandbox, delivery: Delivery
) -> None:
    cluster = honest_cluster
    where, progress = await course(cluster, delivery=delivery), Progress()
    first, second = (where.pipeline(sandbox, observer=progress) for _ in range(2))
    async with running(first) as one:
        await cluster.produce(where.topic, stream(1_000))
        await reached(progress, 200, one)
        async with running(second) as two:
            await until(lambda: len(second.status()) == PARTITIONS // 2, "the second has its share")
            await cluster.produce(where.topic, stream(1_000, first=1_000))
            await reached(progress, 1_500, one, two)
        await cluster.produce(where.topic, stream(1_000, first=2_000))
        await until(lambda: len(first.status()) == PARTITIONS, "the first has it all again")
        await reached(progress, 3_000, one)
    assert (await account(where)).faults(3_000, doubles_allowed=delivery is Delivery.AT_LEAST_ONCE) == []


@scenario
async def test_a_drain_commits_what_was_taken_up(honest_cluster: Cluster, sandbox: Sandbox) -> None:
    cluster = honest_cluster
    where, progress = await course(cluster, commit_interval="29s"), Progress()
    await cluster.produce(where.topic, stream(COUNT))
    pipeline = where.pipeline(sandbox, observer=progress)
    async with running(pipeline) as task:
        await until(lambda: progress.batches >= 3 or task.done(), "batches are under way")
        assert progress.done == 0, "nothing is due before the drain"
    assert pipeline.status() == [] or {lane.state for lane in pipeline.status()} == {LaneState.CLOSED}
    committed = await cluster.committed(where.group, where.topic)
    assert sum(committed.values()) > 0
    behind = {
        int(each.headers[0][1] or b"0")
        for at, each in await cluster.read(where.topic)
        if each.offset < committed.get(at, 0)
    }
    ended = (await account(where)).numbers()
    assert set(ended) == {number for number in behind if deed(number) != "drop"}, (
        "what is committed is written, and nothing else"
    )
    assert max(ended.values()) == 1


@scenario
async def test_a_stopped_lane_stays_so_until_released(honest_cluster: Cluster, sandbox: Sandbox) -> None:
    cluster = honest_cluster
    where, progress = await course(cluster, on_violation="stop"), Progress()
    bad = TopicPartition(where.topic, 0)
    poison = b'{"penstock_demo":"trap"}'
    await cluster.produce(where.topic, [event(b"a"), event(poison), event(b"b")], partition=0)
    await cluster.produce(where.topic, [event(b"c"), event(b"d")], partition=1)
    first = where.pipeline(sandbox, observer=progress)

    def stopped(pipeline: Pipeline) -> bool:
        return any(lane.identity.source == bad and lane.state is LaneState.STOPPED for lane in pipeline.status())

    async with running(first) as task:
        await until(lambda: stopped(first) or task.done(), "the lane stopped")
        await until(lambda: progress.offsets == {bad: 1, TopicPartition(where.topic, 1): 2}, "all else is committed")
    lenient = replace(
        where,
        registry=registry(
            cluster, where.topic, where.to, where.dead, ["saboteur", "uppercase"], group=where.registry.kafka.group
        ),
    )
    assert lenient.group == where.group
    second = lenient.pipeline(sandbox, observer=progress)
    async with running(second) as task:
        await cluster.produce(where.topic, [event(b"e")], partition=1)
        await reached(progress, 4, task)
        assert stopped(second), "another process remembers, whatever its registry says"
        (lane,) = [lane for lane in second.status() if lane.identity.source == bad]
        assert "saboteur at offset 1" in lane.reason and "trap" in lane.reason
        control = Control(cluster.transport(where.registry).control(), SystemClock())
        await control.open()
        try:
            assert [(note.topic, note.partition) for note in control.notes() if note.group == where.group] == [bad]
            await control.forget(LaneId("orders", bad, where.group))
        finally:
            await control.close()
        await reached(progress, 6, task)
    out = [(at, each.value) for at, each in await cluster.read(where.to)]
    assert out == [(0, b"A"), (0, b"B"), (1, b"C"), (1, b"D"), (1, b"E")]
    assert [each.value for _, each in await cluster.read(where.dead)] == [poison]


@pytest.mark.services
@scenario
async def test_the_broker_restarts_in_the_middle(start_broker: Callable[..., KafkaBroker], sandbox: Sandbox) -> None:
    broker = await asyncio.to_thread(start_broker)
    try:
        cluster = KafkaCluster(broker)
        where = await course(cluster, dead_settings={"max_message_bytes": "2000000"})
        progress = Progress()
        await cluster.produce(where.topic, stream(COUNT))
        pipeline = Pipeline(where.registry, observer=progress, sandbox=sandbox, worker_count=2)
        async with running(pipeline) as task:
            await reached(progress, COUNT // 8, task)
            await asyncio.to_thread(broker.kill)
            assert progress.done < COUNT, "killed too late to matter"
            await asyncio.to_thread(broker.start)
            await cluster.produce(where.topic, stream(500, first=COUNT))
            await reached(progress, COUNT + 500, task, seconds=50)
        assert (await account(where)).faults(COUNT + 500) == []
    finally:
        await asyncio.to_thread(broker.close)
