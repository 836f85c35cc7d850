"""An atomic route over the in-memory broker: what is visible at any commit is whole transactions, whatever fails in between."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterable, Mapping

import pytest

from pipeline.atomic.route import AtomicRunner
from pipeline.memory.broker import MemoryBroker
from pipeline.ports import LaneState, Outgoing
from sandbox import Sandbox
from schemas.errors import FencedError, TransportError
from schemas.event import Event, TopicPartition
from schemas.specs import AtomicSpec, TransformerSpec
from tests.pipeline.atomic.test_gathering import MARKS, A, B, T, change, end, logs, members, transaction
from tests.pipeline.rig import Rig
from tests.pipeline.virtual_time import run, until

BROKEN = TransportError("the broker went away")


class Watched(MemoryBroker):
    """Counts, after each commit, what a reader of committed records sees of every transaction."""

    def __init__(self, expected: Mapping[str, int]) -> None:
        super().__init__()
        self.expected = expected
        self.torn: list[tuple[str, int]] = []
        self.looked = 0

    def commit(
        self,
        owner: tuple[str, int] | None,
        outgoing: Iterable[Outgoing],
        offsets: Mapping[tuple[str, TopicPartition], int],
    ) -> None:
        super().commit(owner, outgoing, offsets)
        self.looked += 1
        self.torn += [(key, count) for key, count in self.visible().items() if count != self.expected[key]]

    def visible(self) -> Counter[str]:
        """By transaction, its events among the results and the dead letters."""
        seen = [event for topic in ("out", "dead") for _, event in self.records(topic)]
        return Counter(key for event in seen if (key := transaction(event)) is not None)


class AtomicRig(Rig):
    """A rig whose route reads all topics of these logs."""

    runner_type = AtomicRunner

    def __init__(
        self,
        sandbox: Sandbox,
        of: Mapping[TopicPartition, list[Event]],
        *specs: TransformerSpec,
        expected: Mapping[str, int] | None = None,
        **atomic: object,
    ) -> None:
        topics = tuple(sorted({at.topic for at in of}))
        super().__init__(sandbox, *specs, sources=topics, atomic=AtomicSpec(MARKS, **atomic))  # type: ignore[arg-type]
        self.source_logs = {at: list(log) for at, log in of.items()}
        self.broker = self.watched = Watched(members(self.source_logs) if expected is None else expected)
        self._transport._broker = self.broker
        for topic in topics:
            self.broker.create_topic(topic, 1 + max(at.partition for at in of if at.topic == topic))
        for topic in ("out", "dead"):
            self.broker.create_topic(topic, 3)

    def feed(self, at: TopicPartition, count: int) -> None:
        """Append the next records of one partition."""
        log = self.source_logs[at]
        for event in log[:count]:
            self.broker.produce(at.topic, event.value, key=event.key, partition=at.partition, timestamp=5)
        del log[:count]

    def feed_all(self) -> None:
        for at, log in self.source_logs.items():
            self.feed(at, len(log))

    def is_dry(self) -> bool:
        ends = {at: self.broker.partition(at).end for at in self.source_logs}
        return all(self.broker.committed.get(("g", at), 0) == last for at, last in ends.items())


def values(of: Mapping[TopicPartition, list[Event]]) -> Counter[bytes | None]:
    return Counter(event.value for at, log in of.items() if at.topic != MARKS for event in log)


@pytest.mark.parametrize("seed", range(8))
def test_readers_see_whole_transactions_only_whatever_fails_and_however_often_it_is_restarted(
    sandbox: Sandbox, seed: int
) -> None:
    chance, source = random.Random(seed), logs()
    rig = AtomicRig(sandbox, source)

    async def scenario() -> None:
        while any(rig.source_logs.values()):
            async with rig.running():
                for _ in range(chance.randint(1, 40)):
                    if waiting := [at for at, log in rig.source_logs.items() if log]:
                        rig.feed(chance.choice(waiting), chance.randint(1, 5))
                    if chance.random() < 0.2:
                        method = chance.choice(["open", "locate", "seek", "fetch", "write", "commit", "committed"])
                        rig.faults.plan(method, chance.choice([BROKEN, FencedError("someone else was here")]))
                    await asyncio.sleep(chance.choice([0, 0.01, 0.3]))
        rig.faults.planned.clear()
        await rig.run_dry()

    run(scenario())
    assert rig.watched.torn == []
    assert rig.watched.looked > 5
    assert rig.watched.visible() == members(source)
    assert Counter(rig.values("out") + rig.values("dead")) == values(source)  # a busy machine makes a guest late


def test_a_process_that_is_killed_leaves_no_half_and_the_next_one_goes_on(sandbox: Sandbox) -> None:
    source = logs()
    rig = AtomicRig(sandbox, source)

    async def killed_after(calls: int) -> None:
        with_control = await rig.control()
        runner = rig.runner(with_control, rig.vitals)
        task = asyncio.create_task(runner.run(lambda: 5.0))
        aim = len(rig.faults.calls) + calls
        await until(lambda: len(rig.faults.calls) >= aim or rig.is_dry())
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def scenario() -> None:
        rig.feed_all()
        for calls in range(80, 140, 3):
            await killed_after(calls)
        await rig.run_dry()

    run(scenario())
    assert rig.watched.torn == []
    assert rig.watched.visible() == members(source)
    assert Counter(rig.values("out") + rig.values("dead")) == values(source)  # a busy machine makes a guest late


def test_a_second_process_stands_by_and_takes_over(sandbox: Sandbox) -> None:
    source = logs()
    rig = AtomicRig(sandbox, source)

    async def scenario() -> None:
        everything = sum(len(rig.broker.topics[topic]) for topic in rig.route.sources)
        control = await rig.control()
        first = rig.runner(control, rig.vitals)
        at_work = asyncio.create_task(first.run(lambda: 5.0))
        await until(lambda: len(first.lanes) == everything)
        async with rig.running() as second:
            await asyncio.sleep(5)
            assert len(first.lanes) == everything and not second.lanes
            rig.feed_all()
            first.stop()
            await at_work
            await until(rig.is_dry)
            assert len(second.lanes) == everything

    run(scenario())
    assert rig.watched.torn == []
    assert Counter(rig.values("out") + rig.values("dead")) == values(source)  # a busy machine makes a guest late


def test_a_dead_letter_is_written_with_the_rest_of_its_transaction(sandbox: Sandbox) -> None:
    bad = Event(1, 0, None, (change(1, 7, 2).value or b"")[:-1] + b',"penstock_demo":"trap"}')
    rig = AtomicRig(sandbox, {A: [change(0, 7, 1), bad], B: [change(0, 7, 3)], T: [end(0, 7, a=2, b=1)]})
    rig.feed_all()
    run(rig.run_dry())
    assert (len(rig.values("out")), rig.values("dead")) == (2, [bad.value])
    assert rig.watched.torn == []
    assert rig.watched.looked == 1


@pytest.mark.parametrize(
    ("of", "atomic", "reason"),
    [
        (
            {A: [change(0, 7, 1), change(1, 8, 1)], T: [end(0, 8, a=1)]},
            {"wait_s": 30.0},
            "transaction 7 (1 events here) lacks its END, which has not come on shop.transaction",
        ),
        (
            {A: [change(n, 7, n + 1) for n in range(5)], T: []},
            {"events_max": 4},
            "source transaction 7 is too large: 5 events",
        ),
        ({A: [Event(0, 0, None, b'{"op":"c"}')], T: []}, {}, "set provide.transaction.metadata=true"),
    ],
)
def test_what_cannot_go_on_stops_the_lane_and_says_why(
    sandbox: Sandbox, of: dict[TopicPartition, list[Event]], atomic: dict[str, object], reason: str
) -> None:
    rig = AtomicRig(sandbox, of, expected={"7": 5, "8": 1}, **atomic)

    async def scenario() -> None:
        rig.feed_all()
        async with rig.running() as runner:
            lane = runner.lanes[T]
            await until(lambda: lane.state is LaneState.STOPPED)
            assert reason in lane.reason

    run(scenario())
    assert rig.values() == []


def test_a_transaction_that_is_still_being_written_is_waited_for_without_end(sandbox: Sandbox) -> None:
    rig = AtomicRig(sandbox, {A: [change(0, 7, 1)], T: [end(0, 7, a=1)]}, wait_s=1.0)

    async def scenario() -> None:
        async with rig.running() as runner:
            rig.feed(A, 1)
            await asyncio.sleep(3_600)
            assert runner.lanes[A].state is LaneState.RUNNING
            rig.feed(T, 1)
            await until(rig.is_dry)

    run(scenario())
    assert len(rig.values()) == 1
