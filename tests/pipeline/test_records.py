"""What arrives as records goes through inbox, chain and plan as the same events would, one by one."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.breaker import Breaker
from pipeline.chain import Chain, Stage, Verdicts
from pipeline.inbox import Chunk, Inbox
from pipeline.memory.clock import ManualClock
from pipeline.observe.null import NullSpan
from pipeline.plan import Destinations, plan
from pipeline.workers import InlineThread
from sandbox import Sandbox
from schemas.event import Batch, Event, TopicPartition
from schemas.records import Records
from schemas.specs import BatchPolicy, OnViolation, Quarantine
from tests.pipeline.rig import misdeed, route, spec
from tests.pipeline.virtual_time import run
from tests.records.batches import records_of

SOURCE = TopicPartition("in", 0)
WHERE = Destinations(source=3, by_topic={"out": 3, "dead": 3})
DEEDS = ("none", "none", "none", "drop", "reject", "trap", "bad-output")


def events_of(deeds: Sequence[str]) -> list[Event]:
    return [Event(5 + n, n, b"k%d" % (n % 3), misdeed(deed, n)) for n, deed in enumerate(deeds)]


@given(
    st.lists(st.tuples(st.integers(1, 40), st.booleans()), min_size=1, max_size=6),
    st.integers(1, 25),
    st.integers(50, 5_000),
)
def test_the_inbox_hands_out_what_it_was_given(fetches: list[tuple[int, bool]], count: int, size: int) -> None:
    flat = events_of(["none"] * sum(length for length, _ in fetches))

    async def scenario() -> tuple[list[Chunk], int]:
        inbox, at, put, taken = Inbox(BatchPolicy(events_max=count, bytes_max=size)), 0, 0, []
        for length, single in fetches:
            part = flat[at : at + length]
            put += inbox.put(part if single else records_of(part, 7))
            at += length
        while sum(len(events) for events, _ in taken) < len(flat):
            chunk = await inbox.take()
            assert chunk is not None
            taken.append(chunk)
        return taken, put

    taken, put = run(scenario())
    assert [event for events, _ in taken for event in events] == flat
    assert sum(size_bytes for _, size_bytes in taken) == put, "what is held is given back to the byte"
    assert all(0 < len(events) <= count for events, _ in taken)


def test_a_batch_is_filled_across_fetches() -> None:
    """Record batches are as long as their producer liked; the guest's are as long as the policy says."""

    async def scenario() -> list[int]:
        inbox = Inbox(BatchPolicy(events_max=100, bytes_max=1 << 20))
        for at in range(0, 300, 60):
            inbox.put(records_of(events_of(["none"] * 300)[at : at + 60]))
        return [len(chunk[0]) for _ in range(3) if (chunk := await inbox.take()) is not None]

    assert run(scenario()) == [100, 100, 100]


@given(
    st.sampled_from(list(OnViolation)),
    st.lists(st.sampled_from(DEEDS), min_size=1, max_size=25),
    st.integers(1, 2),
    st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_the_chain_decides_the_same(
    policy: OnViolation,
    deeds: list[str],
    stages: int,
    dressed: bool,
) -> None:
    events = events_of(deeds)
    one_by_one = _decided(events, policy, stages)
    at_once = _decided(records_of(events, 9), policy, stages)
    assert _essence(at_once) == _essence(one_by_one)
    way = route(add_headers=(("by", b"us"),)) if dressed else route()
    planned = [
        {(out.topic, out.partition): list(out.events) for out in plan(way, SOURCE, verdicts, WHERE, (), 0)}
        for verdicts in (at_once, one_by_one)
    ]
    assert {at: [(e.offset, e.key, e.value) for e in some] for at, some in planned[0].items()} == {
        at: [(e.offset, e.key, e.value) for e in some] for at, some in planned[1].items()
    }


def test_healthy_records_stay_records_to_the_end() -> None:
    events = events_of(["none", "drop", "none", "reject", *["none"] * 20])
    verdicts = _decided(records_of(events), OnViolation.DEAD_LETTER, stages=2)
    assert isinstance(verdicts.emitted, Records)
    assert (len(verdicts.emitted), verdicts.dropped, len(verdicts.violations)) == (22, 1, 1)
    outgoing = plan(route(), SOURCE, verdicts, WHERE, (), 0)
    assert [type(out.events) for out in outgoing if out.topic == "out"] == [Records]


def test_a_part_of_a_section_is_never_sent_as_the_whole() -> None:
    chance = random.Random(4)
    for _ in range(20):
        start = chance.randrange(20)
        part = records_of(events_of(["none"] * 30))[start : chance.randint(start + 1, 30)]
        verdicts = _decided(part, OnViolation.DEAD_LETTER, stages=1)
        assert [event.offset for event in verdicts.emitted] == [event.offset for event in part]
        assert all(block.is_whole for block in verdicts.emitted.blocks)  # type: ignore[attr-defined]


_SANDBOX = Sandbox(cache=False)
_SABOTEUR = _SANDBOX.load(spec())


def _decided(events: Sequence[Event], policy: OnViolation, stages: int) -> Verdicts:
    quarantine = Quarantine(after=10_000)
    chain = Chain(
        [
            Stage(
                spec(on_violation=policy, quarantine=quarantine),
                _SABOTEUR.sha256,
                _SABOTEUR.session(),
                Breaker(quarantine, ManualClock()),
                InlineThread(),
            )
            for _ in range(stages)
        ]
    )
    try:
        return asyncio.run(chain.run(Batch(SOURCE, events), NullSpan()))
    finally:
        chain.close()


def _essence(verdicts: Verdicts) -> object:
    return (
        verdicts.decided,
        list(verdicts.emitted),
        list(verdicts.origin),
        [(index, one.kind, one.code) for index, one in verdicts.violations],
        [(index, one.kind, one.code) for index, one in verdicts.tolerated],
        verdicts.dropped,
        verdicts.halt,
    )
