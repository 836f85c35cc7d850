"""`now_ms` and `monotonic_ns`: time, from where the sandbox was told to take it."""

from __future__ import annotations

from sandbox.host.imports import HostImport, HostState
from sandbox.memory import GuestMemory
from schemas.capabilities import Capability


def now_ms(state: HostState, memory: GuestMemory | None) -> int:
    """Milliseconds since the epoch."""
    return state.services.now_ms()


def monotonic_ns(state: HostState, memory: GuestMemory | None) -> int:
    """Nanoseconds from an unnamed moment; only differences mean anything."""
    return state.services.monotonic_ns()


IMPORTS = (
    HostImport("now_ms", (), "i64", now_ms, Capability.CLOCK, counts_as=Capability.CLOCK),
    HostImport("monotonic_ns", (), "i64", monotonic_ns, Capability.CLOCK, counts_as=Capability.CLOCK),
)
