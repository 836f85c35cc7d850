"""What a broker, a record or an operator does at the worst moment."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress

import pytest

from pipeline.ports import LaneState, Outgoing
from sandbox import Sandbox
from schemas.errors import TransportError
from tests.pipeline.rig import Rig, RiggedSink, RiggedSource
from tests.pipeline.virtual_time import run, until

GOOD = [b'{"id":%d}' % number for number in range(20)]
BROKEN = TransportError("the broker went away")


@pytest.mark.parametrize("start", ["latest", "100"])
def test_where_a_first_start_began_is_kept_when_its_first_commit_fails(sandbox: Sandbox, start: str) -> None:
    rig = Rig(sandbox, start=start)
    rig.produce(*GOOD[:3])

    async def scenario() -> None:
        async with rig.running() as runner:
            await until(lambda: rig.state(runner) is LaneState.RUNNING)
            rig.faults.plan("write", BROKEN)
            rig.produce(*GOOD[3:6])
            await until(rig.is_dry)

    run(scenario())
    assert rig.values() == GOOD[3:6]


def test_a_lane_that_was_idle_has_not_been_failing_all_the_while(sandbox: Sandbox) -> None:
    rig = Rig(sandbox)
    rig.faults.plan("open", BROKEN)

    async def scenario() -> None:
        async with rig.running() as runner:
            await until(lambda: rig.state(runner) is LaneState.RUNNING)
            await asyncio.sleep(2 * rig.retry_limit_s)
            rig.faults.plan("write", BROKEN)
            rig.produce(*GOOD)
            await until(rig.is_dry)

    run(scenario())
    assert rig.values() == GOOD


def test_a_lane_that_fails_while_it_is_cancelled_ends(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    async def write(self: RiggedSink, outgoing: Iterable[Outgoing]) -> None:
        try:
            await asyncio.sleep(1_000)
        except asyncio.CancelledError:
            raise BROKEN from None

    monkeypatch.setattr(RiggedSink, "write", write)
    rig = Rig(sandbox)
    rig.produce(*GOOD)

    async def scenario() -> None:
        control = await rig.control()
        task = asyncio.create_task(rig.runner(control, rig.vitals).run(lambda: 1.0))
        await asyncio.sleep(5)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.wait_for(asyncio.shield(task), 30)

    run(scenario())


def test_a_produce_that_the_client_itself_cancels_is_tried_again(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, cut_off = RiggedSink.commit, [True]

    async def once_cancelled(self: RiggedSink, offset: int) -> None:
        if cut_off:
            cut_off.clear()
            raise asyncio.CancelledError
        await commit(self, offset)

    monkeypatch.setattr(RiggedSink, "commit", once_cancelled)
    rig = Rig(sandbox)
    rig.produce(*GOOD)
    run(rig.run_dry())
    assert rig.values() == GOOD


def test_a_group_that_cannot_be_left_hides_no_reason_and_is_no_failure(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave = RiggedSource.stop

    async def stop(self: RiggedSource) -> None:
        await leave(self)
        raise TransportError("no answer")

    monkeypatch.setattr(RiggedSource, "stop", stop)
    rig = Rig(sandbox)
    rig.produce(*GOOD)
    run(rig.run_dry())
    assert rig.values() == GOOD
    rig.produce(*GOOD)
    rig.faults.plan("open", TransportError("the reason", retriable=False))
    with pytest.raises(ExceptionGroup) as raised:
        run(rig.run_dry())
    assert raised.group_contains(TransportError, match="the reason")


def test_a_sink_is_closed_to_the_end_however_often_its_lane_is_cancelled(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = []

    async def close(self: RiggedSink) -> None:
        await asyncio.sleep(3)
        closed.append(self)

    monkeypatch.setattr(RiggedSink, "close", close)
    rig = Rig(sandbox)
    rig.produce(*GOOD)

    async def scenario() -> None:
        control = await rig.control()
        runner = rig.runner(control, rig.vitals)
        task = asyncio.create_task(runner.run(lambda: 1.0))
        await until(rig.is_dry)
        (lane,) = runner._tasks.values()
        for _ in range(3):
            lane.cancel()
            await asyncio.sleep(0.5)
        assert not lane.done()
        await until(lane.done)
        assert len(closed) == 1
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    run(scenario())
