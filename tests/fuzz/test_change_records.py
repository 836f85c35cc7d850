"""`encoding: event` over record batches: whole batches of values and answers, as the host's codec takes them and as Python does."""

from __future__ import annotations

import time
from collections.abc import Iterator
from random import Random

import msgpack
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox import Sandbox
from sandbox.records import Codec, codecs
from sandbox.session import Session
from schemas.abi import FrameError, decode_change_results, encode_events
from schemas.change import DecodeError, EncodeError, plain_bytes
from schemas.event import Batch, Event
from schemas.formats import debezium
from schemas.outcome import Carried
from tests.fuzz.effort import examples
from tests.fuzz.test_change_events import BOMBS, SECONDS_MAX
from tests.records import nasty
from tests.records.batches import records_of
from tests.sandbox.guests import LANE, LIMITS, guest, spec, values

OUTPUT_MAX = 1 << 30
CODEC_BYTES_MAX = 64 << 20
NAMES = [b'"%03d%05d":1' % (n % 7, n) for n in range(1_000)]
MORE_BOMBS = {
    "names of one hash": b'{"op":"c","after":{"a":[' + b",".join([b"{" + b",".join(NAMES) + b"}"] * 60) + b"]}}",
    "arrays that move": b'{"op":"c","after":{"a":' + b"[1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6," * 25 + b"[" + b"1," * 300_000 + b"1]" + b"]" * 25 + b"}}",
    "escapes": b'{"op":"c","after":{"a":"' + b"\\u0000" * 150_000 + b'"}}',
}  # fmt: skip


@examples(150)
@given(st.integers(0, 1 << 40))
def test_a_batch_is_told_and_taken_back_as_python_does_it(seed: int) -> None:
    draw = Random(seed)
    usual = draw.random() < 0.7
    datas = [_value(draw, usual=usual) for _ in range(draw.randrange(1, 12))]
    events = [Event(n, 1000 + n, b"k" * n, data, (("h", None),) * (n % 3)) for n, data in enumerate(datas)]
    with codecs().lease() as codec:
        for block in records_of(events, 3).blocks:
            codec.load(block)
        frame = codec.frame_changes()
        if frame is None:
            return
        documents = [None if data is None else debezium.decode(data) for data in datas]
        shown = [_packed(document) for document in documents]
        assert frame == _frame(events, shown)
        _take(draw, codec, events, documents, shown)


def _value(draw: Random, *, usual: bool) -> bytes | None:
    if draw.random() < 0.05:
        return None
    data = nasty.change(draw)
    while usual and not _is_fine(data):
        data = nasty.written(draw, nasty.envelope(draw), plain=draw.random() < 0.5)
    return data


def _is_fine(data: bytes) -> bool:
    try:
        debezium.decode(data)
    except DecodeError:
        return False
    return True


def _packed(document: debezium.Document | None) -> bytes:
    return b"\xc0" if document is None else document.packed


def _frame(events: list[Event], shown: list[bytes]) -> bytes:
    rows = zip(events, shown, strict=True)
    return msgspec.msgpack.encode(
        [(one.offset, one.timestamp, one.key, msgspec.Raw(packed), one.headers) for one, packed in rows]
    )


def _take(
    draw: Random,
    codec: Codec,
    events: list[Event],
    documents: list[debezium.Document | None],
    shown: list[bytes],
) -> None:
    answers = [_answer(draw, packed) for packed in shown]
    frame = encode_events(events)[:1] + b"".join(answers)
    rejected = codec.absorb(frame, OUTPUT_MAX)
    if rejected is None:
        return
    decode_change_results(frame, len(events))
    expected = [
        (event.offset, _referred(document, answer, event))
        for event, document, answer in zip(events, documents, answers, strict=True)
        if answer[0] not in (0x91, 0x93)
    ]
    assert [index for index, _ in rejected] == [n for n, answer in enumerate(answers) if answer[0] == 0x93]
    assert [(event.offset, event.value) for event in codecs().built(codec)] == expected


