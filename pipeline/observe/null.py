"""The observer that sees nothing: what a pipeline has when nothing is switched on, and what others build upon."""

from __future__ import annotations

from pipeline.ports import BatchSpan, CommitFacts, LaneId, LaneState
from schemas.event import Batch, Headers
from schemas.outcome import Report


class NullSpan:
    """A batch nobody watches. Holds no state, so one serves all batches."""

    __slots__ = ()

    def headers(self) -> Headers:
        """No trace context."""
        return ()

    def transformed(self, transformer: str, batch: Batch, report: Report) -> None:
        """Ignored."""

    def end(self, error: BaseException | None = None) -> None:
        """Ignored."""


_SPAN = NullSpan()


class NullObserver:
    """Implements `pipeline.ports.Observer` and keeps nothing; a subclass overrides what it cares for."""

    def batch(self, lane: LaneId, batch: Batch) -> BatchSpan:
        """A span that ignores everything."""
        return _SPAN

    def committed(self, lane: LaneId, facts: CommitFacts) -> None:
        """Ignored."""

    def lane(self, lane: LaneId, state: LaneState, reason: str) -> None:
        """Ignored."""

    def in_flight(self, route: str, size_bytes: int, events: int) -> None:
        """Ignored."""


class NullVitals:
    """Implements `pipeline.ports.Vitals`: nobody asks how this process is."""

    def joined(self, route: str) -> None:
        """Ignored."""

    def progressed(self, route: str) -> None:
        """Ignored."""

    def left(self, route: str) -> None:
        """Ignored."""
