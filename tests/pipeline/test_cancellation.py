"""A process that is cut off at any await loses nothing and doubles nothing: the next one finishes its work."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from sandbox import Sandbox
from schemas.errors import FencedError, TransportError
from schemas.specs import BatchPolicy, Delivery
from tests.pipeline.rig import Rig, misdeed, spec
from tests.pipeline.virtual_time import run, until

VALUES = [b'{"id":%d}' % number for number in range(30)]
VALUES[3], VALUES[8] = misdeed("reject", 3), misdeed("trap", 8)
OUT = [value for number, value in enumerate(VALUES) if number not in (3, 8)]
DEAD = [VALUES[3], VALUES[8]]


def make(sandbox: Sandbox, delivery: Delivery = Delivery.EXACTLY_ONCE) -> Rig:
    rig = Rig(
        sandbox,
        spec(),
        spec("passthrough"),
        delivery=delivery,
        batch=BatchPolicy(events_max=2, commit_interval_ms=10, commit_events_max=5),
    )
    rig.produce(*VALUES)
    return rig


async def cut_off(rig: Rig, steps: int, late: bool) -> bool:
    """Run a process for so many turns of the loop, then cancel its route; whether it was still at work then."""
    control = await rig.control()
    runner = rig.runner(control, rig.vitals)
    task = asyncio.create_task(runner.run(lambda: 0.05))
    for _ in range(steps):
        if rig.is_dry():
            break
        await asyncio.sleep(0)
    working = not rig.is_dry()
    if late:
        await asyncio.sleep(0.011)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    return working


@pytest.mark.parametrize("late", [False, True], ids=["at once", "after a pause"])
def test_cancelled_at_each_await_nothing_is_lost_or_doubled(sandbox: Sandbox, late: bool) -> None:
    for steps in range(2_000):
        rig = make(sandbox)
        working = run(cut_off(rig, steps, late))
        committed = rig.committed()
        assert rig.values() + rig.values("dead") == [
            *(value for value in OUT if value in VALUES[:committed]),
            *(value for value in DEAD if value in VALUES[:committed]),
        ], f"visible without its offset after {steps} turns"
        run(rig.run_dry())
        assert (rig.values(), rig.values("dead")) == (OUT, DEAD), f"cancelled after {steps} turns"
        assert rig.observer.held == (0, 0)
        if not working:
            assert steps > 30
            return
    pytest.fail("it never came to an end")


def test_cancelled_at_each_await_at_least_once_loses_nothing(sandbox: Sandbox) -> None:
    for steps in range(0, 2_000, 3):
        rig = make(sandbox, Delivery.AT_LEAST_ONCE)
        working = run(cut_off(rig, steps, False))
        run(rig.run_dry())
        assert set(rig.values()) == set(OUT)
        assert set(rig.values("dead")) == set(DEAD)
        if not working:
            return
    pytest.fail("it never came to an end")


@pytest.mark.parametrize("method", ["open", "locate", "seek", "write", "commit", "committed"])
def test_failing_at_each_call_nothing_is_lost_or_doubled(sandbox: Sandbox, method: str) -> None:
    for before in range(20):
        rig = make(sandbox)
        error = FencedError("fenced") if before % 2 else TransportError("gone")
        rig.faults.plan(method, *[None] * before, error)
        run(rig.run_dry())
        assert (rig.values(), rig.values("dead")) == (OUT, DEAD)
        if rig.faults.planned[method]:
            return
    pytest.fail("it never came to an end")


def test_a_zombie_cannot_write_or_commit_after_its_successor_started(sandbox: Sandbox) -> None:
    rig = make(sandbox)

    async def scenario() -> None:
        control = await rig.control()
        zombie = rig.runner(control, rig.vitals)
        task = asyncio.create_task(zombie.run(lambda: 0.05))
        await until(lambda: "write" in rig.faults.calls)
        rig.broker._members.clear()  # the coordinator has given the zombie up; it has not noticed
        await rig.run_dry()
        await asyncio.sleep(1)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    run(scenario())
    assert (rig.values(), rig.values("dead")) == (OUT, DEAD)