def _answer(draw: Random, packed: bytes) -> bytes:
    kind = draw.randrange(10)
    if kind < 2:
        return b"\xc0"
    if kind == 2:
        return draw.choice([b"\x91\x00", b"\x93\x03\xa1c\xa1m", b"\x92\x01\xc0", b"\x92\x01\xc4\x01x"])
    if packed == b"\xc0":
        return b"\x92\x01\xc0"
    if draw.random() < 0.3:
        return b"\x92\x01" + nasty.packed(draw, nasty.edited(draw, packed))
    event = msgpack.unpackb(packed, strict_map_key=False)
    event["after"] = (event["after"] or {}) | {nasty.name(draw): nasty.text(draw), "n": draw.randrange(1 << 40)}
    return b"\x92\x01" + bytes(msgpack.packb(event))


def _referred(document: debezium.Document | None, answer: bytes, event: Event) -> bytes | None:
    if answer == b"\xc0":
        return event.value
    got = answer[2:]
    if got == b"\xc0":
        return None
    plain = plain_bytes(got)
    if plain is not None:
        return plain
    assert document is not None
    return document.encode(got)


@examples(150)
@given(st.binary(max_size=80), st.integers(0, 1 << 40))
def test_any_result_frame_is_taken_as_python_takes_it_or_left(noise: bytes, seed: int) -> None:
    draw = Random(seed)
    data = nasty.written(draw, nasty.envelope(draw), plain=True)
    with codecs().lease() as codec:
        codec.load(records_of([Event(0, 0, None, data)]).blocks[0])
        if codec.frame_changes() is None:
            return
        document = debezium.decode(data)
        frame = bytearray(b"\x91\x92\x01" + nasty.packed(draw, nasty.edited(draw, document.packed)))
        at = draw.randrange(len(frame))
        frame[at : at + draw.randrange(4)] = noise[: draw.randrange(len(noise) + 1)]
        if codec.absorb(bytes(frame), OUTPUT_MAX) != [] or frame[1] != 0x92:
            return
        try:
            decode_change_results(bytes(frame), 1)
            expected = _referred(document, bytes(frame[1:]), Event(0, 0, None, data))
        except (FrameError, EncodeError) as error:
            pytest.fail(f"taken, and should have been refused: {error}")
        (event,) = codecs().built(codec)
        assert event.value == expected


@pytest.mark.parametrize("name", [*BOMBS, *MORE_BOMBS])
def test_bombs_in_record_batches_are_bounded_in_time_and_memory(censor: Session, name: str) -> None:
    bomb = (BOMBS | MORE_BOMBS)[name]
    with codecs().lease() as codec:
        began = time.thread_time()
        codec.load(records_of([Event(0, 0, None, bomb)]).blocks[0])
        codec.frame_changes()
        assert codec.memory_bytes < CODEC_BYTES_MAX
    outcomes = censor.run(Batch(LANE, records_of([Event(0, 0, None, bomb), Event(1, 0, None, None)]))).outcomes
    assert time.thread_time() - began < SECONDS_MAX
    assert values(outcomes[1]) == [None]


@pytest.fixture(scope="module")
def censor() -> Iterator[Session]:
    with Sandbox(cache=False) as sandbox:
        limits = LIMITS.with_(deadline_ms=5_000)  # a bomb's crossing near the deadline would make later ones smaller
        session = sandbox.load(spec(encoding="event", limits=limits), guest("censor")).session()
        yield session
        session.close()


def test_what_is_usual_goes_the_short_way(censor: Session) -> None:
    """What is compared above is what runs."""
    draw = Random(3)
    datas = [nasty.written(draw, nasty.envelope(draw), plain=True) for _ in range(60)]
    with codecs().lease() as codec:
        for block in records_of([Event(n, 0, None, data) for n, data in enumerate(datas)]).blocks:
            codec.load(block)
        assert codec.frame_changes() is None
    fine = [Event(n, 0, None, data) for n, data in enumerate(datas) if b'"op"' in data and _is_fine(data)]
    told = [event for event in fine if b"payload" not in (event.value or b"") and b"schema" not in (event.value or b"")]
    assert len(told) > 30
    assert isinstance(censor.run(Batch(LANE, records_of(told))).outcomes, Carried)
