"""`penstock run`: the service, in one process or several under a supervisor."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import msgspec
import typer

from pipeline.app import check_cluster
from pipeline.backfill import Limit
from pipeline.cli.ceiling import CeilingOption, ceiling
from pipeline.clock import SystemClock
from pipeline.kafka.farewell import bid_farewell
from pipeline.observe.catalogue import RECORDS
from pipeline.observe.fleet import Fleet
from pipeline.observe.logs import LEVELS, configure_logging
from pipeline.observe.stats import StatsObserver
from pipeline.observe.trace_options import TraceExporter, TracingOptions
from pipeline.registry import load_checked
from pipeline.registry.atomic import refuse_bounded, refuse_shared
from pipeline.service import ServiceOptions, serve, tune_process
from pipeline.supervisor import Supervisor
from pipeline.workers import default_worker_count
from sandbox import Sandbox, Transformer
from schemas.errors import ConfigError, Fault, TransportError
from schemas.event import TopicPartition
from schemas.specs import Registry

if TYPE_CHECKING:  # what not every run needs is loaded when it is wanted
    from pipeline.cli.until_end import Account
    from pipeline.observe.admin import Address, Admin

_log = logging.getLogger(__name__)
_SNAPSHOT = "PENSTOCK_SNAPSHOT"
"""Set by a supervisor for its workers: where to leave samples and health."""
_PROCESSES_MAX = 256
"""Each has a member in every group, and threads and connections of its own."""
_ENDS = "PENSTOCK_ENDS"
"""Likewise, in a bounded run: the file that says where each partition ends."""


class LogFormat(StrEnum):
    """How log lines look."""

    TEXT = "text"
    JSON = "json"


def run(
    registry: Annotated[Path, typer.Argument(help="The registry file.", show_default=False)],
    processes: Annotated[
        int, typer.Option(min=1, max=_PROCESSES_MAX, help="Worker processes; partitions are shared out among them.")
    ] = 1,
    admin: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Serve /metrics, /livez and /readyz there.", show_default=False),
    ] = None,
    log: Annotated[LogFormat, typer.Option(help="Format of the log lines on stderr.")] = LogFormat.TEXT,
    log_level: Annotated[
        str | None,
        typer.Option(help=f"One of {', '.join(LEVELS)}; info, beside a progress bar warning.", show_default=False),
    ] = None,
    traces: Annotated[TraceExporter, typer.Option(help="Where OpenTelemetry spans go.")] = TraceExporter.OFF,
    otlp_endpoint: Annotated[
        str | None,
        typer.Option(help="Base URL of an OTLP/HTTP collector; else OTEL_EXPORTER_OTLP_ENDPOINT.", show_default=False),
    ] = None,
    until_end: Annotated[
        bool, typer.Option("--until-end", help="Stop when everything is done that was there at the start.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="With --until-end: print the account as JSON.")] = False,
    ceiling_: CeilingOption = None,
) -> None:
    """Run the registry's routes until SIGTERM or Ctrl-C.

    Drains within the registry's shutdown_timeout: finishes batches in flight, commits, leaves the consumer groups. A second
    signal aborts. Exit code 2: the registry or the cluster's set-up has faults; 1: the brokers stayed out of reach.

    With --until-end: a backfill. Each partition is taken up to the end it had at the start, and no event further; then exit
    code 0, when all of them are committed to there, or 1, when some are halted. Interrupted, it drains, says where it stands
    and exits with 130; run again, it goes on there.

    Example: penstock run transformers/registry.yaml --processes 2 --admin 127.0.0.1:9464
    """
    if json and not until_end:
        raise ConfigError(Fault("--json is the account of a bounded run", "add --until-end", path="--json"))
    level = log_level or ("warning" if until_end and sys.stderr.isatty() else "info")
    snapshot, ends = os.environ.get(_SNAPSHOT), os.environ.get(_ENDS)
    configure_logging(json=log is LogFormat.JSON, level=level, worker=Path(snapshot).stem if snapshot else None)
    options = ServiceOptions(
        admin=_address(admin) if admin is not None else None,
        traces=TracingOptions(traces, otlp_endpoint),
        snapshot=Path(snapshot) if snapshot else None,
        limit=Limit(_read_ends(Path(ends)), asyncio.Event()) if ends else None,
    )
    with Sandbox(workers=default_worker_count(), ceiling=ceiling(ceiling_)) as sandbox:
        _log.debug("the registry is being read")
        loaded, transformers = load_checked(registry, sandbox)
        _log.debug("the registry is checked and its modules are loaded")
        if not loaded.routes:
            problem = "there is no route to run: the registry's transformers are only called (docs/sql.md)"
            raise ConfigError(Fault(problem, "declare a route", str(registry), path="routes"))
        if until_end:
            refuse_bounded(loaded)
        if processes > 1:
            refuse_shared(loaded)
        if processes == 1:
            loaded = _as_worker(loaded, Path(snapshot)) if snapshot else loaded
            tune_process()
            if until_end:
                _tell(asyncio.run(_serve_until_end(loaded, sandbox, transformers, options)), json=json)
            asyncio.run(serve(loaded, sandbox, transformers, options))
            return
    # The modules are compiled and in the cache now, so that the workers need not all do it.
    command = _worker_command(registry, log, level, options.traces)
    command += ["--ceiling", ceiling_] if ceiling_ is not None else []
    if until_end:
        _tell(asyncio.run(_supervise_until_end(loaded, command, processes, options)), json=json)
    sys.exit(asyncio.run(_supervise(loaded, command, processes, options)))


def _tell(account: Account, *, json: bool) -> NoReturn:
    from pipeline.cli.until_end import tell

    tell(account, json=json)


async def _serve_until_end(
    registry: Registry, sandbox: Sandbox, transformers: Mapping[str, Transformer], options: ServiceOptions
) -> Account:
    from pipeline.cli.until_end import OUTCOMES, run_until_end

    stats = StatsObserver(SystemClock().monotonic)

    async def service(limit: Limit) -> int:
        await serve(registry, sandbox, transformers, replace(options, limit=limit, observers=(stats,)))
        return 0

    def outcomes() -> dict[str, int]:
        totals = stats.stats()
        return {name: getattr(totals, name) for name in OUTCOMES}

    await check_cluster(registry)
    return await run_until_end(registry, service, outcomes)


async def _supervise_until_end(
    registry: Registry, command: list[str], processes: int, options: ServiceOptions
) -> Account:
    from pipeline.cli.until_end import OUTCOMES, run_until_end

    done = Counter[str]()

    async def service(limit: Limit) -> int:
        return await _supervise(registry, command, processes, replace(options, limit=limit), done)

    await check_cluster(registry)
    return await run_until_end(registry, service, lambda: {name: done[name] for name in OUTCOMES})


def _worker_command(registry: Path, log: LogFormat, log_level: str, traces: TracingOptions) -> list[str]:
    command = [sys.executable, "-m", "pipeline.cli", "run", str(registry), "--log", log.value, "--log-level", log_level]
    command += ["--traces", traces.exporter.value]
    return [*command, "--otlp-endpoint", traces.endpoint] if traces.endpoint else command


async def _supervise(
    registry: Registry,
    command: list[str],
    processes: int,
    options: ServiceOptions,
    done: Counter[str] | None = None,
) -> int:
    """The exit code. `done` is given the source events that all workers committed, by outcome, at the end."""
    clock, limit = SystemClock(), options.limit
    if limit is None:
        await check_cluster(registry)  # here, so that what is wrong is said once and not by every worker
    with tempfile.TemporaryDirectory(prefix="penstock-") as directory:
        fleet = Fleet(Path(directory), processes, clock.monotonic)
        ends = Path(directory) / "ends"
        if limit is not None:
            _write_ends(ends, limit.ends)

        def environ(name: str) -> dict[str, str]:
            fleet.started(name)
            bound = {_ENDS: str(ends)} if limit is not None else {}
            return {**os.environ, **bound, _SNAPSHOT: str(fleet.path(name))}

        def ended(name: str, code: int) -> None:
            fleet.ended(name)
            if code != 0:
                farewells.append(asyncio.create_task(_bid_farewell(registry, _client_id(fleet.path(name)))))

        farewells: list[asyncio.Task[None]] = []
        supervisor = Supervisor(
            command,
            processes,
            environ=environ,
            on_end=ended,
            shutdown_timeout_s=registry.shutdown_timeout_s,
            clock=clock,
        )
        _stop_on_signals(supervisor, fleet)
        admin = _admin(options.admin, fleet) if options.admin is not None else None
        if admin is not None:
            await admin.start()
        enough = asyncio.create_task(_stop_when(limit.enough, supervisor, fleet)) if limit is not None else None
        try:
            return await supervisor.run()
        finally:
            await asyncio.gather(*farewells, return_exceptions=True)  # a courtesy: nothing may depend on it
            if enough is not None:
                enough.cancel()
            if done is not None:
                for (_, outcome), count in fleet.samples().values.get(RECORDS.name, {}).items():
                    done[outcome] += int(count)
            if admin is not None:
                await admin.close()


def _address(text: str) -> Address:
    from pipeline.observe.admin import parse_address

    return parse_address(text)


def _admin(address: Address, fleet: Fleet) -> Admin:
    from pipeline.observe.admin import Admin

    return Admin(address, fleet.samples, fleet.health)


def _client_id(snapshot: Path) -> str:
    """A worker's name for the brokers, which no other process ever has: the supervisor's folder is its own."""
    return f"{snapshot.parent.name}-{snapshot.stem}"


def _as_worker(registry: Registry, snapshot: Path) -> Registry:
    """With a client id of its own, unless the registry names one: then it is needed for something else, such as a quota."""
    client = {"client_id": _client_id(snapshot), **registry.kafka.client}
    return replace(registry, kafka=replace(registry.kafka, client=client))


async def _bid_farewell(registry: Registry, client_id: str) -> None:
    """The group need not wait for a worker that was killed."""
    if "client_id" in registry.kafka.client:
        return
    groups = {route.group for route in registry.routes.values()}
    try:
        await bid_farewell(registry.kafka, groups, client_id)
    except TransportError as error:
        _log.info("the group will notice by itself that a worker is gone: %s", error)


async def _stop_when(enough: asyncio.Event, supervisor: Supervisor, fleet: Fleet) -> None:
    await enough.wait()
    fleet.draining()
    supervisor.stop()


def _write_ends(path: Path, ends: Mapping[TopicPartition, int]) -> None:
    path.write_bytes(msgspec.json.encode([(at.topic, at.partition, end) for at, end in ends.items()]))


def _read_ends(path: Path) -> dict[TopicPartition, int]:
    try:
        rows = msgspec.json.decode(path.read_bytes(), type=list[tuple[str, int, int]])
    except (OSError, ValueError):
        problem = f"{path} does not say where partitions end"
        raise ConfigError(Fault(problem, "unset it: only a supervisor sets it, for its workers", path=_ENDS)) from None
    return {TopicPartition(topic, partition): end for topic, partition, end in rows}


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
