"""`encoding: event`: values as a broken or hostile source would write them, and answers as a wrong guest would, through real guests."""

from __future__ import annotations

import base64
import json
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox import Sandbox, Transformer
from sandbox.host import HostImport
from schemas.event import Batch, Event
from schemas.formats import debezium
from schemas.outcome import Emitted
from tests.fuzz.effort import examples
from tests.fuzz.test_frames import ANYTHING
from tests.sandbox.guests import LANE, LIMITS, guest, kinds, spec, values, violation

FIXTURES = Path(__file__).parents[1] / "fixtures"
REAL = [
    data
    for name in ("debezium-postgres", "debezium-postgres-with-schemas")
    for line in (FIXTURES / f"{name}.ndjson").read_text().splitlines()
    if (data := (json.loads(line)["value"] or "").encode()) and b'"op":' in data
]
PIECES = [
    b'"',
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\\u",
    b"\\ud800",
    b"\xff",
    b"null",
    b"1e999",
    b"9" * 30,
    b'"op":"x",',
    b'"after":{},',
]
MEMORY_BYTES_MAX = 64 << 20
SECONDS_MAX = 5
LEGAL = {"emitted", "dropped", "rejected", "bad-output", "output-too-large"}


@pytest.fixture(scope="module")
def censor() -> Iterator[Transformer]:
    with Sandbox(cache=False) as sandbox:
        yield sandbox.load(spec(encoding="event", limits=LIMITS.with_(deadline_ms=5_000)), guest("censor"))


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(st.sampled_from(REAL)))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 8))] = draw(st.binary(max_size=4) | st.sampled_from(PIECES))
    return bytes(data)


@examples(150)
@given(st.lists(st.none() | damaged() | st.binary(max_size=50) | st.sampled_from(REAL), min_size=1, max_size=5))
def test_damaged_change_events_are_their_own_violations(censor: Transformer, records: list[bytes | None]) -> None:
    outcomes = censor.run(Batch(LANE, [Event(n, n, None, value) for n, value in enumerate(records)])).outcomes
    for value, kind, outcome in zip(records, kinds(outcomes), outcomes, strict=True):
        assert kind in {"emitted", "decode"}
        if kind == "decode":
            assert violation(outcome).message and value is not None
        elif value is None or b"secret" not in value:
            assert values(outcome) == [value]


BOMBS = {
    "depth": b'{"op":"c","after":{"a":' + b"[" * 500_000,
    "depth, closed": b'{"op":"c","after":{"a":' + b'{"b":' * 100_000 + b"1" + b"}" * 100_000 + b"}}",
    "depth of a schema": b'{"schema":' + b'{"type":"array","items":' * 20_000 + b"null" + b"}" * 20_000 + b',"payload":{"op":"c"}}',
    "quotes": b'{"op":"c","after":{"a":"' + b'\\":' * 300_000 + b'"}}',
    "quotes and spaces": b'{"op":"c","after":{"a":"' + (b'\\"' + b" " * 50) * 20_000 + b'"}}',
    "names": b'{"op":"c","after":{' + b",".join(b'"%d":1' % n for n in range(80_000)) + b"}}",
    "wide integers": b'{"op":"c","after":{"a":[' + b",".join([b"9" * 4_000] * 200) + b"]}}",
    "one wide integer": b'{"op":"c","after":{"a":' + b"9" * 1_000_000 + b"}}",
    "a long float": b'{"op":"c","after":{"a":0.' + b"9" * 1_000_000 + b"}}",
    "a long decimal": json.dumps(
        {
            "schema": {"type": "struct", "fields": [{"type": "struct", "field": "after", "fields": [
                {"type": "struct", "name": "io.debezium.data.VariableScaleDecimal", "field": "a"}]}]},
            "payload": {"op": "c", "after": {"a": {"scale": 16_383, "value": base64.b64encode(b"\x7f" * 700_000).decode()}}},
        }
    ).encode(),
    "placeholders": b'{"op":"c","after":{"a":[' + b",".join([b'"__debezium_unavailable_value"'] * 30_000) + b"]}}",
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_bounded_in_time_and_memory(name: str) -> None:
    tracemalloc.start()
    began = time.thread_time()
    try:
        document = debezium.decode(BOMBS[name])
    except ValueError as error:
        assert len(str(error)) < 500
    else:
        assert document.encode(document.packed) == BOMBS[name]
    finally:
        seconds, (_, peak) = time.thread_time() - began, tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < MEMORY_BYTES_MAX
    assert seconds < SECONDS_MAX


class Told:
    """A guest that answers what it is told to."""

    def __init__(self) -> None:
        self.answer: bytes = b""
        self.sandbox = Sandbox(
            cache=False, extra_imports=[HostImport("answer", ("i32", "i32"), "i32", self._on, module="test")]
        )
        self.transformer = self.sandbox.load(
            spec(encoding="event", limits=LIMITS.with_(deadline_ms=5_000)), guest("puppet")
        )

    def _on(self, state: object, memory: Any, address: int, length: int) -> int:
        memory.write(2 << 20, self.answer)
        return len(self.answer)


@pytest.fixture(scope="module")
def told() -> Iterator[Told]:
    one = Told()
    with one.sandbox:
        yield one


ROWS = st.none() | st.dictionaries(st.text(max_size=5), ANYTHING, max_size=4)


@examples(150)
@given(
    st.sampled_from(REAL),
    st.fixed_dictionaries({"after": ROWS, "op": st.sampled_from("cud") | ANYTHING, "ts_ms": ANYTHING}),
    ANYTHING,
    st.booleans(),
)
def test_any_answer_is_an_event_or_a_violation(
    told: Told, data: bytes, edits: dict[str, Any], noise: Any, several: bool
) -> None:
    change = msgpack.unpackb(debezium.decode(data).packed, strict_map_key=False) | edits
    for value in (change, noise, data):
        results = [[2, [[None, None, value, None]] * 3] if several else [1, value]]
        told.answer = msgpack.packb(results)
        (outcome,) = told.transformer.run(Batch(LANE, [Event(0, 0, None, data)])).outcomes
        assert set(kinds([outcome])) <= LEGAL
        if isinstance(outcome, Emitted):
            for event in outcome.events:
                if isinstance(value, bytes):  # the record's value itself, whatever it is
                    assert event.value == value
                else:
                    assert event.value is None or json.loads(event.value, parse_constant=pytest.fail)
