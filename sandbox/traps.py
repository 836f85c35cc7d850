"""One table: what stopped a guest -> which violation it is, in plain words with numbers."""

from __future__ import annotations

from dataclasses import dataclass

from sandbox.calls import TrapFacts
from sandbox.host import HostState
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


@dataclass(frozen=True, slots=True)
class Readings:
    """What was measured around a run."""

    elapsed_ns: int
    memory_bytes: int
    memory_bytes_max: int
    """What the guest's memory could grow to: its limit, or its own declared maximum."""


def classify(facts: TrapFacts, host: HostState, limits: Limits, readings: Readings) -> Trouble:
    """The violation that these facts amount to. `memory` needs the guest's own word, or `unreachable` with no page left to grow."""
    kind = _kind(facts, host, readings)
    return Trouble(
        kind=kind,
        message=_message(kind, facts, host, limits, readings),
        code=host.fail_code if host.failed else "",
        backtrace=facts.backtrace,
        elapsed_ns=readings.elapsed_ns,
        memory_bytes=readings.memory_bytes,
    )


def _kind(facts: TrapFacts, host: HostState, readings: Readings) -> ViolationKind:
    if host.failed:
        return ViolationKind.MEMORY if host.fail_code.lower() in MEMORY_CODES else ViolationKind.TRAP
    if facts.code == "UNREACHABLE_CODE_REACHED" or facts.code == "UNREACHABLE":
        full = readings.memory_bytes + PAGE_BYTES > readings.memory_bytes_max
        return ViolationKind.MEMORY if full else ViolationKind.TRAP
    return KINDS.get(facts.code, ViolationKind.TRAP)


def _message(kind: ViolationKind, facts: TrapFacts, host: HostState, limits: Limits, readings: Readings) -> str:
    used = f"{format_bytes(readings.memory_bytes)} of" if readings.memory_bytes else "limit"  # a component's: not known
    memory = f"memory {used} {format_bytes(limits.memory_bytes)}"
    elapsed = f"after {readings.elapsed_ns / 1e6:.1f} ms"
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
            return f"stopped with its memory full ({memory})"
        case _:
            return f"{facts.message or 'trap'} ({memory})"
