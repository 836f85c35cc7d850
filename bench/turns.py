"""Variants of one question that take turns, round after round, in one process: the CPU each of them used.

CPU of the calling thread, user and system, not the clock on the wall: what other work does on the machine shows little. The
order turns by one each round. Comparisons are of the same round, with 95 % bounds; absolute figures are medians.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bench.bounds import Bounds, ratio

Work = Callable[[], object]


@dataclass(frozen=True)
class Turns:
    """Microseconds a call, by variant and round."""

    taken: dict[str, list[float]]

    def us(self, name: str) -> float:
        """Median."""
        return statistics.median(self.taken[name])

    def over(self, name: str, base: str) -> Bounds:
        """How many times as much `name` used as `base` did."""
        return ratio(self.taken[name], self.taken[base])

    def percent_over(self, name: str, base: str) -> dict[str, float]:
        """How much more `name` used, in percent, with its bounds."""
        found = self.over(name, base)
        return {side: (getattr(found, side) - 1) * 100 for side in ("mean", "low", "high")}


def take_turns(
    variants: dict[str, Work], *, times: int, rounds: int, clock_ns: Callable[[], int] = time.thread_time_ns
) -> Turns:
    """Call each variant `times` times a round, after a round that warms up and is not counted."""
    taken: dict[str, list[float]] = {name: [] for name in variants}
    names = list(variants)
    for number in range(rounds + 1):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            work, began = variants[name], clock_ns()
            for _ in range(times):
                work()
            if number:
                taken[name].append((clock_ns() - began) / times / 1e3)
    return Turns(taken)


def row(what: str, value: float, unit: str, **more: Any) -> dict[str, Any]:
    """One line of a table."""
    return {"what": what, "value": value, "unit": unit, **more}
