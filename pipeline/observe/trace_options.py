"""What a user can say about traces. Apart from `exporters`, so that who has none does not load OpenTelemetry."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class TraceExporter(StrEnum):
    """The choices of `--traces`."""

    OFF = "off"
    CONSOLE = "console"
    OTLP = "otlp"


@dataclass(frozen=True, slots=True)
class TracingOptions:
    """What a user can say about traces."""

    exporter: TraceExporter = TraceExporter.OFF
    endpoint: str | None = None
    """Base URL of an OTLP/HTTP collector, e.g. `http://localhost:4318`; None takes `OTEL_EXPORTER_OTLP_ENDPOINT`."""
