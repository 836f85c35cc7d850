"""Traps of wasmtime-py's component classes, beside the sandbox: rows W10 to W13. And of componentize-py: row W14."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from wasmtime import Config, Engine, Store, WasmtimeError
from wasmtime.component import Component, Instance, Linker, _enter, _types

from pipeline.workshop import toolchains
from pipeline.workshop.errors import MissingToolchainError
from pipeline.workshop.languages import python
from tests.client_limits.trap import Trap
from tests.workshop.tools import absent

TAKES = """
(component
  (core module $M (memory (export "memory") 4)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
    (func (export "take") (param i32 i32)) (func (export "trap") (unreachable)))
  (core instance $m (instantiate $M))
  (alias core export $m "memory" (core memory $memory))
  (alias core export $m "realloc" (core func $realloc))
  (func (export "bytes") (param "it" (list u8)) (canon lift (core func $m "take") (memory $memory) (realloc (core func $realloc))))
  (func (export "text") (param "it" string) (canon lift (core func $m "take") (memory $memory) (realloc (core func $realloc))))
  (func (export "trap") (canon lift (core func $m "trap"))))
"""
CALLS = """
(component
  (import "host" (func $host))
  (core func $host' (canon lower (func $host)))
  (core module $M (import "h" "h" (func $h)) (func (export "go") (call $h)))
  (core instance $m (instantiate $M (with "h" (instance (export "h" (func $host'))))))
  (func (export "go") (canon lift (core func $m "go"))))
"""


def made(text: str, host: Callable[..., None] | None = None) -> tuple[Store, Instance]:
    config = Config()
    engine = Engine(config)
    linker, store = Linker(engine), Store(engine)
    if host is not None:
        with linker.root() as root:
            root.add_func("host", host)
    return store, linker.instantiate(store, Component(engine, text))


def seconds(store: Store, instance: Instance, function: str, argument: Any) -> float:
    """The best of three."""
    found, taken = instance.get_func(store, function), []
    assert found is not None
    for _ in range(3):
        began = time.perf_counter()
        found(store, argument)
        taken.append(time.perf_counter() - began)
    return min(taken)


def test_byte_strings_are_converted_one_byte_at_a_time() -> None:
    trap = Trap("W10", "frames that are texts (sandbox/components/frames.py)", "wasmtime")
    store, instance = made(TAKES)
    size = 50_000
    trap.holds(
        seconds(store, instance, "bytes", b"x" * size) > 20 * seconds(store, instance, "text", "x" * size),
        "a list<u8> costs about what a string does",
    )


def test_a_components_trap_has_no_code() -> None:
    trap = Trap("W11", "reading the last line of the error's text (sandbox/components/link.py)", "wasmtime")
    store, instance = made(TAKES)
    found = instance.get_func(store, "trap")
    assert found is not None
    try:
        found(store)
    except WasmtimeError as error:
        trap.holds(not hasattr(error, "trap_code"), "it has")
        trap.holds(str(error).strip().endswith("wasm trap: wasm `unreachable` instruction executed"), str(error))


def test_one_place_for_the_exceptions_of_all_components() -> None:
    trap = Trap("W12", "host functions that raise nothing but WasmtimeError (sandbox/components/link.py)", "wasmtime")

    def stop(_store: Any) -> None:
        raise WasmtimeError("stopped")

    store, instance = made(CALLS, stop)
    go = instance.get_func(store, "go")
    assert go is not None
    with trap.raises(WasmtimeError, match="stopped"):
        go(store)
    assert _enter.LAST_EXCEPTION is None, "a WasmtimeError is not kept there"
    trap.holds(isinstance(_types.case_test_cache, set), "variants are told apart without it")


def test_a_components_memory_cannot_be_seen() -> None:
    trap = Trap("W13", "reporting 0 for a component's memory (sandbox/components/guest.py)", "wasmtime")
    store, instance = made(TAKES)
    seen = [name for name in dir(instance) if "mem" in name.lower() or "core" in name.lower()]
    trap.holds(not seen and instance.get_export_index(store, "memory") is None, str(seen))


WIT = """package a:b@1.0.0;
world one { export f: func(); }
world two { import g: func(); }
"""
APP = "import wit_world\nclass WitWorld(wit_world.WitWorld):\n    def f(self): pass\n"


def test_componentize_py_cannot_merge_worlds_that_have_functions(tmp_path: Path) -> None:
    """It is only looked at, never fixed around twice: one world that includes the others does the same."""
    trap = Trap(
        "W14", "writing a world that includes the others (pipeline/workshop/languages/python.py)", "componentize-py"
    )
    try:
        home = toolchains.wheel("componentize-py")
    except MissingToolchainError as error:
        absent(error)
    (tmp_path / "worlds.wit").write_text(WIT)
    (tmp_path / "app.py").write_text(APP)
    done = subprocess.run(
        [
            *python.command(),
            "--quiet",
            "-d",
            "worlds.wit",
            "-w",
            "one",
            "-w",
            "two",
            "componentize",
            "--stub-wasi",
            "app",
        ],
        cwd=tmp_path,
        env=python.environment(home),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    trap.holds(done.returncode != 0 and "panicked" in done.stderr, f"it says {done.stderr or 'nothing, and succeeds'}")
