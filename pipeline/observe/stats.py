"""Totals and latencies in memory: what the demo shows live and `run` logs from time to time. No client library."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

import msgspec

from pipeline.observe.digest import Digest
from pipeline.observe.null import NullObserver, NullSpan
from pipeline.ports import BatchSpan, CommitFacts, LaneId, LaneState
from schemas.event import Batch
from schemas.outcome import Report


class Latency(msgspec.Struct, frozen=True):
    """One transformer's time per event, each event taken at its batch's mean. Microseconds, within 5 %."""

    events: int
    p50_us: float
    p99_us: float


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """What has happened until now. Counts are of committed source events except `records_out`."""

    seconds: float
    """Since the observer was made."""
    emitted: int
    dropped: int
    dead_lettered: int
    passed_through: int
    records_out: int
    by_violation: Mapping[str, int]
    events_per_s: float
    """Since the previous `stats()` call (since the start in the first)."""
    latency: Mapping[str, Latency]
    """By transformer."""
    lag: int
    """Records, all lanes of this process together, as of their last commits."""
    in_flight_events: int
    lanes: Mapping[str, str]
    """State by lane, as `route:topic/partition`."""

    @property
    def events(self) -> int:
        """Source events with an outcome."""
        return self.emitted + self.dropped + self.dead_lettered + self.passed_through

    def line(self) -> str:
        """One line for the log."""
        counts = f"emitted {self.emitted}, dropped {self.dropped}, dead-lettered {self.dead_lettered}"
        passed = f"passed through {self.passed_through}" if self.passed_through else ""
        kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(self.by_violation.items()))
        latency = ", ".join(f"{name} {us.p50_us:.3g}/{us.p99_us:.3g} µs" for name, us in self.latency.items())
        optional = (passed, kinds and f"violations: {kinds}", f"lag {self.lag}", latency and f"p50/p99: {latency}")
        return "; ".join((f"{self.events_per_s:.0f} events/s", counts, *(part for part in optional if part)))


class StatsObserver(NullObserver):
    """Implements `pipeline.ports.Observer`. `monotonic` returns seconds."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._started = self._sampled = monotonic()
        self._sampled_events = 0
        self._counts = Counter[str]()
        self._violations = Counter[str]()
        self._digests: dict[str, Digest] = {}
        self._lag: dict[LaneId, int] = {}
        self._in_flight: dict[str, int] = {}
        self._lanes: dict[LaneId, LaneState] = {}

    def batch(self, lane: LaneId, batch: Batch) -> BatchSpan:
        """A span that feeds the digests."""
        return _DigestedBatch(self._digests)

    def committed(self, lane: LaneId, facts: CommitFacts) -> None:
        """Add to the totals."""
        tally, counts = facts.tally, self._counts
        counts["emitted"] += tally.emitted
        counts["dropped"] += tally.dropped
        counts["dead_lettered"] += tally.dead_lettered
        counts["passed_through"] += tally.passed_through
        counts["records_out"] += facts.records_out
        self._violations.update(tally.by_violation)
        if facts.lag is not None:
            self._lag[lane] = facts.lag

    def lane(self, lane: LaneId, state: LaneState, reason: str) -> None:
        """Keep the state; forget a closed lane."""
        if state is LaneState.CLOSED:
            self._lanes.pop(lane, None)
            self._lag.pop(lane, None)
        else:
            self._lanes[lane] = state

    def in_flight(self, route: str, size_bytes: int, events: int) -> None:
        """Keep the number."""
        self._in_flight[route] = events

    def stats(self) -> Stats:
        """The totals, and the rate since the last time this was asked."""
        now, counts = self._monotonic(), self._counts
        events = counts.total() - counts["records_out"]
        window, gained = now - self._sampled, events - self._sampled_events
        self._sampled, self._sampled_events = now, events
        return Stats(
            seconds=now - self._started,
            emitted=counts["emitted"],
            dropped=counts["dropped"],
            dead_lettered=counts["dead_lettered"],
            passed_through=counts["passed_through"],
            records_out=counts["records_out"],
            by_violation=dict(self._violations),
            events_per_s=gained / window if window > 0 else 0.0,
            latency={name: _latency(digest) for name, digest in self._digests.items()},
            lag=sum(self._lag.values()),
            in_flight_events=sum(self._in_flight.values()),
            lanes={str(lane): state.value for lane, state in self._lanes.items()},
        )


class _DigestedBatch(NullSpan):
    __slots__ = ("_digests",)

    def __init__(self, digests: dict[str, Digest]) -> None:
        self._digests = digests

    def transformed(self, transformer: str, batch: Batch, report: Report) -> None:
        events = len(batch.events)
        if not report.crossings or not events:
            return
        digest = self._digests.get(transformer)
        if digest is None:
            digest = self._digests[transformer] = Digest()
        digest.add(report.elapsed_ns / events, events)


def _latency(digest: Digest) -> Latency:
    return Latency(digest.count, (digest.quantile(0.5) or 0.0) / 1_000, (digest.quantile(0.99) or 0.0) / 1_000)
