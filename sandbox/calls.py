"""What the sandbox needs of wasmtime beyond compiling: link a module once, then make, call and discard instances fast.

Two implementations serve the same interface and pass the same tests: `fastcall` over wasmtime's C bindings, `publiccall` over
its documented Python classes. `choose` takes the first unless the bindings are missing or of another shape.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Protocol

from wasmtime import Config, Engine, Module

from sandbox.memory import GuestMemory
from sandbox.text import cut, printable
from schemas.limits import Limits

if TYPE_CHECKING:
    from sandbox.host import HostImport, HostState

ALLOC: Final = 0
TRANSFORM: Final = 1
CONFIGURE: Final = 2
CURSOR: Final = 3
INITIALIZE: Final = 4

BACKTRACE_CHARACTERS_MAX: Final = 4096


@dataclass(frozen=True, slots=True)
class TrapFacts:
    """Why a call into a guest did not return."""

    code: str
    """Name of wasmtime's trap code, e.g. `UNREACHABLE`; empty when there is none."""
    message: str
    """One line."""
    backtrace: str = ""
    """wasm frames, innermost first, cut to a bound."""


class GuestTrap(Exception):
    """A call into a guest trapped. Internal: never leaves the package."""

    def __init__(self, facts: TrapFacts) -> None:
        super().__init__(facts.message)
        self.facts = facts


class LinkError(Exception):
    """A module cannot be linked or instantiated, without any of its code being to blame. Internal."""


@dataclass(frozen=True, slots=True)
class StoreLimits:
    """Caps that a store enforces; `memory_bytes` is for each memory."""

    memory_bytes: int
    table_elements: int
    instances: int
    tables: int
    memories: int

    @classmethod
    def of(cls, limits: Limits, memories: int) -> StoreLimits:
        """For a module with this many memories, which share what the limits grant."""
        return cls(
            memory_bytes=limits.memory_bytes // max(1, memories),
            table_elements=limits.table_elements,
            instances=limits.instances,
            tables=limits.tables,
            memories=limits.memories,
        )


@dataclass(frozen=True, slots=True)
class Exports:
    """Positions in the module's export list; -1 is absent. `functions[ALLOC]` and so on for a transformer."""

    memory: int
    functions: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class LinkPlan:
    """Everything an implementation needs to make instances of one module."""

    engine: Engine
    module: Module
    imports: Sequence[HostImport]
    exports: Exports
    limits: StoreLimits
    runs_at_start: bool
    """The module has a start function, so instantiating runs guest code."""
    metered: bool
    """The engine counts fuel."""


class Seat(Protocol):
    """A place for one instance at a time, with its buffers. Used by one thread at a time."""

    @property
    def is_open(self) -> bool:
        """There is an instance."""
        ...

    @property
    def memory(self) -> GuestMemory:
        """The open instance's exported memory."""
        ...

    def open(self, host: HostState, ticks: int) -> None:
        """Make an instance; runs its start function. Raises GuestTrap, LinkError; the seat is then closed again."""
        ...

    def call(self, function: int, first: int = 0, second: int = 0) -> int:
        """Call an export of at most two integer parameters; the result's raw 64 bits. Raises GuestTrap."""
        ...

    def call_words(self, function: int, words: Sequence[int], results: int) -> Sequence[int]:
        """Call any export: raw 64-bit words in, `results` raw words out. Raises GuestTrap."""
        ...

    def arm(self, ticks: int) -> None:
        """Trap after this many epochs from now."""
        ...

    def set_fuel(self, fuel: int) -> None:
        """Fuel left from now on; only for metered engines."""
        ...

    def fuel(self) -> int:
        """Fuel left."""
        ...

    def close(self) -> None:
        """Discard the instance and its memory. Safe to repeat."""
        ...


class Link(Protocol):
    """One module, linked."""

    def seat(self) -> Seat:
        """A new, empty seat."""
        ...


class Calls(Protocol):
    """One way to reach wasmtime."""

    @property
    def name(self) -> str:
        """`fast` or `public`."""
        ...

    @property
    def can_pool(self) -> bool:
        """Whether pooling, Winch and switching reference types off can be configured."""
        ...

    def configure(self, config: Config, tuning: Tuning) -> None:
        """Set what wasmtime's `Config` class has no name for. Only when `can_pool`."""
        ...

    def incrementer(self, engine: Engine) -> Callable[[], None]:
        """A function that bumps this engine's epoch by one."""
        ...

    def link(self, plan: LinkPlan) -> Link:
        """Resolve imports. Raises LinkError."""
        ...


@dataclass(frozen=True, slots=True)
class Pool:
    """Size of a pooling allocator."""

    slots: int
    memory_bytes_max: int
    memories: int
    tables: int
    table_elements: int


@dataclass(frozen=True, slots=True)
class Tuning:
    """Engine options that need the C bindings."""

    winch: bool = False
    async_stack_bytes: int | None = None
    pool: Pool | None = None


class CallsName(StrEnum):
    """Which implementation to take; `auto` is the fast one when it can be had."""

    AUTO = "auto"
    FAST = "fast"
    PUBLIC = "public"


def choose(name: CallsName | None = None) -> Calls:
    """The implementation asked for by argument or by `PENSTOCK_SANDBOX_CALLS`. Raises LinkError when `fast` cannot be had."""
    wanted = name or CallsName(os.environ.get("PENSTOCK_SANDBOX_CALLS", CallsName.AUTO))
    if wanted is not CallsName.PUBLIC:
        try:
            from sandbox.fastcall import FastCalls

            return FastCalls()
        except (ImportError, AttributeError, OSError, LinkError):
            if wanted is CallsName.FAST:
                raise
    from sandbox.publiccall import PublicCalls

    return PublicCalls()


class Running(threading.local):
    """Which guest runs on this thread; how a host function knows on whose behalf it is called."""

    host: HostState | None = None
    store: Any = None
    """For `publiccall` only: the store to stop."""


def facts_of(trap: Any) -> TrapFacts:
    """The facts of a `wasmtime.Trap`."""
    try:
        code = trap.trap_code
    except ValueError:  # a code newer than the classes know
        code = None
    return facts_of_text(trap.message, code.name if code else "")


def facts_of_text(text: str, code: str = "") -> TrapFacts:
    """The facts of a trap's or error's text: a backtrace, then what caused it."""
    head, _, cause = text.partition("\n\nCaused by:")
    summary = (cause or text).strip().splitlines()
    backtrace = head.removeprefix("error while executing at wasm backtrace:").strip("\n") if cause else ""
    return TrapFacts(
        code=code,
        message=printable(summary[-1].strip()[:512]) if summary else "trap",
        backtrace=cut(printable(backtrace), BACKTRACE_CHARACTERS_MAX),
    )
