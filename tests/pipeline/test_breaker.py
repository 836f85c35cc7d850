"""The breaker: a sliding window of misbehaviour, on the clock it is given."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.breaker import Breaker
from pipeline.memory.clock import ManualClock
from schemas.outcome import ViolationKind
from schemas.specs import Quarantine, QuarantineAction

TRAP = ViolationKind.TRAP


@given(st.integers(1, 6), st.lists(st.integers(0, 40), max_size=40))
def test_it_trips_exactly_when_the_window_holds_enough(after: int, gaps: list[int]) -> None:
    clock = ManualClock()
    breaker = Breaker(Quarantine(after=after, window_s=60), clock)
    now, times = 0, []
    for gap in gaps:
        clock.advance(gap)
        now += gap
        times.append(now)
        breaker.strike(TRAP)
        full = any(times[at] - times[at - after + 1] <= 60 for at in range(after - 1, len(times)))  # it stays tripped
        assert breaker.is_tripped == full


def test_the_reason_says_how_often_and_the_first_trip_is_kept() -> None:
    breaker = Breaker(Quarantine(after=2, window_s=1.5), ManualClock())
    breaker.strike(TRAP)
    breaker.strike(ViolationKind.STACK)
    assert breaker.reason == "2 events misbehaved within 1.5 s, the last with stack"
    breaker.strike(ViolationKind.DEADLINE)
    assert (breaker.kind, "stack" in breaker.reason) == (ViolationKind.STACK, True)


def test_a_pause_that_is_held_comes_at_the_end() -> None:
    breaker = Breaker(Quarantine(after=2, window_s=60, action=QuarantineAction.PAUSE), ManualClock())
    with breaker.held():
        for kind in (TRAP, TRAP, ViolationKind.STACK):
            breaker.strike(kind)
        assert not breaker.is_tripped
    assert breaker.is_tripped and breaker.kind is TRAP
    with breaker.held():
        assert breaker.is_tripped, "what was quarantined before stays so"


def test_other_actions_are_not_held() -> None:
    breaker = Breaker(Quarantine(after=1, window_s=60, action=QuarantineAction.DEAD_LETTER_ALL), ManualClock())
    with breaker.held():
        breaker.strike(TRAP)
        assert breaker.is_tripped


def test_reset_trusts_it_again_with_a_clean_slate() -> None:
    breaker = Breaker(Quarantine(after=2, window_s=60), ManualClock())
    breaker.strike(TRAP)
    breaker.reset()
    breaker.strike(TRAP)
    assert not breaker.is_tripped
    breaker.strike(TRAP)
    assert breaker.is_tripped
    breaker.reset()
    assert not breaker.is_tripped
