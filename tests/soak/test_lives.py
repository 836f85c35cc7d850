"""The judge of lives: noise and steps that come and go are flat, a leak is not."""

from __future__ import annotations

import random

import pytest

from tests.e2e.stream import fate
from tests.soak.feed import order
from tests.soak.ledger import Ledger, expected
from tests.soak.lives import Sample, judge


def life(seconds: int, *, leak_mib_per_min: float = 0, threads_from: int = 1_000_000, seed: int = 3) -> list[Sample]:
    """A worker that warms up, then breathes by a few MiB."""
    chance = random.Random(seed)
    samples = []
    for half in range(seconds * 2):
        at = half / 2
        rss = 60 + min(at, 10) * 5 + chance.gauss(0, 2) + leak_mib_per_min * at / 60
        samples.append(Sample(at, rss, 8 + (at > threads_from) * 4, 14 + half % 2))
    return samples


@pytest.mark.parametrize("seed", range(20))
def test_a_life_that_breathes_is_flat(seed: int) -> None:
    assert judge("worker", life(120, seed=seed)).faults() == []


@pytest.mark.parametrize("seed", range(20))
def test_a_leak_is_found(seed: int) -> None:
    found = judge("worker", life(300, leak_mib_per_min=5, seed=seed))
    assert found.slope is not None and found.slope.low > 0
    assert len(found.faults()) == 1


def stepped(mib: float, from_s: float) -> list[Sample]:
    return [Sample(s.at_s, s.rss_mib + mib * (s.at_s > from_s), s.threads, s.descriptors) for s in life(120)]


def test_a_small_step_is_no_slope_and_a_large_one_is_told() -> None:
    assert judge("worker", stepped(10, 105)).faults() == []
    assert len(judge("worker", stepped(30, 90)).faults()) == 1


def test_threads_that_stay_are_found() -> None:
    assert judge("worker", life(120, threads_from=60)).faults() == ["worker: 12 threads where there were 8"]


def test_a_short_life_says_nothing() -> None:
    found = judge("worker", life(15, leak_mib_per_min=100))
    assert found.slope is None and found.faults() == []


def test_the_ledger_finds_what_is_lost_doubled_misplaced_and_late() -> None:
    ledger = Ledger(2_000)
    numbers = [n for n in range(2_000) if fate(n) != "dropped"]
    for number in numbers:
        ledger.take(number, number % 3, dead=fate(number) != "emitted")
    declared = expected(2_000)
    assert (ledger.emitted, ledger.dead, ledger.missing()) == (declared["emitted"], declared["dead"], 0)
    assert ledger.faults == []
    ledger.take(numbers[5], 0, dead=False)
    assert ledger.duplicates == 1
    other = Ledger(2_000)
    other.take(997, 1, dead=False)
    other.take(7, 1, dead=False)
    other.take(3, 0, dead=False)
    other.take(0, 0, dead=True)
    other.take(6, 1, dead=False)
    assert (other.misplaced, other.out_of_order) == (2, 2)
    assert other.missing() == sum(declared.values()) - declared["dropped"] - 4


def test_an_order_asks_for_its_fate() -> None:
    assert b"penstock_demo" not in order(1)[1]
    assert b'"status":"draft"' in order(7)[1] and fate(7) == "dropped"
    assert b'"penstock_demo":"%s"' % fate(997).encode() in order(997)[1]
