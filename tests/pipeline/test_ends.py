"""A run with ends: each partition is taken up to its end and not one event further, whatever arrives meanwhile."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.ports import LaneState
from sandbox import Sandbox
from schemas.errors import TransportError
from schemas.event import TopicPartition
from schemas.specs import BatchPolicy
from tests.pipeline.rig import LANE, Rig
from tests.pipeline.virtual_time import run, until

GOOD = [b'{"id":%d}' % number for number in range(60)]


def test_what_lies_beyond_the_end_is_neither_read_nor_committed(sandbox: Sandbox) -> None:
    rig = Rig(sandbox, partitions=2, ends={LANE: 13})
    rig.produce(*GOOD[:30])
    rig.produce(*GOOD[30:40], partition=1)  # it has no end: not seen at the start, so not of this run

    async def scenario() -> None:
        async with rig.running() as runner:
            await until(lambda: rig.committed() == 13)
            rig.produce(*GOOD[40:])
            await asyncio.sleep(30)
            assert rig.state(runner) is LaneState.RUNNING
            assert not any(lane.wants_events for lane in runner.lanes.values())

    run(scenario())
    assert rig.values() == GOOD[:13]
    assert (rig.committed(), rig.committed(1)) == (13, 0)


def test_a_retry_begins_again_below_the_end(sandbox: Sandbox) -> None:
    rig = Rig(sandbox, ends={LANE: 13})
    rig.produce(*GOOD[:30])
    rig.faults.plan("commit", TransportError("away"), None, TransportError("away"))

    async def scenario() -> None:
        async with rig.running():
            await until(lambda: rig.committed() == 13)

    run(scenario())
    assert rig.values() == GOOD[:13]


@settings(max_examples=25, deadline=None)
@given(end=st.integers(0, 70), events_max=st.integers(1, 20), more=st.integers(0, 20))
def test_any_end_and_any_batch(sandbox: Sandbox, end: int, events_max: int, more: int) -> None:
    rig = Rig(sandbox, ends={LANE: end}, batch=BatchPolicy(events_max=events_max, commit_interval_ms=100))
    rig.produce(*GOOD[: 40 + more])

    async def scenario() -> None:
        async with rig.running():
            await until(lambda: rig.committed() == min(end, 40 + more))
            await asyncio.sleep(5)

    run(scenario())
    assert rig.values() == GOOD[: min(end, 40 + more)]
    assert rig.broker.committed.get(("g", TopicPartition("in", 0)), 0) == min(end, 40 + more)
