"""A registry with its modules loaded: what a module is to blame for is a fault at its line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import wasmtime

from pipeline.registry import load_checked
from sandbox import Sandbox
from schemas.errors import ConfigError, Fault

SOUND = """
(module (memory (export "memory") 1)
  (func (export "penstock_v1_alloc") (param i32) (result i32) i32.const 1024)
  (func (export "penstock_v1_transform") (param i32 i32) (result i64) i64.const 0))
"""
REFUSES = (
    SOUND.strip().removesuffix(")")
    + '(func (export "penstock_v1_configure") (param i32 i32) (result i32) i32.const 1))'
)
NO_MEMORY = '(module (func (export "penstock_v1_alloc") (param i32) (result i32) i32.const 0))'
LOGS = SOUND.replace('(module', '(module (import "penstock" "log" (func (param i32 i32 i32)))')  # fmt: skip

TEXT = """\
version: 1
transformers:
  sound: {module: sound.wasm}
  no-memory: {module: no_memory.wasm}
  logs:
    module: logs.wasm
  refuses: {module: refuses.wasm, config: {a: 1}}
routes:
  orders: {from: a, through: [sound], to: b}
"""


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    made = Sandbox(workers=1, cache=False)
    yield made
    made.close()


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    modules = {"sound": SOUND, "no_memory": NO_MEMORY, "logs": LOGS, "refuses": REFUSES}
    for name, text in modules.items():
        (tmp_path / f"{name}.wasm").write_bytes(wasmtime.wat2wasm(text))
    path = tmp_path / "registry.yaml"
    path.write_text(TEXT)
    return path


def faults(path: Path, sandbox: Sandbox) -> dict[str, Fault]:
    with pytest.raises(ConfigError) as caught:
        load_checked(path, sandbox, environ={})
    return {fault.path: fault for fault in caught.value.faults}


def test_every_module_at_fault_is_a_fault_at_its_line(registry: Path, sandbox: Sandbox) -> None:
    found = faults(registry, sandbox)
    places = {path: fault.line for path, fault in found.items()}
    assert places == {
        "transformers.no-memory.module": 4,
        "transformers.logs.module": 6,
        "transformers.refuses.module": 7,
    }
    assert all(fault.file == str(registry) and fault.problem for fault in found.values())


def test_what_is_granted_may_be_imported(registry: Path, sandbox: Sandbox) -> None:
    registry.write_text(TEXT.replace("module: logs.wasm", "module: logs.wasm\n    capabilities: {grant: [log]}"))
    assert "transformers.logs.module" not in faults(registry, sandbox)


def test_sound_modules_are_handed_over_by_name(registry: Path, sandbox: Sandbox) -> None:
    registry.write_text(
        "\n".join(
            line
            for line in TEXT.splitlines()
            if "no-memory" not in line and "logs" not in line and "refuses" not in line
        )
    )
    checked, transformers = load_checked(registry, sandbox, environ={}, brokers="b:1")
    assert list(transformers) == list(checked.transformers) == ["sound"]
    assert transformers["sound"].spec == checked.transformers["sound"]
    assert checked.kafka.brokers == ("b:1",)


def test_a_registry_at_fault_loads_no_module(registry: Path) -> None:
    class Untouched:
        def load(self, spec: object) -> None:
            raise AssertionError("nothing may be loaded")

    registry.write_text(TEXT + "  more: {from: a}\n")
    with pytest.raises(ConfigError):
        load_checked(registry, Untouched(), environ={})
