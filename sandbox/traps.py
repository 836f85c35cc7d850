"""One table: what stopped a guest -> which violation it is, in plain words with numbers."""

from __future__ import annotations

import time
from dataclasses import dataclass

from sandbox.calls import TrapFacts
from sandbox.host import HostState
from sandbox.host.wasi_process import OUT_OF_MEMORY
from sandbox.host.wasi_streams import last_words
from sandbox.memory import PAGE_BYTES
from schemas.limits import Limits, format_bytes
from schemas.outcome import ViolationKind

KINDS: dict[str, ViolationKind] = {
    "INTERRUPT": ViolationKind.DEADLINE,
    "OUT_OF_FUEL": ViolationKind.FUEL,
    "STACK_OVERFLOW": ViolationKind.STACK,
    "MEMORY_OUT_OF_BOUNDS": ViolationKind.BOUNDS,
}
"""By name of wasmtime's trap code; any other is `trap`."""

ABORTS = frozenset({"UNREACHABLE_CODE_REACHED", "UNREACHABLE"})
"""How a guest stops itself."""
MEMORY_CODES = frozenset({"memory", "oom"})
"""Codes by which a guest says through `fail` that it ran out of memory."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a run of one or more events came to nothing. A verdict only if one event ran alone on a fresh guest."""

    kind: ViolationKind
    message: str
    code: str = ""
    backtrace: str = ""
    elapsed_ns: int = 0
    memory_bytes: int = 0
    cursor: int | None = None
    """Index of the event that the guest says it was working on: a hint, already checked to be one of the run's."""
    oversize: bool = False
    """Only the size of the run is to blame: fewer events may pass."""
    starved_ns: int = 0
    """Of `elapsed_ns`, how long the machine was busy with others, as far as it was measured (see `Stopwatch`)."""

    @property
    def is_doubtful(self) -> bool:
        """The deadline passed, but the guest did not get half of that time to run in: a busy machine does that to good events too."""
        return self.kind is ViolationKind.DEADLINE and 2 * self.starved_ns > self.elapsed_ns


@dataclass(frozen=True, slots=True)
class Readings:
    """What was measured around a run."""

    elapsed_ns: int
    memory_bytes: int
    memory_bytes_max: int
    """What the guest's memory could grow to: its limit, or its own declared maximum."""
    starved_ns: int = 0


class Stopwatch:
    """How long the calling thread was kept from running: time passed, less its own CPU time and what its host calls waited for.

    A throttled container, a virtual machine without its processor and a held interpreter lock all look like this.
    """

    def __init__(self) -> None:
        self._began_ns, self._ran_ns = time.monotonic_ns(), time.thread_time_ns()

    def starved_ns(self, host: HostState) -> int:
        """Since this was made, by the thread that made it."""
        ran = time.thread_time_ns() - self._ran_ns
        served = sum(use.elapsed_ns for use in host.uses.values())
        return max(0, time.monotonic_ns() - self._began_ns - ran - served)


def classify(facts: TrapFacts, host: HostState, limits: Limits, readings: Readings) -> Trouble:
    """The violation that these facts amount to. `memory` needs the guest's own word, or `unreachable` with no page left to grow.

    A guest that aborts tells why on stderr, if it has WASI: Go's runtime, `assert` in C.
    """
    words = last_words(host) if facts.code in ABORTS and not (host.failed or host.denied) else ""
    kind = ViolationKind.MEMORY if OUT_OF_MEMORY in words else _kind(facts, host, readings)
    message = _message(kind, facts, host, limits, readings)
    return Trouble(
        kind=kind,
        message=f"{message}; stderr:\n{words}" if words else message,
        code=host.fail_code if host.failed else "",
        backtrace=facts.backtrace,
        elapsed_ns=readings.elapsed_ns,
        memory_bytes=readings.memory_bytes,
        starved_ns=readings.starved_ns,
    )


def _kind(facts: TrapFacts, host: HostState, readings: Readings) -> ViolationKind:
    if host.denied is not None:
        return ViolationKind.CAPABILITY
    if host.failed:
        return ViolationKind.MEMORY if host.fail_code.lower() in MEMORY_CODES else ViolationKind.TRAP
    if host.trapping:  # however the way to the guest does it: an interrupt need not be the deadline's
        return ViolationKind.TRAP
    if facts.code in ABORTS:
        return ViolationKind.MEMORY if _is_full(readings) else ViolationKind.TRAP
    return KINDS.get(facts.code, ViolationKind.TRAP)


def _is_full(readings: Readings) -> bool:
    return readings.memory_bytes + PAGE_BYTES > readings.memory_bytes_max


def _message(kind: ViolationKind, facts: TrapFacts, host: HostState, limits: Limits, readings: Readings) -> str:
    used = f"{format_bytes(readings.memory_bytes)} of" if readings.memory_bytes else "limit"  # a component's: not known
    memory = f"memory {used} {format_bytes(limits.memory_bytes)}"
    elapsed = f"after {readings.elapsed_ns / 1e6:.1f} ms"
    if host.denied is not None:
        return f"denied: {host.denied.reason}" + (f" ({host.denied.remedy})" if host.denied.remedy else "")
    if host.failed:
        said = ": ".join(part for part in (host.fail_code, host.fail_message) if part) or "no reason given"
        return f"the guest gave up: {said} ({memory})"
    match kind:
        case ViolationKind.DEADLINE:
            return f"ran longer than its {limits.deadline_ms} ms: stopped {elapsed}"
        case ViolationKind.FUEL:
            return f"used up its {limits.fuel_per_event} units of fuel {elapsed}"
        case ViolationKind.STACK:
            return f"overflowed its {format_bytes(limits.stack_bytes)} stack"
        case ViolationKind.BOUNDS:
            return f"accessed an address outside its memory ({memory})"
        case ViolationKind.MEMORY:
            is_full = _is_full(readings)
            return f"{'stopped with its memory full' if is_full else 'ran out of memory'} ({memory})"
        case _:
            return f"{facts.message or 'trap'} ({memory})"
