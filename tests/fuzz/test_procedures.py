"""Answers of procedures as a guest that is wrong, or wants to do harm, would give them; and SQL's own values and JSON, whatever they are."""

from __future__ import annotations

import sqlite3
import struct
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.sql import ProcedureExecutor, connect
from pipeline.sql.sqlite import WasmConnection
from sandbox import Sandbox
from sandbox.host import HostImport
from schemas.outcome import ViolationKind
from schemas.specs import Registry, TransformerSpec
from tests.fuzz.effort import chance, examples
from tests.fuzz.test_frames import ANYTHING
from tests.sandbox.guests import LIMITS, guest

OUTPUT_BYTES_MAX = 256 << 10
BAD = {ViolationKind.BAD_OUTPUT, ViolationKind.OUTPUT_TOO_LARGE, ViolationKind.REJECTED}
PAD = b" " * 70_000
"""Makes the argument a bin32, whose length `say` knows; what an answer cannot have behind it."""


@pytest.fixture(scope="module")
def executor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcedureExecutor]:
    path: Path = tmp_path_factory.mktemp("clerk") / "clerk.wasm"
    path.write_bytes(guest("clerk"))
    limits = LIMITS.with_(output_bytes_per_event=OUTPUT_BYTES_MAX, deadline_ms=10_000)
    tick = HostImport("tick", ("i32",), None, lambda state, memory, ms: None, module="test")
    with Sandbox(cache=False, extra_imports=(tick,)) as sandbox:
        registry = Registry({"clerk": TransformerSpec("clerk", path, limits=limits)}, {})
        with ProcedureExecutor(registry, sandbox=sandbox, workers=1) as one:
            yield one
        assert sandbox.stats().active_instances == 0


def answered(executor: ProcedureExecutor, answer: bytes) -> ViolationKind | None:
    """What becomes of a call whose guest answers with these bytes; those that are too short for a bin32 get a text in front."""
    if len(answer) <= 0xFFFF:
        answer = answer + msgpack.packb("x" * 0x10000)
    call = executor.call("clerk", "say", [answer])
    assert executor.call("clerk", "first", [1]).value == 1
    return None if call.violation is None else call.violation.kind


@given(st.one_of(ANYTHING, st.lists(ANYTHING, max_size=4)))
@examples(150)
def test_any_answer_is_a_value_or_a_violation(executor: ProcedureExecutor, said: object) -> None:
    pad = "x" * 0x10000
    answer = msgpack.packb([0, [said, pad]])
    call = executor.call("clerk", "say", [answer])
    if call.violation is None:
        assert msgpack.packb(call.value) == msgpack.packb([said, pad])
    else:
        assert call.violation.kind is ViolationKind.BAD_OUTPUT
    assert answered(executor, msgpack.packb([said, pad])) in BAD
    assert answered(executor, msgpack.packb(said)) in BAD


@pytest.mark.parametrize("number", range(60))
def test_answers_with_some_bytes_changed(executor: ProcedureExecutor, number: int) -> None:
    dice = chance(f"answers {number}")
    legal = bytearray(msgpack.packb([0, {"name": [1, 2.5, None, b"x" * 0x10000], "y": {"z": "ä"}}]))
    for _ in range(dice.randint(1, 4)):
        legal[dice.choice([dice.randrange(40), dice.randrange(len(legal))])] = dice.randrange(256)
    assert answered(executor, bytes(legal)) in {None, *BAD}


BOMBS = {
    "arrays": b"\x92\x00" + b"\x91" * 200_000,
    "a claimed array": b"\x92\x00\xdd" + struct.pack(">I", 0xFFFFFFFF) + b"\xc0" * 100_000,
    "a claimed text": b"\x92\x00\xdb" + struct.pack(">I", 0xFFFFFFFF) + b"x" * 100_000,
    "empty maps": b"\x92\x00\xdd" + struct.pack(">I", 200_000) + b"\x80" * 200_000,
    "nils": b"\x92\x00\xdd" + struct.pack(">I", 200_000) + b"\xc0" * 200_000,
    "equal names": b"\x92\x00\xdf" + struct.pack(">I", 100_000) + b"\xa0\xc0" * 100_000,
    "extensions": b"\x92\x00\xdd" + struct.pack(">I", 50_000) + b"\xd4\x05\x00" * 50_000,
    "too large": b"\x92\x00\xc6" + struct.pack(">I", 1 << 20) + bytes(1 << 20),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_bounded_in_time_and_memory(executor: ProcedureExecutor, name: str) -> None:
    answered(executor, b"\x92\x00\xc0")
    tracemalloc.start()
    began = time.process_time()
    try:
        call = executor.call("clerk", "say", [BOMBS[name]])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    legal = name in {"empty maps", "nils", "equal names"}
    assert (call.violation is None) is legal
    assert peak < 32 << 20
    assert time.process_time() - began < 5


@pytest.fixture(scope="module")
def db(executor: ProcedureExecutor) -> Iterator[WasmConnection]:
    connection = connect(":memory:", executor)
    yield connection
    connection.close()


@given(
    st.one_of(
        st.none(),
        st.integers(-(2**63), 2**63 - 1),
        st.floats(allow_nan=False),
        st.binary(max_size=50),
        st.text(max_size=30),
    )
)
@examples(150)
def test_any_value_of_sql_comes_back_or_is_refused(db: WasmConnection, value: object) -> None:
    try:
        (got,) = db.execute("SELECT wasm_function('clerk', 'first', ?)", (value,)).fetchone()
    except (sqlite3.Error, UnicodeEncodeError):
        assert isinstance(value, str)
    else:
        assert isinstance(value, str) or (got == value and type(got) is type(value))


@given(st.text(max_size=30))
@examples(150)
def test_any_text_comes_back_through_json_quote(db: WasmConnection, value: str) -> None:
    if "\0" in value:  # SQLite's own JSON ends at a NUL
        return
    assert db.execute("SELECT wasm_function('clerk', 'first', json_quote(?))", (value,)).fetchone() == (value,)


@given(st.lists(st.text(max_size=20), max_size=3))
@examples(100)
def test_no_names_reach_more_than_the_registry(db: WasmConnection, names: list[str]) -> None:
    marks = ", ".join("?" * len(names))
    for function in ("wasm_call", "wasm_function", "wasm_trigger"):
        with pytest.raises(sqlite3.Error):
            db.execute(f"SELECT {function}({marks})", names).fetchone()
