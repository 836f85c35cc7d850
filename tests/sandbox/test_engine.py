"""No setting a user can write aborts the process, and every switch does what it says."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from sandbox import Sandbox
from sandbox.calls import CallsName, choose
from sandbox.engine import check
from sandbox.host import HostImport, HostState
from sandbox.memory import GuestMemory
from schemas.errors import ConfigError, ModuleFault
from schemas.limits import PROFILES, Limits
from schemas.specs import EngineSettings, Tier
from tests.sandbox.guests import LIMITS, batch, guest, kinds, spec, wat

ROOT = Path(__file__).parent.parent.parent

EVERY_COMBINATION = """
import itertools, sys
from dataclasses import fields
from sandbox.calls import CallsName, choose
from sandbox.engine import build, check, engine_key
from schemas.limits import Limits
from schemas.specs import EngineSettings, Tier
from wasmtime import Module, wat2wasm

calls = choose(CallsName(sys.argv[1]))
flags = [one.name for one in fields(EngineSettings) if one.type == "bool" and one.name not in ("pooling", "debug")]
wasm = bytes(wat2wasm('(module (memory (export "memory") 1) (func (export "f")))'))
made = refused = 0
for tier in Tier:
    for values in itertools.product((False, True), repeat=len(flags)):
        settings = EngineSettings(tier=tier, pooling=False, **dict(zip(flags, values)))
        print(settings, file=sys.stderr, flush=True)
        if check(settings, Limits(), calls):
            refused += 1
            continue
        Module(build(engine_key(settings, Limits(), slots=2, poolable=False), calls), wasm)
        made += 1
