"""`penstock run`: the service, in one process or several under a supervisor."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pipeline.app import check_cluster
from pipeline.clock import SystemClock
from pipeline.observe.admin import Admin, parse_address
from pipeline.observe.exporters import TraceExporter, TracingOptions
from pipeline.observe.fleet import Fleet
from pipeline.observe.logs import LEVELS, configure_logging
from pipeline.registry import load_checked
from pipeline.service import ServiceOptions, serve, tune_process
from pipeline.supervisor import Supervisor
from sandbox import Sandbox
from schemas.specs import Registry

_SNAPSHOT = "PENSTOCK_SNAPSHOT"
"""Set by a supervisor for its workers: where to leave samples and health."""


class LogFormat(StrEnum):
    """How log lines look."""

    TEXT = "text"
    JSON = "json"


def run(
    registry: Annotated[Path, typer.Argument(help="The registry file.", show_default=False)],
    processes: Annotated[int, typer.Option(min=1, help="Worker processes; partitions are shared out among them.")] = 1,
    admin: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Serve /metrics, /livez and /readyz there.", show_default=False),
    ] = None,
    log: Annotated[LogFormat, typer.Option(help="Format of the log lines on stderr.")] = LogFormat.TEXT,
    log_level: Annotated[str, typer.Option(help=f"One of {', '.join(LEVELS)}.")] = "info",
    traces: Annotated[TraceExporter, typer.Option(help="Where OpenTelemetry spans go.")] = TraceExporter.OFF,
    otlp_endpoint: Annotated[
        str | None,
        typer.Option(help="Base URL of an OTLP/HTTP collector; else OTEL_EXPORTER_OTLP_ENDPOINT.", show_default=False),
    ] = None,
) -> None:
    """Run the registry's routes until SIGTERM or Ctrl-C.

    Drains within the registry's shutdown_timeout: finishes batches in flight, commits, leaves the consumer groups. A second
    signal aborts. Exit code 2: the registry or the cluster's set-up has faults; 1: the brokers stayed out of reach.

    Example: penstock run transformers/registry.yaml --processes 2 --admin 127.0.0.1:9464
    """
    configure_logging(json=log is LogFormat.JSON, level=log_level)
    snapshot = os.environ.get(_SNAPSHOT)
    options = ServiceOptions(
        admin=parse_address(admin) if admin is not None else None,
        traces=TracingOptions(traces, otlp_endpoint),
        snapshot=Path(snapshot) if snapshot else None,
    )
    with Sandbox() as sandbox:
        loaded, transformers = load_checked(registry, sandbox)
        if processes == 1:
            tune_process()
            asyncio.run(serve(loaded, sandbox, transformers, options))
            return
    # The modules are compiled and in the cache now, so that the workers need not all do it.
    sys.exit(
        asyncio.run(_supervise(loaded, _worker_command(registry, log, log_level, options.traces), processes, options))
    )


def _worker_command(registry: Path, log: LogFormat, log_level: str, traces: TracingOptions) -> list[str]:
    command = [sys.executable, "-m", "pipeline.cli", "run", str(registry), "--log", log.value, "--log-level", log_level]
    command += ["--traces", traces.exporter.value]
    return [*command, "--otlp-endpoint", traces.endpoint] if traces.endpoint else command


async def _supervise(registry: Registry, command: list[str], processes: int, options: ServiceOptions) -> int:
    clock = SystemClock()
    await check_cluster(registry)  # here, so that what is wrong is said once and not by every worker
    with tempfile.TemporaryDirectory(prefix="penstock-") as directory:
        fleet = Fleet(Path(directory), processes, clock.monotonic)

        def environ(name: str) -> dict[str, str]:
            fleet.started(name)
            return {**os.environ, _SNAPSHOT: str(fleet.path(name))}

        supervisor = Supervisor(
            command,
            processes,
            environ=environ,
            on_end=fleet.ended,
            shutdown_timeout_s=registry.shutdown_timeout_s,
            clock=clock,
        )
        _stop_on_signals(supervisor, fleet)
        admin = Admin(options.admin, fleet.samples, fleet.health) if options.admin is not None else None
        if admin is not None:
            await admin.start()
        try:
            return await supervisor.run()
        finally:
            if admin is not None:
                await admin.close()


def _stop_on_signals(supervisor: Supervisor, fleet: Fleet) -> None:
    stopping = False

    def on_signal() -> None:
        nonlocal stopping
        if stopping:
            supervisor.abort()
            return
        stopping = True
        fleet.draining()
        supervisor.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, on_signal)
