"""The composition root: a checked registry becomes a running service. The one place that names concrete adapters."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pipeline.assembly import make_breakers, make_chain
from pipeline.clock import SystemClock
from pipeline.control import Control
from pipeline.observe.null import NullObserver, NullVitals
from pipeline.ports import Clock, LaneId, LaneState, Observer, Transport, Vitals
from pipeline.route import RouteRunner
from pipeline.schema_registry import RouteSchemas, open_schemas, settle
from pipeline.steps import RouteFormats
from pipeline.workers import Workers
from sandbox import Sandbox, Transformer
from schemas.errors import ConfigError, Fault, ModuleFault, PenstockError
from schemas.event import TopicPartition
from schemas.specs import BatchPolicy, Delivery, Registry, RouteSpec

if TYPE_CHECKING:  # not every pipeline needs these clients
    from pipeline.kafka.topics import TopicReport
    from pipeline.schema_registry.client import RegistryClient

_log = logging.getLogger(__name__)
T = TypeVar("T")
_CAUGHT_UP_FACTOR = 5
"""How many times as often a lane commits in exactly-once mode when it has caught up: nobody sees an event before its commit."""
_COMMITS_PER_S = 100
_COMMITS_PER_S_BEHIND = 32
"""All lanes of a process together, those that have caught up and those that have not: a commit costs about as much however
little it holds."""
_REVOKE_SHARE = 0.6
"""Of the rebalance timeout, for draining lanes that are revoked; the rest is for joining the group again."""


@dataclass(frozen=True, slots=True)
class LaneStatus:
    """One lane, as `status` shows it."""

    identity: LaneId
    state: LaneState
    reason: str


class Pipeline:
    """Runs a registry inside the caller's event loop.

    >>> pipeline = Pipeline("transformers/registry.yaml")
    >>> await pipeline.run()        # until `pipeline.stop()`; drains, commits, leaves the groups
    """

    def __init__(
        self,
        registry: Registry | str | Path,
        *,
        transport: Transport | None = None,
        observer: Observer | None = None,
        vitals: Vitals | None = None,
        sandbox: Sandbox | None = None,
        transformers: Mapping[str, Transformer] | None = None,
        clock: Clock | None = None,
        chance: random.Random | None = None,
        worker_count: int | None = None,
        ends: Mapping[TopicPartition, int] | None = None,
    ) -> None:
        """Everything but the registry has a working default. Raises ConfigError when the registry has faults, or under `python -O`.

        Without a `transport` the brokers are probed and topics checked when `run` starts. A `sandbox` that is passed in is
        not closed; `transformers` are those it has loaded already. With `ends` (offsets that are not reached), every partition is
        taken up to its end only, and one without an end not at all; `run` goes on until `stop` all the same.
        """
        _require_assertions()
        self.registry, self._placed = (registry, _as_it_is) if isinstance(registry, Registry) else _load(Path(registry))
        if ends is not None:
            from pipeline.registry.atomic import refuse_bounded

            refuse_bounded(self.registry)
        self._transport = transport
        self._observer = observer or NullObserver()
        self._vitals = vitals or NullVitals()
        self._clock = clock or SystemClock()
        self._chance = chance or random.Random()  # noqa: S311 - jitter, not secrecy
        self._ends = ends
        self._workers = Workers(worker_count)
        self._own_sandbox = sandbox is None
        self._sandbox = sandbox or Sandbox(workers=self._workers.count)
        self._transformers = transformers or {}
        self._runners: list[RouteRunner] = []
        self._stopping = asyncio.Event()
        self._drain_until: float | None = None

    async def run(self) -> None:
        """Until `stop`. Raises ConfigError (nothing was started), or TransportError (nothing uncommitted was left behind)."""
        try:
            transformers = await self._load_transformers()
            transport = self._transport or await self._unless_stopped(_connect(self.registry))
            if transport is None:
                return
            control = Control(transport.control(), self._clock)
            schemas = open_schemas(self.registry, doubts=True)
            try:
                settled = await asyncio.to_thread(self._settled, schemas) if schemas is not None else {}
                await self._unless_stopped(control.open())
                await self._run_routes(transport, control, transformers, settled)
            finally:
                if schemas is not None:
                    schemas.close()
                await control.close()
        except BaseExceptionGroup as group:
            raise _cause(group) from group
        finally:
            self._workers.close()
            if self._own_sandbox:
                self._sandbox.close()

    def stop(self, timeout_s: float | None = None) -> None:
        """Drain: finish and commit what is in flight within `timeout_s` (the registry's `shutdown_timeout`), then leave."""
        budget = self.registry.shutdown_timeout_s if timeout_s is None else timeout_s
        self._drain_until = self._clock.monotonic() + budget
        self._stopping.set()
        for runner in self._runners:
            runner.stop()

    def status(self) -> list[LaneStatus]:
        """Every lane this process holds now."""
        lanes = (lane for runner in self._runners for lane in runner.lanes.values())
        return [LaneStatus(lane.identity, lane.state, lane.reason) for lane in lanes]

    async def _unless_stopped(self, call: Coroutine[Any, Any, T]) -> T | None:
        """What `call` returns; None when `stop` was called before it was done: nothing was begun that would have to be finished."""
        asked, calling = asyncio.create_task(self._stopping.wait()), asyncio.create_task(call)
        try:
            await asyncio.wait({asked, calling}, return_when=asyncio.FIRST_COMPLETED)
            return calling.result() if calling.done() else None
        finally:
            asked.cancel()
            calling.cancel()
            await asyncio.gather(asked, calling, return_exceptions=True)

    async def _load_transformers(self) -> dict[str, Transformer]:
        """Compile and try out every module that a route uses; off the loop, compiling takes a while."""
        from pipeline.registry.formats import format_faults

        used = dict.fromkeys(name for route in self.registry.routes.values() for name in route.through)
        loaded, specs = dict(self._transformers), self.registry.transformers
        faults: list[Fault] = []
        for name in used:
            if name not in loaded:
                try:
                    loaded[name] = await asyncio.to_thread(self._sandbox.load, specs[name])
                except ModuleFault as fault:
                    place = f"transformers.{name}.{specs[name].origin_key}"
                    faults.append(self._placed(Fault(fault.problem, fault.remedy, path=place)))
                except ConfigError as error:
                    faults += map(self._placed, error.faults)
        decoded = {name for name in used if name in loaded and loaded[name].encoding == "event"}
        faults += map(self._placed, format_faults(self.registry, decoded))
        if faults:
            raise ConfigError(*faults)
        return loaded

    def _settled(self, schemas: RegistryClient) -> dict[str, RouteSchemas]:
        try:
            return settle(self.registry, schemas)
        except ConfigError as error:
            raise ConfigError(*map(self._placed, error.faults)) from None

    async def _run_routes(
        self,
        transport: Transport,
        control: Control,
        transformers: Mapping[str, Transformer],
        schemas: Mapping[str, RouteSchemas],
    ) -> None:
        self._runners = [
            self._make_runner(route, transport, control, transformers, schemas.get(route.name))
            for route in self.registry.routes.values()
        ]
        if self._stopping.is_set():
            return
        async with asyncio.TaskGroup() as tasks:
            following = tasks.create_task(control.follow(self._released), name="follow the control topic")
            routes = [
                tasks.create_task(runner.run(self._drain_s), name=f"route {runner.route.name}")
                for runner in self._runners
            ]
            await asyncio.wait(routes)
            following.cancel()

    def _make_runner(
        self,
        route: RouteSpec,
        transport: Transport,
        control: Control,
        transformers: Mapping[str, Transformer],
        schemas: RouteSchemas | None,
    ) -> RouteRunner:
        formats = RouteFormats.of(route, schemas)
        return _runner_of(route)(
            route,
            transport,
            self._clock,
            self._observer,
            self._vitals,
            control,
            lambda: make_breakers(route, transformers, self._clock),
            lambda breakers: make_chain(route, transformers, breakers, self._workers, self._clock, formats),
            commit_interval_s=self._commit_interval_s,
            drain_budget_s=self.registry.kafka.rebalance_timeout_ms * _REVOKE_SHARE / 1e3,
            retry_limit_s=self.registry.retry_limit_s,
            chance=self._chance,
            ends=self._ends,
        )

    def _commit_interval_s(self, route: RouteSpec, caught_up: bool) -> float:
        lanes = sum(runner.running_lanes for runner in self._runners)
        return commit_interval_s(route.batch, self.registry.delivery, lanes, caught_up=caught_up)

    def _drain_s(self) -> float:
        assert self._drain_until is not None, "a route ended by itself"
        return max(0.1, self._drain_until - self._clock.monotonic())

    def _released(self, key: str) -> None:
        for runner in self._runners:
            runner.released(key)


def commit_interval_s(batch: BatchPolicy, delivery: Delivery, lanes: int, *, caught_up: bool) -> float:
    """Seconds between two commits of a lane in a process of so many: rarer when there are many, more often when it costs no throughput."""
    interval_s = batch.commit_interval_ms / 1e3
    if caught_up and delivery is Delivery.EXACTLY_ONCE:
        interval_s /= _CAUGHT_UP_FACTOR
    return max(interval_s, lanes / (_COMMITS_PER_S if caught_up else _COMMITS_PER_S_BEHIND))


def _runner_of(route: RouteSpec) -> type[RouteRunner]:
    if route.atomic is None:
        return RouteRunner
    from pipeline.atomic.route import AtomicRunner

    return AtomicRunner


def _require_assertions() -> None:
    """The Kafka client notices by `assert` that a producer was fenced; without it, it would go on and commit."""
    if not __debug__:
        raise ConfigError(
            Fault(
                "Python runs with assertions turned off (-O or PYTHONOPTIMIZE), and exactly-once delivery depends on them",
                "start it without -O, and unset PYTHONOPTIMIZE",
            )
        )


def _load(path: Path) -> tuple[Registry, Callable[[Fault], Fault]]:
    """The registry, and what gives a fault its place in the file."""
    from pipeline.registry import load_located

    located = load_located(path)
    return located.registry, located.placed


def _as_it_is(fault: Fault) -> Fault:
    return fault


async def _connect(registry: Registry) -> Transport:
    from pipeline.kafka.transport import KafkaTransport

    report = await check_cluster(registry)
    return KafkaTransport(registry, report.message_bytes_max, report.compacted, report.windows)


async def check_cluster(registry: Registry) -> TopicReport:
    """The brokers answer and the topics are as the registry needs them. Raises ConfigError with all faults, or TransportError."""
    from pipeline.kafka.probe import probe
    from pipeline.kafka.topics import ensure_topics

    await probe(registry.kafka)
    report = await ensure_topics(registry)
    for warning in report.warnings:
        _log.warning("%s", warning)
    _log.debug("the topics are as the registry needs them")
    return report


def _cause(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What ended the service: an error of ours that says why, before anything that came in its wake."""
    leaves = list(_leaves(group))
    known = [leaf for leaf in leaves if isinstance(leaf, PenstockError)]
    unknown = [leaf for leaf in leaves if not isinstance(leaf, PenstockError | asyncio.CancelledError)]
    return (unknown or known or leaves)[0]


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
