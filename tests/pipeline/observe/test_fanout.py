"""Several observers as one, and what a broken one can do: nothing."""

from __future__ import annotations

import logging
import sys
import timeit

import pytest

from pipeline.observe.fanout import combine
from pipeline.observe.null import NullObserver, NullSpan
from pipeline.observe.stats import StatsObserver
from pipeline.ports import BatchSpan, CommitFacts, LaneId, LaneState, Observer
from schemas.event import Batch, Headers
from schemas.outcome import Report
from tests.pipeline.observe.facts import LANE, ManualClock, batch, commit, passed, report


class BrokenSpan:
    def headers(self) -> Headers:
        raise RuntimeError("headers")

    def transformed(self, transformer: str, batch: Batch, report: Report) -> None:
        raise RuntimeError("transformed")

    def end(self, error: BaseException | None = None) -> None:
        raise RuntimeError("end")


class BrokenObserver:
    """Fails at every call; `batch` fails, too, unless `spans`."""

    def __init__(self, *, spans: bool) -> None:
        self._spans = spans

    def batch(self, lane: LaneId, batch: Batch) -> BatchSpan:
        if self._spans:
            return BrokenSpan()
        raise RuntimeError("batch")

    def committed(self, lane: LaneId, facts: CommitFacts) -> None:
        raise RuntimeError("committed")

    def lane(self, lane: LaneId, state: LaneState, reason: str) -> None:
        raise RuntimeError("lane")

    def in_flight(self, route: str, size_bytes: int, events: int) -> None:
        raise RuntimeError("in_flight")


class HeaderSpan(NullSpan):
    def headers(self) -> Headers:
        return (("traceparent", b"00-1"),)


class HeaderObserver(NullObserver):
    def batch(self, lane: LaneId, batch: Batch) -> BatchSpan:
        return HeaderSpan()


def live(observer: Observer) -> Headers:
    """One batch's whole life."""
    taken = batch(4)
    span = observer.batch(LANE, taken)
    headers = span.headers()
    span.transformed("enrich", taken, report(passed(taken)))
    span.end()
    observer.committed(LANE, commit())
    observer.lane(LANE, LaneState.RUNNING, "")
    observer.in_flight("orders", 100, 4)
    return headers


def test_all_are_told_although_others_fail(caplog: pytest.LogCaptureFixture) -> None:
    stats = [StatsObserver(ManualClock().monotonic) for _ in range(2)]
    everyone = combine(stats[0], BrokenObserver(spans=True), HeaderObserver(), BrokenObserver(spans=False), stats[1])
    with caplog.at_level(logging.ERROR):
        assert live(everyone) == (("traceparent", b"00-1"),)
    for each in stats:
        found = each.stats()
        assert (found.emitted, found.lag, found.in_flight_events, found.latency["enrich"].events) == (10, 7, 4, 4)
        assert found.lanes == {"orders:shop.orders/3": "running"}


def test_a_failure_is_logged_once_per_call(caplog: pytest.LogCaptureFixture) -> None:
    everyone = combine(BrokenObserver(spans=True))
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            live(everyone)
    said = [record.getMessage().split(" ")[0] for record in caplog.records]
    calls = ("headers", "transformed", "end", "committed", "lane", "in_flight")
    assert said == [f"BrokenObserver.{call}" for call in calls]
    assert all(record.exc_info for record in caplog.records)


def test_leaving_the_process_is_no_failure_of_an_observer() -> None:
    class Interrupted(NullObserver):
        def committed(self, lane: LaneId, facts: CommitFacts) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        combine(Interrupted()).committed(LANE, commit())


def test_nothing_switched_on_costs_next_to_nothing() -> None:
    """Below 1 µs a batch; the least of many runs, so that a busy machine does not decide."""
    if sys.gettrace() is not None:
        pytest.skip("a tracer (coverage) makes every call slow")
    observer, taken = combine(), batch(4)
    done = report(passed(taken))

    def one() -> None:
        span = observer.batch(LANE, taken)
        span.transformed("enrich", taken, done)
        span.headers()
        span.end()

    assert type(observer) is NullObserver
    assert min(timeit.repeat(one, number=1_000, repeat=30)) / 1_000 < 1e-6
