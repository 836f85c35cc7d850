"""The stack's guard and the limits of growth, tier by tier: what is too deep or too large ends inside the guest, and the host goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from sandbox import Limits, Sandbox
from sandbox.calls import CallsName
from sandbox.errors import GrowthLimitExceeded, MemoryQuotaExceeded, OutOfBounds, StackExhausted, Trapped
from schemas.errors import ModuleFault
from schemas.outcome import ViolationKind
from schemas.specs import EngineSettings, Tier
from tests.sandbox.guests import wat

TIERS = list(Tier)
LIMITS = Limits(memory_bytes=4 << 20, stack_bytes=256 << 10, table_elements=100, deadline_ms=10_000)
PAGES_MAX = 64
DEPTH_MIN = 100
RECURSIONS = {
    "itself": '(func $f (export "f") (param i32) (result i32) {count} (i32.add (i32.const 1) (call $f (local.get 0))))',
    "each other": '(func $f (export "f") (param i32) (result i32) {count} (i32.add (i32.const 1) (call $g (local.get 0))))'
    "(func $g (param i32) (result i32) (i32.sub (call $f (local.get 0)) (i32.const 1)))",
    "through a table": "(type $t (func (param i32) (result i32))) (table 1 funcref) (elem (i32.const 0) $f)"
    '(func $f (export "f") (param i32) (result i32) {count}'
    " (i32.add (i32.const 1) (call_indirect (type $t) (local.get 0) (i32.const 0))))",
    "with the host called at every depth": '(import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))'
    '(func $f (export "f") (param i32) (result i32) {count} (drop (call $yield))'
    " (i32.add (i32.const 1) (call $f (local.get 0))))",
    "in frames of a thousand locals": '(func $f (export "f") (param i32) (result i32) {locals} {count} {fill}'
    " (i32.add (call $f (local.get 0)) {sum}))",
}


def module(recursion: str) -> bytes:
    """With a global that is written at every depth, so that no compiler makes a loop of it."""
    names = range(1000)
    text = RECURSIONS[recursion]
    text = text.replace("{locals}", "(local " + "i64 " * len(names) + ")")
    text = text.replace("{fill}", " ".join(f"(local.set {n + 1} (i64.load (i32.const {8 * n})))" for n in names))
    total = "(i64.const 0)"
    for n in names:
        total = f"(i64.add (local.get {n + 1}) {total})"
    text = text.replace("{sum}", f"(i32.wrap_i64 {total})")
    text = text.replace("{count}", "(global.set $depth (i32.add (global.get $depth) (i32.const 1)))")
    imports, rest = (text[: at + 1], text[at + 1 :]) if (at := _import_end(text)) else ("", text)
    return wat(f'(module {imports} (global $depth (mut i32) (i32.const 0)) (memory (export "memory") 1) {rest})')


def _import_end(text: str) -> int:
    return text.index("(result i32)))") + len("(result i32)))") - 1 if text.startswith("(import") else 0


@pytest.fixture
def can(calls: CallsName) -> Callable[[Tier], None]:
    def need(tier: Tier) -> None:
        if tier is Tier.BASELINE and calls is CallsName.PUBLIC:
            pytest.skip("the baseline tier needs wasmtime's C bindings")

    return need


@pytest.mark.parametrize("recursion", RECURSIONS)
@pytest.mark.parametrize("tier", TIERS)
def test_what_recurses_without_end_is_a_stack_violation_and_the_thread_goes_on(
    sandbox: Sandbox, can: Callable[[Tier], None], tier: Tier, recursion: str
) -> None:
    can(tier)
    sandbox.compile_module("deep", module(recursion), LIMITS, engine=EngineSettings(tier=tier))
    found: list[object] = []

    def dive() -> None:
        for _ in range(10):
            try:
                sandbox.execute("deep", "f", [1])
            except StackExhausted as error:
                found.append(error.kind)
        found.append(_python_goes_on(200))

    thread = threading.Thread(target=dive)
    thread.start()
    thread.join()
    assert found == [ViolationKind.STACK] * 10 + [200]


def _python_goes_on(depth: int) -> int:
    """The native stack under this thread is whole: it can be gone down again."""
    return 0 if depth == 0 else 1 + _python_goes_on(depth - 1)


COUNTING = """(module
  (func $f (param $left i32) (result i32)
    (if (result i32) (local.get $left)
      (then (i32.add (i32.const 1) (call $f (i32.sub (local.get $left) (i32.const 1)))))
      (else (i32.const 0))))
  (func (export "down") (param i32) (result i32) (call $f (local.get 0))))"""


def _deepest(sandbox: Sandbox, tier: Tier, stack_bytes: int) -> int:
    name = f"{tier}-{stack_bytes}"
    limits = LIMITS.with_(stack_bytes=stack_bytes)
    sandbox.compile_module(name, wat(COUNTING), limits, engine=EngineSettings(tier=tier))
    low, high = 1, 1 << 20
    while low < high:
        middle = (low + high + 1) // 2
        try:
            assert sandbox.execute(name, "down", [middle]) == (middle,)
            low = middle
        except StackExhausted:
            high = middle - 1
    return low


@pytest.mark.parametrize("tier", TIERS)
def test_the_guard_stands_where_the_limit_says(sandbox: Sandbox, can: Callable[[Tier], None], tier: Tier) -> None:
    can(tier)
    small, large = (_deepest(sandbox, tier, kib << 10) for kib in (128, 512))
    assert small > DEPTH_MIN
    assert 3.5 < large / small < 4.6


GROWING = """(module
  (memory (export "memory") 1)
  (table $t 10 funcref)
  (func (export "pages") (param i32) (result i32) (memory.grow (local.get 0)))
  (func (export "entries") (param i32) (result i32) (table.grow $t (ref.null func) (local.get 0)))
  (func (export "size") (param i32) (result i32 i32 i32) (memory.grow (local.get 0)) (memory.size) (table.size $t))
  (func (export "touch") (param i32) (result i32) (drop (memory.grow (i32.const 63))) (i32.load8_u (local.get 0)))
  (func (export "gives_up")
    (loop $more (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) unreachable)
  (func (export "gives_up_at_once") (if (i32.eq (memory.grow (i32.const 100)) (i32.const -1)) (then unreachable)))
  (func (export "set_beyond") (drop (table.grow $t (ref.null func) (i32.const 1000))) (table.set $t (i32.const 10) (ref.null func))))"""


@pytest.fixture(params=TIERS)
def grower(request: pytest.FixtureRequest, sandbox: Sandbox, can: Callable[[Tier], None]) -> Sandbox:
    tier: Tier = request.param
    can(tier)
    sandbox.compile_module("grower", wat(GROWING), LIMITS, engine=EngineSettings(tier=tier))
    return sandbox


def test_growth_within_the_limit_is_growth_and_beyond_it_fails_in_the_guest(grower: Sandbox) -> None:
    assert grower.execute("grower", "pages", [PAGES_MAX - 1]) == (1,)
    assert grower.execute("grower", "entries", [90]) == (10,)
    for beyond in (PAGES_MAX, 1000, 65536, 0x7FFF_FFFF, -1):
        assert grower.execute("grower", "size", [beyond]) == (-1, 1, 10)
        assert grower.execute("grower", "entries", [beyond + 100 if beyond > 0 else -1]) == (-1,)


def test_the_last_byte_that_was_granted_is_the_last_byte(grower: Sandbox) -> None:
    assert grower.execute("grower", "touch", [(PAGES_MAX << 16) - 1]) == (0,)
    for beyond in (PAGES_MAX << 16, 0x7FFF_FFFF, -1):
        with pytest.raises(OutOfBounds) as caught:
            grower.execute("grower", "touch", [beyond])
        assert caught.value.kind is ViolationKind.BOUNDS


def test_who_gives_up_with_its_memory_full_is_a_memory_violation(grower: Sandbox) -> None:
    with pytest.raises(GrowthLimitExceeded, match="memory full") as caught:
        grower.execute("grower", "gives_up")
    assert caught.value.kind is ViolationKind.MEMORY
    with pytest.raises(
        Trapped
    ) as trapped:  # room was left, and it does not say why: nobody knows that it was for memory
        grower.execute("grower", "gives_up_at_once")
    assert trapped.value.kind is ViolationKind.TRAP
    with pytest.raises(Trapped, match="table"):
        grower.execute("grower", "set_beyond")


@pytest.mark.parametrize(
    "declared",
    ['(memory (export "memory") 65)', '(memory (export "memory") 1) (memory $more 65)', "(table 101 funcref)"],
)
def test_what_is_too_large_from_the_start_never_starts(sandbox: Sandbox, declared: str) -> None:
    text = f'(module {declared} (func (export "f")))'
    with pytest.raises((MemoryQuotaExceeded, ModuleFault), match=r"needs more|grant"):
        sandbox.compile_module("large", wat(text), LIMITS.with_(memories=2))
        sandbox.execute("large", "f")
