"""Procedures from Python: what goes in and comes out, what is refused, what a guest that misbehaves is to its caller."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from pathlib import Path
from typing import Any

import pytest

from pipeline.sql import Call, ProcedureExecutor, Rejected
from sandbox.errors import MemoryQuotaExceeded, OutOfBounds, SandboxError, StackExhausted, Timeout, Trapped
from schemas.capabilities import Capability, Grant, Grants
from schemas.errors import ConfigError, ModuleFault
from schemas.outcome import ViolationKind
from schemas.specs import Registry, TransformerSpec
from tests.pipeline.sql.conftest import LIMITS, Make
from tests.sandbox.guests import guest, wat

VALUES = [
    None,
    True,
    False,
    0,
    -1,
    -(1 << 63),
    (1 << 64) - 1,
    1.5,
    float("inf"),
    "",
    "né\0e",
    b"",
    b"\0\xff",
    [],
    {},
    {"a": [1, {"b": None}], "": b"x"},
]


def execute(executor: ProcedureExecutor, function: str, *arguments: object, profile: str | None = None) -> object:
    return asyncio.run(executor.execute_stored_procedure("clerk", function, arguments, profile=profile))


def kind_of(executor: ProcedureExecutor, function: str, *arguments: object) -> ViolationKind:
    call = executor.call("clerk", function, arguments)
    assert call.violation is not None, call.value
    return call.violation.kind


def test_values_go_in_and_come_out_as_they_are(executor: ProcedureExecutor) -> None:
    assert execute(executor, "echo", *VALUES) == VALUES
    assert execute(executor, "echo") == []
    assert execute(executor, "first", {"id": 7}) == {"id": 7}


@pytest.mark.parametrize(
    ("argument", "says"),
    [
        (1 << 64, "argument 2 is an integer of 65 bits"),
        (-(1 << 63) - 1, "argument 2 is an integer of 64 bits"),
        (object(), "argument 2 holds a object"),
        ({1: 2}, "argument 2 is a map with a name that is no text"),
        ("\ud800", "argument 2 is a text with half a character"),
        ({"\ud800": 1}, "half a character"),
        ({1, 2}, "argument 2 holds a set"),
    ],
    ids=lambda value: "object()" if type(value) is object else repr(value),
)
def test_what_no_guest_can_take_is_the_callers_fault(
    executor: ProcedureExecutor, calls_made: list[Call], argument: object, says: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=says):
        execute(executor, "echo", 1, argument)
    assert not calls_made


def test_an_argument_that_holds_itself(executor: ProcedureExecutor) -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(ValueError, match="nested more than 64 levels"):
        execute(executor, "echo", endless)


def test_huge_arguments_are_a_memory_violation_before_a_guest_starts(executor: ProcedureExecutor) -> None:
    assert kind_of(executor, "echo", b"x" * (2 << 20)) is ViolationKind.MEMORY
    assert execute(executor, "weigh", b"x" * 1_000_000) == 1_000_006


def test_a_refusal_has_the_guests_words_without_control_characters(executor: ProcedureExecutor) -> None:
    with pytest.raises(Rejected, match=r"^no\ufffd good$") as refused:
        execute(executor, "refuse")
    assert (refused.value.reason, refused.value.kind) == ("bad", ViolationKind.REJECTED)
    assert refused.value.violation is not None and refused.value.violation.transformer == "clerk"


@pytest.mark.parametrize(
    ("function", "error", "kind"),
    [
        ("loop", Timeout, ViolationKind.DEADLINE),
        ("hog", MemoryQuotaExceeded, ViolationKind.MEMORY),
        ("deep", StackExhausted, ViolationKind.STACK),
        ("crash", Trapped, ViolationKind.TRAP),
        ("far", OutOfBounds, ViolationKind.BOUNDS),
    ],
)
def test_violations_are_raised_by_kind(
    executor: ProcedureExecutor, function: str, error: type[SandboxError], kind: ViolationKind
) -> None:
    with pytest.raises(error, match=rf"^clerk\.{function}: {kind}: .* limits: memory=4MiB deadline=100ms") as raised:
        execute(executor, function)
    assert raised.value.kind is kind
    assert execute(executor, "echo", "still here") == ["still here"]


@pytest.mark.parametrize("function", ["trailing", "timestamp", "numbered", "boast", "nested", "empty", "outside"])
def test_answers_that_are_none(executor: ProcedureExecutor, function: str) -> None:
    assert kind_of(executor, function) is ViolationKind.BAD_OUTPUT


def test_an_answer_that_claims_to_be_huge_is_not_read(executor: ProcedureExecutor) -> None:
    assert kind_of(executor, "claim") is ViolationKind.OUTPUT_TOO_LARGE


def test_who_is_no_procedure(make_executor: Make) -> None:
    executor = make_executor(clerk={}, other={"wasm": guest("numbers")})
    with pytest.raises(ModuleFault, match="does not export `apply_rules`"):
        executor.call("clerk", "apply_rules")
    with pytest.raises(ModuleFault, match=r"exports `add_i32` as \(i32, i32\) -> i32"):
        executor.call("other", "add_i32")
    with pytest.raises(ModuleFault, match="exports `memory` as not a function"):
        executor.call("clerk", "memory")
    with pytest.raises(ConfigError, match="takes batches and is no procedure"):
        executor.call("clerk", "penstock_v1_transform")
    with pytest.raises(ConfigError, match=r"no transformer 'clark' — did you mean 'clerk'\?"):
        executor.call("clark", "echo")
    with pytest.raises(ConfigError, match=r"name a function, or set transformers\.clerk\.function"):
        executor.call("clerk", None)


def test_the_registrys_function_is_the_one_that_goes_without_saying(make_executor: Make) -> None:
    assert make_executor(clerk={"function": "echo"}).call("clerk", None, [1]).value == [1]


def test_the_hash_is_pinned(make_executor: Make) -> None:
    pinned = hashlib.sha256(guest("clerk")).hexdigest()
    assert make_executor(clerk={"sha256": pinned}).call("clerk", "echo").module_sha256 == pinned
    with pytest.raises(ModuleFault, match="the registry pins 0000"):
        make_executor(clerk={"sha256": "0" * 64}).call("clerk", "echo")


CLOCK = wat(
    """(module (import "penstock" "now_ms" (func $now (result i64))) (memory (export "memory") 1)
    (data (i32.const 8) "\\92\\00\\c0")
    (func (export "penstock_v1_alloc") (param i32) (result i32) (i32.const 1024))
    (func (export "ask") (param i32 i32) (result i64) (drop (call $now)) (i64.const 0x800000003))
    (func (export "ask_twice") (param i32 i32) (result i64) (drop (call $now)) (drop (call $now)) (i64.const 0x800000003)))"""
)


def test_a_profile_only_narrows_what_the_registry_grants(make_executor: Make) -> None:
    executor = make_executor(clerk={"wasm": CLOCK, "capabilities": ["clock"]})
    assert executor.call("clerk", "ask").value is None
    assert executor.call("clerk", "ask", profile="standard").uses[0].allowed == 1
    for profile in ("minimal", "database-only", "elevated"):
        with pytest.raises(ModuleFault, match=r"imports penstock\.now_ms, which needs the capability `clock`"):
            executor.call("clerk", "ask", profile=profile)
    with pytest.raises(ModuleFault, match="`clock`"):  # the profile has it, the registry has not
        make_executor(clerk={"wasm": CLOCK}).call("clerk", "ask", profile="standard")
    with pytest.raises(ConfigError, match=r"'standart' is no profile — did you mean 'standard'\?"):
        executor.call("clerk", "ask", profile="standart")


def test_uses_are_counted_together_whatever_the_function_and_profile(make_executor: Make) -> None:
    grants = Grants((Grant(frozenset({Capability.CLOCK}), uses=3),), strict=True)
    executor = make_executor(clerk={"wasm": CLOCK, "capabilities": grants})
    executor.call("clerk", "ask_twice")
    executor.call("clerk", "ask", profile="standard")
    spent = executor.call("clerk", "ask_twice", profile="standard")
    assert spent.violation is not None and spent.violation.kind is ViolationKind.CAPABILITY
    assert "3 uses are used up" in spent.violation.message
    (use,) = executor.uses()["clerk"].values()
    assert (use.allowed, use.denied) == (3, 1)


def test_the_audit_hears_of_every_call(executor: ProcedureExecutor, calls_made: list[Call]) -> None:
    executor.call("clerk", "echo", [1])
    executor.call("clerk", "crash")
    good, bad = calls_made
    assert (good.transformer, good.function, good.module_sha256) == (
        "clerk",
        "echo",
        hashlib.sha256(guest("clerk")).hexdigest(),
    )
    assert good.memory_bytes_peak == 4 << 16 and good.limits == LIMITS.describe() and good.violation is None
    assert bad.violation is not None and bad.violation.backtrace


def test_a_batch_is_made_off_the_loop_and_answered_in_order(make_executor: Make) -> None:
    threads = set()
    executor = make_executor()
    executor._audit = lambda call: threads.add(threading.current_thread().name)
    batch = [[n] for n in range(300)]
    calls = asyncio.run(executor.execute_batch("clerk", "first", batch))
    assert [call.value for call in calls] == list(range(300))
    assert threading.current_thread().name not in threads
    mixed = asyncio.run(executor.execute_batch("clerk", "refuse", [[]] * 3))
    assert [call.violation and call.violation.kind for call in mixed] == [ViolationKind.REJECTED] * 3
    assert asyncio.run(executor.execute_batch("clerk", "echo", [])) == []
    with pytest.raises(TypeError, match="argument 1 holds a object"):
        asyncio.run(executor.execute_batch("clerk", "echo", [[1], [object()]]))


def test_an_executor_of_its_own(tmp_path: Path) -> None:
    """With a sandbox of its own and real time."""
    path = tmp_path / "clock.wasm"
    path.write_bytes(CLOCK)
    registry = Registry({"clock": TransformerSpec("clock", path, capabilities=["clock"])}, {})
    with ProcedureExecutor(registry, workers=2) as executor:
        assert asyncio.run(executor.execute_stored_procedure("clock", "ask")) is None


def test_the_operators_ceiling_holds_here_too(make_executor: Make) -> None:
    """As docs/sql.md has it: a program gives it to the sandbox."""
    low = make_executor({"ceiling": {"log"}}, clerk={"wasm": CLOCK, "capabilities": ["clock"]})
    with pytest.raises(ConfigError, match="`clock`"):
        low.call("clerk", "ask")
