"""The catalogue keeps Prometheus' rules, and the docs say what it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline.observe.catalogue import CATALOGUE, Metric, MetricKind, markdown_table

DOCS = Path(__file__).parents[3] / "docs" / "telemetry.md"
UNBOUNDED = {"key", "offset", "tenant", "event", "message"}


def test_the_docs_have_the_catalogues_table() -> None:
    found = re.search(r"<!-- catalogue -->\n(.*?)<!-- end of catalogue -->", DOCS.read_text("utf-8"), re.DOTALL)
    assert found is not None
    assert found[1] == markdown_table(), "run `python -m pipeline.observe.catalogue` and paste its table into the docs"


def test_names_are_unique() -> None:
    names = [metric.name for metric in CATALOGUE]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("metric", CATALOGUE, ids=lambda metric: metric.name)
def test_a_metric_keeps_the_naming_rules(metric: Metric) -> None:
    assert re.fullmatch(r"(penstock|messaging)_[a-z]+(_[a-z]+)*", metric.name)
    assert metric.name.endswith("_total") == (metric.kind is MetricKind.COUNTER)
    if metric.unit in ("seconds", "bytes"):
        assert metric.name.removesuffix("_total").endswith(f"_{metric.unit}")
    assert bool(metric.buckets) == (metric.kind is MetricKind.HISTOGRAM)
    assert list(metric.buckets) == sorted(set(metric.buckets))
    assert not UNBOUNDED & set(metric.labels)
    assert metric.meaning.endswith(".")
