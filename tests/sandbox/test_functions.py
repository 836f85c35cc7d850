"""`Sandbox.execute`: any typed export under the same limits, and errors named after what happened."""

from __future__ import annotations

import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandbox import Sandbox
from sandbox.errors import (
    CapabilityDenied,
    FuelExhausted,
    MemoryQuotaExceeded,
    OutOfBounds,
    SandboxError,
    StackExhausted,
    Timeout,
    Trapped,
)
from schemas.errors import ConfigError, ModuleFault
from schemas.limits import Limits
from schemas.outcome import ViolationKind
from tests.sandbox.guests import guest, wat

SHORT = Limits(memory_bytes=1 << 20, deadline_ms=500)


@pytest.fixture
def numbers(sandbox: Sandbox) -> Sandbox:
    sandbox.compile_module("numbers", guest("numbers"), SHORT)
    return sandbox


def test_every_numeric_type_goes_in_and_out(numbers: Sandbox) -> None:
    assert numbers.execute("numbers", "add_i32", [40, 2]) == (42,)
    assert numbers.execute("numbers", "add_i32", [-1, -1]) == (-2,)
    assert numbers.execute("numbers", "add_i64", [2**62, 2**62 - 1]) == (2**63 - 1,)
    assert numbers.execute("numbers", "half_f32", [5.0]) == (2.5,)
    assert numbers.execute("numbers", "half_f64", [0.2]) == (0.1,)
    assert numbers.execute("numbers", "swap", [7, 1.5]) == (1.5, 7)
    assert numbers.execute("numbers", "nothing") == ()
    assert math.isnan(float(numbers.execute("numbers", "half_f64", [math.nan])[0]))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(a=st.integers(-(2**31), 2**31 - 1), b=st.integers(-(2**31), 2**31 - 1))
def test_integers_wrap_as_wasm_says(numbers: Sandbox, a: int, b: int) -> None:
    (total,) = numbers.execute("numbers", "add_i32", [a, b])
    assert total == (a + b + 2**31) % 2**32 - 2**31


def test_bytes_are_copied_in_through_the_modules_allocator(numbers: Sandbox) -> None:
    assert numbers.execute("numbers", "sum", [bytes([1, 2, 3, 250])]) == (256,)
    assert numbers.execute("numbers", "sum", [b""]) == (0,)


def test_initialize_has_run(numbers: Sandbox) -> None:
    assert numbers.execute("numbers", "is_ready") == (1,)


@pytest.mark.parametrize(
    ("function", "arguments", "error", "kind"),
    [
        ("loop", [], Timeout, ViolationKind.DEADLINE),
        ("deep", [], StackExhausted, ViolationKind.STACK),
        ("load", [-4], OutOfBounds, ViolationKind.BOUNDS),
        ("divide", [1, 0], Trapped, ViolationKind.TRAP),
        ("divide", [-(2**31), -1], Trapped, ViolationKind.TRAP),
        ("hog", [], MemoryQuotaExceeded, ViolationKind.MEMORY),
    ],
)
def test_what_the_guest_does_is_a_named_error(
    numbers: Sandbox, function: str, arguments: list[int], error: type[SandboxError], kind: ViolationKind
) -> None:
    with pytest.raises(error, match="numbers: ") as caught:
        numbers.execute("numbers", function, arguments)
    assert caught.value.kind is kind


def test_a_timeout_carries_its_limit(numbers: Sandbox) -> None:
    with pytest.raises(Timeout) as caught:
        numbers.execute("numbers", "loop")
    assert caught.value.milliseconds == SHORT.deadline_ms


def test_fuel_is_a_limit_here_too(sandbox: Sandbox) -> None:
    sandbox.compile_module("numbers", guest("numbers"), SHORT.with_(fuel_per_event=1000))
    with pytest.raises(FuelExhausted):
        sandbox.execute("numbers", "loop")
    assert sandbox.execute("numbers", "add_i32", [1, 2]) == (3,)


def test_a_module_that_wants_more_memory_than_its_limit(sandbox: Sandbox) -> None:
    sandbox.compile_module("large", wat('(module (memory (export "memory") 100) (func (export "f")))'), SHORT)
    with pytest.raises(MemoryQuotaExceeded):
        sandbox.execute("large", "f")


def test_an_import_that_was_not_granted(sandbox: Sandbox) -> None:
    wasm = wat('(module (import "penstock" "now_ms" (func (result i64))) (func (export "f")))')
    with pytest.raises(CapabilityDenied, match="clock") as caught:
        sandbox.compile_module("clock", wasm)
    assert caught.value.kind is ViolationKind.CAPABILITY
    sandbox.compile_module("clock", wasm, capabilities=frozenset({"clock"}))
    assert sandbox.execute("clock", "f") == ()


@pytest.mark.parametrize(
    "arguments", [[], [1], [1, 2, 3], [2**32, 0], [-(2**31) - 1, 0], [1.5, 2], [b"x", 1], ["1", 2]]
)
def test_arguments_that_do_not_fit_are_the_callers_mistake(numbers: Sandbox, arguments: list[int]) -> None:
    with pytest.raises(TypeError):
        numbers.execute("numbers", "add_i32", arguments)


def test_unknown_modules_and_functions_are_named(numbers: Sandbox) -> None:
    with pytest.raises(ModuleFault, match="compile_module first"):
        numbers.execute("other", "f")
    with pytest.raises(ModuleFault, match="it exports _initialize, add_i32"):
        numbers.execute("numbers", "none")
    with pytest.raises(ModuleFault, match="values that are no numbers"):
        numbers.execute("numbers", "reference")
    with pytest.raises(ModuleFault, match="does not export a function `memory`"):
        numbers.execute("numbers", "memory")


def test_helpers_of_another_type_are_never_called(sandbox: Sandbox) -> None:
    wasm = wat(
        """(module (memory (export "memory") 1)
        (func (export "penstock_v1_alloc") (param i64 i64) (result i32) (i32.const 8))
        (func (export "_initialize") (param i32) unreachable)
        (func (export "sum") (param i32 i32) (result i32) (i32.const 1)))"""
    )
    sandbox.compile_module("odd", wasm)
    assert sandbox.execute("odd", "sum", [1, 2]) == (1,)
    with pytest.raises(TypeError, match="penstock_v1_alloc"):
        sandbox.execute("odd", "sum", [b"data"])


def test_a_lying_allocator_is_out_of_bounds(sandbox: Sandbox) -> None:
    wasm = wat(
        """(module (memory (export "memory") 1)
        (func (export "penstock_v1_alloc") (param i32) (result i32) (i32.const 65530))
        (func (export "sum") (param i32 i32) (result i32) (i32.const 1)))"""
    )
    sandbox.compile_module("liar", wasm)
    with pytest.raises(OutOfBounds):
        sandbox.execute("liar", "sum", [b"0123456789"])


def test_a_name_can_be_compiled_anew(numbers: Sandbox) -> None:
    numbers.execute("numbers", "add_i32", [1, 2])
    numbers.compile_module("numbers", wat('(module (func (export "add_i32") (result i32) (i32.const 9)))'))
    assert numbers.execute("numbers", "add_i32") == (9,)


def test_impossible_limits_are_refused(sandbox: Sandbox) -> None:
    with pytest.raises(ConfigError, match=r"modules\.numbers\.limits\.stack_bytes"):
        sandbox.compile_module("numbers", guest("numbers"), Limits(stack_bytes=1))
