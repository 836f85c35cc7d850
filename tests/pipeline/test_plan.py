"""What is written for a batch: nothing lost, order kept, headers and timestamps as the route says."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.chain import Verdicts
from pipeline.placement import place
from pipeline.plan import Destinations, condemn, plan, truncated, unfit_violation
from pipeline.ports import Outgoing
from schemas.dead_letter import dead_letter, read_dead_letter
from schemas.errors import OversizeError
from schemas.event import Batch, Event, Headers, TopicPartition
from schemas.outcome import Violation, ViolationKind
from tests.pipeline.rig import route

SOURCE = TopicPartition("in", 2)
ROUTE = route(also_to=("side",))
WHERE = Destinations(source=4, by_topic={"out": 4, "side": 3, "dead": 4})
KEYS = st.none() | st.sampled_from([b"a", b"b", b"c"])


def violation(message: str = "m") -> Violation:
    return Violation(kind=ViolationKind.TRAP, message=message, transformer="t", module_sha256="f" * 64)


@st.composite
def verdicts(draw: st.DrawFn) -> Verdicts:
    """Any number of children of any event, in order; events without children were dropped or violated."""
    keys = draw(st.lists(KEYS, min_size=1, max_size=8))
    events = [Event(10 + 2 * at, at, key, b"%d" % at, (("h", b"%d" % at),)) for at, key in enumerate(keys)]
    emitted: list[Event] = []
    origin: list[int] = []
    dead: list[tuple[int, Violation]] = []
    for at, event in enumerate(events):
        children = draw(st.integers(0, 3))
        if not children and draw(st.booleans()):
            dead.append((at, violation()))
        for child in range(children):
            key = draw(KEYS) if draw(st.booleans()) else event.key
            to = draw(st.sampled_from([None, None, "side"]))
            emitted.append(msgspec.structs.replace(event, key=key, value=b"%d.%d" % (at, child), to=to))
            origin.append(at)
    dropped = len(events) - len(set(origin)) - len(dead)
    return Verdicts(Batch(SOURCE, events), len(events), emitted, origin, dead, dropped=dropped)


@given(verdicts())
def test_every_record_is_written_once_where_it_belongs_in_source_order(given_: Verdicts) -> None:
    planned = plan(ROUTE, SOURCE, given_, WHERE, (), 99)
    events = given_.batch.events
    expected: dict[tuple[str, int], list[Event]] = {}
    for event, at in zip(given_.emitted, given_.origin, strict=True):
        topic = event.to or "out"
        number = place(
            event.key, source_key=events[at].key, source_partition=2, source_count=4, count=WHERE.by_topic[topic]
        )
        expected.setdefault((topic, number), []).append(event)
    for at, why in given_.violations:
        expected.setdefault(("dead", 2), []).append(dead_letter(events[at], SOURCE, why))
    assert {(out.topic, out.partition): list(out.events) for out in planned} == expected
    assert all(out.timestamp is None for out in planned)


@given(verdicts(), st.data())
def test_a_condemned_event_is_a_dead_letter_and_none_of_its_children_is_left(
    given_: Verdicts, data: st.DataObject
) -> None:
    at = data.draw(st.sampled_from(sorted(set(given_.origin)) or [None]))  # type: ignore[list-item]
    if at is None:
        return
    offset = given_.batch.events[at].offset
    condemned = condemn(given_, offset, violation("too large"))
    assert at not in condemned.origin
    assert [index for index, _ in condemned.violations] == sorted({at} | {index for index, _ in given_.violations})
    kept = [event for event, of in zip(given_.emitted, given_.origin, strict=True) if of != at]
    assert list(condemned.emitted) == kept
    decided = Counter(type(outcome).__name__ for outcome in condemned.outcomes())
    assert decided["Violation"] == len(given_.violations) + 1
    assert decided["Dropped"] == condemned.dropped == given_.dropped


def one(*headers: tuple[str, bytes | None], key: bytes | None = b"k") -> Verdicts:
    event = Event(7, 5, key, b"v", headers)
    return Verdicts(Batch(SOURCE, [event]), 1, [event], [0], ())


def headers_of(planned: list[Outgoing]) -> Headers:
    ((event,),) = [out.events for out in planned]
    return event.headers


def test_an_unchanged_event_is_the_very_same_object() -> None:
    given_ = one(("a", b"1"))
    ((event,),) = [out.events for out in plan(ROUTE, SOURCE, given_, WHERE, (), 99)]
    assert event is given_.batch.events[0]


def test_headers_are_dropped_and_added() -> None:
    dressed = replace(ROUTE, drop_headers=frozenset({"secret"}), add_headers=(("by", b"us"),))
    found = headers_of(plan(dressed, SOURCE, one(("secret", b"1"), ("a", None)), WHERE, (), 99))
    assert found == (("a", None), ("by", b"us"))


def test_a_trace_replaces_the_incoming_one_and_without_one_it_stays() -> None:
    given_ = one(("Traceparent", b"old"), ("TRACESTATE", b"old"), ("a", b"1"))
    traced = headers_of(plan(ROUTE, SOURCE, given_, WHERE, (("traceparent", b"new"),), 99))
    assert traced == (("a", b"1"), ("traceparent", b"new"))
    assert headers_of(plan(ROUTE, SOURCE, given_, WHERE, (), 99)) == given_.batch.events[0].headers


def test_a_dead_letter_keeps_its_headers_whatever_the_routes_rules() -> None:
    dressed = replace(ROUTE, drop_headers=frozenset({"secret"}), add_headers=(("by", b"us"),))
    event = Event(7, 5, b"k", b"v", (("secret", b"1"), ("traceparent", b"old")))
    dead = Verdicts(Batch(SOURCE, [event]), 1, [], [], [(0, violation())])
    (out,) = plan(dressed, SOURCE, dead, WHERE, (("traceparent", b"new"),), 99)
    assert (out.topic, out.partition) == ("dead", 2)
    assert out.events[0].headers[:2] == event.headers
    assert "by" not in dict(out.events[0].headers)


@pytest.mark.parametrize(("preserve", "stamp"), [(True, None), (False, 99)])
def test_timestamps_are_kept_or_now(preserve: bool, stamp: int | None) -> None:
    (out,) = plan(replace(ROUTE, preserve_timestamps=preserve), SOURCE, one(), WHERE, (), 99)
    assert out.timestamp == stamp


def test_a_keyless_tombstone_goes_to_its_own_number_or_modulo() -> None:
    event = Event(7, 5, None, None)
    tombstone = Verdicts(Batch(SOURCE, [event]), 1, [event], [0], ())
    assert [out.partition for out in plan(ROUTE, SOURCE, tombstone, WHERE, (), 9)] == [2]
    fewer = Destinations(source=4, by_topic={"out": 2, "side": 3, "dead": 4})
    assert [out.partition for out in plan(ROUTE, SOURCE, tombstone, fewer, (), 9)] == [0]


def size_of(event: Event) -> int:
    return len(event.key or b"") + len(event.value or b"") + sum(len(n) + len(v or b"") + 8 for n, v in event.headers)


@given(st.none() | st.binary(max_size=60_000), st.integers(20_000, 50_000), st.integers(0, 50))
def test_a_truncated_dead_letter_fits_and_says_what_it_lost(value: bytes | None, size: int, headers: int) -> None:
    event = Event(7, 5, b"key", value, tuple((f"h{at}", b"x" * 1_000) for at in range(headers)))
    letter = dead_letter(event, SOURCE, violation("m" * 5_000))
    cut = truncated(letter, size)
    assert size_of(cut) <= size
    assert (cut.key, cut.timestamp) == (event.key, event.timestamp)
    assert (value or b"").startswith(cut.value or b"")
    assert (cut.value is None) == (value is None)
    assert dict(cut.headers)["penstock.truncated"] == b"value was %d bytes, headers %d" % (len(value or b""), headers)
    found = read_dead_letter(cut.headers)
    assert found is not None
    assert (found.offset, found.headers) == (7, ())


def test_the_oversize_violation_counts_as_the_guests_misbehaviour() -> None:
    found = unfit_violation("t", "f" * 64, OversizeError("out", 3, 20, 10))
    assert (found.kind, found.kind.is_misbehaviour) == (ViolationKind.OUTPUT_TOO_LARGE, True)


def test_headers_that_a_record_brings_under_our_prefix_are_cut_as_well() -> None:
    event = Event(7, 5, b"k", b"v", (("penstock.violation", b"x" * 50_000), ("penstock.note", b"y" * 50_000)))
    violation = Violation(kind=ViolationKind.TRAP, message="m", transformer="t", module_sha256="f" * 64)
    cut = truncated(dead_letter(event, TopicPartition("in", 0), violation), 40_000)
    assert sum(len(name) + len(value or b"") for name, value in cut.headers) < 20_000
    found = read_dead_letter(cut.headers)
    assert found is not None and found.violation.kind is ViolationKind.TRAP
