"""Lanes, batches and reports to observe, and a clock that stands until it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from pipeline.ports import CommitFacts, LaneId, Tally
from schemas.event import Batch, Event, Headers, TopicPartition
from schemas.outcome import DROPPED, Emitted, Outcome, Report, Violation, ViolationKind

LANE = LaneId(route="orders", source=TopicPartition("shop.orders", 3), group="penstock-orders")


class ManualClock:
    """Implements `pipeline.ports.Clock`, moved by hand; whoever sleeps for the `stop_after`th time is cancelled."""

    def __init__(self, seconds: float = 1_000.0) -> None:
        self.seconds = seconds
        self.stop_after = 1_000

    def monotonic(self) -> float:
        return self.seconds

    def time_ns(self) -> int:
        return round(self.seconds * 1e9)

    def time_ms(self) -> int:
        return round(self.seconds * 1e3)

    async def sleep(self, seconds: float) -> None:
        self.advance(seconds)
        self.stop_after -= 1
        if self.stop_after <= 0:
            raise asyncio.CancelledError
        await asyncio.sleep(0)

    def advance(self, seconds: float) -> None:
        self.seconds += seconds


def event(offset: int, headers: Headers = ()) -> Event:
    return Event(offset=offset, timestamp=1_700_000_000_000, key=b"k", value=b"{}", headers=headers)


def batch(count: int, first: int = 100) -> Batch:
    return Batch(LANE.source, [event(first + i) for i in range(count)])


def violation(kind: ViolationKind = ViolationKind.DEADLINE, transformer: str = "enrich-order") -> Violation:
    return Violation(kind=kind, message="it looped", transformer=transformer, module_sha256="ab" * 32, attempt=2)


def report(
    outcomes: Sequence[Outcome], *, elapsed_us: float = 1_000, memory_bytes: int = 131_072, crossings: int = 1
) -> Report:
    return Report(
        outcomes=outcomes, elapsed_ns=round(elapsed_us * 1_000), memory_bytes_peak=memory_bytes, crossings=crossings
    )


def passed(of: Batch) -> list[Outcome]:
    return [Emitted((each,)) for each in of.events]


def mixed(of: Batch, violations: Sequence[Violation], dropped: int) -> list[Outcome]:
    """Violations first, then drops, the rest passed."""
    return [*violations, *[DROPPED] * dropped, *passed(of)[len(violations) + dropped :]]


def commit(
    *, lag: int | None = 7, seconds: float = 0.02, records_out: int = 12, tally: Tally | None = None
) -> CommitFacts:
    counts = tally or Tally(emitted=10, dropped=3, dead_lettered=2, by_violation={"deadline": 1, "trap": 1})
    return CommitFacts(tally=counts, records_out=records_out, offset=115, lag=lag, seconds=seconds)
