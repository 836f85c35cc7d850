"""Samples of processes over their lives, and whether anything of them only grows.

Method. A life begins with the process, and anew when a neighbour dies whose partitions it takes over. Its first third, and at least
`WARM_UP_S`, is warm-up and left out: buffers and WebAssembly memories grow to what the largest batches need. The rest is cut into
`BLOCKS` stretches of equal length, each represented by its median: samples of one moment depend on each other, medians
of seconds hardly do. The slope is the median of the slopes between all pairs of them (Theil and Sen), with 95 % bounds: a single
step, as a backlog makes one that was larger than those before, is no slope; a leak, however slow, is one.
Memory is *flat* when zero lies within the bounds, or when the slope makes less of the whole stretch than the life breathes (nine
samples in ten lie within so much of the line, and `DRIFT_MIB` at least); and when the last third's median is no more than `STEP_MIB`
above the first's, however it came there.
Whole numbers (threads, descriptors, tasks, guests) are steady when the last stretches are not above the first ones by more than one or two that come and go.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

WARM_UP_S = 20.0
BLOCKS = 12
LIFE_S_MIN = 60.0
"""Shorter ones (after warm-up) say nothing about a slope."""
DRIFT_MIB = 4.0
STEP_MIB = 16.0
_Z_975 = 1.96
"""Of the normal distribution, two-sided 95 %."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One process at one moment."""

    at_s: float
    rss_mib: float
    threads: int
    descriptors: int


@dataclass(frozen=True, slots=True)
class Slope:
    """MiB a minute, with 95 % bounds."""

    mean: float
    low: float
    high: float

    def drift(self, seconds: float) -> float:
        """MiB that the line climbs in so many seconds."""
        return self.mean * seconds / 60


@dataclass(frozen=True, slots=True)
class Life:
    """What is said of one process."""

    process: str
    seconds: float
    """After warm-up."""
    rss_mib: float
    """Median."""
    rss_mib_max: float
    slope: Slope | None
    """None when the life was too short to tell."""
    breath_mib: float
    """The width of the band around the line of the slope in which nine samples of ten lie."""
    step_mib: float
    """The last third's median above the first's."""
    threads: tuple[float, float]
    """Medians of the first and of the last third."""
    descriptors: tuple[float, float]

    def faults(self) -> list[str]:
        """What grew."""
        found = []
        breath_mib = max(DRIFT_MIB, self.breath_mib)
        if self.slope is not None and self.slope.low > 0 and self.slope.drift(self.seconds) > breath_mib:
            climb = self.slope.drift(self.seconds)
            found.append(f"{self.process}: {climb:.1f} MiB more after {self.seconds:.0f} s, {self.slope}")
        elif self.slope is not None and self.step_mib > STEP_MIB:
            found.append(f"{self.process}: {self.step_mib:.1f} MiB more in the last third than in the first")
        for what, (first, last) in (("threads", self.threads), ("descriptors", self.descriptors)):
            if self.slope is not None and last > first + 2:
                found.append(f"{self.process}: {last:g} {what} where there were {first:g}")
        return found


def settled(samples: Sequence[Sample]) -> Sequence[Sample]:
    """Without the warm-up."""
    began, ended = samples[0].at_s, samples[-1].at_s
    start = began + max(WARM_UP_S, (ended - began) / 3)
    return [sample for sample in samples if sample.at_s >= start]


def judge(process: str, samples: Sequence[Sample]) -> Life:
    """One process, from all its samples in order."""
    kept = settled(samples) or samples[-1:]
    seconds = kept[-1].at_s - kept[0].at_s
    points = [(sample.at_s, sample.rss_mib) for sample in kept]
    line = slope(points) if seconds >= LIFE_S_MIN and len(points) >= 2 * BLOCKS else None
    first, last = first_and_last([mib for _, mib in points])
    return Life(
        process=process,
        seconds=seconds,
        rss_mib=statistics.median(mib for _, mib in points),
        rss_mib_max=max(sample.rss_mib for sample in samples),
        slope=line,
        breath_mib=breath(points, line) if line else 0.0,
        step_mib=last - first,
        threads=first_and_last([sample.threads for sample in kept]),
        descriptors=first_and_last([sample.descriptors for sample in kept]),
    )


def first_and_last(counts: Sequence[float]) -> tuple[float, float]:
    """Medians of the first and of the last third."""
    third = max(1, len(counts) // 3)
    return statistics.median(counts[:third]), statistics.median(counts[-third:])


def breath(points: Sequence[tuple[float, float]], line: Slope) -> float:
    """MiB between the 5th and the 95th percentile of what is left without the slope."""
    twentieths = statistics.quantiles((mib - line.drift(at) for at, mib in points), n=20)
    return twentieths[-1] - twentieths[0]


def slope(points: Sequence[tuple[float, float]]) -> Slope:
    """Of MiB over seconds, through the medians of `BLOCKS` stretches: the median of the slopes of all pairs (Theil and Sen),
    and the ranks of those slopes between which the true one lies in 95 % of cases (Kendall's S of so many points)."""
    size = len(points) / BLOCKS
    blocks = [points[round(n * size) : round((n + 1) * size)] for n in range(BLOCKS)]
    medians = [(statistics.fmean(at for at, _ in b) / 60, statistics.median(mib for _, mib in b)) for b in blocks]
    slopes = sorted((later[1] - first[1]) / (later[0] - first[0]) for first, later in combinations(medians, 2))
    spread = _Z_975 * (BLOCKS * (BLOCKS - 1) * (2 * BLOCKS + 5) / 18) ** 0.5
    low = int((len(slopes) - spread) / 2)
    return Slope(statistics.median(slopes), slopes[low], slopes[len(slopes) - 1 - low])
