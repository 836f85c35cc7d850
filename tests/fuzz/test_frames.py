"""Result frames as a guest that is wrong, or wants to do harm, would write them: through a real guest that returns what it is told."""

from __future__ import annotations

import struct
import time
import tracemalloc
from collections.abc import Iterator
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox import Sandbox, Transformer
from schemas.outcome import Emitted
from tests.fuzz.effort import examples
from tests.sandbox.guests import LIMITS, batch, guest, kinds, spec, violation

OUTPUT_BYTES_MAX = 256 << 10
MAYBE = st.none() | st.binary(max_size=20)
HEADERS = st.none() | st.lists(st.tuples(st.text(max_size=6), MAYBE).map(list), max_size=3)
RECORDS = st.tuples(st.none() | st.text(max_size=6), MAYBE, MAYBE, HEADERS).map(list)
RESULTS = st.one_of(
    st.none(),
    st.just([0]),
    MAYBE.map(lambda value: [1, value]),
    st.lists(RECORDS, max_size=3).map(lambda records: [2, records]),
    st.tuples(st.text(max_size=6), st.text(max_size=6)).map(lambda said: [3, *said]),
)
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=10)
    | st.binary(max_size=10)
    | st.builds(msgpack.ExtType, st.integers(0, 127), st.binary(max_size=20)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=10,
)
LEGAL = {"emitted", "dropped", "rejected", "bad-output", "output-too-large"}


@pytest.fixture(scope="module")
def parrot() -> Iterator[Transformer]:
    with Sandbox(cache=False) as sandbox:
        limits = LIMITS.with_(output_bytes_per_event=OUTPUT_BYTES_MAX, deadline_ms=5_000)  # time is not at issue
        yield sandbox.load(spec(limits=limits), guest("parrot"))
        assert sandbox.stats().active_instances == 0


def answered(parrot: Transformer, frame: bytes) -> str:
    """What becomes of the event whose guest answers with this frame; its neighbours must come to no harm."""
    (alone,) = kinds(parrot.run(batch([b"=" + frame])).outcomes)
    names = kinds(parrot.run(batch([b"before", b"=" + frame, b"after"])).outcomes)
    assert {alone, *names} <= LEGAL
    if _results(frame) not in (2, 3):  # else it may be the legal answer for two or three events that crossed together
        assert names == ["emitted", alone, "emitted"]
    return alone


def _results(frame: bytes) -> int:
    """How many results the frame claims."""
    unpacker = msgpack.Unpacker(max_buffer_size=0)
    unpacker.feed(frame)
    try:
        return unpacker.read_array_header()
    except Exception:
        return -1


@examples(500)
@given(frame=st.binary(max_size=200))
def test_noise(parrot: Transformer, frame: bytes) -> None:
    answered(parrot, frame)


@examples(500)
@given(results=st.lists(RESULTS, min_size=1, max_size=3), data=st.data())
def test_legal_frames_with_some_bytes_changed(parrot: Transformer, results: list[Any], data: st.DataObject) -> None:
    frame = bytearray(msgpack.packb(results))
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(frame) - 1))
        match data.draw(st.sampled_from(("change", "cut", "insert"))):
            case "change":
                frame[at] = data.draw(st.integers(0, 255))
            case "cut" if at:
                del frame[at:]
            case _:
                frame[at:at] = data.draw(st.binary(min_size=1, max_size=9))
    answered(parrot, bytes(frame))


@examples(300)
@given(value=ANYTHING)
def test_frames_of_any_msgpack(parrot: Transformer, value: object) -> None:
    for frame in (msgpack.packb(value), msgpack.packb([value]), msgpack.packb([[2, [value]]])):
        answered(parrot, frame)


@examples(100)
@given(result=RESULTS)
def test_a_legal_result_is_taken_as_it_stands(parrot: Transformer, result: Any) -> None:
    frame = msgpack.packb([result])
    (outcome,) = parrot.run(batch([b"=" + frame])).outcomes
    tag = None if result is None else result[0]
    topics = [record[0] for record in result[1]] if tag == 2 else []
    if any(topic is not None and not topic for topic in topics):
        return  # an empty topic's name is nobody's
    assert kinds([outcome]) == [{None: "emitted", 0: "dropped", 1: "emitted", 2: "emitted", 3: "rejected"}[tag]]
    if tag == 2:
        assert isinstance(outcome, Emitted)
        assert [event.value for event in outcome.events] == [record[2] for record in result[1]]


def _nested(opening: bytes, depth: int) -> bytes:
    return b"\x91" + opening * depth


U32 = struct.Struct(">I").pack
BOMBS = {
    "4 billion results": b"\xdd" + U32(0xFFFFFFFF),
    "4 billion records": b"\x91\x92\x02\xdd" + U32(0xFFFFFFFF),
    "4 billion headers": b"\x91\x92\x02\x91\x94\xc0\xc0\xc0\xdd" + U32(0xFFFFFFFF),
    "a value of 4 GiB": b"\x91\x92\x01\xc6" + U32(0xFFFFFFFF),
    "a topic of 4 GiB": b"\x91\x92\x02\x91\x94\xdb" + U32(0xFFFFFFFF),
    "an ext of 4 GiB": b"\x91\x92\x01\xc9" + U32(0xFFFFFFFF) + b"\x01",
    "a map of 4 billion": b"\x91\xdf" + U32(0xFFFFFFFF),
    "deep arrays": _nested(b"\x91", 100_000),
    "deep maps": _nested(b"\x81\xa0", 100_000),
    "deep records": b"\x91\x92\x02" + b"\x91" * 100_000,
    "a hundred thousand empty records": msgpack.packb([[2, [[None, None, None, []]] * 100_000]]),
    "as many records as may be": msgpack.packb([[2, [[None, None, None, []]] * 10_000]]),
    "a hundred thousand headers": msgpack.packb([[2, [[None, None, None, [["", None]] * 100_000]]]]),
    "timestamps": b"\x91\x92\x01\xd6\xff" + b"\xff" * 4,
    "a name that is not UTF-8": b"\x91\x92\x02\x91\x94\xc0\xc0\xc0\x91\x92\xa2\xff\xfe\xc0",
    "a surrogate": b"\x91\x92\x02\x91\x94\xa3\xed\xa0\x80\xc0\xc0\x90",
    "a code of NULs": msgpack.packb([[3, "\0" * 1_000, "\x1b[2J" * 1_000]]),
}


@pytest.mark.parametrize("frame", BOMBS.values(), ids=BOMBS.keys())
def test_bombs_are_bounded_in_time_and_memory(parrot: Transformer, frame: bytes) -> None:
    parrot.run(batch([b"warm"]))
    tracemalloc.start()
    began = time.process_time()
    try:
        kind = answered(parrot, frame)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert time.process_time() - began < 5
    assert peak < 32 << 20, f"{peak} bytes for a frame of {len(frame)}"
    assert kind in LEGAL


def test_what_a_guest_says_reaches_a_terminal_harmlessly(parrot: Transformer) -> None:
    (outcome,) = parrot.run(batch([b"=" + BOMBS["a code of NULs"]])).outcomes
    assert not {"\0", "\x1b"} & set(violation(outcome).code + violation(outcome).message)


@examples(300)
@given(address=st.integers(0, 2**32 - 1), length=st.integers(0, 2**32 - 1))
def test_pointers(parrot: Transformer, address: int, length: int) -> None:
    packed = b"@" + struct.pack("<Q", address << 32 | length)
    names = kinds(parrot.run(batch([b"a", packed, b"b"])).outcomes)
    assert names[0] == names[2] == "emitted"
    assert names[1] in LEGAL
