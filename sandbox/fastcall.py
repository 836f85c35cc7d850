"""wasmtime through its C bindings: the only file that knows them.

Threat: a wrong signature or a stale address here corrupts the host. So the shapes that are relied on are checked before
anything is called (`_check_shapes`), every buffer lives as long as the object that passes its address, and nothing is kept of
a store once it is deleted.

Two handles of the same shared library: `_held` keeps the interpreter lock and is for calls that take well under a microsecond
and never run guest code; `_free` lets go of it and is for whatever may run guest code. (Getting the lock back can take a whole
switch interval when another thread is busy.)
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Sequence
from ctypes import c_bool, c_int64, c_size_t, c_uint64, c_void_p
from importlib.metadata import version
from typing import Any

from wasmtime import Config, Engine, FuncType, Linker, Trap, ValType, WasmtimeError
from wasmtime import _bindings as bindings
from wasmtime import _ffi as ffi

from sandbox.calls import (
    GuestTrap,
    Link,
    LinkError,
    LinkPlan,
    Running,
    Seat,
    TrapFacts,
    Tuning,
    facts_of,
    facts_of_text,
)
from sandbox.host import HostImport, HostState
from sandbox.memory import GuestMemory

WORDS_MAX = 32
"""Parameters or results one call may have: each takes a `wasmtime_val_raw_t` of 16 bytes."""
LARGE_MEMORY_BYTES = 1 << 20
"""Resetting more than this takes long enough to let other threads go on meanwhile."""
STRATEGY_WINCH = 2

_Callback = ctypes.CFUNCTYPE(c_size_t, c_void_p, c_void_p, c_void_p, c_size_t)
"""`wasmtime_func_unchecked_callback_t`, with plain addresses."""
_Words = c_uint64 * (2 * WORDS_MAX)

_HELD: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "wasmtime_store_new": (c_void_p, (c_void_p, c_void_p, c_void_p)),
    "wasmtime_store_context": (c_void_p, (c_void_p,)),
    "wasmtime_store_limiter": (None, (c_void_p, c_int64, c_int64, c_int64, c_int64, c_int64)),
    "wasmtime_store_delete": (None, (c_void_p,)),
    "wasmtime_context_set_epoch_deadline": (None, (c_void_p, c_uint64)),
    "wasmtime_context_set_fuel": (c_void_p, (c_void_p, c_uint64)),
    "wasmtime_context_get_fuel": (c_void_p, (c_void_p, c_void_p)),
    "wasmtime_instance_export_nth": (c_bool, (c_void_p, c_void_p, c_size_t, c_void_p, c_void_p, c_void_p)),
    "wasmtime_instance_pre_instantiate": (c_void_p, (c_void_p, c_void_p, c_void_p, c_void_p)),
    "wasmtime_memory_data": (c_void_p, (c_void_p, c_void_p)),
    "wasmtime_memory_data_size": (c_size_t, (c_void_p, c_void_p)),
    "wasmtime_caller_context": (c_void_p, (c_void_p,)),
    "wasmtime_caller_export_get": (c_bool, (c_void_p, ctypes.c_char_p, c_size_t, c_void_p)),
    "wasmtime_linker_define_func_unchecked": (
        c_void_p,
        (c_void_p, ctypes.c_char_p, c_size_t, ctypes.c_char_p, c_size_t, c_void_p, _Callback, c_void_p, c_void_p),
    ),
    "wasmtime_trap_new": (c_void_p, (ctypes.c_char_p, c_size_t)),
    "wasmtime_engine_increment_epoch": (None, (c_void_p,)),
}
_FREE: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "wasmtime_instance_pre_instantiate": _HELD["wasmtime_instance_pre_instantiate"],
    "wasmtime_func_call_unchecked": (c_void_p, (c_void_p, c_void_p, c_void_p, c_size_t, c_void_p)),
    "wasmtime_store_delete": _HELD["wasmtime_store_delete"],
}
_SIZES = {
    "wasmtime_func_t": 16,
    "wasmtime_memory_t": 24,
    "wasmtime_instance_t": 16,
    "wasmtime_extern_t": 32,
    "wasmtime_val_raw_t": 16,
}


class _Library:
    """The bound functions. `held_x` and `free_x` would be the same C function `x` with and without the interpreter lock."""

    def __init__(self) -> None:
        _check_shapes()
        held, free = ctypes.PyDLL(str(ffi.filename)), ctypes.CDLL(str(ffi.filename))
        self.store_new = _bind(held, "wasmtime_store_new")
        self.store_context = _bind(held, "wasmtime_store_context")
        self.store_limiter = _bind(held, "wasmtime_store_limiter")
        self.store_delete = _bind(held, "wasmtime_store_delete")
        self.store_delete_free = _bind(free, "wasmtime_store_delete")
        self.set_epoch_deadline = _bind(held, "wasmtime_context_set_epoch_deadline")
        self.set_fuel = _bind(held, "wasmtime_context_set_fuel")
        self.get_fuel = _bind(held, "wasmtime_context_get_fuel")
        self.export_nth = _bind(held, "wasmtime_instance_export_nth")
        self.instantiate = _bind(held, "wasmtime_instance_pre_instantiate")
        self.instantiate_free = _bind(free, "wasmtime_instance_pre_instantiate")
        self.func_call_free = _bind(free, "wasmtime_func_call_unchecked")
        self.memory_data = _bind(held, "wasmtime_memory_data")
        self.memory_size = _bind(held, "wasmtime_memory_data_size")
        self.caller_context = _bind(held, "wasmtime_caller_context")
        self.caller_export = _bind(held, "wasmtime_caller_export_get")
        self.define = _bind(held, "wasmtime_linker_define_func_unchecked")
        self.trap_new = _bind(held, "wasmtime_trap_new")
        self.increment_epoch = _bind(held, "wasmtime_engine_increment_epoch")


def _bind(library: ctypes.CDLL, name: str) -> Any:
    function = library[name]
    table = _HELD if isinstance(library, ctypes.PyDLL) else _FREE
    function.restype, function.argtypes = table[name]
    return function


def _check_shapes() -> None:
    """Raises LinkError when this wasmtime is not the one this file was written against."""
    if not version("wasmtime").startswith("50."):
        raise LinkError(f"wasmtime {version('wasmtime')}: the C bindings are known for 50 only")
    for name, size in _SIZES.items():
        actual = ctypes.sizeof(getattr(bindings, name))
        if actual != size:
            raise LinkError(f"{name} has {actual} bytes, not {size}")
    for field, offset in (("kind", 0), ("of", 8)):
        if getattr(bindings.wasmtime_extern_t, field).offset != offset:
            raise LinkError(f"wasmtime_extern_t.{field} is not at {offset}")


class FastCalls:
    """wasmtime's C bindings."""

    name = "fast"
    can_pool = True

    def __init__(self) -> None:
        self._library = _Library()

    def configure(self, config: Config, tuning: Tuning) -> None:
        """Winch, the async stack's size, no concurrency support (it needs reference types), and the pool."""
        pointer = config.ptr()
        bindings.wasmtime_config_concurrency_support_set(pointer, False)
        if tuning.winch:
            bindings.wasmtime_config_strategy_set(pointer, STRATEGY_WINCH)
        if tuning.async_stack_bytes is not None:
            bindings.wasmtime_config_async_stack_size_set(pointer, tuning.async_stack_bytes)
        if tuning.pool is not None:
            _configure_pool(pointer, tuning)

    def incrementer(self, engine: Engine) -> Callable[[], None]:
        """Without letting go of the interpreter lock."""
        increment, address = self._library.increment_epoch, _address(engine.ptr())

        def bump() -> None:
            assert engine is not None  # keeps the engine alive for as long as its address is used
            increment(address)

        return bump

    def link(self, plan: LinkPlan) -> Link:
        """Resolve the plan's imports."""
        return FastLink(self._library, plan)


