"""Scraped text as numbers, read by Prometheus' own parser."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client.parser import text_string_to_metric_families

from pipeline.observe.exposition import Exposition
from pipeline.observe.meter import Samples

Scrape = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


def parse(text: str) -> Scrape:
    families = text_string_to_metric_families(text)
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def scrape(samples: Samples) -> Scrape:
    return parse(Exposition(lambda: samples).render()[0].decode())


def value(scraped: Scrape, name: str, **labels: str) -> float | None:
    return scraped.get((name, frozenset(labels.items())))
