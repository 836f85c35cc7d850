"""Variants take turns fairly, and what is told of them is the arithmetic of their rounds."""

from __future__ import annotations

from bench.results import load
from bench.sandbox_tables import sandbox_table, soak_table
from bench.turns import take_turns


class Clock:
    """Each call of a variant takes as many nanoseconds as it says."""

    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        return self.now

    def spend(self, ns: int) -> None:
        self.now += ns


def test_each_round_is_timed_but_the_first() -> None:
    clock, order = Clock(), []

    def work(name: str, ns: int) -> None:
        order.append(name)
        clock.spend(ns if len(order) > 4 else 1_000_000)

    got = take_turns({"a": lambda: work("a", 3_000), "b": lambda: work("b", 2_000)}, times=2, rounds=3, clock_ns=clock)
    assert got.taken == {"a": [3.0] * 3, "b": [2.0] * 3}
    assert "".join(order) == "aabb" + "bbaa" + "aabb" + "bbaa"
    assert got.us("a") == 3.0
    found = got.percent_over("a", "b")
    assert {side: round(value) for side, value in found.items()} == {"mean": 50, "low": 50, "high": 50}


def test_the_saved_results_fill_their_tables() -> None:
    """Whatever was measured last can be shown, with every mark."""
    sandbox = load("sandbox")
    assert sandbox is not None
    text = sandbox_table(sandbox)
    assert text.count("met |") == 3 and "50 ns" in text and "| fuel" in text
    soak = load("soak")
    assert soak is not None
    assert soak_table(soak).count("\n| ") == len(soak["rows"]) + 2
