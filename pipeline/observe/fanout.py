"""Several observers as one, none of which can hurt a lane: what an observer raises is logged once and ends there."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from pipeline.observe.null import NullObserver
from pipeline.ports import BatchSpan, CommitFacts, LaneId, LaneState, Observer
from schemas.event import Batch, Headers
from schemas.outcome import Report

_log = logging.getLogger(__name__)


def combine(*observers: Observer) -> Observer:
    """All of them as one; with none of them, the observer that costs nothing."""
    return Fanout(observers) if observers else NullObserver()


class Fanout:
    """Implements `pipeline.ports.Observer` by telling each of several, in order."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._guarded = [_Guard(observer) for observer in observers]

    def batch(self, lane: LaneId, batch: Batch) -> BatchSpan:
        """One span for each observer, as one."""
        spans: list[tuple[_Guard, BatchSpan]] = []
        for guard in self._guarded:
            try:
                spans.append((guard, guard.observer.batch(lane, batch)))
            except Exception:
                guard.failed("batch")
        return _FanoutSpan(spans)

    def committed(self, lane: LaneId, facts: CommitFacts) -> None:
        """Tell each."""
        self._each("committed", lambda observer: observer.committed(lane, facts))

    def lane(self, lane: LaneId, state: LaneState, reason: str) -> None:
        """Tell each."""
        self._each("lane", lambda observer: observer.lane(lane, state, reason))

    def in_flight(self, route: str, size_bytes: int, events: int) -> None:
        """Tell each."""
        self._each("in_flight", lambda observer: observer.in_flight(route, size_bytes, events))

    def _each(self, call: str, tell: Callable[[Observer], None]) -> None:
        for guard in self._guarded:
            try:
                tell(guard.observer)
            except Exception:
                guard.failed(call)


class _Guard:
    """One observer, and which of its calls have been reported as broken."""

    def __init__(self, observer: Observer) -> None:
        self.observer = observer
        self._reported: set[str] = set()

    def failed(self, call: str) -> None:
        """Call from an `except` block."""
        if call not in self._reported:
            self._reported.add(call)
            name = type(self.observer).__name__
            _log.exception("%s.%s failed; the pipeline goes on, and this is not reported again", name, call)


class _FanoutSpan:
    __slots__ = ("_spans",)

    def __init__(self, spans: list[tuple[_Guard, BatchSpan]]) -> None:
        self._spans = spans

    def headers(self) -> Headers:
        """The first trace context that any of them has."""
        for guard, span in self._spans:
            try:
                if headers := span.headers():
                    return headers
            except Exception:
                guard.failed("headers")
        return ()

    def transformed(self, transformer: str, batch: Batch, report: Report) -> None:
        for guard, span in self._spans:
            try:
                span.transformed(transformer, batch, report)
            except Exception:
                guard.failed("transformed")

    def end(self, error: BaseException | None = None) -> None:
        for guard, span in self._spans:
            try:
                span.end(error)
            except Exception:
                guard.failed("end")
