"""One process of `penstock run`: a pipeline with its observers, its admin port or its supervisor, and its signals."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.app import Pipeline
from pipeline.backfill import Limit
from pipeline.clock import SystemClock
from pipeline.kafka.compression import compress_fast
from pipeline.kafka.transactions import begin_soon
from pipeline.observe.fanout import combine
from pipeline.observe.fleet import SnapshotFile
from pipeline.observe.health import Health
from pipeline.observe.meter import Meter
from pipeline.observe.metrics import ModuleInfo, PrometheusObserver
from pipeline.observe.resources import Resources
from pipeline.observe.stats import StatsObserver
from pipeline.observe.trace_options import TraceExporter, TracingOptions
from pipeline.ports import Observer
from pipeline.supervisor import supervisor_is_gone
from sandbox import Sandbox, Transformer
from schemas.specs import Registry

if (
    TYPE_CHECKING
):  # loaded when they are wanted: a web server and OpenTelemetry would cost every start a tenth of a second
    from pipeline.observe.admin import Address
    from pipeline.observe.exporters import Tracing

_log = logging.getLogger(__name__)
_SUMMARY_EVERY_S = 10.0
_FLUSH_TRACES_S = 5.0
_M_ARENA_MAX = -8
"""glibc's number of this setting of its allocator (malloc.h)."""


@dataclass(frozen=True, slots=True)
class ServiceOptions:
    """What `penstock run` was told besides the registry."""

    admin: Address | None = None
    traces: TracingOptions = field(default_factory=TracingOptions)
    snapshot: Path | None = None
    """In a worker: where its samples and health go, for the supervisor's admin port."""
    limit: Limit | None = None
    """Of a bounded run."""
    observers: tuple[Observer, ...] = ()
    """Who else is to be told."""


async def serve(
    registry: Registry, sandbox: Sandbox, transformers: Mapping[str, Transformer], options: ServiceOptions
) -> None:
    """Until SIGTERM or SIGINT (or the limit's `enough`), then drain. Raises what `Pipeline.run` raises, and ConfigError for the admin port."""
    clock = SystemClock()
    health = Health(registry.routes, clock.monotonic)
    stats = StatsObserver(clock.monotonic)
    observers: list[Observer] = [stats, health, *options.observers]
    meter = Meter()
    tracing = _open_tracing(options.traces, registry, transformers)
    if options.admin is not None or options.snapshot is not None:
        observers.append(_metrics(meter, clock, registry, transformers))
    if tracing is not None:
        observers.append(tracing.observer)
    pipeline = Pipeline(
        registry,
        sandbox=sandbox,
        transformers=transformers,
        observer=combine(*observers),
        vitals=health,
        clock=clock,
        ends=options.limit.ends if options.limit is not None else None,
    )
    async with AsyncExitStack() as stack:
        if tracing is not None:
            stack.push_async_callback(_close_tracing, tracing)
        if options.admin is not None:
            await _open_admin(options.admin, meter, health, stack)
        background = [asyncio.create_task(_summaries(stats, clock))]
        if options.admin is not None or options.snapshot is not None:
            resources = Resources(meter, lambda: sandbox.stats().active_instances, clock)
            background.append(asyncio.create_task(resources.relay()))
        if options.snapshot is not None:
            background.append(asyncio.create_task(SnapshotFile(options.snapshot, meter, health, clock).relay()))
            background.append(asyncio.create_task(_drain_with_supervisor(pipeline, health)))
        if options.limit is not None:
            background.append(asyncio.create_task(_drain_when(options.limit.enough, pipeline, health)))
        stack.push_async_callback(_cancel, background)
        _stop_on_signals(pipeline, health)
        await pipeline.run()
        _log.info("drained: %s", stats.stats().line())


def tune_process() -> None:
    """Settings of the whole process that suit a data path: only a process of our own may be tuned, never a user's program.

    What was loaded at start is not garbage, so the collector need not look at it (not even now: of 100,000 objects it would
    free a thousand, in 50 ms); batches make young objects by the thousand that reference counting frees. A guest's thread
    waits at most one switch interval for the interpreter.
    Compression runs on the event loop and is made the cheap kind. Buffers of a megabyte come and go in every thread: two
    arenas for all of them keep what is freed where it is used next (20 to 30 MB less, no slower).
    """
    _limit_arenas(2)
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    sys.setswitchinterval(0.001)
    compress_fast()
    begin_soon()


def _limit_arenas(count: int) -> None:
    """glibc only; elsewhere it has no such thing."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, count)


def _open_tracing(
    options: TracingOptions, registry: Registry, transformers: Mapping[str, Transformer]
) -> Tracing | None:
    if options.exporter is TraceExporter.OFF:
        return None
    from pipeline.observe.exporters import open_tracing

    digests = {name: transformer.sha256 for name, transformer in transformers.items()}
    return open_tracing(options, server=_first_server(registry), digests=digests)


def _metrics(
    meter: Meter, clock: SystemClock, registry: Registry, transformers: Mapping[str, Transformer]
) -> PrometheusObserver:
    metrics = PrometheusObserver(meter, clock.monotonic, registry.routes)
    metrics.loaded(ModuleInfo(name, t.sha256, t.instance) for name, t in transformers.items())
    return metrics


async def _open_admin(address: Address, meter: Meter, health: Health, stack: AsyncExitStack) -> None:
    from pipeline.observe.admin import Admin

    admin = Admin(address, lambda: meter.samples, health.report)
    await admin.start()
    stack.push_async_callback(admin.close)
    _log.info("admin port on http://%s", admin.address)


async def _close_tracing(tracing: Tracing) -> None:
    await tracing.close(_FLUSH_TRACES_S)


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


def _stop_on_signals(pipeline: Pipeline, health: Health) -> None:
    """The first SIGTERM or SIGINT drains, the second ends the process at once: nothing uncommitted is lost by that."""
    draining = False

    def on_signal(number: signal.Signals) -> None:
        nonlocal draining
        if draining:
            _log.warning("%s again: aborting; what was not committed will be run again", number.name)
            logging.shutdown()
            os._exit(1)
        draining = True
        _log.info("%s: draining (again: abort)", number.name)
        health.draining()
        pipeline.stop()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)


async def _drain_with_supervisor(pipeline: Pipeline, health: Health) -> None:
    await supervisor_is_gone()
    _log.warning("the supervisor is gone: draining")
    health.draining()
    pipeline.stop()


async def _drain_when(enough: asyncio.Event, pipeline: Pipeline, health: Health) -> None:
    await enough.wait()
    health.draining()
    pipeline.stop()


async def _summaries(observer: StatsObserver, clock: SystemClock) -> None:
    """A line every few seconds while there is something to tell."""
    told = 0
    while True:
        await clock.sleep(_SUMMARY_EVERY_S)
        stats = observer.stats()
        seen = stats.emitted + stats.dropped + stats.dead_lettered + stats.passed_through
        if seen != told:
            told = seen
            _log.info("%s", stats.line())


def _first_server(registry: Registry) -> tuple[str, int] | None:
    host, _, port = registry.kafka.brokers[0].rpartition(":")
    return (host, int(port)) if host and port.isdecimal() else None
