from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.epoch import IDLE_TICKS_MAX, EpochTicker


class Engine:
    """Counts its epochs."""

    def __init__(self, ticker: EpochTicker) -> None:
        self.epoch = 0
        self.reached: dict[int, threading.Event] = {}
        ticker.add(self.bump)

    def bump(self) -> None:
        self.epoch += 1
        for epoch, event in self.reached.items():
            if self.epoch >= epoch:
                event.set()

    def wait(self, epoch: int, seconds: float = 5) -> bool:
        """True once this epoch is reached."""
        event = self.reached[epoch] = threading.Event()
        return self.epoch >= epoch or event.wait(seconds)


@given(st.integers(1, 10_000), st.integers(1, 50), st.integers(0, 200))
def test_time_that_is_let_pass_meets_the_deadline_exactly(deadline_ms: int, period_ms: int, before_ms: int) -> None:
    ticker = EpochTicker(period_ms=period_ms, auto=False)
    engine = Engine(ticker)
    ticker.enter()
    ticker.advance(before_ms)
    until = engine.epoch + ticker.ticks(deadline_ms)
    ticker.advance(deadline_ms - 1)
    assert engine.epoch < until, "early"
    ticker.advance(period_ms)
    assert engine.epoch >= until, "more than a period late"
    ticker.leave()


def test_engines_tick_while_a_guest_runs_and_rest_when_none_does() -> None:
    ticker = EpochTicker(period_ms=1)
    engine = Engine(ticker)
    assert engine.epoch == 0
    ticker.enter()
    assert engine.wait(3)
    ticker.leave()
    assert engine.wait(IDLE_TICKS_MAX)
    while not ticker._asleep:
        engine.wait(engine.epoch + 1, seconds=0.005)
    asleep_at = engine.epoch
    ticker.enter()
    assert engine.wait(asleep_at + 3)
    ticker.leave()
    ticker.close()


def test_sleep_is_not_made_good_as_if_it_had_been_time() -> None:
    """A guest that starts after a long pause must get its whole deadline."""
    now = 0
    ticker = EpochTicker(period_ms=5, clock_ns=lambda: now)
    engine = Engine(ticker)
    now = 3_600_000_000_000
    ticker.enter()
    assert ticker.ticks(50) == 10
    assert engine.epoch == 0
    ticker.leave()
    ticker.close()


@given(st.lists(st.integers(0, 40), max_size=20), st.integers(1, 500))
def test_a_deadline_is_never_early_however_late_ticks_come(delays_ms: list[int], deadline_ms: int) -> None:
    """The grid catches up: engines may be behind by any delay when a guest is armed, and the guest still has its time."""
    now_ns = 0
    ticker = EpochTicker(period_ms=5, clock_ns=lambda: now_ns)
    engine = Engine(ticker)
    ticker._asleep = False  # no thread: this test decides when a tick comes
    for delay in delays_ms:
        now_ns += delay * 1_000_000
        if delay % 3 == 0:
            ticker._catch_up()
    armed_at, until = now_ns, engine.epoch + ticker.ticks(deadline_ms)
    while engine.epoch < until:
        now_ns += 1_000_000
        ticker._catch_up()
    assert deadline_ms <= (now_ns - armed_at) / 1_000_000 <= deadline_ms + 5


def test_nothing_runs_after_close() -> None:
    ticker = EpochTicker()
    ticker.close()
    with pytest.raises(RuntimeError, match="closed"):
        ticker.enter()


def test_close_leaves_running_guests_their_deadline() -> None:
    ticker = EpochTicker(period_ms=1)
    engine = Engine(ticker)
    ticker.enter()
    ticker.close()
    assert engine.wait(engine.epoch + 5)
    thread = ticker._thread
    ticker.leave()
    assert thread is not None
    thread.join(5)
    assert not thread.is_alive()
