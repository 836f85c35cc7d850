"""Events as records: the same events, the same frames, the same verdicts; only faster."""

from __future__ import annotations

import random
from itertools import pairwise

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from sandbox import Sandbox
from sandbox.records import SECTION_BYTES_MAX, Codecs, HeaderChange, codecs
from sandbox.results import Rules, carry, judge
from schemas.abi import BatchEncoder, FrameError, decode_results
from schemas.event import Batch, Event
from schemas.outcome import Carried, Emitted, Violation
from schemas.records import Block, Records, offset_at
from schemas.specs import InstancePolicy
from tests.records.batches import block_of, event_lists, records_of
from tests.sandbox.guests import LANE, guest, kinds, spec
from tests.schemas.test_abi import BAD
from tests.transformers.shipped import MODULES

RULES = Rules("t", "0" * 64, "", 100_000, None)


def orders(count: int, misdeeds: dict[int, str] | None = None) -> list[Event]:
    """What the saboteur reads; `misdeeds` by index."""
    return [
        Event(
            10 + n,
            1_700_000_000_000 + n,
            b"%d" % (n % 7),
            b'{"id":%d,"penstock_demo":"%s"}' % (n, (misdeeds or {}).get(n, "none").encode()),
            (("n", b"%d" % n),),
        )
        for n in range(count)
    ]


@given(event_lists(), st.integers(1, 7))
def test_records_are_the_events_they_were_made_of(events: list[Event], events_per_block: int) -> None:
    records = records_of(events, events_per_block)
    assert list(records) == events
    assert len(records) == len(events)
    assert [offset_at(records, n) for n in range(len(events))] == [event.offset for event in events]


@given(event_lists(), st.data())
def test_a_part_of_records_is_that_part_of_the_events(events: list[Event], data: st.DataObject) -> None:
    records = records_of(events, 3)
    start = data.draw(st.integers(-len(events), len(events)))
    stop = data.draw(st.integers(-len(events), len(events)))
    part = records[start:stop]
    assert list(part) == events[start:stop]
    assert part.size_bytes <= records.size_bytes
    assert list(part.joined(records)) == events[start:stop] + events
    for index in range(len(part)):  # one by one, and after a few all at once
        assert part[index] == events[start:stop][index]


@given(event_lists())
def test_the_frame_is_byte_for_byte_the_one_of_single_events(events: list[Event]) -> None:
    with codecs().lease() as codec:
        for block in records_of(events, 5).blocks:
            codec.load(block)
        assert codec.frame() == BatchEncoder(LANE).body(events)


@given(event_lists())
def test_events_are_packed_into_the_records_they_are(events: list[Event]) -> None:
    packed = codecs().pack(events)
    assert list(packed) == events
    assert [packed.offset_at(n) for n in range(len(events))] == [event.offset for event in events]


@given(event_lists(), st.sets(st.text(max_size=3), max_size=4), st.lists(st.tuples(st.text(), st.none() | st.binary())))
def test_headers_are_changed_as_one_by_one(
    events: list[Event], drop: set[str], add: list[tuple[str, bytes | None]]
) -> None:
    traced = [replace(event, headers=(("Traceparent", b"x"), ("h", b"y"), *event.headers)) for event in events]
    change = HeaderChange(frozenset(drop), frozenset({"traceparent"}), tuple(add))
    dressed = codecs().dressed(records_of(traced, 7), change)
    assert list(dressed) == [
        replace(
            event,
            headers=(*(h for h in event.headers if h[0] not in drop and h[0].lower() != "traceparent"), *add),
        )
        for event in traced
    ]


@given(event_lists(), st.integers(0, 1 << 42))
def test_records_get_another_timestamp(events: list[Event], stamp: int) -> None:
    restamped = codecs().restamped(records_of(events, 7), stamp)
    assert list(restamped) == [replace(event, timestamp=stamp) for event in events]
    assert all(block.extremes is not None and block.extremes.timestamp_max == stamp for block in restamped.blocks)


@given(event_lists(8), st.randoms(use_true_random=False))
@settings(max_examples=300)
def test_a_damaged_section_is_refused_or_read_as_a_stranger_reads_it(
    events: list[Event], chance: random.Random
) -> None:
    """Never a crash, and never other records than those whose structure is right to the last byte."""
    section = bytearray(block_of(events).section)
    for _ in range(chance.randint(1, 3)):
        match chance.randrange(3):
            case 0:
                section[chance.randrange(len(section))] = chance.randrange(256)
            case 1:
                del section[chance.randrange(len(section)) :]
            case _:
                section += chance.randbytes(3)
        if not section:
            return
    count = chance.choice([len(events), len(events) + 1, 1, 0, 1 << 31])
    with codecs().lease() as codec:
        scan = codec.scan(codec.place(bytes(section)), len(section), count, 0)
        if scan is None or not scan.count:
            return
        codec.clear()
        codec.load(Block(bytes(section), count, 0, range(scan.first, scan.first + count), 0))
        assert msgpack.unpackb(codec.frame(), raw=False)
    assert scan.count == count


