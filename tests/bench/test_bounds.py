"""Ratios of paired rounds and their bounds."""

from __future__ import annotations

import math

import pytest

from bench.bounds import ratio
from bench.latency import percentile


def test_what_both_sides_share_cancels_out() -> None:
    busy = [1.0, 0.4, 0.7, 1.3]  # how fast the machine happened to be in each round
    found = ratio([300 * speed for speed in busy], [100 * speed for speed in busy])
    assert (found.low, found.mean, found.high) == pytest.approx((3.0, 3.0, 3.0))


def test_the_bounds_are_those_of_student() -> None:
    # logs -0.1, 0, 0.1: mean 0, deviation 0.1, t(2 degrees) = 4.303
    found = ratio([math.exp(-0.1), 1.0, math.exp(0.1)], [1.0, 1.0, 1.0])
    half = 4.303 * 0.1 / math.sqrt(3)
    assert (found.low, found.mean, found.high) == pytest.approx((math.exp(-half), 1.0, math.exp(half)))


def test_more_rounds_narrow_the_bounds() -> None:
    few, many = ratio([1.0, 1.2] * 2, [1.0] * 4), ratio([1.0, 1.2] * 20, [1.0] * 40)
    assert few.mean == pytest.approx(many.mean)
    assert few.low < many.low < many.mean < many.high < few.high


def test_one_round_bounds_nothing() -> None:
    found = ratio([2.0], [1.0])
    assert (found.low, found.high) == (0.0, math.inf)
    assert found.mean == pytest.approx(2.0)


def test_rounds_that_are_no_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        ratio([1.0, 2.0], [1.0])


@pytest.mark.parametrize(("percent", "value"), [(50, 50), (99, 99), (99.9, 100), (100, 100), (1, 1)])
def test_percentiles_are_values_that_occurred(percent: float, value: float) -> None:
    assert percentile([float(number) for number in range(1, 101)], percent) == value


def test_a_percentile_of_one_value_is_that_value() -> None:
    assert percentile([7.0], 99.9) == 7.0
