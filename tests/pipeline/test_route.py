"""A route's membership: lanes come and go with their partitions, share what is fetched, and never wait for one another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import TypeVar

import pytest

from pipeline.ports import LaneState
from sandbox import Sandbox
from schemas.errors import ModuleFault, TransportError
from schemas.event import TopicPartition
from schemas.specs import BatchPolicy, OnViolation
from tests.pipeline.rig import LANE, Rig, misdeed, spec
from tests.pipeline.virtual_time import LoopClock, run, until

T = TypeVar("T")
GOOD = [b'{"id":%d}' % number for number in range(40)]


class Gate:
    """A thread for guests that works while the gate is open: a slow transformer, without the time."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.waiting = 0

    async def run(self, transformer: str, work: Callable[[], T]) -> T:
        self.waiting += 1
        await self.open.wait()
        self.waiting -= 1
        return work()


def test_every_partition_has_a_lane_and_keeps_its_number(sandbox: Sandbox) -> None:
    rig = Rig(sandbox, partitions=3)
    for number, value in enumerate(GOOD):
        rig.produce(value, partition=number % 3)
    run(rig.run_dry())
    for at, log in enumerate(rig.broker.topics["out"]):
        assert [event.value for event in log.events] == GOOD[at::3]


def test_a_stopped_lane_leaves_the_others_running(sandbox: Sandbox) -> None:
    rig = Rig(sandbox, spec(on_violation=OnViolation.STOP), partitions=2)
    rig.produce(misdeed("trap"), partition=0)

    async def scenario() -> None:
        async with rig.running() as runner:
            await until(rig.stopped(runner))
            rig.produce(*GOOD, partition=1)
            await until(lambda: rig.committed(1) == len(GOOD))
            assert rig.state(runner, 1) is LaneState.RUNNING

    run(scenario())
    assert rig.values() == GOOD
    assert rig.committed(0) == 0


def test_a_slow_lane_is_not_waited_for(sandbox: Sandbox) -> None:
    async def scenario() -> None:
        gates = [Gate(), Gate()]
        each = iter(gates)
        rig = Rig(sandbox, partitions=2, threads=lambda: next(each))
        rig.produce(*GOOD[:10], partition=0)
        rig.produce(*GOOD[10:20], partition=1)
        async with rig.running():
            await until(lambda: all(gate.waiting for gate in gates))
            gates[1].open.set()
            await until(lambda: len(rig.values()) == 10)
            assert sorted([rig.committed(0), rig.committed(1)]) == [0, 10]
            gates[0].open.set()
            await until(rig.is_dry)

    run(scenario())


def test_a_partition_revoked_in_the_middle_of_a_batch_is_finished_first(sandbox: Sandbox) -> None:
    async def scenario() -> Rig:
        gate = Gate()
        rig = Rig(
            sandbox, partitions=2, threads=lambda: gate, batch=BatchPolicy(events_max=4, commit_interval_ms=60_000)
        )
        rig.produce(*GOOD[:20], partition=0)
        rig.produce(*GOOD[20:], partition=1)
        async with rig.running() as first:
            await until(lambda: gate.waiting == 2)
            joining = asyncio.create_task(join(rig))
            await asyncio.sleep(1)
            assert not joining.done(), "the coordinator waits for the first member"
            assert rig.committed(0) == rig.committed(1) == 0
            gate.open.set()
            second, leave = await joining
            assert rig.committed(0) >= 4, "what was in the chain is committed before the partition goes"
            assert rig.committed(1) >= 4
            assert set(first.lanes) | set(second) == {LANE, TopicPartition("in", 1)}
            assert not set(first.lanes) & set(second)
            leave.set()
            await until(rig.is_dry)
        return rig

    rig = run(scenario())
    assert sorted(rig.values()) == sorted(GOOD)
    assert [event.value for event in rig.broker.topics["out"][0].events] == GOOD[:20]


async def join(rig: Rig) -> tuple[Collection[TopicPartition], asyncio.Event]:
    """A second process; returns what it was given, and the way to end it."""
    leave, given = asyncio.Event(), asyncio.get_running_loop().create_future()

    async def live() -> None:
        async with rig.running() as runner:
            given.set_result(list(runner.lanes))
            await leave.wait()

    join.task = asyncio.create_task(live())  # type: ignore[attr-defined]
    return await given, leave


