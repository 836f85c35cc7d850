"""What the reference documents name for the main job and no other test asks for (see docs/reference-map.md)."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest
from wasmtime import Engine, MemoryType, Module

from pipeline import PipelineDriver, RegistryBuilder
from sandbox import Limits, Sandbox, SandboxStats
from sandbox.errors import (
    CapabilityDenied,
    DoubleFree,
    MemoryQuotaExceeded,
    OutOfBounds,
    SandboxError,
    Timeout,
    error_for,
)
from sandbox.host import HostImport, HostState
from sandbox.memory import GuestMemory
from schemas.limits import PROFILES
from schemas.outcome import Emitted, ViolationKind
from schemas.specs import EngineSettings
from tests.sandbox.guests import batch, guest, kinds, spec, wat

ROOT = Path(__file__).parents[2]
MIB = 1024 * 1024

TRANSFORM_EVENT = """(module (memory (export "memory") 1)
  (data (i32.const 8) "\\91\\92\\01\\c4\\02ok")
  (func (export "penstock_v1_alloc") (param i32) (result i32) (i32.const 1024))
  (func (export "transform_event") (param i32 i32) (result i64) (i64.const 0x800000007)))"""
"""Answers `[[1, b"ok"]]`; its entry point has the name that the reference uses."""


def test_register_transformer_calls_the_named_function(tmp_path: Path) -> None:
    module = tmp_path / "enrichment_module.wasm"
    module.write_bytes(wat(TRANSFORM_EVENT))
    registry = RegistryBuilder().register_transformer("enrich_customer", module, "transform_event")
    registry.route("customers", sources="customers", through="enrich_customer", to="customers.enriched")
    with PipelineDriver(registry.build()) as driver:
        (sent,) = driver.send("customers", b"anything")
        assert isinstance(sent.outcome, Emitted)
        assert [event.value for event in driver.read("customers.enriched")] == [b"ok"]


def test_the_profiles_are_the_references_in_mib() -> None:
    assert {name: (limits.memory_bytes, limits.deadline_ms) for name, limits in PROFILES.items()} == {
        "untrusted": (4 * MIB, 500),
        "database-only": (16 * MIB, 2_000),
        "standard": (64 * MIB, 5_000),
        "trusted": (256 * MIB, 30_000),
    }
    assert Limits() == PROFILES["standard"]


def test_conservative_limits_hold_a_hog_to_four_mib(sandbox: Sandbox) -> None:
    assert Limits.conservative() == PROFILES["untrusted"]
    sandbox.compile_module("numbers", guest("numbers"), Limits.conservative())
    with pytest.raises(MemoryQuotaExceeded, match="4MiB of 4MiB"):
        sandbox.execute("numbers", "hog")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OutOfBounds("m"), ViolationKind.BOUNDS),
        (Timeout(5000), ViolationKind.DEADLINE),
        (MemoryQuotaExceeded("m"), ViolationKind.MEMORY),
        (DoubleFree("m"), ViolationKind.BOUNDS),
        (CapabilityDenied("m"), ViolationKind.CAPABILITY),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_each_name_of_the_reference_has_a_violation_kind(error: SandboxError, kind: ViolationKind) -> None:
    assert error.kind is kind
    assert error.code == "sandbox"


def test_a_timeout_says_its_limit_as_the_reference_does() -> None:
    error = Timeout(5000)
    assert error.milliseconds == 5000
    assert "5000 ms" in str(error)


@pytest.mark.parametrize("kind", list(ViolationKind))
def test_every_violation_can_be_raised_by_name(kind: ViolationKind) -> None:
    error = error_for(kind, "why", deadline_ms=250)
    assert error.kind is kind
    assert str(error) == "why"


def test_stats_count_modules_and_live_instances() -> None:
    seen: list[SandboxStats] = []

    def look(state: HostState, memory: GuestMemory | None) -> None:
        seen.append(sandbox.stats())

    text = """(module (import "test" "look" (func $look)) (memory (export "memory") 1)
      (data (i32.const 8) "\\91\\c0")
      (func (export "penstock_v1_alloc") (param i32) (result i32) (i32.const 1024))
      (func (export "penstock_v1_transform") (param i32 i32) (result i64) (call $look) (i64.const 0x800000002)))"""
    with Sandbox(cache_entries_max=2, extra_imports=[HostImport("look", (), None, look, module="test")]) as sandbox:
        assert (sandbox.stats().cached_modules, sandbox.stats().active_instances) == (0, 0)
        transformer = sandbox.load(spec(), wat(text))
        assert kinds(transformer.run(batch([b"x"])).outcomes) == ["emitted"]
        after = sandbox.stats()
    assert [(one.cached_modules, one.active_instances) for one in seen] == [(1, 1)]
    assert (after.cached_modules, after.active_instances, after.crossings, after.host_calls) == (1, 0, 1, 1)
    assert after.instances_created == 2, "one to look at the module at load, one for the batch"


@pytest.mark.parametrize("pooling", [True, False])
def test_pooling_can_be_switched(pooling: bool) -> None:
    with Sandbox(cache=False) as sandbox:
        transformer = sandbox.load(spec(engine=EngineSettings(pooling=pooling)), guest("saboteur"))
        assert kinds(transformer.run(batch([b"k"])).outcomes) == ["emitted"]
        assert (sandbox.stats().pool_slots > 0) is (pooling and sandbox._calls.can_pool)


@pytest.mark.parametrize("trace", [True, False])
def test_trace_execution_logs_each_crossing(trace: bool, caplog: pytest.LogCaptureFixture) -> None:
    with Sandbox(cache=False, trace_execution=trace) as sandbox, caplog.at_level(logging.DEBUG, "penstock.sandbox"):
        report = sandbox.load(spec("traced"), guest("saboteur")).run(batch([b"k", b"U", b"k"]))
    lines = [record.getMessage() for record in caplog.records if record.name == "penstock.sandbox"]
    assert len(lines) == (report.crossings if trace else 0)
    if trace:
        assert lines[0].startswith("traced: 3 events from shop.public.orders/0@0 in ")
        assert lines[0].endswith("in trouble")


DIVIDE = """
import sys
from pathlib import Path
from sandbox import Sandbox
from sandbox.errors import SandboxError

