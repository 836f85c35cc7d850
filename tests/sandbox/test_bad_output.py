"""A guest may answer with anything; only the ABI's shape is believed."""

from __future__ import annotations

import struct

import msgpack
import pytest

from sandbox import Sandbox
from schemas.event import Batch, Event
from schemas.outcome import Emitted
from tests.sandbox.guests import LANE, LIMITS, batch, events, guest, kinds, spec, values, violation
from tests.schemas.test_abi import BAD

SIZE = 2 << 16
"""The parrot's memory before it grows."""


def _answer(frame: bytes) -> bytes:
    return b"=" + frame


def _packed(address: int, length: int) -> bytes:
    return b"@" + struct.pack("<Q", address << 32 | length)


POINTERS = {
    "beyond the end": (SIZE, 1),
    "across the end": (SIZE - 1, 4096),
    "the last address": (0xFFFFFFFF, 1),
    "length overflows the address": (16, 0xFFFFFFF0),
    "everything at once": (0xFFFFFFFF, 0xFFFFFFFF),
    "negative address": (-16 & 0xFFFFFFFF, 16),
    "one byte more than there is": (0, SIZE + 1),
    "nothing": (0, 0),
    "zeros": (0, 64),
}


@pytest.mark.parametrize("frame", BAD.values(), ids=BAD.keys())
def test_a_bad_frame_condemns_only_the_event_that_provoked_it(sandbox: Sandbox, frame: bytes) -> None:
    transformer = sandbox.load(spec(limits=LIMITS.with_(output_bytes_per_event=1 << 20)), guest("parrot"))
    alone = transformer.run(batch([_answer(frame)]))
    assert kinds(alone.outcomes) == ["bad-output"]
    report = transformer.run(batch([b"a", b"b", _answer(frame), b"c", b"d"]))
    if frame != b"\x92\xc0\xc0":  # two results, which are right as soon as two events are asked about
        assert kinds(report.outcomes) == ["emitted", "emitted", "bad-output", "emitted", "emitted"]
    assert violation(alone.outcomes[0]).message.startswith("the result frame is not what the ABI says")


@pytest.mark.parametrize(("address", "length"), POINTERS.values(), ids=POINTERS.keys())
def test_a_frame_must_lie_in_memory(sandbox: Sandbox, address: int, length: int) -> None:
    report = sandbox.load(spec(), guest("parrot")).run(batch([b"a", _packed(address, length), b"b"]))
    names = kinds(report.outcomes)
    assert names[0] == names[2] == "emitted"
    assert names[1] in {"bad-output", "output-too-large"}


def test_addresses_outside_memory_are_counted_as_escape_attempts(sandbox: Sandbox) -> None:
    transformer = sandbox.load(spec(), guest("parrot"))
    transformer.run(batch([_packed(SIZE, 1)]))
    assert sandbox.stats().escape_attempts == 1


def test_a_frame_made_of_the_right_number_of_results_is_taken_whole(sandbox: Sandbox) -> None:
    frame = msgpack.packb([[1, b"x"], [0], None])
    report = sandbox.load(spec(), guest("parrot")).run(batch([_answer(frame), b"b", b"c"]))
    assert kinds(report.outcomes) == ["emitted", "dropped", "emitted"]
    assert report.crossings == 1


def test_unchanged_is_the_very_same_event(sandbox: Sandbox) -> None:
    transformer = sandbox.load(spec(), guest("parrot"))
    sent = events([b"a", None, b""])
    report = transformer.run(Batch(LANE, sent))
    for event, outcome in zip(sent, report.outcomes, strict=True):
        assert isinstance(outcome, Emitted)
        assert outcome.events[0] is event


def test_a_new_value_keeps_everything_else(sandbox: Sandbox) -> None:
    event = Event(5, 17, b"key", _answer(msgpack.packb([[1, None]])), (("h", b"1"), ("n", None)), "audit")
    report = sandbox.load(spec(), guest("parrot")).run(Batch(LANE, [event]))
    outcome = report.outcomes[0]
    assert isinstance(outcome, Emitted)
    assert outcome.events == (Event(5, 17, b"key", None, (("h", b"1"), ("n", None)), "audit"),)


