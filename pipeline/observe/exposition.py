"""Samples as text that Prometheus scrapes. The only file that knows the Prometheus client."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from pipeline.observe.catalogue import CATALOGUE, Metric, MetricKind
from pipeline.observe.meter import Buckets, Samples

Family = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily


class Exposition(Collector):
    """Renders whatever `samples` returns at the moment of the scrape, through a registry of its own."""

    def __init__(self, samples: Callable[[], Samples]) -> None:
        self._samples = samples
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """The text and its content type, in the format that the `Accept` header asks for (Prometheus or OpenMetrics)."""
        try:
            encode, content_type = choose_encoder(accept)
        except (TypeError, ValueError):  # what the client's library makes of a version that is none
            encode, content_type = choose_encoder("")
        return encode(self._registry), content_type

    def collect(self) -> Iterator[Family]:
        """One family per metric of the catalogue, those without samples included."""
        samples = self._samples()
        for metric in CATALOGUE:
            yield _family(metric, samples)

    def describe(self) -> Iterator[Family]:
        """Nothing is known of the samples before the scrape."""
        return iter(())


def _family(metric: Metric, samples: Samples) -> Family:
    match metric.kind:
        case MetricKind.HISTOGRAM:
            histogram = HistogramMetricFamily(metric.name, metric.meaning, labels=metric.labels)
            for labels, buckets in samples.histograms.get(metric.name, {}).items():
                histogram.add_metric(labels, _cumulative(metric, buckets), buckets.total)
            return histogram
        case MetricKind.COUNTER:
            return _filled(CounterMetricFamily(metric.name, metric.meaning, labels=metric.labels), metric, samples)
        case MetricKind.GAUGE:
            return _filled(GaugeMetricFamily(metric.name, metric.meaning, labels=metric.labels), metric, samples)


def _filled(family: CounterMetricFamily | GaugeMetricFamily, metric: Metric, samples: Samples) -> Family:
    for labels, value in samples.values.get(metric.name, {}).items():
        family.add_metric(labels, value)
    return family


def _cumulative(metric: Metric, buckets: Buckets) -> list[tuple[str, float]]:
    bounds = (*map(repr, metric.buckets), "+Inf")
    return [(bound, float(count)) for bound, count in zip(bounds, accumulate(buckets.counts), strict=True)]
