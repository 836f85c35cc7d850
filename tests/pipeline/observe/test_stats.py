"""Totals, rates and quantiles without a metrics client."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.observe.digest import Digest
from pipeline.observe.stats import StatsObserver
from pipeline.ports import LaneId, LaneState, Tally
from schemas.event import TopicPartition
from tests.pipeline.observe.facts import LANE, ManualClock, batch, commit, passed, report


def test_totals_and_rate_since_the_last_look() -> None:
    clock = ManualClock()
    observer = StatsObserver(clock.monotonic)
    clock.advance(2)
    observer.committed(
        LANE, commit(tally=Tally(emitted=90, dropped=6, passed_through=1, dead_lettered=3, by_violation={"trap": 4}))
    )
    first = observer.stats()
    assert (first.events, first.events_per_s, first.seconds) == (100, 50, 2)
    clock.advance(1)
    observer.committed(LANE, commit(tally=Tally(emitted=10, dead_lettered=2, by_violation={"trap": 1, "deadline": 1})))
    second = observer.stats()
    assert (second.emitted, second.dropped, second.passed_through, second.dead_lettered) == (100, 6, 1, 5)
    assert second.by_violation == {"trap": 5, "deadline": 1}
    assert (second.events_per_s, second.seconds, second.records_out) == (12, 3, 24)
    assert observer.stats().events_per_s == 0, "no time has passed"


def test_lag_is_of_lanes_that_are_ours() -> None:
    observer = StatsObserver(ManualClock().monotonic)
    other = LaneId("orders", TopicPartition("shop.orders", 4), LANE.group)
    for lane, lag in ((LANE, 100), (other, 11), (LANE, 40)):
        observer.lane(lane, LaneState.RUNNING, "")
        observer.committed(lane, commit(lag=lag))
    observer.committed(other, commit(lag=None))
    assert observer.stats().lag == 51
    observer.lane(LANE, LaneState.CLOSED, "revoked")
    found = observer.stats()
    assert (found.lag, dict(found.lanes)) == (11, {"orders:shop.orders/4": "running"})


def test_latency_is_per_event_and_weighted() -> None:
    observer = StatsObserver(ManualClock().monotonic)
    for count, elapsed_us in ((970, 1_940), (30, 9_000)):  # 2 µs and 300 µs an event
        taken = batch(count)
        observer.batch(LANE, taken).transformed("mask", taken, report(passed(taken), elapsed_us=elapsed_us))
    skipped = batch(5)
    observer.batch(LANE, skipped).transformed("mask", skipped, report(passed(skipped), elapsed_us=0, crossings=0))
    latency = observer.stats().latency["mask"]
    assert latency.events == 1_000
    assert latency.p50_us == pytest.approx(2, rel=0.05)
    assert latency.p99_us == pytest.approx(300, rel=0.05)


def test_one_line_for_the_log() -> None:
    clock = ManualClock()
    observer = StatsObserver(clock.monotonic)
    assert observer.stats().line() == "0 events/s; emitted 0, dropped 0, dead-lettered 0; lag 0"
    taken = batch(10)
    observer.batch(LANE, taken).transformed("mask", taken, report(passed(taken), elapsed_us=30))
    observer.committed(LANE, commit())
    clock.advance(0.5)
    line = observer.stats().line()
    assert line.startswith(
        "30 events/s; emitted 10, dropped 3, dead-lettered 2; violations: deadline 1, trap 1; lag 7; p50/p99: mask "
    )
    assert line.endswith(" µs")


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.floats(1, 1e12), st.integers(1, 50)), min_size=1, max_size=40),
    st.sampled_from([0.5, 0.9, 0.99]),
)
def test_quantiles_are_within_five_percent(weighted: list[tuple[float, int]], q: float) -> None:
    digest = Digest()
    everything: list[float] = []
    for nanoseconds, weight in weighted:
        digest.add(nanoseconds, weight)
        everything += [nanoseconds] * weight
    exact = sorted(everything)[math.ceil(q * len(everything)) - 1]
    assert digest.quantile(q) == pytest.approx(exact, rel=0.05)


def test_a_digest_of_nothing_and_of_extremes() -> None:
    digest = Digest()
    assert digest.quantile(0.5) is None
    for nanoseconds in (0.0, 1e30):
        digest.add(nanoseconds)
    low, high = digest.quantile(0.01), digest.quantile(1.0)
    assert low is not None and high is not None
    assert low == 1.0 and high > 1e16
