"""Traps of wasmtime-py, beside the sandbox: rows W1 to W9."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import pytest
from wasmtime import Config, Engine, Func, FuncType, Instance, Linker, Module, Store, WasmtimeError, _func

from tests.client_limits.trap import Trap

ADD = '(module (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add))'
GROW = '(module (memory 1) (func (export "grow") (result i32) (memory.grow (i32.const 100))))'
CALL = '(module (import "host" "f" (func $f)) (func (export "go") call $f))'


def instance(text: str, store: Store) -> Instance:
    return Instance(store, Module(store.engine, text), [])


def test_every_call_looks_its_type_up(monkeypatch: pytest.MonkeyPatch) -> None:
    trap = Trap("W1", "calling through the C bindings (sandbox/fastcall.py)", "wasmtime")
    store = Store()
    add = instance(ADD, store).exports(store)["add"]
    assert isinstance(add, Func)
    looked, look = [], Func.type
    monkeypatch.setattr(Func, "type", lambda self, of: (looked.append(1), look(self, of))[1])
    assert [add(store, 1, number) for number in range(3)] == [1, 2, 3]
    trap.holds(len(looked) == 3)


def test_the_pool_and_winch_have_no_setting() -> None:
    trap = Trap("W2", "setting both through the C bindings (sandbox/fastcall.py)", "wasmtime")
    trap.holds(not [name for name in dir(Config) if "pool" in name], "Config has a pool")
    with trap.raises(WasmtimeError, AttributeError, TypeError, ValueError):
        Config().strategy = "winch"


def test_one_place_for_the_exceptions_of_all_threads() -> None:
    trap = Trap("W3", "host functions that never raise (HostImport.invoke)", "wasmtime")
    trap.holds(hasattr(_func, "LAST_EXCEPTION"))


class _Held:
    """What a closure drags along."""


def _hold() -> weakref.ref[_Held]:
    """Make a store whose host function refers to it, and let go of both."""
    held, store = _Held(), Store()

    def host() -> None:
        assert store and held

    Func(store, FuncType([], []), host)
    return weakref.ref(held)


def test_a_host_function_that_holds_its_store_keeps_it_for_ever() -> None:
    trap = Trap("W4", "closing stores by hand, and host functions that hold none (sandbox/calls.py)", "wasmtime")

    gone = _hold()
    gc.collect()
    trap.holds(gone() is not None, "it is collected")


def test_nothing_interrupts_a_host_function() -> None:
    trap = Trap("W5", "short host calls of bounded size (sandbox/memory.py::CALL_BYTES_MAX)", "wasmtime")
    config = Config()
    config.epoch_interruption = True
    engine = Engine(config)
    store, done = Store(engine), []
    store.set_epoch_deadline(1)

    def late() -> None:
        for _ in range(3):
            engine.increment_epoch()
        done.append("ran to its end")

    linker = Linker(engine)
    linker.define_func("host", "f", FuncType([], []), late)
    go = linker.instantiate(store, Module(engine, CALL)).exports(store)["go"]
    assert isinstance(go, Func)
    go(store)
    trap.holds(done == ["ran to its end"])


def test_memory_that_cannot_grow_is_minus_one_and_nobody_is_told() -> None:
    trap = Trap("W6", "telling memory by its size (sandbox/traps.py::classify)", "wasmtime")
    store = Store()
    store.set_limits(memory_size=1 << 17)
    grow = instance(GROW, store).exports(store)["grow"]
    assert isinstance(grow, Func)
    trap.holds(grow(store) == -1)


def test_the_interpreter_is_a_target() -> None:
    trap = Trap("W7", "choosing the tier by target (sandbox/compiler.py)", "wasmtime")
    config = Config()
    config.target = "pulley64"
    store = Store(Engine(config))
    add = instance(ADD, store).exports(store)["add"]
    assert isinstance(add, Func)
    trap.holds(add(store, 1, 2) == 3)


def test_compiled_code_is_loaded_without_a_question() -> None:
    trap = Trap("W8", "authenticating the files of compiled code (sandbox/cache.py)", "wasmtime")
    engine = Engine()
    blob = bytes(Module(engine, ADD).serialize())
    loaded = Module.deserialize(engine, blob)
    trap.holds([export.name for export in loaded.exports] == ["add"])


def test_it_is_pinned_to_its_major() -> None:
    """Row W9: majors come monthly and break the API."""
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert '"wasmtime>=50,<51"' in text and '"aiokafka>=0.14,<0.15"' in text