print(made, refused)
"""


@pytest.mark.parametrize("calls", list(CallsName)[1:])
def test_no_combination_of_switches_aborts_the_process(calls: CallsName) -> None:
    done = subprocess.run(
        [sys.executable, "-c", EVERY_COMBINATION, calls], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr.splitlines()[-3:]
    made, refused = map(int, done.stdout.split())
    assert made + refused == 3 * 2**8
    assert made >= (144 if calls is CallsName.PUBLIC else 352)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("tier", list(Tier))
def test_every_profile_on_every_tier(sandbox: Sandbox, profile: str, tier: Tier) -> None:
    settings = EngineSettings(tier=tier)
    if tier is Tier.BASELINE and check(settings, Limits(), sandbox._calls):
        pytest.skip("the baseline tier needs the C bindings")
    transformer = sandbox.load(spec(limits=PROFILES[profile], engine=settings), guest("saboteur"))
    assert kinds(transformer.run(batch([b"k", b"U"])).outcomes) == ["emitted", "trap"]


LIMIT_FAULTS = {
    "memory_bytes": [0, -1, 1 << 33],
    "deadline_ms": [0, -5, 10**9],
    "allocation_bytes_max": [0, 1 << 40],
    "output_bytes_per_event": [0, 1 << 40],
    "log_bytes_per_batch": [-1, 1 << 40],
    "stack_bytes": [0, 1, 64 << 20],
    "table_elements": [-1, 1_000_001],
    "tables": [-1, 17],
    "instances": [0, 2],
    "memories": [0, 100],
    "fuel_per_event": [0, -1, 1 << 63],
}


@pytest.mark.parametrize(("field", "value"), [(name, value) for name, all_ in LIMIT_FAULTS.items() for value in all_])
def test_impossible_limits_are_refused_by_path(sandbox: Sandbox, field: str, value: int) -> None:
    with pytest.raises(ConfigError, match=f"transformers.guest.limits.{field}"):
        sandbox.load(spec(limits=LIMITS.with_(**{field: value})), guest("saboteur"))


def test_all_limits_are_covered() -> None:
    assert set(LIMIT_FAULTS) == {one.name for one in fields(Limits)}


@pytest.mark.parametrize(
    ("settings", "path"),
    [
        (EngineSettings(relaxed_simd=True, simd=False), "engine.relaxed_simd"),
        (EngineSettings(relaxed_simd=True, tier=Tier.BASELINE), "engine.relaxed_simd"),
        (EngineSettings(threads=True, tier=Tier.INTERPRETER), "engine.threads"),
        (EngineSettings(nan_canonicalization=True, tier=Tier.BASELINE), "engine.nan_canonicalization"),
    ],
)
def test_what_wasmtime_would_abort_for_is_refused(sandbox: Sandbox, settings: EngineSettings, path: str) -> None:
    with pytest.raises(ConfigError, match=f"transformers.guest.{path}"):
        sandbox.load(spec(engine=settings), guest("saboteur"))


BASE = """(memory (export "memory") 1)
  (func (export "penstock_v1_alloc") (param i32) (result i32) (i32.const 8))
  (func (export "penstock_v1_transform") (param i32 i32) (result i64) (i64.const 0))"""
USES = {
    "simd": "(func (drop (v128.const i32x4 1 2 3 4)))",
    "relaxed_simd": "(func (param v128 v128) (result v128) (i8x16.relaxed_swizzle (local.get 0) (local.get 1)))",
    "bulk_memory": "(func (memory.fill (i32.const 0) (i32.const 0) (i32.const 1)))",
    "reference_types": "(func (param externref))",
    "multi_value": "(func (result i32 i32) (i32.const 1) (i32.const 2))",
    "threads": "(func (drop (i32.atomic.load (i32.const 0))))",
    "tail_call": "(func $f (return_call $f))",
}


@pytest.mark.parametrize("switch", USES)
def test_a_feature_is_there_exactly_when_it_is_on(sandbox: Sandbox, switch: str) -> None:
    wasm = wat(f"(module {BASE} {USES[switch]})")
    sandbox.load(spec(engine=EngineSettings(**{switch: True})), wasm)
    off = EngineSettings(**{switch: False})
    if check(off, Limits(), sandbox._calls):
        pytest.skip("switching it off needs the C bindings")
    with pytest.raises(ModuleFault, match="cannot be compiled"):
        sandbox.load(spec(engine=off), wasm)


UNASKED = {
    "exceptions": "(tag $t) (func (throw $t))",
    "garbage collection": "(type $s (struct)) (func (drop (struct.new $s)))",
    "function references": "(type $f (func)) (func (param (ref $f)))",
    "shared memory": "(memory 1 1 shared)",
    "wide arithmetic": "(func (param i64 i64 i64 i64) (result i64 i64)"
    " (i64.add128 (local.get 0) (local.get 1) (local.get 2) (local.get 3)))",
}


@pytest.mark.parametrize("text", UNASKED.values(), ids=UNASKED.keys())
def test_proposals_that_nobody_asked_for_are_off(sandbox: Sandbox, text: str) -> None:
    with pytest.raises(ModuleFault):
        sandbox.load(spec(), wat(f"(module {BASE} {text})"))


def test_equal_settings_share_an_engine_and_its_pool() -> None:
    with Sandbox(cache=False, workers=3, calls=CallsName.FAST) as sandbox:
        sandbox.load(spec("a"), guest("saboteur"))
        slots = sandbox.stats().pool_slots
        assert slots == 10
        sandbox.load(spec("b", limits=LIMITS.with_(memory_bytes=3 << 20)), guest("saboteur"))
        assert sandbox.stats().pool_slots == slots, "3 and 4 MiB are of one size class"
        sandbox.load(spec("c", limits=LIMITS.with_(memory_bytes=5 << 20)), guest("saboteur"))
        assert sandbox.stats().pool_slots == 2 * slots


def test_engines_beyond_a_bound_do_without_a_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sandbox.engine.POOLED_MEMORIES_MAX", 2 * 6)
    with Sandbox(cache=False, workers=1, calls=CallsName.FAST) as sandbox:
        for stack_kib in (64, 96, 128, 64):
            transformer = sandbox.load(spec(limits=LIMITS.with_(stack_bytes=stack_kib << 10)), guest("saboteur"))
            assert kinds(transformer.run(batch([b"k", b"U"])).outcomes) == ["emitted", "trap"]
        assert sandbox.stats().pool_slots == 2 * 6


DEEP = """(module (import "test" "deeper" (func $deeper))
  (memory (export "memory") 1)
  (func (export "penstock_v1_alloc") (param i32) (result i32) (i32.const 8))
  (func $deep (result i32) (call $deeper) (i32.add (call $deep) (i32.const 1)))
  (func (export "penstock_v1_transform") (param i32 i32) (result i64) (i64.extend_i32_u (call $deep))))"""


def _depth(calls: CallsName, stack_bytes: int) -> int:
    """How deep a guest comes with this stack."""
    depth = 0

    def deeper(state: HostState, memory: GuestMemory | None) -> None:
        nonlocal depth
        depth += 1

    with Sandbox(
        cache=False, calls=calls, extra_imports=[HostImport("deeper", (), None, deeper, module="test")]
    ) as one:
        transformer = one.load(spec(limits=LIMITS.with_(stack_bytes=stack_bytes, deadline_ms=10_000)), wat(DEEP))
        assert kinds(transformer.run(batch([b"x"])).outcomes) == ["stack"]
    return depth


def test_the_stack_limit_is_the_one_that_was_set(calls: CallsName) -> None:
    assert _depth(calls, 128 << 10) > 3 * _depth(calls, 32 << 10) > 0


def test_the_largest_stack_overflows_safely_in_an_ordinary_thread(sandbox: Sandbox) -> None:
    largest = 4 << 20 if sandbox._calls.can_pool else 2 << 20
    transformer = sandbox.load(spec(limits=LIMITS.with_(stack_bytes=largest)), guest("saboteur"))
    got: list[str] = []
    thread = threading.Thread(target=lambda: got.extend(kinds(transformer.run(batch([b"S"])).outcomes)))
    thread.start()
    thread.join()
    assert got == ["stack"]


@pytest.fixture
def small_threads() -> Iterator[None]:
    threading.stack_size(1 << 20)
    yield
    threading.stack_size(0)


def test_a_stack_that_threads_here_do_not_have_is_refused(sandbox: Sandbox, small_threads: None) -> None:
    with pytest.raises(ConfigError, match=r"limits\.stack_bytes"):
        sandbox.load(spec(limits=LIMITS.with_(stack_bytes=1 << 20)), guest("saboteur"))


def test_under_an_address_space_limit_there_is_no_pool_and_all_works() -> None:
    program = f"""
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
sys.path.insert(0, {str(ROOT)!r})
from sandbox import Sandbox
from tests.sandbox.guests import batch, guest, kinds, spec
with Sandbox(cache=False) as sandbox:
    print(kinds(sandbox.load(spec(), guest("saboteur")).run(batch([b"k", b"U", b"M"])).outcomes), sandbox.stats().pool_slots)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "['emitted', 'trap', 'memory'] 0", done.stderr[-500:]