def _configure_pool(config: Any, tuning: Tuning) -> None:
    pool = tuning.pool
    assert pool is not None
    options = {
        "total_core_instances": pool.slots,
        "total_memories": pool.slots * pool.memories,
        "total_tables": pool.slots * pool.tables,
        "max_memories_per_module": pool.memories,
        "max_tables_per_module": pool.tables,
        "table_elements": pool.table_elements,
        "max_memory_size": pool.memory_bytes_max,
        "max_unused_warm_slots": pool.slots,
        "linear_memory_keep_resident": 256
        << 10,  # below this, zeroing beats giving pages back and faulting them in again
        "table_keep_resident": 4096,
        "total_stacks": 0,  # for async calls, components and garbage collection, which guests here do not have: a thousand
        "total_component_instances": 0,  # of each by default, and a mapping or two apiece
        "total_gc_heaps": 0,
    }
    handle = bindings.wasmtime_pooling_allocation_config_new()
    try:
        for name, value in options.items():
            getattr(bindings, f"wasmtime_pooling_allocation_config_{name}_set")(handle, value)
        bindings.wasmtime_pooling_allocation_strategy_set(config, handle)
    finally:
        bindings.wasmtime_pooling_allocation_config_delete(handle)


class FastLink:
    """A module whose imports are resolved."""

    def __init__(self, library: _Library, plan: LinkPlan) -> None:
        self.library = library
        self.plan = plan
        self.running = Running()
        self._callbacks: list[Any] = []
        linker = Linker(plan.engine)
        for one in plan.imports:
            self._define(linker, one)
        try:
            self._pre = linker.instantiate_pre(plan.module)
        except WasmtimeError as error:
            raise LinkError(str(error)) from None
        self.pre_address = _address(self._pre.ptr())
        self.engine_address = _address(plan.engine.ptr())

    def seat(self) -> Seat:
        """A new, empty seat."""
        return FastSeat(self)

    def _define(self, linker: Linker, one: HostImport) -> None:
        callback = _Callback(_trampoline(self.library, self.running, one))
        self._callbacks.append(callback)
        kind = FuncType([_TYPES[name]() for name in one.parameters], [_TYPES[one.result]()] if one.result else [])
        module, name = one.module.encode(), one.name.encode()
        error = self.library.define(
            _address(linker.ptr()), module, len(module), name, len(name), _address(kind.ptr()), callback, None, None
        )
        if error:
            raise LinkError(_take_error(error))


