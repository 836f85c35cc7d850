"""wasmtime through its documented Python classes: slower, no pool, but nothing private.

A host function cannot trap here without raising, and what is raised there travels through a global of the whole process. So a
host function that wants its guest stopped sets the guest's deadline to now, and whatever the guest still returns is ignored.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Sequence
from typing import Any

from wasmtime import (
    Caller,
    Config,
    Engine,
    Func,
    FuncType,
    Linker,
    Memory,
    Store,
    Trap,
    ValType,
    WasmtimeError,
)

from sandbox.calls import GuestTrap, Link, LinkError, LinkPlan, Running, Seat, TrapFacts, Tuning, facts_of
from sandbox.host import HostImport, HostState
from sandbox.memory import GuestMemory
from sandbox.text import cut

STARTING_FUEL = 1 << 60
_TYPES: dict[str, Callable[[], ValType]] = {"i32": ValType.i32, "i64": ValType.i64}
_MASKS = {"i32": 0xFFFFFFFF, "i64": 0xFFFFFFFFFFFFFFFF}


class PublicCalls:
    """wasmtime's Python classes."""

    name = "public"
    can_pool = False

    def configure(self, config: Config, tuning: Tuning) -> None:
        """Nothing: the classes have no names for these options."""
        assert tuning == Tuning()

    def incrementer(self, engine: Engine) -> Callable[[], None]:
        """The engine's own method."""
        return engine.increment_epoch

    def link(self, plan: LinkPlan) -> Link:
        """Resolve the plan's imports."""
        return PublicLink(plan)


class PublicLink:
    """A module whose imports are resolved."""

    def __init__(self, plan: LinkPlan) -> None:
        self.plan = plan
        self.running = Running()
        linker = Linker(plan.engine)
        for one in plan.imports:
            results = [_TYPES[one.result]()] if one.result else []
            kind = FuncType([_TYPES[name]() for name in one.parameters], results)
            linker.define_func(one.module, one.name, kind, _host_function(self.running, one), access_caller=True)
        try:
            self.pre = linker.instantiate_pre(plan.module)
        except WasmtimeError as error:
            raise LinkError(str(error)) from None
        self.names = [export.name for export in plan.module.exports]

    def seat(self) -> Seat:
        """A new, empty seat."""
        return PublicSeat(self)


def _host_function(running: Running, one: HostImport) -> Callable[..., int | None]:
    masks = tuple(_MASKS[kind] for kind in one.parameters)

    def call(caller: Caller, *arguments: int) -> int | None:
        state = running.host
        assert state is not None
        if state.trapping:  # it is being stopped, and runs on until it looks at its epoch
            return 0 if one.result else None
        try:
            found = caller.get("memory") if masks else None
            memory = _Memory(found, caller) if isinstance(found, Memory) else None
            result = one.invoke(state, memory, [value & mask for value, mask in zip(arguments, masks, strict=True)])
        except BaseException as error:  # an interrupt may strike anywhere, and must not reach wasmtime
            state.error, result = error, 0
            state.trap()
        if state.trapping and running.store is not None:
            running.store.set_epoch_deadline(0)
        return _signed(result or 0, one.result) if one.result else None

    return call


def _signed(value: int, kind: str) -> int:
    bits = 32 if kind == "i32" else 64
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


class _Memory(GuestMemory):
    """A memory and what it is reached through: a store, or the caller of a host function."""

    __slots__ = ("_memory", "_store")

    def __init__(self, memory: Memory, store: Store | Caller) -> None:
        self._memory = memory
        self._store = store

    def size(self) -> int:
        return self._memory.data_len(self._store)

    def base(self) -> int:
        return ctypes.addressof(self._memory.data_ptr(self._store).contents)


