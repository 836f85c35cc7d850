"""wasmtime's component classes, as much of them as a transformer takes: link once, then make, call and discard instances.

What these classes lack is worked around here. An error has no trap code, so the code is read from the last line of its text,
which is wasmtime's own. A host function may raise nothing but WasmtimeError: anything else is kept in one place for the whole
process and can surface in another thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from wasmtime import Engine, Store, WasmtimeError
from wasmtime.component import Component, Func, Instance, Linker

from sandbox.calls import BACKTRACE_CHARACTERS_MAX, GuestTrap, LinkError, Running, StoreLimits, TrapFacts
from sandbox.components.bridge import BridgedImport
from sandbox.host import HostState
from sandbox.text import cut, printable

STARTING_FUEL: Final = 1 << 60
MESSAGE_CHARACTERS_MAX: Final = 512
BACKTRACE_HEAD: Final = "error while executing at wasm backtrace:"
CAUSE: Final = "\n\nCaused by:"
TRAP_CODES: Final = {
    "wasm trap: interrupt": "INTERRUPT",
    "wasm trap: call stack exhausted": "STACK_OVERFLOW",
    "wasm trap: out of bounds memory access": "MEMORY_OUT_OF_BOUNDS",
    "wasm trap: wasm `unreachable` instruction executed": "UNREACHABLE",
    "wasm trap: all fuel consumed by WebAssembly": "OUT_OF_FUEL",
}
"""wasmtime's words for a trap -> the name of its code."""


class ComponentLink:
    """A component whose imports are resolved."""

    def __init__(
        self,
        engine: Engine,
        component: Component,
        imports: Sequence[BridgedImport],
        limits: StoreLimits,
        *,
        metered: bool,
    ) -> None:
        """Raises LinkError."""
        self.engine = engine
        self.limits = limits
        self.metered = metered
        self.running = Running()
        self._component = component
        self._linker = Linker(engine)
        try:
            with self._linker.root() as root:
                for one in imports:
                    root.add_func(one.name, _host_function(self.running, one))
        except WasmtimeError as error:
            raise LinkError(cut(str(error), MESSAGE_CHARACTERS_MAX)) from None

    def instantiate(self, store: Store) -> Instance:
        """Runs the component's start functions. Raises WasmtimeError."""
        return self._linker.instantiate(store, self._component)


def _host_function(running: Running, one: BridgedImport) -> Callable[..., Any]:
    def call(_store: Any, *arguments: Any) -> Any:
        state = running.host
        assert state is not None
        result = None
        try:
            result = one.call(state, arguments)
        except BaseException as error:  # an interrupt may strike anywhere
            state.error = error
            state.trap()
        if state.trapping:
            raise WasmtimeError("stopped by the host")
        return result

    return call


class ComponentSeat:
    """A place for one instance at a time. Used by one thread at a time."""

    def __init__(self, link: ComponentLink) -> None:
        self._link = link
        self._store: Store | None = None
        self._host: HostState | None = None
        self._instance: Instance | None = None
        self._functions: dict[str, Func] = {}

    @property
    def is_open(self) -> bool:
        """There is an instance."""
        return self._instance is not None

    def open(self, host: HostState, ticks: int) -> None:
        """Make an instance. Raises GuestTrap, LinkError; the seat is then closed again."""
        limits = self._link.limits
        self._store, self._host = Store(self._link.engine), host
        self._store.set_limits(
            limits.memory_bytes, limits.table_elements, limits.instances, limits.tables, limits.memories
        )
        self._store.set_epoch_deadline(ticks)
        if self._link.metered:
            self._store.set_fuel(STARTING_FUEL)
        try:
            self._instance = self._guarded(lambda: self._link.instantiate(self._opened))
        except BaseException:
            self.close()
            raise

    def call(self, function: str, text: str) -> Any:
        """Call an export that takes a text; what it returns. Raises GuestTrap."""
        found = self._functions.get(function) or self._find(function)
        try:
            return self._guarded(lambda: found(self._opened, text))
        except LinkError as error:
            raise GuestTrap(TrapFacts("", str(error))) from None

    def attach(self, host: HostState) -> None:
        """What the guest does from now on is noted on this state."""
        self._host = host

    def arm(self, ticks: int) -> None:
        """Trap after this many epochs from now."""
        self._opened.set_epoch_deadline(ticks)

    def set_fuel(self, fuel: int) -> None:
        """Fuel left from now on; only for metered engines."""
        self._opened.set_fuel(fuel)

    def fuel(self) -> int:
        """Fuel left."""
        return self._opened.get_fuel()

    def close(self) -> None:
        """Discard the instance and its memories. Safe to repeat."""
        store, self._store = self._store, None
        self._host, self._instance, self._functions = None, None, {}
        if store is not None:
            store.close()

    @property
    def _opened(self) -> Store:
        assert self._store is not None
        return self._store

    def _find(self, function: str) -> Func:
        assert self._instance is not None
        found = self._instance.get_func(self._opened, function)
        assert found is not None, "inspected at load"
        return self._functions.setdefault(function, found)

    def _guarded(self, action: Callable[[], Any]) -> Any:
        running = self._link.running
        before, running.host = running.host, self._host
        try:
            result = action()
        except WasmtimeError as error:
            raise _trouble(str(error)) from None
        finally:
            running.host = before
        assert self._host is not None
        if self._host.trapping:
            raise GuestTrap(TrapFacts("", "stopped by the host"))
        return result


def _trouble(text: str) -> GuestTrap | LinkError:
    """What an error of wasmtime's amounts to. Its text ends with the cause; function names before it are the guest's choice."""
    head, _, _ = text.rpartition(CAUSE)
    last = text.strip().splitlines()[-1].strip() if text.strip() else "trap"
    cause = last.partition(": ")[2] if last[:1].isdigit() else last
    if not text.startswith(BACKTRACE_HEAD) and not cause.startswith("wasm trap:"):
        return LinkError(cut(printable(cause), MESSAGE_CHARACTERS_MAX))
    backtrace = head.removeprefix(BACKTRACE_HEAD).strip("\n")
    return GuestTrap(
        TrapFacts(
            code=TRAP_CODES.get(cause, ""),
            message=printable(cause[:MESSAGE_CHARACTERS_MAX]),
            backtrace=cut(printable(backtrace), BACKTRACE_CHARACTERS_MAX),
        )
    )
