"""Samples of the catalogue's metrics: kept per process, sent as plain data, merged by the catalogue's rules.

Knows no metrics client, so that a worker's samples can travel to the supervisor and be added up there. A Meter belongs
to one thread (the event loop) and takes no lock.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

import msgspec

from pipeline.observe.catalogue import CATALOGUE, Merge, Metric, MetricKind

Labels = tuple[str, ...]
"""Label values, in the order of `Metric.labels`."""


class Buckets(msgspec.Struct):
    """One histogram: how many observations fell into each bucket (not cumulative; the last is +Inf), and their sum."""

    counts: list[int]
    total: float = 0.0


class Samples(msgspec.Struct):
    """Every sample by metric name and label values."""

    values: dict[str, dict[Labels, float]] = {}
    histograms: dict[str, dict[Labels, Buckets]] = {}


class Meter:
    """What this process has measured so far."""

    def __init__(self) -> None:
        self.samples = Samples()

    def add(self, metric: Metric, labels: Labels, amount: float = 1) -> None:
        """Raise a counter by `amount` (0 makes it visible)."""
        series = self._series(metric, labels)
        series[labels] = series.get(labels, 0) + amount

    def set(self, metric: Metric, labels: Labels, value: float) -> None:
        """Set a gauge."""
        self._series(metric, labels)[labels] = value

    def raise_to(self, metric: Metric, labels: Labels, value: float) -> None:
        """Set a gauge unless it is higher already."""
        series = self._series(metric, labels)
        if value > series.get(labels, float("-inf")):
            series[labels] = value

    def observe(self, metric: Metric, labels: Labels, value: float, weight: int = 1) -> None:
        """Put `weight` observations of `value` into a histogram."""
        assert len(labels) == len(metric.labels), f"{metric.name} has labels {metric.labels}"
        series = self.samples.histograms.setdefault(metric.name, {})
        buckets = series.get(labels)
        if buckets is None:
            buckets = series[labels] = Buckets([0] * (len(metric.buckets) + 1))
        buckets.counts[bisect_left(metric.buckets, value)] += weight
        buckets.total += value * weight

    def forget(self, metric: Metric, *beginning: str) -> None:
        """Remove a gauge's samples whose label values begin with these."""
        series = self.samples.values.get(metric.name, {})
        for labels in [labels for labels in series if labels[: len(beginning)] == beginning]:
            del series[labels]

    def _series(self, metric: Metric, labels: Labels) -> dict[Labels, float]:
        assert len(labels) == len(metric.labels), f"{metric.name} has labels {metric.labels}"
        return self.samples.values.setdefault(metric.name, {})


def merge(parts: Iterable[Samples]) -> Samples:
    """The samples of several processes as one, by each metric's `Merge`. The parts are left as they are."""
    merged = Samples()
    for part in parts:
        for metric in CATALOGUE:
            if metric.kind is MetricKind.HISTOGRAM:
                _merge_histograms(merged.histograms.setdefault(metric.name, {}), part.histograms.get(metric.name, {}))
            else:
                _merge_values(merged.values.setdefault(metric.name, {}), part.values.get(metric.name, {}), metric.merge)
    return merged


def lasting(samples: Samples) -> Samples:
    """What of a process' samples is still true after it ended: counters and histograms, but no gauges."""
    counters = {metric.name for metric in CATALOGUE if metric.kind is MetricKind.COUNTER}
    return Samples({name: series for name, series in samples.values.items() if name in counters}, samples.histograms)


def _merge_values(into: dict[Labels, float], part: dict[Labels, float], rule: Merge) -> None:
    for labels, value in part.items():
        present = into.get(labels)
        if present is None:
            into[labels] = value
        else:
            into[labels] = max(present, value) if rule is Merge.MAX else present + value


def _merge_histograms(into: dict[Labels, Buckets], part: dict[Labels, Buckets]) -> None:
    for labels, buckets in part.items():
        present = into.get(labels)
        if present is None:
            into[labels] = Buckets(list(buckets.counts), buckets.total)
        else:
            present.counts = [a + b for a, b in zip(present.counts, buckets.counts, strict=True)]
            present.total += buckets.total
