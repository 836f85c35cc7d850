"""Spans on their way out: to a real HTTP collector, to none, to one that hangs."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from pipeline.observe.exporters import (
    TraceExporter,
    TracingOptions,
    open_tracing,
    trace_to,
    traces_url,
    warn_of_instrumentation,
)
from schemas.errors import ConfigError
from tests.pipeline.observe.facts import LANE, batch, passed, report

ROOT = Path(__file__).parents[3]
EXPORTER_MODULE = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
ENVIRONMENT = (
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
    "OTEL_SERVICE_NAME",
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
)


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)


def test_off_is_nothing_at_all() -> None:
    assert open_tracing(TracingOptions()) is None


class Collector:
    """Takes OTLP over HTTP as a real one does."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, ExportTraceServiceRequest]] = []

    @contextlib.asynccontextmanager
    async def listening(self):  # type: ignore[no-untyped-def]
        app = web.Application()
        app.router.add_post("/{path:.*}", self._take)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0]
        try:
            yield f"http://{host}:{port}"
        finally:
            await runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        self.requests.append((request.path, ExportTraceServiceRequest.FromString(await request.read())))
        return web.Response()


@pytest.mark.parametrize("by_environment", [False, True])
def test_spans_arrive_at_a_collector(by_environment: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    collector = Collector()

    async def run() -> bool:
        async with collector.listening() as url:
            if by_environment:
                monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
                monkeypatch.setenv("OTEL_SERVICE_NAME", "shop-penstock")
            tracing = open_tracing(TracingOptions(TraceExporter.OTLP, None if by_environment else url))
            assert tracing is not None
            taken = batch(3)
            span = tracing.observer.batch(LANE, taken)
            span.transformed("enrich-order", taken, report(passed(taken)))
            span.end()
            return await tracing.close(10)

    assert asyncio.run(run())
    ((path, request),) = collector.requests
    assert path == "/v1/traces"
    (resource,) = request.resource_spans
    attributes = {each.key: each.value.string_value for each in resource.resource.attributes}
    assert attributes["service.name"] == ("shop-penstock" if by_environment else "penstock")
    assert attributes["service.version"]
    assert {span.name for span in resource.scope_spans[0].spans} == {"process shop.orders", "transform enrich-order"}


def test_the_environment_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    exporter = InMemorySpanExporter()
    tracing = trace_to(exporter)
    tracing.observer.batch(LANE, batch(1)).end()
    assert asyncio.run(tracing.close(10))
    assert not exporter.get_finished_spans()


def test_an_exporter_that_hangs_does_not_keep_us(caplog: pytest.LogCaptureFixture) -> None:
    released = threading.Event()

    class Hanging(SpanExporter):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            released.wait()
            return SpanExportResult.SUCCESS

    tracing = trace_to(Hanging())
    tracing.observer.batch(LANE, batch(1)).end()
    with caplog.at_level(logging.WARNING, "pipeline"):
        assert asyncio.run(tracing.close(0.05)) is False
    assert "the trace collector did not take the last spans within 0.05 s" in caplog.text
    released.set()
    for thread in threading.enumerate():
        if thread.name == "flush traces":
            thread.join()


def test_a_collector_that_hangs_does_not_keep_the_process() -> None:
    program = (
        "import asyncio, socket\n"
        "from pipeline.observe.exporters import TraceExporter, TracingOptions, open_tracing\n"
        "from tests.pipeline.observe.facts import LANE, batch\n"
        "silent = socket.socket(); silent.bind(('127.0.0.1', 0)); silent.listen()\n"
        "url = f'http://127.0.0.1:{silent.getsockname()[1]}'\n"
        "tracing = open_tracing(TracingOptions(TraceExporter.OTLP, url))\n"
        "tracing.observer.batch(LANE, batch(1)).end()\n"
        "print(asyncio.run(tracing.close(0.05)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=9, check=False
    )
    assert (done.stdout, done.returncode) == ("False\n", 0), done.stderr


def test_an_exporter_that_fails_to_end_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    class Stubborn(SpanExporter):
        def shutdown(self) -> None:
            raise RuntimeError("no")

    with caplog.at_level(logging.ERROR, "pipeline"):
        assert asyncio.run(trace_to(Stubborn()).close(10))
    assert "ending the trace exporter failed" in caplog.text


def test_the_console(capfd: pytest.CaptureFixture[str]) -> None:
    tracing = open_tracing(TracingOptions(TraceExporter.CONSOLE))
    assert tracing is not None
    tracing.observer.batch(LANE, batch(1)).end()
    assert asyncio.run(tracing.close(10))
    out, err = capfd.readouterr()
    assert '"name": "process shop.orders"' in err
    assert not out


def test_a_missing_package_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, EXPORTER_MODULE, None)
    with pytest.raises(ConfigError, match=r"the OTLP exporter is not installed — pip install 'penstock\[otlp\]'"):
        open_tracing(TracingOptions(TraceExporter.OTLP))


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("http://localhost:4318", "http://localhost:4318/v1/traces"),
        ("https://collector.example/", "https://collector.example/v1/traces"),
        ("http://gateway/otlp/v1/traces", "http://gateway/otlp/v1/traces"),
        ("http://[::1]:4318", "http://[::1]:4318/v1/traces"),
    ],
)
def test_endpoints(endpoint: str, url: str) -> None:
    assert traces_url(endpoint) == url


@pytest.mark.parametrize(
    "endpoint", ["localhost:4318", "grpc://localhost:4317", "http://", "http://a:99999", "http://[::1", ""]
)
def test_what_is_no_endpoint_is_refused(endpoint: str) -> None:
    with pytest.raises(ConfigError, match="base URL of an OTLP/HTTP collector"):
        traces_url(endpoint)


@pytest.mark.parametrize("active", [True, False])
def test_the_aiokafka_instrumentation_is_noticed(
    active: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The package itself is not a dependency: a module with its two names stands in for it."""
    module = ModuleType("opentelemetry.instrumentation.aiokafka")
    module.AIOKafkaInstrumentor = lambda: SimpleNamespace(is_instrumented_by_opentelemetry=active)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    with caplog.at_level(logging.WARNING, "pipeline"):
        assert warn_of_instrumentation() is active
    assert ("opentelemetry-instrumentation-aiokafka is active" in caplog.text) is active


def test_nothing_to_notice_without_the_package() -> None:
    assert not warn_of_instrumentation()


def test_the_packages_top_needs_no_client_library() -> None:
    """What is switched off is not even imported."""
    program = (
        "import sys, pipeline.observe\n"
        "found = {'opentelemetry', 'prometheus_client', 'aiohttp', 'aiokafka'} & set(sys.modules)\n"
        "sys.exit(f'imported {found}' if found else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