_STOPPED = b"stopped by the host"
_TYPES: dict[str, Callable[[], ValType]] = {"i32": ValType.i32, "i64": ValType.i64}


def _trampoline(library: _Library, running: Running, one: HostImport) -> Callable[[Any, int, int | None, int], int]:
    """The C side of a host import. Returns 0, or the address of a trap that wasmtime then owns."""
    masks = tuple(0xFFFFFFFF if kind == "i32" else 0xFFFFFFFFFFFFFFFF for kind in one.parameters)
    places = tuple(range(0, 2 * len(masks), 2))
    words_type = c_uint64 * max(2, 2 * len(masks))

    def call(_data: Any, caller: int, arguments: int | None, _count: int) -> int:
        state = running.host
        assert state is not None
        try:
            words = words_type.from_address(arguments) if arguments else ()
            memory = _CallerMemory.of(library, caller) if masks else None
            result = one.invoke(state, memory, [words[at] & mask for at, mask in zip(places, masks, strict=True)])
            if one.result:
                words[0] = (result or 0) & 0xFFFFFFFFFFFFFFFF  # type: ignore[index]
        except BaseException as error:  # an interrupt may strike anywhere; ctypes would print it and go on
            state.error = error
            state.trap()
        return int(library.trap_new(_STOPPED, len(_STOPPED))) if state.trapping else 0

    return call