def test_the_choice_of_calls_can_be_made_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose().name == "fast"
    monkeypatch.setenv("PENSTOCK_SANDBOX_CALLS", "public")
    assert choose().name == "public"
    assert choose(CallsName.FAST).name == "fast"


def test_bindings_of_another_shape_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    from sandbox import fastcall
    from sandbox.calls import LinkError

    monkeypatch.setitem(fastcall._SIZES, "wasmtime_extern_t", 40)
    assert choose(CallsName.AUTO).name == "public"
    with pytest.raises(LinkError, match="wasmtime_extern_t has 32 bytes, not 40"):
        choose(CallsName.FAST)


EXTREMES = """
import itertools, sys
from sandbox import Limits, Sandbox
from sandbox.calls import CallsName
from schemas.errors import PenstockError
from tests.sandbox.guests import LIMITS, batch, guest, kinds, spec

ranges = {
    "memory_bytes": (1 << 16, 1 << 32), "stack_bytes": (16 << 10, 2 << 20), "table_elements": (0, 1_000_000),
    "tables": (0, 16), "memories": (1, 16), "fuel_per_event": (1, 1 << 48),
}
with Sandbox(cache=False, workers=int(sys.argv[2]), calls=CallsName(sys.argv[1])) as sandbox:
    for values in itertools.product(*ranges.values()):
        limits = LIMITS.with_(**dict(zip(ranges, values)), allocation_bytes_max=1 << 16)
        print(limits, file=sys.stderr, flush=True)
        try:
            sandbox.load(spec(limits=limits), guest("counter")).run(batch([b"a"]))
        except PenstockError as error:
            print(str(error)[:300].replace(chr(10), " "), file=sys.stderr)
"""


@pytest.mark.parametrize(("calls", "workers"), [(CallsName.FAST, 1), (CallsName.FAST, 256), (CallsName.PUBLIC, 4)])
def test_no_combination_of_extreme_limits_aborts_the_process(calls: CallsName, workers: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", EXTREMES, calls, str(workers)], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr.splitlines()[-6:]


@pytest.mark.parametrize("workers", [0, -1, 257])
def test_an_absurd_number_of_workers_is_refused(workers: int) -> None:
    with pytest.raises(ConfigError, match="workers"):
        Sandbox(workers=workers, cache=False)


def test_debug_backtraces_leave_the_environment_alone(calls: CallsName, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WASMTIME_BACKTRACE_DETAILS", raising=False)
    with Sandbox(calls=calls, cache=False, debug_mode=True) as sandbox:
        sandbox.load(spec(), guest("saboteur"))
    assert "WASMTIME_BACKTRACE_DETAILS" not in os.environ
