"""Ratios of paired rounds, with the 95 % bounds of their mean: Student's t over the logarithms."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

_T_975 = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)
"""Two-sided 95 % quantiles of Student's t, for 1 to 30 degrees of freedom."""
_T_BEYOND = 2.042
"""For more: a little too wide, never too narrow."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """A ratio, and where its mean is with 95 % confidence. One pair alone bounds nothing: then low is 0 and high is infinite."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.2f} ({self.low:.2f}–{self.high:.2f})"


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Bounds:
    """`ours / theirs`, round by round (both were measured in the same round); the geometric mean. All are positive."""
    logs = [math.log(a / b) for a, b in zip(ours, theirs, strict=True)]
    mean = statistics.fmean(logs)
    if len(logs) == 1:
        return Bounds(math.exp(mean), 0.0, math.inf)
    freedom = len(logs) - 1
    t = _T_975[freedom - 1] if freedom <= len(_T_975) else _T_BEYOND
    half = t * statistics.stdev(logs) / math.sqrt(len(logs))
    return Bounds(math.exp(mean), math.exp(mean - half), math.exp(mean + half))