def test_a_revoked_lane_that_does_not_finish_in_time_is_cut_off_and_run_again_elsewhere(sandbox: Sandbox) -> None:
    async def scenario() -> Rig:
        gate = Gate()
        rig = Rig(sandbox, threads=lambda: gate)
        rig.produce(*GOOD)
        async with rig.running():
            await until(lambda: gate.waiting == 1)
            began = LoopClock().monotonic()
            joining = asyncio.create_task(join(rig))
            await until(joining.done)
            assert rig.drain_budget_s <= LoopClock().monotonic() - began < 2 * rig.drain_budget_s + 1
            assert rig.committed() == 0
            gate.open.set()
            _, leave = await joining
            leave.set()
            await until(rig.is_dry)
        return rig

    assert run(scenario()).values() == GOOD


def test_a_full_lane_is_not_asked_for_and_the_bytes_in_flight_are_bounded(sandbox: Sandbox) -> None:
    batch = BatchPolicy(events_max=2, commit_interval_ms=10, in_flight_bytes_max=1_000)

    async def scenario() -> Rig:
        gate = Gate()
        rig = Rig(sandbox, partitions=4, threads=lambda: gate, batch=batch)
        for partition in range(4):
            rig.produce(*[b"x" * 100] * 50, partition=partition)
        async with rig.running():
            await asyncio.sleep(30)
            assert rig.observer.held_bytes_max <= 1_000 + 4 * 2 * 101
            gate.open.set()
            await until(rig.is_dry)
        assert rig.observer.held_bytes_max <= 1_000 + 4 * 2 * 101
        assert rig.observer.held == (0, 0)
        return rig

    assert len(run(scenario()).values()) == 200


def test_an_idle_route_stays_in_its_group(sandbox: Sandbox) -> None:
    rig = Rig(sandbox, spec(on_violation=OnViolation.STOP))
    rig.produce(misdeed("trap"))

    async def scenario() -> None:
        async with rig.running() as runner:
            await until(rig.stopped(runner))
            before = rig.faults.calls.count("fetch")
            await asyncio.sleep(60)
            assert rig.faults.calls.count("fetch") - before >= 50
            assert rig.vitals.is_joined

    run(scenario())


def test_events_fetched_for_a_passage_that_is_over_are_fetched_again(sandbox: Sandbox) -> None:
    rig = Rig(sandbox, batch=BatchPolicy(events_max=4, commit_interval_ms=10))
    rig.faults.plan("commit", *[TransportError("gone"), None] * 5)

    async def scenario() -> None:
        async with rig.running():
            for value in GOOD:
                rig.produce(value)
                await asyncio.sleep(0.013)
            await until(rig.is_dry)

    run(scenario())
    assert rig.values() == GOOD


def test_what_goes_wrong_while_partitions_are_assigned_ends_the_route(sandbox: Sandbox) -> None:
    rig = Rig(sandbox)

    def fail(*_: object) -> None:
        raise RuntimeError("our bug")

    async def scenario() -> None:
        async with rig.running() as runner:
            runner._make_lane = fail  # type: ignore[method-assign, assignment]
            await runner.assigned([TopicPartition("in", 1)])
            await until(lambda: not rig.vitals.is_joined)

    with pytest.raises(BaseExceptionGroup) as raised:
        run(scenario())
    assert [str(error) for error in raised.value.exceptions] == ["our bug"]


def test_a_bug_in_a_lane_ends_the_process_loudly(sandbox: Sandbox) -> None:
    rig = Rig(sandbox)
    rig.produce(*GOOD)
    rig.faults.plan("write", ZeroDivisionError("our bug"))
    with pytest.raises(BaseExceptionGroup) as raised:
        run(rig.run_dry())
    assert isinstance(raised.value.exceptions[0], ZeroDivisionError)
    assert rig.committed() == 0


