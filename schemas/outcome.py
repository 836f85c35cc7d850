"""What became of one event. Outcomes are data; the one list of violations is here.

Dead letters, metrics, traces and docs all use `ViolationKind`; nothing else may invent a kind.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import overload

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


class Carried(Sequence[Outcome]):
    """The outcomes of a healthy batch by columns: nothing is made per event until somebody looks at single outcomes.

    Every source event was kept (as one record), dropped, or rejected.
    """

    __slots__ = ("_outcomes", "dropped", "kept", "records", "rejected", "source")

    def __init__(
        self,
        source: Sequence[Event],
        records: Sequence[Event],
        kept: Sequence[int],
        rejected: Sequence[tuple[int, Violation]],
    ) -> None:
        self.source = source
        self.records = records
        """What became of the kept events, in order; each has its source event's offset."""
        self.kept = kept
        """`records[i]` came of `source[kept[i]]`."""
        self.rejected = rejected
        """By index into the source, in order."""
        self.dropped = len(source) - len(kept) - len(rejected)
        self._outcomes: list[Outcome] | None = None

    def __len__(self) -> int:
        return len(self.source)

    def __iter__(self) -> Iterator[Outcome]:
        return iter(self._all())

    @overload
    def __getitem__(self, index: int) -> Outcome: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Outcome]: ...
    def __getitem__(self, index: int | slice) -> Outcome | Sequence[Outcome]:
        return self._all()[index]

    def _all(self) -> list[Outcome]:
        if self._outcomes is None:
            made: list[Outcome] = [DROPPED] * len(self.source)
            source = list(self.source)
            for index, event in zip(self.kept, self.records, strict=True):
                before = source[index]
                made[index] = Emitted((before if event == before else event,))
            for index, violation in self.rejected:
                made[index] = violation
            self._outcomes = made
        return self._outcomes


class LogLine(msgspec.Struct, frozen=True):
    """One line a guest wrote through the log capability."""

    level: int
    """0 trace, 1 debug, 2 info, 3 warning, 4 error."""
    text: str


class HostUse(msgspec.Struct, frozen=True):
    """What one batch used of one capability within one scope."""

    capability: str
    scope: str
    """What was touched: a root, host, connection and table; empty where there is nothing to tell apart."""
    allowed: int
    """Calls."""
    denied: int
    bytes: int
    """Of requests and answers, and of what was moved for them."""
    elapsed_us: int


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
    uses: Sequence[HostUse] = ()
    """What it did through the host, and what it was denied; of all crossings, those too that came to nothing."""
    escape_attempts: int = 0
    """Ranges outside its memory that it handed to the host."""
    escape_patterns: dict[str, int] = {}
    """The same by what they looked like (`sandbox.escapes.Pattern`)."""

    def violations(self) -> Sequence[tuple[int, Violation]]:
        """By index into the batch, in order."""
        if isinstance(self.outcomes, Carried):
            return self.outcomes.rejected
        return [(index, outcome) for index, outcome in enumerate(self.outcomes) if type(outcome) is Violation]

    @property
    def dropped(self) -> int:
        """How many events the transformer dropped."""
        if isinstance(self.outcomes, Carried):
            return self.outcomes.dropped
        return sum(type(outcome) is Dropped for outcome in self.outcomes)
