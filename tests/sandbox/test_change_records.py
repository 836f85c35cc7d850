"""`encoding: event` over records: what the host's codec makes of Debezium's JSON is what `schemas.formats` makes of it, byte for byte, or nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import msgpack
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sandbox import Sandbox
from sandbox.records import Codec, CodecError, codecs
from schemas.abi import FrameError, decode_change_results
from schemas.change import DEPTH_MAX, DecodeError, EncodeError, plain_bytes
from schemas.event import Batch, Event
from schemas.formats import debezium
from schemas.outcome import Carried, Emitted
from schemas.records import Records
from tests.records import nasty
from tests.records.batches import block_of, records_of
from tests.sandbox.guests import LANE, REUSED, guest, kinds, spec, values, violation
from tests.sandbox.test_changes import CREATED, Puppeteer, each, with_after

FIXTURES = Path(__file__).parents[1] / "fixtures"
OUTPUT_MAX = 1 << 20
PLAIN = [
    value.encode()
    for line in (FIXTURES / "debezium-postgres.ndjson").read_text().splitlines()
    if (value := json.loads(line)["value"]) is not None
]
CHANGES = [data for data in PLAIN if b'"op":' in data]


def told(data: bytes | None) -> bytes | None:
    """The change event that the codec makes of a value."""
    with codecs().lease() as codec:
        codec.load(block_of([Event(1, 2, None, data)]))
        frame = codec.frame_changes()
    if frame is None:
        return None
    assert frame.startswith(b"\x91\x95\x01\x02\xc0") and frame.endswith(b"\x90")
    return frame[5:-1]


def absorbed(data: bytes, answer: bytes) -> bytes | None:
    """The value that the codec makes of a result frame for this one; None when it leaves it to others."""
    with codecs().lease() as codec:
        codec.load(block_of([Event(1, 2, b"k", data)]))
        assert codec.frame_changes() is not None
        if codec.absorb(answer, OUTPUT_MAX) is None:
            return None
        (event,) = codecs().built(codec)
        return event.value


def reference(data: bytes) -> debezium.Document | None:
    try:
        return debezium.decode(data)
    except DecodeError:
        return None


def referred(document: debezium.Document, got: bytes) -> bytes | None:
    """None for what is refused."""
    try:
        decode_change_results(b"\x91\x92\x01" + got, 1)
        plain = plain_bytes(got)
        return document.encode(got) if plain is None else plain
    except (FrameError, EncodeError):
        return None


@pytest.mark.parametrize("data", CHANGES)
def test_a_real_event_is_told_and_taken_back_by_the_codec(data: bytes) -> None:
    document = debezium.decode(data)
    assert told(data) == document.packed
    assert absorbed(data, b"\x91\xc0") == data
    assert absorbed(data, b"\x91\x92\x01" + document.packed) == data
    event = msgpack.unpackb(document.packed, strict_map_key=False)
    for side in ("before", "after"):
        if event[side] is not None:
            event[side] = dict(list(event[side].items())[1:]) | {"added": [1, {"é": 1.5}]}
    answer = msgpack.packb(event)
    assert absorbed(data, b"\x91\x92\x01" + answer) == document.encode(answer)


@settings(max_examples=150)
@given(st.randoms(use_true_random=False))
def test_the_codec_says_what_the_reference_says_or_nothing(draw: Random) -> None:
    _compare(draw)


@settings(max_examples=500)
@given(st.integers(0, 1 << 32))
def test_so_it_does_for_values_as_nasty_as_chance_makes_them(seed: int) -> None:
    for number in range(5):
        _compare(Random(seed * 5 + number))


def _compare(draw: Random) -> None:
    data = nasty.change(draw)
    document, sent = reference(data), told(data)
    if sent is None:
        return
    assert document is not None and sent == document.packed
    got = nasty.packed(draw, nasty.edited(draw, sent))
    found = absorbed(data, b"\x91\x92\x01" + got)
    assert found is None or found == referred(document, got)


@given(st.sampled_from(CHANGES), st.randoms(use_true_random=False), st.integers(0, 255))
def test_a_damaged_answer_is_taken_as_the_reference_takes_it(data: bytes, draw: Random, byte: int) -> None:
    document = debezium.decode(data)
    got = bytearray(nasty.packed(draw, nasty.edited(draw, document.packed)))
    got[draw.randrange(len(got))] = byte
    found = absorbed(data, b"\x91\x92\x01" + bytes(got))
    assert found is None or found == referred(document, bytes(got)) or got == b"\xc0"


@given(st.floats(allow_nan=False))
@example(-777.47100830078125)
def test_new_floats_are_written_alike(value: float) -> None:
    got = msgpack.packb(msgpack.unpackb(debezium.decode(CREATED).packed) | {"after": {"x": value}})
    found = absorbed(CREATED, b"\x91\x92\x01" + got)
    assert found is None or found == referred(debezium.decode(CREATED), got)


@given(st.text(max_size=60), st.text(max_size=20))
def test_new_names_and_texts_are_written_alike(name: str, value: str) -> None:
    got = msgpack.packb(msgpack.unpackb(debezium.decode(CREATED).packed) | {"after": {name: value}})
    assert absorbed(CREATED, b"\x91\x92\x01" + got) == referred(debezium.decode(CREATED), got)


def test_nearly_all_of_what_connectors_write_is_usual() -> None:
    draw = Random(7)
    values = [nasty.written(draw, nasty.envelope(draw), plain=True) for _ in range(500)]
    fine = [data for data in values if reference(data) is not None]
    assert sum(told(data) is not None for data in fine) > 0.9 * len(fine)


@pytest.mark.parametrize(
    "data",
    [
        b'{"schema":null,"payload":{"op":"c"}}', b' {"op":"c"}', b'{"schema":1,"op":"c"}', b'{"op":"c","x":"payload"}', b'{"op":"c","x":"a\\"payload"}',
        b'{"\\u006fp":"c"}', b'{"op":"c","after":{"x":"\\u005f_debezium_unavailable_value"}}', b'{"op":"c","x":1%s}' % (b"0" * 1200),
        b'{"op":"c","x":%s}' % (b"[" * DEPTH_MAX + b"]" * DEPTH_MAX), b"", b"null", b'{"op":"c","after":{"a":1,"\\u0061":2}}', b'{"op":"c","x":"\xed\xa0\x80"}',
    ],
)  # fmt: skip
def test_what_the_codec_leaves_to_the_format(data: bytes) -> None:
    assert told(data) is None


def test_a_tombstone_is_nil_and_comes_back() -> None:
    assert told(None) == b"\xc0"
    with codecs().lease() as codec:
        codec.load(block_of([Event(1, 2, None, None), Event(2, 2, None, CREATED)]))
        assert codec.frame_changes() is not None
        assert codec.absorb(b"\x92\xc0\x92\x01\xc0", OUTPUT_MAX) == []
        assert [event.value for event in codecs().built(codec)] == [None, None]


def test_bytes_in_place_of_a_change_event_are_the_value() -> None:
    with codecs().lease() as codec:
        codec.load(block_of([Event(1, 2, None, None), Event(2, 2, None, CREATED), Event(3, 2, None, CREATED)]))
        assert codec.frame_changes() is not None
        assert codec.absorb(b"\x93\x92\x01\xc4\x02{}\x92\x01\xc5\x00\x00\xc0", OUTPUT_MAX) == []
        assert [event.value for event in codecs().built(codec)] == [b"{}", b"", CREATED]


def test_few_bytes_of_an_answer_cannot_become_very_many() -> None:
    event = msgpack.unpackb(debezium.decode(CREATED).packed) | {"after": {"x": [msgpack.ExtType(1, b"")] * 200_000}}
    answer = b"\x91\x92\x01" + msgpack.packb(event)
    with codecs().lease() as codec:
        codec.load(block_of([Event(1, 2, None, CREATED)]))
        codec.frame_changes()
        assert codec.absorb(answer, 1 << 30) is None


# Through a session.


def run(puppeteer: Puppeteer, events: list[Event], **changes: Any) -> tuple[Any, list[Any]]:
    """What comes of the same events as records, and one by one."""
    with puppeteer.sandbox:
        transformer = puppeteer.load(**changes)
        return transformer.run(Batch(LANE, records_of(events, 3))).outcomes, list(
            transformer.run(Batch(LANE, events)).outcomes
        )


def orders(*datas: bytes | None) -> list[Event]:
    return [Event(n, 1000 + n, b"k", data, (("h", b"x"),)) for n, data in enumerate(datas)]


def changed(value: Any) -> Any:
    if value is None:
        return None
    if value["ts_ms"] == 5:
        return [1, with_after(value, n=1)]
    return {6: [0], 7: [3, "no", "because"], 8: None, 9: [1, b"plain"]}[value["ts_ms"]]


def at(ts_ms: int) -> bytes:
    return CREATED.replace(b'"ts_ms":5,', b'"ts_ms":%d,' % ts_ms)


def test_records_stay_records_and_have_the_same_verdicts() -> None:
    events = orders(*(at(5 + n % 5) for n in range(40)), None)
    short, long = run(each(changed), events)
    assert isinstance(short, Carried) and isinstance(short.records, Records)
    assert list(short) == long
    assert short.dropped == 8


@pytest.mark.parametrize("odd", [b"no json", b' {"op":"c"}', b'{"schema":null,"payload":{"op":"c","ts_ms":8}}'])
def test_one_value_that_is_not_usual_sends_its_batch_the_long_way(odd: bytes) -> None:
    events = orders(at(5), odd, at(6), None, at(7))
    puppeteer = each(lambda value: [0] if value is None or value["ts_ms"] is None else changed(value))
    short, long = run(puppeteer, events)
    assert list(short) == long and not isinstance(short, Carried)


Frame = Callable[[Any], Any]
LONG_WAY: list[tuple[str, Frame]] = [
    ("several records", lambda value: [2, [[None, b"k", with_after(value, n=n), None] for n in (1, 2)]]),
    ("no change event", lambda value: [1, {"op": "c"}]),
    ("what JSON cannot say", lambda value: [1, with_after(value, n=msgpack.ExtType(7, b""))]),
    ("another result", lambda value: [9]),
]


@pytest.mark.parametrize(("name", "answer"), LONG_WAY, ids=[name for name, _ in LONG_WAY])
def test_an_answer_that_is_not_usual_is_judged_event_by_event(name: str, answer: Frame) -> None:
    """And what came of the others of its crossing is the same as if they had been alone."""
    events = orders(at(5), at(6), at(7), at(8))
    puppeteer = each(lambda value: answer(value) if value["ts_ms"] == 6 else changed(value))
    short, long = run(puppeteer, events)
    assert list(short) == long
    assert kinds(short)[0] == "emitted" and violation(short[2]).code == "no"


def test_an_event_that_spoils_its_batch_is_found_alone() -> None:
    def answer(meta: dict[str, Any], events: list[Any]) -> Any:
        return b"\xc1" if any(event[3]["ts_ms"] == 6 for event in events) else [None] * len(events)

    short, long = run(Puppeteer(answer), orders(*(at(6 if n == 11 else 8) for n in range(20))))
    assert list(short) == long
    assert kinds(short).count("bad-output") == 1 and kinds(short)[11] == "bad-output"


def test_too_much_output_is_told_of_its_own_event() -> None:
    wide = b'{"op":"c","after":{"a":"%s"},"ts_ms":6}' % (b"x" * 400_000)
    puppeteer = each(lambda value: [1, with_after(value, n=["y" * 400_000] * 3)] if value["ts_ms"] == 6 else None)
    short, long = run(puppeteer, orders(at(8), wide, at(8)))
    assert kinds(short) == kinds(long) == ["emitted", "output-too-large", "emitted"]


def test_a_batch_in_several_parts_of_which_one_is_not_usual() -> None:
    """Frames are small here, so that parts of it cross alone; none of them crosses twice."""
    pad = b'{"op":"c","after":{"pad":"%s"},"ts_ms":8}' % (b"p" * 90_000)
    events = orders(*[pad] * 14, b'{"op":"c","ts_ms":8, "schema":1}', *[pad] * 4)
    puppeteer = each(lambda value: None)
    with puppeteer.sandbox:
        outcomes = puppeteer.load().run(Batch(LANE, records_of(events, 3))).outcomes
    assert [values(outcome)[0] for outcome in outcomes] == [event.value for event in events]
    crossed = [event[0] for _, part in puppeteer.frames for event in part]
    assert len(puppeteer.frames) > 2 and crossed == list(range(len(events)))


def fill(codec: Codec) -> None:
    """Until there is not a byte left."""
    for size in [64 << 20] * 3 + [1 << shift for shift in range(25, -1, -1)]:
        with suppress(CodecError):
            codec.place(bytes(size))


@pytest.mark.parametrize("spoilt", [b"\xc1", None], ids=["no frame", "a frame"])
def test_a_codec_that_gives_up_over_an_answer_costs_nobody_anything(spoilt: bytes | None) -> None:
    """It is out of memory when the answer of a worn guest comes, whatever that answer is."""
    crossings = 0

    def answer(meta: dict[str, Any], events: list[Any]) -> Any:
        nonlocal crossings
        crossings += 1
        good = [[1, with_after(event[3], n=1)] for event in events]
        if crossings != 2:
            return good
        assert session._codec is not None
        fill(session._codec)
        return good if spoilt is None else spoilt

    with (puppeteer := Puppeteer(answer)).sandbox:
        session = puppeteer.load(instance=REUSED).session()
        batch = Batch(LANE, records_of(orders(*[CREATED] * 50, b'{"op":"c","after":{"wide":"%s"}}' % (b"w" * 90_000))))
        first, second = (list(session.run(batch).outcomes) for _ in range(2))
        session.close()
    assert first == second and kinds(second) == ["emitted"] * 51
    assert crossings == (2 if spoilt is None else 3)


def test_a_guest_of_its_own_is_judged_alike_in_both_ways(sandbox: Sandbox) -> None:
    data = b'{"op":"u","before":{"a":"secret 1"},"after":{"a":"secret 2","b":1.50, "c":99999999999999999999},"ts_ms":1}'
    events = orders(data, None, data.replace(b"secret 2", b"\\u0073ecret 2"))
    transformer = sandbox.load(spec(encoding="event"), guest("censor"))
    short, long = (transformer.run(Batch(LANE, made)).outcomes for made in (records_of(events), events))
    assert isinstance(short, Carried) and list(short) == list(long)
    assert all(type(outcome) is Emitted for outcome in short)
