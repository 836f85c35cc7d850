"""Where spans go: nowhere, to the console, or to an OTLP collector. Owns the provider's start and its bounded end.

Everything not named here is taken from the standard `OTEL_*` environment: sampler, resource, endpoint, headers, queue.
The provider is this object's own; the process-wide one is left alone.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
from collections.abc import Mapping
from urllib.parse import urlsplit

from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter

from pipeline.observe.trace_options import TraceExporter, TracingOptions
from pipeline.observe.tracing import TracingObserver
from schemas.dead_letter import VERSION
from schemas.errors import ConfigError, Fault

_log = logging.getLogger(__name__)
_INSTRUMENTATION = "opentelemetry.instrumentation.aiokafka"


class Tracing:
    """A provider with its exporter, and the observer that feeds it."""

    def __init__(self, provider: TracerProvider, observer: TracingObserver) -> None:
        self.observer = observer
        self._provider = provider

    async def close(self, timeout_s: float) -> bool:
        """Send what is queued, for at most `timeout_s`; False when a collector that does not answer kept it from ending.

        Spans that were not sent by then are lost. Never raises.
        """
        ended = threading.Event()
        # A daemon thread: a collector that hangs must not keep the process from exiting.
        threading.Thread(target=self._shut_down, args=(ended,), name="flush traces", daemon=True).start()
        if not await asyncio.to_thread(ended.wait, timeout_s):
            _log.warning("the trace collector did not take the last spans within %g s; they are lost", timeout_s)
            return False
        return True

    def _shut_down(self, ended: threading.Event) -> None:
        try:
            self._provider.shutdown()
        except Exception:
            _log.exception("ending the trace exporter failed")
        finally:
            ended.set()


def open_tracing(
    options: TracingOptions, *, server: tuple[str, int] | None = None, digests: Mapping[str, str] | None = None
) -> Tracing | None:
    """Tracing as the options say; None when it is off. Raises ConfigError when it cannot be had."""
    if options.exporter is TraceExporter.OFF:
        return None
    return trace_to(_exporter(options), server=server, digests=digests)


def trace_to(
    exporter: SpanExporter, *, server: tuple[str, int] | None = None, digests: Mapping[str, str] | None = None
) -> Tracing:
    """Tracing into any OpenTelemetry exporter, through a batch processor with a thread of its own."""
    warn_of_instrumentation()
    provider = TracerProvider(resource=_resource(), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return Tracing(provider, TracingObserver(provider, server=server, digests=digests))


def warn_of_instrumentation() -> bool:
    """Warn when the aiokafka instrumentation package is active: it would trace every record a second time, and wrongly."""
    module = sys.modules.get(_INSTRUMENTATION)
    instrumentor = getattr(module, "AIOKafkaInstrumentor", None)
    if instrumentor is None or not instrumentor().is_instrumented_by_opentelemetry:
        return False
    _log.warning(
        "the package opentelemetry-instrumentation-aiokafka is active: its spans end before the work is done and double "
        "ours; set OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=aiokafka or uninstall it"
    )
    return True


def _exporter(options: TracingOptions) -> SpanExporter:
    match options.exporter:
        case TraceExporter.CONSOLE:
            return ConsoleSpanExporter(out=sys.stderr)
        case _:
            return _otlp(options.endpoint)


def _otlp(endpoint: str | None) -> SpanExporter:
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError as error:
        remedy = "pip install 'penstock[otlp]'"
        raise ConfigError(Fault("the OTLP exporter is not installed", remedy, path="traces")) from error
    return OTLPSpanExporter(endpoint=traces_url(endpoint) if endpoint else None)


def traces_url(endpoint: str) -> str:
    """The URL that takes spans: a base URL gets the path `/v1/traces`, one with a path is taken as it is. Raises ConfigError."""
    remedy = "write the base URL of an OTLP/HTTP collector, e.g. http://localhost:4318"
    try:
        parts = urlsplit(endpoint)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise ConfigError(Fault("the OTLP endpoint is not an http or https URL", remedy, path="traces.endpoint"))
    return endpoint if parts.path.strip("/") else f"{endpoint.rstrip('/')}/v1/traces"


def _resource() -> Resource:
    """Ours, under whatever OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say."""
    attributes = {SERVICE_VERSION: VERSION}
    if not os.environ.get("OTEL_SERVICE_NAME") and "service.name=" not in os.environ.get(
        "OTEL_RESOURCE_ATTRIBUTES", ""
    ):
        attributes[SERVICE_NAME] = "penstock"
    return Resource.create(attributes)