class PublicSeat:
    """One instance at a time."""

    def __init__(self, link: PublicLink) -> None:
        self._link = link
        self._store: Store | None = None
        self._host: HostState | None = None
        self._functions: list[Any] = []
        self._memory: GuestMemory | None = None

    @property
    def is_open(self) -> bool:
        """There is an instance."""
        return self._store is not None

    @property
    def memory(self) -> GuestMemory:
        """The open instance's exported memory."""
        assert self._memory is not None
        return self._memory

    def open(self, host: HostState, ticks: int) -> None:
        """A new store and instance."""
        plan = self._link.plan
        self._store, self._host = Store(plan.engine), host
        limits = plan.limits
        self._store.set_limits(
            limits.memory_bytes, limits.table_elements, limits.instances, limits.tables, limits.memories
        )
        self._store.set_epoch_deadline(ticks)
        if plan.metered:
            self._store.set_fuel(STARTING_FUEL)
        try:
            instance = self._guarded(lambda: self._link.pre.instantiate(self._open_store))
            exports = instance.exports(self._store).by_index
            self._functions = [exports[at] if at >= 0 else None for at in plan.exports.functions]
            if plan.exports.memory >= 0:
                self._memory = _Memory(exports[plan.exports.memory], self._store)
        except BaseException:
            self.close()
            raise

    @property
    def _open_store(self) -> Store:
        assert self._store is not None
        return self._store

    def _guarded(self, action: Callable[[], Any]) -> Any:
        running = self._link.running
        before, running.host, running.store = (running.host, running.store), self._host, self._store
        try:
            result = action()
        except Trap as trap:
            raise GuestTrap(facts_of(trap)) from None
        except WasmtimeError as error:
            raise LinkError(cut(str(error), 512)) from None
        finally:
            running.host, running.store = before
        if self._host is not None and self._host.trapping:
            raise GuestTrap(TrapFacts("", "stopped by the host"))
        return result

    def call(self, function: int, first: int = 0, second: int = 0) -> int:
        """The raw 64 bits of the result."""
        return self.call_words(function, (first, second), 1)[0]

    def call_words(self, function: int, words: Sequence[int], results: int) -> Sequence[int]:
        """Any signature: raw words are made into the types that the function has."""
        target: Func = self._functions[function]
        kind = target.type(self._open_store)
        arguments = [_from_word(word, str(type_)) for word, type_ in zip(words, kind.params, strict=False)]
        try:
            returned = self._guarded(lambda: target(self._open_store, *arguments))
        except LinkError as error:
            raise GuestTrap(TrapFacts("", str(error))) from None
        values = returned if isinstance(returned, list) else [] if returned is None else [returned]
        made = [_to_word(value, str(type_)) for value, type_ in zip(values, kind.results, strict=True)]
        return made + [0] * (results - len(made))

    def arm(self, ticks: int) -> None:
        """Trap after this many epochs from now."""
        self._open_store.set_epoch_deadline(ticks)

    def set_fuel(self, fuel: int) -> None:
        """Fuel left from now on."""
        self._open_store.set_fuel(fuel)

    def fuel(self) -> int:
        """Fuel left."""
        return self._open_store.get_fuel()

    def close(self) -> None:
        """Discard the instance and its memory."""
        store, self._store = self._store, None
        self._host, self._memory, self._functions = None, None, []
        if store is not None:
            store.close()


def _from_word(word: int, kind: str) -> int | float:
    match kind:
        case "i32" | "i64":
            return _signed(word, kind)
        case "f32":
            single: float = struct.unpack("<f", struct.pack("<I", word & 0xFFFFFFFF))[0]
            return single
        case "f64":
            double: float = struct.unpack("<d", struct.pack("<Q", word))[0]
            return double
    raise LinkError(f"a value of type {kind} cannot be passed")


def _to_word(value: Any, kind: str) -> int:
    match kind:
        case "i32":
            return int(value) & 0xFFFFFFFF
        case "i64":
            return int(value) & 0xFFFFFFFFFFFFFFFF
        case "f32":
            return int.from_bytes(struct.pack("<f", value), "little")
        case "f64":
            return int.from_bytes(struct.pack("<d", value), "little")
    raise LinkError(f"a value of type {kind} cannot be returned")
