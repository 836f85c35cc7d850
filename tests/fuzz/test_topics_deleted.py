"""Topics that are deleted while a pipeline runs: it says which, ends in bounded time or goes on, and commits nothing it did not write."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from pipeline.app import Pipeline
from pipeline.ports import LaneState
from sandbox import Sandbox
from schemas.errors import TransportError
from schemas.event import TopicPartition
from schemas.specs import OnViolation
from tests.contracts.clusters import KafkaCluster, values
from tests.contracts.scenes import event, scenario, until
from tests.contracts.streams import Course, Progress, course, reached, running
from tests.services.topics import create_topic, delete_topic

pytestmark = pytest.mark.services
RETRY_LIMIT_S = 3.0
TRAP = b'{"penstock_demo":"trap"}'


async def prepared(cluster: KafkaCluster) -> Course:
    """A course that gives up soon, with a control topic of its own."""
    where = await course(cluster, ["saboteur"], dead_settings={"max_message_bytes": "2000000"})
    control = where.topic.replace("in.", "control.", 1)
    create_topic(cluster.bootstrap, control, 1, {"cleanup.policy": "compact"})
    kafka = replace(where.registry.kafka, control_topic=control, request_timeout_ms=5_000)
    return replace(where, registry=replace(where.registry, kafka=kafka, retry_limit_s=RETRY_LIMIT_S))


@pytest.mark.parametrize("which", ["to", "dead"])
@scenario
async def test_where_records_go_to_is_gone(plain_cluster: KafkaCluster, box: Sandbox, which: str) -> None:
    """Retried for `retry_limit`, then the pipeline ends with the topic's name; what was not written is not committed."""
    where, progress = await prepared(plain_cluster), Progress()
    await plain_cluster.produce(where.topic, [event(b"1"), event(TRAP)], partition=0)
    pipeline = Pipeline(where.registry, sandbox=box, observer=progress)
    task = asyncio.create_task(pipeline.run())
    await reached(progress, 2, task)
    gone = getattr(where, which)
    delete_topic(plain_cluster.bootstrap, gone)
    await plain_cluster.produce(where.topic, [event(b"2"), event(TRAP)], partition=0)
    with pytest.raises(TransportError) as raised:
        await asyncio.wait_for(task, 40)
    assert gone in str(raised.value), raised.value
    assert await plain_cluster.committed(where.group, where.topic) == {0: 2}
    create_topic(plain_cluster.bootstrap, gone, 4, {"max.message.bytes": "2000000"})
    again = Progress()
    async with running(Pipeline(where.registry, sandbox=box, observer=again)) as second:
        await until(lambda: second.done() or again.done == 4, "it goes on once the topic is there again")
    assert values(await plain_cluster.read(gone)) == ([b"2"] if which == "to" else [TRAP])


@scenario
async def test_the_source_is_gone_and_comes_back(plain_cluster: KafkaCluster, box: Sandbox) -> None:
    """The lanes go with it, the service stays. The broker forgets the group's offsets of a deleted topic, so the new one is a first start."""
    where, progress = await prepared(plain_cluster), Progress()
    registry = replace(
        where.registry, kafka=replace(where.registry.kafka, client={"metadata_max_age_ms": 1_000})
    )  # how soon the client hears of topics that come and go
    await plain_cluster.produce(where.topic, [event(b"%d" % n) for n in range(10)], partition=0)
    pipeline = Pipeline(registry, sandbox=box, observer=progress)
    async with running(pipeline) as task:
        await reached(progress, 10, task)
        delete_topic(plain_cluster.bootstrap, where.topic)
        await until(lambda: task.done() or not pipeline.status(), "the lanes are given up", seconds=30)
        assert not task.done(), task
        create_topic(plain_cluster.bootstrap, where.topic, 4)
        await plain_cluster.produce(where.topic, [event(b"new")], partition=0)
        await until(
            lambda: task.done() or progress.offsets == {TopicPartition(where.topic, 0): 1}, "it goes on", seconds=30
        )
        assert not task.done(), task
    assert values(await plain_cluster.read(where.to)) == [*(b"%d" % n for n in range(10)), b"new"]


@scenario
async def test_the_control_topic_is_gone(plain_cluster: KafkaCluster, box: Sandbox) -> None:
    """What is in flight goes on; a lane that must stop stops, and holds."""
    where, progress = await prepared(plain_cluster), Progress()
    strict = replace(where.registry.transformers["saboteur"], on_violation=OnViolation.STOP)
    registry = replace(where.registry, transformers={**where.registry.transformers, "saboteur": strict})
    await plain_cluster.produce(where.topic, [event(b"1")], partition=0)
    pipeline = Pipeline(registry, sandbox=box, observer=progress)
    async with running(pipeline) as task:
        await reached(progress, 1, task)
        delete_topic(plain_cluster.bootstrap, registry.kafka.control_topic)
        await plain_cluster.produce(where.topic, [event(b"%d" % n) for n in range(10)], partition=1)
        await reached(progress, 11, task)
        await plain_cluster.produce(where.topic, [event(TRAP), event(b"never")], partition=0)
        await until(
            lambda: task.done() or any(lane.state is LaneState.STOPPED for lane in pipeline.status()), "the lane stops"
        )
        await plain_cluster.produce(where.topic, [event(b"x")], partition=1)
        await reached(progress, 12, task)
    assert sorted(values(await plain_cluster.read(where.to))) == sorted([b"1", *(b"%d" % n for n in range(10)), b"x"])
