"""Quantiles of durations in constant memory: a histogram whose buckets grow by a constant factor."""

from __future__ import annotations

import math
from collections import Counter

_GROWTH = 1.05
"""Neighbouring bounds differ by 5 %, so a quantile is off by less than that."""
_LOG_GROWTH = math.log(_GROWTH)
_INDEX_MAX = 800
"""About 10^17 ns: years. Also the bound on memory."""


class Digest:
    """Durations in nanoseconds, each with a weight."""

    __slots__ = ("_counts", "count")

    def __init__(self) -> None:
        self.count = 0
        self._counts = Counter[int]()

    def add(self, nanoseconds: float, weight: int = 1) -> None:
        """Count `weight` observations."""
        index = math.ceil(math.log(nanoseconds) / _LOG_GROWTH) if nanoseconds > 1 else 0
        self._counts[min(index, _INDEX_MAX)] += weight
        self.count += weight

    def quantile(self, q: float) -> float | None:
        """Nanoseconds that a share `q` (0 to 1) of the observations does not exceed, within 5 %; None without any."""
        if not self.count:
            return None
        rank, seen = max(1, math.ceil(q * self.count)), 0
        for index in sorted(self._counts):
            seen += self._counts[index]
            if seen >= rank:
                return float(_GROWTH ** (index - 0.5)) if index else 1.0
        raise AssertionError("the counts add up to less than their sum")
