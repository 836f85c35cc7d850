"""A transformer whose events all loop, on a real broker: the process stays a member of its group all the while."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest
from confluent_kafka.admin import AdminClient

from pipeline.app import Pipeline
from pipeline.ports import LaneState
from sandbox import Sandbox
from tests.contracts.clusters import KafkaCluster, values
from tests.contracts.scenes import event, scenario, until
from tests.contracts.streams import Course, Progress, course, running

pytestmark = pytest.mark.services
SESSIONS = 4
LOOP = b'{"penstock_demo":"loop"}'


@scenario
async def test_a_batch_of_256_loops_trips_the_breaker_and_costs_no_membership(
    kafka_cluster: KafkaCluster, sandbox: Sandbox
) -> None:
    """Taking the batch apart outlasts `session_timeout` (2 s) and `max_poll_interval` ; heartbeats and polls go on meanwhile."""
    made = await course(kafka_cluster, ["saboteur"])
    spec = made.registry.routes["orders"]
    where = replace(
        made,
        registry=replace(
            made.registry,
            kafka=replace(made.registry.kafka, max_poll_interval_ms=2_500),
            routes={"orders": replace(spec, batch=replace(spec.batch, events_max=256))},
        ),
    )
    session_s = where.registry.kafka.session_timeout_ms / 1e3
    await kafka_cluster.produce(where.topic, [event(LOOP) for _ in range(256)], partition=0)
    healthy = [event(b"%d" % number) for number in range(100)]
    progress = Progress()
    pipeline = Pipeline(
        where.registry, transport=kafka_cluster.transport(where.registry), observer=progress, sandbox=sandbox
    )
    members = Members(where)

    def paused() -> list[str]:
        return [lane.reason for lane in pipeline.status() if lane.state is LaneState.PAUSED]

    async with running(pipeline) as task:
        await until(lambda: task.done() or bool(pipeline.status()), "partitions are assigned")
        watching = asyncio.create_task(members.watch())
        began = time.monotonic()
        await until(lambda: bool(progress.batches), "the loops have begun")
        await kafka_cluster.produce(where.topic, healthy, partition=1)
        await until(lambda: progress.done == len(healthy), "a lane beside it goes on", seconds=session_s)
        await until(lambda: task.done() or bool(paused()), "the breaker trips", seconds=30)
        (reason,) = paused()
        assert "used up the time" in reason, reason
        while time.monotonic() - began < SESSIONS * session_s:  # paused is no reason to leave either
            await members.looked()
            assert not watching.done(), watching
        watching.cancel()
    assert members.looks > 10
    assert members.seen == {members.first}, "the same members from beginning to end"
    assert len(members.first) == 1
    dead = await kafka_cluster.read(where.dead)
    assert len(dead) == progress.offsets[next(at for at in progress.offsets if at.partition == 0)] > 0
    assert set(values(dead)) == {LOOP}
    assert len(dead) < 256, "the budget ended it"


class Members:
    """What the broker says of the group, again and again: a member that was thrown out comes back under another id."""

    def __init__(self, where: Course) -> None:
        self.first: frozenset[str] = frozenset()
        self.seen: set[frozenset[str]] = set()
        self.looks = 0
        self._group = where.group
        self._admin = AdminClient({"bootstrap.servers": where.cluster.kafka.brokers[0]})
        self._again = asyncio.Event()

    async def watch(self) -> None:
        while True:
            now = await asyncio.to_thread(self._look)
            self.first = self.first or now
            self.seen.add(now)
            self.looks += 1
            self._again.set()

    async def looked(self) -> None:
        """Return when the broker was asked once more."""
        self._again.clear()
        await asyncio.wait_for(self._again.wait(), 10)

    def _look(self) -> frozenset[str]:
        found = self._admin.describe_consumer_groups([self._group])[self._group].result(10)
        return frozenset(member.member_id for member in found.members)
