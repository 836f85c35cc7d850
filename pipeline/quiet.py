"""The observer that observes nothing: what a pipeline has when neither metrics nor traces are asked for."""

from __future__ import annotations

from pipeline.ports import CommitFacts, LaneId, LaneState
from schemas.event import Batch, Headers
from schemas.outcome import Report


class QuietSpan:
    """Implements `pipeline.ports.BatchSpan`."""

    def headers(self) -> Headers:
        """None: incoming records keep their own."""
        return ()

    def transformed(self, transformer: str, batch: Batch, report: Report) -> None:
        """Nothing."""

    def end(self, error: BaseException | None = None) -> None:
        """Nothing."""


_SPAN = QuietSpan()


class QuietObserver:
    """Implements `pipeline.ports.Observer`."""

    def batch(self, lane: LaneId, batch: Batch) -> QuietSpan:
        """The one span there is."""
        return _SPAN

    def committed(self, lane: LaneId, facts: CommitFacts) -> None:
        """Nothing."""

    def lane(self, lane: LaneId, state: LaneState, reason: str) -> None:
        """Nothing."""

    def in_flight(self, route: str, size_bytes: int, events: int) -> None:
        """Nothing."""