with Sandbox(cache=False, debug_mode=sys.argv[1] == "on") as sandbox:
    sandbox.compile_module("lines", Path("tests/guests/lines.wasm").read_bytes())
    try:
        sandbox.execute("lines", "divide", [1, 0])
    except SandboxError as error:
        print(error.backtrace)
"""


@pytest.mark.parametrize("mode", ["on", "off"])
def test_debug_mode_names_file_and_line(mode: str) -> None:
    """In a process of its own: wasmtime takes the setting from the environment, for good."""
    ran = subprocess.run(
        [sys.executable, "-c", DIVIDE, mode], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert "divide" in ran.stdout
    assert ("lines.c:5" in ran.stdout) is (mode == "on")


@pytest.mark.parametrize(
    "module", sorted((ROOT / "transformers" / "modules").glob("*.wasm")), ids=lambda path: path.stem
)
def test_shipped_guests_declare_a_memory_maximum(module: Path) -> None:
    (memory,) = [one.type for one in Module(Engine(), module.read_bytes()).exports if one.name == "memory"]
    assert isinstance(memory, MemoryType)
    assert memory.limits.max is not None and memory.limits.max * memory.page_size == 256 * MIB


ASK_RANDOM = """(module (import "penstock" "random" (func $random (param i32 i32) (result i32)))
  (memory (export "memory") 32)
  (func (export "ask") (param i32) (result i32) (call $random (i32.const 16) (local.get 0))))"""


@pytest.mark.parametrize(("length", "answer"), [(MIB, 0), (MIB + 1, -3)])
def test_a_host_call_takes_one_mib_and_no_more(sandbox: Sandbox, length: int, answer: int) -> None:
    sandbox.compile_module("asker", wat(ASK_RANDOM), capabilities=frozenset({"random"}))
    assert sandbox.execute("asker", "ask", [length]) == (answer,)
