"""Runs single exported functions of any signature under the same limits as transformers.

Arguments are numbers, or bytes for modules that export `penstock_v1_alloc`: those are copied in and passed as address and
length. Each call gets a fresh instance.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from wasmtime import Engine, FuncType, MemoryType, Module

from sandbox.calls import Calls, Exports, GuestTrap, LinkError, LinkPlan, Seat, StoreLimits
from sandbox.epoch import EpochTicker
from sandbox.errors import MemoryQuotaExceeded, SandboxError, error_for
from sandbox.escapes import Pattern
from sandbox.heap import Heap
from sandbox.host import Gate, HostImport, HostState, Services
from sandbox.modules import signature
from sandbox.stats import Counters
from sandbox.text import cut, printable
from sandbox.traps import Readings, classify
from schemas import abi
from schemas.errors import ModuleFault
from schemas.limits import Limits, format_bytes
from schemas.outcome import ViolationKind

Number = int | float
Argument = int | float | bytes

FUNCTION, ALLOC, FREE, INITIALIZE = range(4)
NAMES_CHARACTERS_MAX = 1000
FREE_EXPORT = "penstock_v1_free"
_HELPERS = {abi.ALLOC: "(i32) -> i32", FREE_EXPORT: "(i32, i32) -> ()", abi.INITIALIZE: "() -> ()"}
"""Exports that are used when they have exactly this type."""
_FORMATS = {"f32": ("<f", "<I"), "f64": ("<d", "<Q")}
_BITS = {"i32": 32, "i64": 64}


@dataclass(frozen=True, slots=True)
class CompiledModule:
    """A module that `Sandbox.execute` can call into."""

    name: str
    engine: Engine
    module: Module
    limits: Limits
    imports: tuple[HostImport, ...]
    memories: int
    runs_at_start: bool
    metered: bool
    gate: Gate


@dataclass(frozen=True, slots=True)
class Machinery:
    """What the sandbox lends to a call."""

    calls: Calls
    ticker: EpochTicker
    services: Services
    clock_ns: Callable[[], int]
    counters: Counters


class FunctionRunner:
    """One exported function of one module. Safe from any thread: each run has its own instance."""

    def __init__(self, compiled: CompiledModule, function: str, machinery: Machinery) -> None:
        """Raises ModuleFault when there is no such function, or one with values that are no numbers."""
        self._compiled = compiled
        self._machinery = machinery
        kinds = {one.name: one.type for one in compiled.module.exports}
        kind = kinds.get(function)
        if not isinstance(kind, FuncType):
            names = ", ".join(sorted(name for name, one in kinds.items() if isinstance(one, FuncType))) or "none"
            remedy = f"it exports {cut(printable(names), NAMES_CHARACTERS_MAX)}"
            raise ModuleFault(compiled.name, f"does not export a function `{function}`", remedy)
        self._parameters = [str(one) for one in kind.params]
        self._results = [str(one) for one in kind.results]
        if not {*self._parameters, *self._results} <= {*_BITS, *_FORMATS}:
            raise ModuleFault(compiled.name, f"`{function}` takes or returns values that are no numbers")
        self._positions = _positions(compiled.module, function)
        self._link = machinery.calls.link(self._link_plan())

    def run(self, arguments: Sequence[Argument]) -> tuple[Number, ...]:
        """Call it in a fresh instance. Raises SandboxError for what the guest does, TypeError for arguments that do not fit."""
        machinery, limits = self._machinery, self._compiled.limits
        host = HostState(machinery.services, limits.log_bytes_per_batch, self._compiled.gate)
        seat = self._link.seat()
        machinery.ticker.enter()
        began = machinery.clock_ns()
        host.ends_ns = began + limits.deadline_ms * 1_000_000
        try:
            return self._call(seat, host, arguments)
        except GuestTrap as trap:
            if host.error is not None:
                raise host.error from None
            raise self._error(trap, seat, host, began) from None
        except LinkError as error:
            raise self._instantiation_error(str(error)) from None
        finally:
            machinery.ticker.leave()
            seat.close()
            if host.wasi is not None:
                host.wasi.close()
            self._compiled.gate.record(host.uses)
            if host.escapes:
                machinery.counters.escaped(host.escapes)

    def _call(self, seat: Seat, host: HostState, arguments: Sequence[Argument]) -> tuple[Number, ...]:
        seat.open(host, self._ticks())
        if self._positions[INITIALIZE] >= 0:
            seat.call(INITIALIZE)
        heap = Heap(seat, ALLOC, FREE if self._positions[FREE] >= 0 else None)
        words = self._words(arguments, heap)
        seat.arm(self._ticks())
        if self._compiled.metered:
            seat.set_fuel(self._compiled.limits.fuel_per_event or 0)
        results = seat.call_words(FUNCTION, words, len(self._results))
        for address, size in heap.live.items():
            heap.deallocate(address, size)
        return tuple(_from_word(word, kind) for word, kind in zip(results, self._results, strict=True))

    def _words(self, arguments: Sequence[Argument], heap: Heap) -> list[int]:
        """Raw words for these arguments; bytes become an address and a length."""
        width = sum(2 if isinstance(one, bytes) else 1 for one in arguments)
        if width != len(self._parameters):
            raise TypeError(f"arguments for {width} parameters; the function has ({', '.join(self._parameters)})")
        if any(isinstance(one, bytes) for one in arguments) and self._positions[ALLOC] < 0:
            raise TypeError(f"bytes need the module to export `{abi.ALLOC}` as {_HELPERS[abi.ALLOC]}")
        flat: list[Number] = []
        for argument in arguments:
            flat.extend(heap.place(argument) if isinstance(argument, bytes) else (argument,))
        return [_to_word(value, kind) for value, kind in zip(flat, self._parameters, strict=True)]

    def _ticks(self) -> int:
        return self._machinery.ticker.ticks(self._compiled.limits.deadline_ms)

    def _error(self, trap: GuestTrap, seat: Seat, host: HostState, began: int) -> SandboxError:
        limits = self._compiled.limits
        memory_bytes = seat.memory.size() if seat.is_open and self._positions[-1] >= 0 else 0
        readings = Readings(self._machinery.clock_ns() - began, memory_bytes, limits.memory_bytes)
        trouble = classify(trap.facts, host, limits, readings)
        if trouble.kind is ViolationKind.BOUNDS:
            self._machinery.counters.escaped({Pattern.OWN_ACCESS: 1})
        message = f"{self._compiled.name}: {trouble.message}"
        return error_for(trouble.kind, message, deadline_ms=limits.deadline_ms, backtrace=trouble.backtrace)

    def _instantiation_error(self, message: str) -> SandboxError:
        name, limit = self._compiled.name, format_bytes(self._compiled.limits.memory_bytes)
        if "memory" in message:
            return MemoryQuotaExceeded(f"{name}: needs more than its {limit} of memory: {message}")
        if "exceeds table limits" in message:
            return MemoryQuotaExceeded(
                f"{name}: needs more than its {self._compiled.limits.table_elements} table elements: {message}"
            )
        return SandboxError(f"{name}: cannot be instantiated: {message}")

    def _link_plan(self) -> LinkPlan:
        compiled = self._compiled
        return LinkPlan(
            engine=compiled.engine,
            module=compiled.module,
            imports=compiled.imports,
            exports=Exports(memory=self._positions[-1], functions=self._positions[:-1]),
            limits=StoreLimits.of(compiled.limits, compiled.memories),
            runs_at_start=compiled.runs_at_start,
            metered=compiled.metered,
        )


def _positions(module: Module, function: str) -> tuple[int, ...]:
    """Where the function, its helpers and the memory are among the exports; -1 for what is absent or of another type.

    A call passes raw words by position, so nothing may be called that was not compared with its type first.
    """
    found = dict.fromkeys((function, *_HELPERS, abi.MEMORY), -1)
    for at, export in enumerate(module.exports):
        kind = export.type
        if isinstance(kind, MemoryType):
            fits = export.name == abi.MEMORY and not kind.is_64 and not kind.is_shared
        else:
            wanted = _HELPERS.get(export.name)
            fits = isinstance(kind, FuncType) and (export.name == function or signature(kind) == wanted)
        if fits and export.name in found:
            found[export.name] = at
    return tuple(found[name] for name in (function, abi.ALLOC, FREE_EXPORT, abi.INITIALIZE, abi.MEMORY))


def _to_word(value: Number, kind: str) -> int:
    """The raw word for a number. Raises TypeError when it does not fit the parameter."""
    if kind in _FORMATS:
        packed, raw = _FORMATS[kind]
        word: int = struct.unpack(raw, struct.pack(packed, value))[0]
        return word
    bits = _BITS[kind]
    if not isinstance(value, int) or not -(1 << (bits - 1)) <= value < 1 << bits:
        raise TypeError(f"{value!r} is no {kind}")
    return value & ((1 << bits) - 1)


def _from_word(word: int, kind: str) -> Number:
    """The number in a raw word; integers are signed."""
    if kind in _FORMATS:
        packed, raw = _FORMATS[kind]
        mask = 0xFFFFFFFF if kind == "f32" else 0xFFFFFFFFFFFFFFFF
        number: float = struct.unpack(packed, struct.pack(raw, word & mask))[0]
        return number
    bits = _BITS[kind]
    word &= (1 << bits) - 1
    return word - (1 << bits) if word >> (bits - 1) else word
