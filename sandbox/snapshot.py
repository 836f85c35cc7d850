"""Runs a module's own initialisation once and takes its memory: for guests whose engine is set up while they are built.

Threat: the script that runs is the builder's own, but it may never end, or take what it can get. It has no host functions, its memory
and its steps are limited, and it runs in an engine of its own.
"""

from __future__ import annotations

import ctypes

import wasmtime

from sandbox.memory import PAGE_BYTES
from schemas.errors import PenstockError

FUEL_MAX = 20_000_000_000
"""Roughly one unit for each instruction: well under a minute."""
MEMORY_BYTES_MAX = 256 << 20
MARK = 0x706E7374
"""Behind the input; the runtimes know it."""


class SnapshotError(PenstockError):
    """The initialisation trapped, ran too long, or said what is wrong with its input."""

    code = "snapshot"


def snapshot(wasm: bytes, function: str, given: bytes) -> bytes:
    """All of the memory as it is after `function`, which finds `given`, its size and a mark at the memory's end.

    What the function leaves there in place of its input, with its size behind it, is a problem. Raises SnapshotError with that, and
    when it traps. It may call no import.
    """
    config = wasmtime.Config()
    config.consume_fuel = True
    config.cranelift_opt_level = "none"  # it runs once
    try:
        store = wasmtime.Store(wasmtime.Engine(config))
        store.set_limits(memory_size=MEMORY_BYTES_MAX)
        store.set_fuel(FUEL_MAX)
        module = wasmtime.Module(store.engine, wasm)
        linker = wasmtime.Linker(store.engine)
        linker.define_unknown_imports_as_traps(module)
        exports = linker.instantiate(store, module).exports(store)
        memory, run = exports["memory"], exports[function]
        assert isinstance(memory, wasmtime.Memory)
        assert isinstance(run, wasmtime.Func)
        end = _place(store, memory, given)
        run(store)
    except (wasmtime.WasmtimeError, wasmtime.Trap, KeyError) as error:
        raise SnapshotError(_reason(error)) from None
    image = _image(store, memory)
    length = int.from_bytes(image[end : end + 4], "little")
    if length:
        raise SnapshotError(image[end - length : end].decode("utf-8", "replace"))
    return image


def _place(store: wasmtime.Store, memory: wasmtime.Memory, given: bytes) -> int:
    """Where the input ends, once it is there."""
    memory.grow(store, -(-(len(given) + 8) // PAGE_BYTES))
    block = given + len(given).to_bytes(4, "little") + MARK.to_bytes(4, "little")
    start = memory.data_len(store) - len(block)
    memory.write(store, block, start)
    return start + len(given)


def _image(store: wasmtime.Store, memory: wasmtime.Memory) -> bytes:
    return ctypes.string_at(memory.data_ptr(store), memory.data_len(store))


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"the runtime has no export {error}"
    if "fuel" in str(error):
        return "loading the script does not come to an end"
    return f"loading the script trapped: {str(error).strip().splitlines()[-1]}"