class _CallerMemory(GuestMemory):
    """The memory of a guest that is inside a host call. Valid during that call only, in which it neither grows nor moves: the guest
    waits, and no host function calls back. So wasmtime is asked once.
    """

    __slots__ = ("_at", "_bytes", "_context", "_item", "_library")

    def __init__(self, library: _Library, context: int, item: Any) -> None:
        self._library = library
        self._context = context
        self._item = item
        self._at = 0
        self._bytes = -1

    @classmethod
    def of(cls, library: _Library, caller: int) -> _CallerMemory | None:
        item = bindings.wasmtime_extern_t()
        if not library.caller_export(caller, b"memory", 6, ctypes.addressof(item)):
            return None
        if item.kind != ffi.WASMTIME_EXTERN_MEMORY.value:
            return None
        return cls(library, library.caller_context(caller), item)

    def size(self) -> int:
        if self._bytes < 0:
            self._bytes = self._library.memory_size(self._context, ctypes.addressof(self._item.of))
        return self._bytes

    def base(self) -> int:
        if not self._at:
            self._at = self._library.memory_data(self._context, ctypes.addressof(self._item.of))
        return self._at


class _SeatMemory(GuestMemory):
    """The exported memory of the instance in a seat, which sets `context` (and is not known here: no cycles)."""

    __slots__ = ("_base", "_handle", "_size", "context")

    def __init__(self, library: _Library, handle: int) -> None:
        self._size: Callable[[int, int], int] = library.memory_size
        self._base: Callable[[int, int], int] = library.memory_data
        self._handle = handle
        self.context = 0

    def size(self) -> int:
        return self._size(self.context, self._handle)

    def base(self) -> int:
        return self._base(self.context, self._handle)