def test_a_module_that_faults_later_stops_the_lane_and_no_event_is_blamed(sandbox: Sandbox) -> None:
    class Broken:
        async def run(self, transformer: str, work: Callable[[], T]) -> T:
            raise ModuleFault(transformer, "its _initialize ran too long")

    rig = Rig(sandbox, threads=Broken)
    rig.produce(*GOOD)

    async def scenario() -> None:
        async with rig.running() as runner:
            await until(rig.stopped(runner))
            assert "_initialize ran too long" in runner.lanes[LANE].reason

    run(scenario())
    assert rig.values() == rig.values("dead") == []
    assert rig.committed() == 0


def test_a_leaving_route_starts_no_lane_for_what_it_is_handed_on_the_way_out(sandbox: Sandbox) -> None:
    async def scenario() -> Rig:
        gate = Gate()
        rig = Rig(sandbox, partitions=2, threads=lambda: gate, batch=BatchPolicy(events_max=4))
        async with rig.running() as runner:
            _, leave = await join(rig)
            rig.produce(*GOOD[:20], partition=0)
            rig.produce(*GOOD[20:], partition=1)
            await until(lambda: gate.waiting == 2)
            runner.stop()
            leave.set()  # both at once: the one that is gone first hands its partition to the other
            await asyncio.sleep(1)
            gate.open.set()
        await rig.run_dry()
        return rig

    assert sorted(run(scenario()).values()) == sorted(GOOD)


def test_a_revocation_in_the_middle_of_a_drain_waits_for_the_lane(sandbox: Sandbox) -> None:
    async def scenario() -> Rig:
        gate = Gate()
        rig = Rig(sandbox, threads=lambda: gate)
        rig.produce(*GOOD)
        async with rig.running() as runner:
            await until(lambda: gate.waiting == 1)
            runner.stop()
            await asyncio.sleep(0.1)
            revoking = asyncio.create_task(runner.revoked([LANE]))
            await asyncio.sleep(0.1)
            assert not revoking.done(), "the partition would be someone else's while it is still worked on"
            gate.open.set()
            await revoking
            assert rig.committed() > 0
        await rig.run_dry()
        return rig

    assert run(scenario()).values() == GOOD


async def _fetching(rig: Rig, *errors: Exception) -> None:
    """Run until everything is committed, while fetches fail with these errors once the lane runs."""
    async with rig.running() as runner:
        await until(lambda: rig.state(runner) is LaneState.RUNNING)
        rig.faults.plan("fetch", *errors)
        rig.produce(*GOOD)
        await until(lambda: rig.is_dry() or not rig.vitals.is_joined)


def test_a_fetch_that_fails_for_a_while_is_tried_again(sandbox: Sandbox) -> None:
    rig = Rig(sandbox)
    run(_fetching(rig, *[TransportError("the coordinator is loading")] * 20))
    assert rig.values() == GOOD
    assert rig.faults.planned["fetch"] == []


def test_a_route_that_cannot_fetch_gives_up_after_the_retry_limit(sandbox: Sandbox) -> None:
    rig = Rig(sandbox)
    rig.retry_limit_s = 30
    with pytest.raises(ExceptionGroup) as raised:
        run(_fetching(rig, *[TransportError("no answer")] * 1000))
    assert raised.group_contains(TransportError, match="could not fetch for 3[01] s, the last time with: no answer")
    assert len(rig.faults.planned["fetch"]) > 900


def test_a_topic_that_may_no_longer_be_read_stops_its_lanes_alone(sandbox: Sandbox) -> None:
    rig = Rig(sandbox)

    async def scenario() -> None:
        async with rig.running() as runner:
            await until(lambda: rig.state(runner) is LaneState.RUNNING)
            rig.faults.plan("fetch", TransportError("no permission for topic in", retriable=False, topic="in"))
            rig.produce(*GOOD)
            await until(rig.stopped(runner))
            assert "no permission" in runner.lanes[LANE].reason
            await rig.release()
            await until(rig.is_dry)

    run(scenario())
    assert rig.values() == GOOD


def test_what_nobody_can_retry_and_no_lane_is_to_blame_for_ends_the_route(sandbox: Sandbox) -> None:
    rig = Rig(sandbox)
    with pytest.raises(ExceptionGroup) as raised:
        run(_fetching(rig, TransportError("no permission for the group", retriable=False)))
    assert raised.group_contains(TransportError, match="no permission")