def test_a_name_that_is_not_utf8_is_malformed() -> None:
    section = block_of([Event(0, 0, None, None, (("\u00e9", None),))]).section
    assert section.count(b"\xc3\xa9") == 1
    with codecs().lease() as codec:
        broken = section.replace(b"\xc3\xa9", b"\xc3\x28")
        assert codec.scan(codec.place(section), len(section), 1, 0) is not None
        assert codec.scan(codec.place(broken), len(broken), 1, 0) is None


def test_offsets_that_go_back_are_malformed() -> None:
    one, two = block_of([Event(0, 0, b"a", b"b")]).section, block_of([Event(0, 0, b"c", b"d")]).section
    with codecs().lease() as codec:
        assert codec.scan(codec.place(one + two), len(one + two), 2, 0) is None


answers = st.one_of(
    st.just(b"\xc0"),
    st.just(b"\x91\x00"),
    st.binary(max_size=300).map(lambda value: b"\x92\x01" + msgpack.packb(value, use_bin_type=True)),
    st.just(b"\x92\x01\xc0"),
    st.tuples(st.text(max_size=40), st.text(max_size=300)).map(lambda said: msgpack.packb([3, *said])),
    st.just(b"\x92\x01\xc6\x00\x01\x86\xa1" + bytes(100_001)),
    st.just(b"\x92\xcc\x01\xc4\x01x"),  # the tag in a longer form: right, and unusual
    st.just(msgpack.packb([2, [[None, b"k", b"v", None]]], use_bin_type=True)),
    st.just(b"\x93\x03\xa1\xff\xa1x"),  # a code that is not UTF-8
    st.sampled_from([frame[1:] for frame in BAD.values() if frame[:1] == b"\x91"]),
)


@given(event_lists(12), st.data())
@settings(max_examples=300)
def test_the_short_way_judges_as_the_long_one(events: list[Event], data: st.DataObject) -> None:
    """Whatever a guest answers, either the short way leaves it to the long one or both say the same."""
    said = data.draw(st.lists(answers, min_size=len(events), max_size=len(events)))
    frame = (
        msgpack.Packer().pack_array_header(len(said)) + b"".join(said) + data.draw(st.sampled_from([b"", b"", b"\xc0"]))
    )
    records = records_of(events, 5)
    with codecs().lease() as codec:
        for block in records.blocks:
            codec.load(block)
        try:
            short = carry(codec, records, frame, RULES)
        except FrameError:
            with pytest.raises(FrameError):
                decode_results(frame, len(events))
            return
    if short is None:
        return
    long = judge(events, decode_results(frame, len(events)), RULES)
    assert not long.flawed
    assert list(short) == long.outcomes
    assert short.dropped == kinds(long.outcomes).count("dropped")  # type: ignore[arg-type]
    assert [events[index].offset for index in short.kept] == [event.offset for event in short.records]


def test_the_usual_answers_do_go_the_short_way() -> None:
    events = orders(4)
    frame = msgpack.packb([None, [0], [1, b"new"], [3, "code", "why"]], use_bin_type=True)
    records = records_of(events)
    with codecs().lease() as codec:
        codec.load(records.blocks[0])
        short = carry(codec, records, frame, RULES)
    assert short is not None
    assert short[0] == Emitted((events[0],))
    assert [event.value for event in short.records] == [events[0].value, b"new"]
    assert list(short.kept) == [0, 2]
    assert short.dropped == 1
    ((index, violation),) = short.rejected
    assert (index, violation.code, violation.message) == (3, "code", "why")


def test_a_long_batch_is_built_in_sections_that_a_broker_takes() -> None:
    events = [Event(n, n, b"k", bytes(10_000)) for n in range(300)] + [Event(300, 300, None, bytes(2 << 20))]
    records = records_of(events)
    rules = Rules("t", "", "", 4 << 20, None)
    with codecs().lease() as codec:
        for block in records.blocks:
            codec.load(block)
        short = carry(codec, records, msgpack.packb([None] * len(events)), rules)
    assert short is not None
    blocks = short.records.blocks  # type: ignore[attr-defined]
    assert list(short.records) == events
    assert all(len(block.section) <= SECTION_BYTES_MAX for block in blocks[:-1])
    assert len(blocks[-1]) == 1, "a record larger than a section is one of its own"
    assert all(before.offsets[-1] < after.offsets[0] for before, after in pairwise(blocks))
    extremes = blocks[-1].extremes
    assert extremes is not None
    assert (extremes.timestamp_min, extremes.timestamp_max, extremes.keyless) == (300, 300, 1)
    assert extremes.record_bytes_max > 2 << 20