def test_records_choose_topic_key_and_headers(sandbox: Sandbox) -> None:
    records = [["flagged", b"k2", b"v", []], [None, None, None, None], [None, b"", b"", [["a", None]]]]
    event = Event(5, 17, b"key", _answer(msgpack.packb([[2, records]])), (("h", b"1"),), "audit")
    outcome = sandbox.load(spec(), guest("parrot")).run(Batch(LANE, [event])).outcomes[0]
    assert isinstance(outcome, Emitted)
    assert outcome.events == (
        Event(5, 17, b"k2", b"v", (), "flagged"),
        Event(5, 17, None, None, (("h", b"1"),), None),
        Event(5, 17, b"", b"", (("a", None),), None),
    )


def test_no_records_at_all_is_an_emission_of_nothing(sandbox: Sandbox) -> None:
    outcome = sandbox.load(spec(), guest("parrot")).run(batch([_answer(msgpack.packb([[2, []]]))])).outcomes[0]
    assert values(outcome) == []


def test_a_topic_outside_the_route_is_bad_output_of_its_event_alone(sandbox: Sandbox) -> None:
    session = sandbox.load(spec(), guest("saboteur")).session(allowed_topics=frozenset({"orders.flagged"}))
    report = session.run(batch([b"r", b"t", b"r"]))
    assert kinds(report.outcomes) == ["emitted", "bad-output", "emitted"]
    verdict = violation(report.outcomes[1])
    assert "'other'" in verdict.message and "orders.flagged" in verdict.message
    session.close()


def test_an_allowed_topic_passes(sandbox: Sandbox) -> None:
    session = sandbox.load(spec(), guest("saboteur")).session(allowed_topics=frozenset({"other"}))
    outcome = session.run(batch([b"t"])).outcomes[0]
    assert isinstance(outcome, Emitted)
    assert outcome.events[0].to == "other"
    session.close()


@pytest.mark.parametrize(("size", "kind"), [(100, "emitted"), (101, "output-too-large")])
def test_output_is_bounded_per_event(sandbox: Sandbox, size: int, kind: str) -> None:
    """The key (5 bytes) counts too."""
    transformer = sandbox.load(spec(limits=LIMITS.with_(output_bytes_per_event=105)), guest("parrot"))
    report = transformer.run(batch([_answer(msgpack.packb([[1, b"x" * size]]))]))
    assert kinds(report.outcomes) == [kind]


@pytest.mark.parametrize(("count", "kind"), [(10, "emitted"), (11, "output-too-large")])
def test_output_counts_all_records_of_an_event_with_their_headers(sandbox: Sandbox, count: int, kind: str) -> None:
    record = [None, b"k", b"v", [["hh", b"xxxxxx"]]]
    transformer = sandbox.load(spec(limits=LIMITS.with_(output_bytes_per_event=100)), guest("parrot"))
    report = transformer.run(batch([_answer(msgpack.packb([[2, [record] * count]]))]))
    assert kinds(report.outcomes) == [kind]


def test_an_unchanged_event_may_be_larger_than_the_output_limit(sandbox: Sandbox) -> None:
    transformer = sandbox.load(spec(limits=LIMITS.with_(output_bytes_per_event=10)), guest("parrot"))
    assert kinds(transformer.run(batch([b"a" * 1000])).outcomes) == ["emitted"]


def test_a_rejection_is_cut_to_a_bound(sandbox: Sandbox) -> None:
    said = [3, "c" * 1000, "m" * 100_000]
    verdict = violation(sandbox.load(spec(), guest("parrot")).run(batch([_answer(msgpack.packb([said]))])).outcomes[0])
    assert len(verdict.code) == 128
    assert len(verdict.message) == 4096 and verdict.message.endswith("more characters")