class FastSeat:
    """One instance at a time; all buffers are made once."""

    def __init__(self, link: FastLink) -> None:
        plan, library = link.plan, link.library
        self._link = link
        self._library = library
        self._limits = plan.limits
        self._hosted = bool(plan.imports)
        self._host: HostState | None = None
        self._instantiate = library.instantiate_free if plan.runs_at_start else library.instantiate
        self._words = _Words()
        self._words_address = ctypes.addressof(self._words)
        self._trap = c_void_p()
        self._trap_address = ctypes.addressof(self._trap)
        self._instance = bindings.wasmtime_instance_t()
        self._name, self._name_length = c_void_p(), c_size_t()
        self._items = [bindings.wasmtime_extern_t() for _ in range(len(plan.exports.functions) + 1)]
        self._handles = [ctypes.addressof(item) + bindings.wasmtime_extern_t.of.offset for item in self._items]
        wanted = (*plan.exports.functions, plan.exports.memory)
        self._wanted = [
            (position, ctypes.addressof(item))
            for position, item in zip(wanted, self._items, strict=True)
            if position >= 0
        ]
        self._store: int | None = None
        self._context = 0
        self.memory = _SeatMemory(library, self._handles[-1])
        self._has_memory = plan.exports.memory >= 0
        self._complete = False
        """The exports' handles belong to the open store; a handle of another store would abort the process."""

    @property
    def is_open(self) -> bool:
        """There is an instance."""
        return self._complete

    def open(self, host: HostState, ticks: int) -> None:
        """A new store and instance."""
        assert self._store is None
        library, limits = self._library, self._limits
        self._trap.value = None  # an interrupt may have struck before the last one was taken
        store = library.store_new(self._link.engine_address, None, None)
        self._store, self._host = store, host
        self._context = context = library.store_context(store)
        library.store_limiter(
            store, limits.memory_bytes, limits.table_elements, limits.instances, limits.tables, limits.memories
        )
        library.set_epoch_deadline(context, ticks)
        if self._link.plan.metered:
            library.set_fuel(context, STARTING_FUEL)
        try:
            self._enter()
        except BaseException:
            self.close()
            raise
        self._find_exports()

    def _enter(self) -> None:
        running = self._link.running
        before, running.host = running.host, self._host
        try:
            error = self._instantiate(
                self._link.pre_address, self._context, ctypes.addressof(self._instance), self._trap_address
            )
        finally:
            running.host = before
        if self._trap.value:
            raise GuestTrap(self._take_trap())
        if error:
            raise LinkError(_take_error(error))

    def _find_exports(self) -> None:
        export_nth, context, instance = self._library.export_nth, self._context, ctypes.addressof(self._instance)
        name, length = ctypes.addressof(self._name), ctypes.addressof(self._name_length)
        for position, item in self._wanted:
            export_nth(context, instance, position, name, length, item)
        self.memory.context = context
        self._complete = True

    def call(self, function: int, first: int = 0, second: int = 0) -> int:
        """The raw 64 bits of the result; a caller that expects an i32 takes the low half."""
        words = self._words
        words[0], words[2] = first, second
        self._run(function, 2)
        result: int = words[0]
        return result

    def call_words(self, function: int, words: Sequence[int], results: int) -> Sequence[int]:
        """Any signature of up to 32 parameters and results."""
        length = max(len(words), results, 1)
        if length > WORDS_MAX:
            raise LinkError(f"a function of {length} parameters or results; {WORDS_MAX} is the most")
        for at, word in enumerate(words):
            self._words[2 * at] = word
        self._run(function, length)
        return [self._words[2 * at] for at in range(results)]

    def _run(self, function: int, length: int) -> None:
        if self._hosted:
            running = self._link.running
            before, running.host = running.host, self._host
            try:
                error = self._library.func_call_free(
                    self._context, self._handles[function], self._words_address, length, self._trap_address
                )
            finally:
                running.host = before
        else:
            error = self._library.func_call_free(
                self._context, self._handles[function], self._words_address, length, self._trap_address
            )
        if self._trap.value:
            raise GuestTrap(self._take_trap())
        if error:
            raise GuestTrap(facts_of_text(_take_error(error)))

    def arm(self, ticks: int) -> None:
        """Trap after this many epochs from now."""
        self._library.set_epoch_deadline(self._context, ticks)

    def set_fuel(self, fuel: int) -> None:
        """Fuel left from now on."""
        error = self._library.set_fuel(self._context, fuel)
        assert not error

    def fuel(self) -> int:
        """Fuel left."""
        left = c_uint64()
        error = self._library.get_fuel(self._context, ctypes.addressof(left))
        assert not error
        return left.value

    def close(self) -> None:
        """Discard the instance and its memory."""
        store, self._store = self._store, None
        if store is None:
            return
        self._host = None
        large = self._has_memory and self._complete and self.memory.size() > LARGE_MEMORY_BYTES
        self._complete, self._context, self.memory.context = False, 0, 0
        (self._library.store_delete_free if large else self._library.store_delete)(store)

    def __del__(self, is_finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        if (
            not is_finalizing()
        ):  # then nothing of this module need be there any more, and the process gives back everything
            self.close()

    def _take_trap(self) -> TrapFacts:
        trap = Trap._from_ptr(_pointer(bindings.wasm_trap_t, self._trap.value or 0))  # noqa: SLF001 - no public way
        self._trap.value = None
        return facts_of(trap)


STARTING_FUEL = 1 << 60
"""For start functions and the like: their bound is the deadline."""


def _address(pointer: Any) -> int:
    """The address a ctypes pointer holds, without making the reference cycle that `ctypes.cast` makes."""
    return c_void_p.from_buffer(pointer).value or 0


def _pointer(kind: Any, address: int) -> Any:
    """A ctypes pointer to `address`."""
    return ctypes.POINTER(kind).from_buffer_copy(c_uint64(address))


def _take_error(address: int) -> str:
    error = WasmtimeError._from_ptr(_pointer(bindings.wasmtime_error_t, address))  # noqa: SLF001 - no public way
    return str(error)
