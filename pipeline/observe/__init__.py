"""What others can see of a running pipeline: metrics, traces, health, logs.

Everything is fed through the `Observer` port, once per batch and commit. This package's top imports no client library;
what needs one is taken from its own module when it is switched on: `admin` (aiohttp, prometheus_client), `exporters`
and `tracing` (OpenTelemetry).
"""

from pipeline.observe.fanout import combine
from pipeline.observe.fleet import Fleet, SnapshotFile
from pipeline.observe.health import Health, HealthReport
from pipeline.observe.logs import configure_logging
from pipeline.observe.meter import Meter
from pipeline.observe.metrics import ModuleInfo, PrometheusObserver
from pipeline.observe.null import NullObserver
from pipeline.observe.stats import Stats, StatsObserver

__all__ = [
    "Fleet",
    "Health",
    "HealthReport",
    "Meter",
    "ModuleInfo",
    "NullObserver",
    "PrometheusObserver",
    "SnapshotFile",
    "Stats",
    "StatsObserver",
    "combine",
    "configure_logging",
]