def test_records_for_fresh_guests_are_as_fast_as_single_events_and_decided_alike(sandbox: Sandbox) -> None:
    """One event a guest: nothing is gained by the codec then, and a look at the section for each would cost more than the guest."""
    one_each = spec("saboteur", module=MODULES / "saboteur.wasm", instance=InstancePolicy.PER_EVENT)
    session = sandbox.load(one_each).session()
    events = orders(40, {3: "trap", 9: "drop"})
    try:
        report = session.run(Batch(LANE, records_of(events)))
    finally:
        session.close()
    assert not isinstance(report.outcomes, Carried)
    assert report.crossings == 40
    assert kinds(report.outcomes) == ["trap" if n == 3 else "dropped" if n == 9 else "emitted" for n in range(40)]


MISDEEDS: dict[str, dict[int, str]] = {
    "none": {},
    "drops and rejections": {3: "drop", 4: "reject", 99: "drop"},
    "everything dropped": dict.fromkeys(range(120), "drop"),
    "a trap": {50: "trap"},
    "traps, garbage and rejections": {0: "trap", 7: "bad-output", 8: "reject", 77: "stack", 119: "trap"},
    "out of memory": {60: "memory"},
}


@pytest.mark.parametrize("misdeeds", MISDEEDS.values(), ids=MISDEEDS.keys())
def test_a_session_decides_the_same_of_records_as_of_single_events(sandbox: Sandbox, misdeeds: dict[int, str]) -> None:
    transformer = sandbox.load(spec("saboteur", module=MODULES / "saboteur.wasm"))
    events = orders(120, misdeeds)
    session = transformer.session()
    try:
        one_by_one = session.run(Batch(LANE, events))
        at_once = session.run(Batch(LANE, records_of(events, 50)))
    finally:
        session.close()
    assert [_essence(outcome) for outcome in at_once.outcomes] == [_essence(one) for one in one_by_one.outcomes]
    assert at_once.dropped == one_by_one.dropped
    assert [index for index, _ in at_once.violations()] == [index for index, _ in one_by_one.violations()]
    healthy = not any(kind in {"trap", "bad-output", "stack", "memory"} for kind in misdeeds.values())
    assert isinstance(at_once.outcomes, Carried) == healthy


def _essence(outcome: object) -> object:
    return (outcome.kind, outcome.code) if isinstance(outcome, Violation) else outcome


@pytest.mark.parametrize("frame", BAD.values(), ids=BAD.keys())
def test_a_bad_frame_for_records_is_a_violation(sandbox: Sandbox, frame: bytes) -> None:
    session = sandbox.load(spec("parrot"), guest("parrot")).session()
    try:
        report = session.run(Batch(LANE, records_of([Event(5, 0, None, b"=" + frame)])))
    finally:
        session.close()
    assert kinds(report.outcomes) == ["bad-output"]


def test_a_codec_that_gave_up_is_not_used_again_and_the_batch_goes_the_long_way() -> None:
    pool = Codecs()
    with pool.lease() as codec:
        with pytest.raises(Exception, match="malformed"):
            codec.load(Block(b"\x00", 5, 0, range(5), 0))
        first = codec
    with pool.lease() as second:
        assert second is first, "a refusal is no breakdown"
        with pytest.raises(Exception, match=r"unreachable|memory"):
            second.place(bytes(300 << 20))
    with pool.lease() as third:
        assert third is not first
        third.load(block_of(orders(3)))


def test_records_of_one_flat_timestamp_all_have_it() -> None:
    block = block_of(orders(3))
    flat = Records([Block(block.section, 3, 0, block.offsets, 1234, flat=True)], codecs())
    assert {event.timestamp for event in flat} == {1234}


def test_what_a_worn_guest_said_is_forgotten_when_a_fresh_one_is_asked(sandbox: Sandbox) -> None:
    """Half of a bad answer is usual, and was taken in before the other half was found bad: it must not outlive the second try."""
    session = sandbox.load(spec("moody", instance=InstancePolicy.REUSED), guest("moody")).session()
    events = orders(20)
    try:
        first = session.run(Batch(LANE, records_of(events)))
        second = session.run(Batch(LANE, records_of(events)))
    finally:
        session.close()
    for report in (first, second):
        assert isinstance(report.outcomes, Carried)
        assert list(report.outcomes.records) == events
        assert (report.dropped, report.violations()) == (0, [])
    assert second.crossings == 2


def test_records_that_are_too_much_for_the_codec_go_as_single_events(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its memory is bounded; what a batch holds together may be more than that, though no section is."""
    small = Codecs(memory_bytes_max=16 << 20)
    monkeypatch.setattr("sandbox.session.codecs", lambda: small)
    first, *_ = records_of([Event(n, n, None, bytes(4_000)) for n in range(1_000)]).blocks
    huge = Records([first] * 60, small)
    assert sum(len(block.section) for block in huge.blocks) > 16 << 20
    session = sandbox.load(spec("passthrough", module=MODULES / "passthrough.wasm")).session()
    try:
        report = session.run(Batch(LANE, huge))
    finally:
        session.close()
    assert len(report.outcomes) == len(huge)
    assert {type(outcome) for outcome in report.outcomes} == {Emitted}
    assert "single events" in caplog.text
