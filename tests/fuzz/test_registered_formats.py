"""Values in the wire format of schema registries, and the schemas that a registry hands out: mutilated, claimed lengths, bombs.

Whatever comes is a change event or a violation, in bounded time and memory.
"""

from __future__ import annotations

import contextlib
import json
import time
import tracemalloc

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.change import DecodeError, EncodeError, pack, unpack
from schemas.event import Event
from schemas.formats.named import REGISTERED, make_format
from schemas.formats.schemas import RegisteredSchema
from schemas.specs import FormatSpec
from tests.fuzz.effort import examples
from tests.schemas.formats.written import EVENTS, SCHEMAS, WRITERS, Known, Row

NAMES = list(REGISTERED)
FORMATS = {name: make_format(FormatSpec(name), Known(SCHEMAS[name])) for name in NAMES}
PIECES = [
    b"\xff" * 9 + b"\x01",
    b"\xfe" + b"\xff" * 8 + b"\x01",
    b"\0",
    b"\x80",
    b"\x7f",
    b'"',
    b"{",
    b"9" * 30,
    b"\xed\xa0\x80",
]
MEMORY_BYTES_MAX = 64 << 20
SECONDS_MAX = 5


def event_of(value: bytes) -> Event:
    return Event(0, 0, None, value, ())


@st.composite
def damaged(draw: st.DrawFn, name: str) -> bytes:
    data = bytearray(WRITERS[name](draw(EVENTS)))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(5, len(data)))
        data[at : at + draw(st.integers(0, 8))] = draw(st.binary(max_size=4) | st.sampled_from(PIECES))
    return bytes(data)


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
@examples(300)
def test_damaged_values_are_events_or_violations(name: str, data: st.DataObject) -> None:
    value = data.draw(damaged(name))
    try:
        document = FORMATS[name].decode(event_of(value), "orders")
        change = unpack(document.packed)
    except DecodeError:
        return
    assert document.encode(document.packed) is value
    try:
        written = document.encode(pack(msgspec.structs.replace(change, op="u", ts_ms=1)))
    except EncodeError:
        return
    assert unpack(FORMATS[name].decode(event_of(written), "orders").packed).ts_ms == 1


@pytest.mark.parametrize("name", NAMES)
@given(tail=st.binary(max_size=400))
@examples(200)
def test_noise_behind_a_schemas_id(name: str, tail: bytes) -> None:
    with contextlib.suppress(DecodeError):
        FORMATS[name].decode(event_of(b"\0\0\0\0\7" + tail), "orders")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("piece", PIECES)
def test_bombs_are_bounded_in_time_and_memory(name: str, piece: bytes) -> None:
    bomb = b"\0\0\0\0\7" + piece * (256_000 // len(piece))
    tracemalloc.start()
    began = time.thread_time()
    try:
        with pytest.raises(DecodeError):
            FORMATS[name].decode(event_of(bomb), "orders")
        assert time.thread_time() - began < SECONDS_MAX
        assert tracemalloc.get_traced_memory()[1] < MEMORY_BYTES_MAX
    finally:
        tracemalloc.stop()


@st.composite
def mutated_schema(draw: st.DrawFn, name: str) -> str:
    """A schema with one of its parts replaced by another of its parts, or by anything."""
    schema = json.loads(SCHEMAS[name].text)
    places: list[tuple[object, object]] = []

    def walk(value: object) -> None:
        for key, one in (
            value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        ):
            places.append((value, key))
            walk(one)

    walk(schema)
    for _ in range(draw(st.integers(1, 3))):
        (owner, key), (other, part) = draw(st.sampled_from(places)), draw(st.sampled_from(places))
        anything = st.sampled_from([None, 0, -1, 1 << 40, "", "Envelope", "null", [], {}, "#", "#/definitions/Row"])
        try:
            copied = json.dumps(other[part])  # type: ignore[index]
        except (KeyError, IndexError, ValueError):
            continue
        owner[key] = draw(anything) if draw(st.booleans()) else json.loads(copied)  # type: ignore[index]
    return json.dumps(schema)


EVENT: Row = {"before": None, "after": None, "source": {"table": "t", "lsn": 1}, "op": "t", "ts_ms": 1, "ts_us": None}


@pytest.mark.parametrize("name", ["debezium-avro", "debezium-json-schema"])
@given(data=st.data())
@examples(200)
def test_any_schema_is_a_codec_or_a_violation(name: str, data: st.DataObject) -> None:
    text = data.draw(mutated_schema(name) | st.text(max_size=30))
    made = make_format(FormatSpec(name), Known(RegisteredSchema(7, SCHEMAS[name].kind, text)))
    for value in (WRITERS[name](EVENT), b"\0\0\0\0\7", b"\0\0\0\0\7" + b"\xff" * 40):
        try:
            document = made.decode(event_of(value), "orders")
        except DecodeError:
            continue
        assert document.encode(document.packed) is value
