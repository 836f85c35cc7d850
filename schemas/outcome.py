"""What became of one event. Outcomes are data; the one list of violations is here.

Dead letters, metrics, traces and docs all use `ViolationKind`; nothing else may invent a kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import msgspec

from schemas.event import Event


class ViolationKind(StrEnum):
    """Why an event could not pass."""

    DEADLINE = "deadline"
    MEMORY = "memory"
    FUEL = "fuel"
    STACK = "stack"
    TRAP = "trap"
    BOUNDS = "bounds"
    BAD_OUTPUT = "bad-output"
    OUTPUT_TOO_LARGE = "output-too-large"
    CAPABILITY = "capability"
    REJECTED = "rejected"
    DECODE = "decode"
    SCHEMA = "schema"

    @property
    def is_misbehaviour(self) -> bool:
        """True when the guest broke a rule; False when it, or a schema, judged the event. Only the first trips a breaker."""
        return self not in _JUDGEMENTS


_JUDGEMENTS = frozenset({ViolationKind.REJECTED, ViolationKind.DECODE, ViolationKind.SCHEMA})


class Emitted(msgspec.Struct, frozen=True, gc=False):
    """The event passes as these records, in this order. The very same `Event` object means unchanged."""

    events: tuple[Event, ...]


class Dropped(msgspec.Struct, frozen=True, gc=False):
    """The event ends here because a transformer said so."""


class Violation(msgspec.Struct, frozen=True, kw_only=True):
    """The event could not pass; everything its dead letter will say."""

    kind: ViolationKind
    message: str
    transformer: str
    module_sha256: str
    code: str = ""
    """The guest's own code, for `rejected` and for what it said through `fail`."""
    backtrace: str = ""
    """The wasm backtrace with function names, already cut to a bound."""
    elapsed_us: int = 0
    memory_bytes_peak: int = 0
    limits: str = ""
    """The limits in force, readable: `memory=4MiB deadline=250ms`."""
    attempt: int = 1
    """Which run of this event gave the verdict: 1 when it was alone from the start, 2 and more after isolation; 0: none, the transformer is quarantined."""


Outcome = Emitted | Dropped | Violation
DROPPED = Dropped()


class LogLine(msgspec.Struct, frozen=True):
    """One line a guest wrote through the log capability."""

    level: int
    """0 trace, 1 debug, 2 info, 3 warning, 4 error."""
    text: str


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What one transformer did with one batch. `outcomes[i]` belongs to `batch.events[i]`.

    Shorter than the batch only when the isolation budget ran out (`exhausted`): the events beyond it have no verdict and
    must be run again or handled by the transformer's quarantine; they are never to be treated as passed.
    """

    outcomes: Sequence[Outcome]
    elapsed_ns: int
    memory_bytes_peak: int
    crossings: int = 1
    exhausted: bool = False
    fuel_used: int | None = None
    logs: Sequence[LogLine] = ()
    logs_suppressed: int = 0
    host_calls: int = 0
