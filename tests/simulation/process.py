"""One simulated process: the product's route runner and control, on a wire that can be cut."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TypeVar

from pipeline.app import commit_interval_s
from pipeline.assembly import make_chain
from pipeline.atomic.route import AtomicRunner, GatheringLane
from pipeline.breaker import Breaker
from pipeline.chain import Chain
from pipeline.control import Control
from pipeline.lane import Lane
from pipeline.observe.null import NullObserver, NullVitals
from pipeline.ports import LaneId, LaneState
from pipeline.route import RouteRunner
from sandbox import Transformer
from schemas.errors import TransportError
from schemas.event import TopicPartition
from schemas.outcome import ViolationKind
from schemas.specs import Registry, RouteSpec
from tests.simulation.clients import SimTransport
from tests.simulation.cluster import Cluster
from tests.simulation.guests import GuestTime
from tests.simulation.ledger import SimLedger
from tests.simulation.wire import Wire

T = TypeVar("T")


class WorldClock:
    """`pipeline.ports.Clock`: the loop's time, and a wall clock that is set forwards and backwards."""

    def __init__(self) -> None:
        self.jumped_ms = 0

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    def time_ms(self) -> int:
        return 1_700_000_000_000 + self.jumped_ms + int(self.monotonic() * 1e3)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class SimThreads:
    """`pipeline.workers.GuestThreads`: the work starts and ends some time after it was asked for, whoever still waits."""

    def __init__(self, chance: random.Random, time: GuestTime) -> None:
        self._chance = chance
        self._time = time

    async def run(self, transformer: str, work: Callable[[], T]) -> T:
        loop = asyncio.get_running_loop()
        result: asyncio.Future[T] = loop.create_future()
        result.add_done_callback(lambda done: done.cancelled() or done.exception())
        loop.call_later(self._chance.choice((0.0, 0.001, 0.05)), self._work, work, result)
        return await asyncio.shield(result)

    def _work(self, work: Callable[[], T], result: asyncio.Future[T]) -> None:
        loop, began = asyncio.get_running_loop(), self._time.now_ns
        try:
            done = work()
        except Exception as error:
            loop.call_later(0, result.set_exception, error)
            return
        loop.call_later((self._time.now_ns - began) / 1e9, result.set_result, done)


class WatchedBreaker(Breaker):
    """The product's, which remembers that it tripped."""

    ever_tripped = False

    def trip(self, kind: ViolationKind, reason: str) -> None:
        self.ever_tripped = True
        super().trip(kind, reason)


class _Watched(RouteRunner):
    """Keeps the breakers of every lane it makes."""

    def watch(self) -> None:
        self.breakers: dict[TopicPartition, list[Mapping[str, Breaker]]] = defaultdict(list)

    def _kept(self, lane: T) -> T:
        assert isinstance(lane, Lane)
        self.breakers[lane.identity.source].append(lane._breakers)
        return lane

    def ever_tripped(self, at: TopicPartition) -> frozenset[str]:
        return frozenset(
            name
            for breakers in self.breakers[at]
            for name, breaker in breakers.items()
            if isinstance(breaker, WatchedBreaker) and breaker.ever_tripped
        )


class WatchedRunner(_Watched):
    """The product's."""

    def _make_lane(self, partition: TopicPartition) -> Lane:
        return self._kept(super()._make_lane(partition))


class WatchedAtomicRunner(AtomicRunner, _Watched):
    """The product's for atomic routes."""

    def _make_gathering(self, partitions: frozenset[TopicPartition]) -> GatheringLane:
        return self._kept(super()._make_gathering(partitions))


class Reporter(NullObserver, NullVitals):
    """Tells the ledger what the process says of its lanes, and keeps what it holds."""

    def __init__(self, name: str, ledger: SimLedger, trace: Callable[[str], None]) -> None:
        self.held = (0, 0)
        self._name = name
        self._ledger = ledger
        self._trace = trace

    def lane(self, lane: LaneId, state: LaneState, reason: str) -> None:
        self._trace(f"{self._name} {lane.source} is {state}: {reason[:200]}")
        self._ledger.said(self._name, lane.source, state)

    def in_flight(self, route: str, size_bytes: int, events: int) -> None:
        self.held = (size_bytes, events)

    def joined(self, route: str) -> None:
        self._trace(f"{self._name} joined")
        self._ledger.assigned(self._name)


class Process:
    """See the module. `start` it, then `stop` or `crash` it; or it ends by itself, as the product does."""

    def __init__(
        self,
        name: str,
        route: RouteSpec,
        registry: Registry,
        transformers: Mapping[str, Transformer],
        cluster: Cluster,
        ledger: SimLedger,
        wire: Wire,
        clock: WorldClock,
        time: GuestTime,
        chance: random.Random,
        trace: Callable[[str], None],
        *,
        blocks: bool,
    ) -> None:
        self.name = name
        self.wire = wire
        self._ledger = ledger
        self._cluster = cluster
        self._trace = trace
        self.reporter = Reporter(name, ledger, trace)
        transport = SimTransport(registry, cluster, wire, blocks=blocks)
        threads = SimThreads(chance, time)
        self._log = transport.control()
        self.control = Control(self._log, clock)

        def make_breakers() -> dict[str, Breaker]:
            return {each: WatchedBreaker(transformers[each].spec.quarantine, clock) for each in route.through}

        def chain(breakers: Mapping[str, Breaker]) -> Chain:
            return make_chain(route, transformers, breakers, threads, clock)

        self.runner = (WatchedRunner if route.atomic is None else WatchedAtomicRunner)(
            route,
            transport,
            clock,
            self.reporter,
            self.reporter,
            self.control,
            make_breakers,
            chain,
            commit_interval_s=lambda spec, caught_up: commit_interval_s(
                spec.batch, registry.delivery, self.runner.running_lanes, caught_up=caught_up
            ),
            drain_budget_s=registry.kafka.rebalance_timeout_ms * 0.6 / 1e3,
            retry_limit_s=registry.retry_limit_s,
            chance=chance,
        )
        self.runner.watch()
        self.task: asyncio.Task[None] | None = None

    @property
    def is_over(self) -> bool:
        return self.task is not None and self.task.done()

    def start(self) -> None:
        self._ledger.born(self.name, self.runner.ever_tripped, self._log.releases)
        self.task = asyncio.create_task(self._run(), name=self.name)

    def stop(self) -> None:
        self.runner.stop()

    async def crash(self) -> None:
        """Nothing leaves the process any more; then its tasks are dropped, and what they do meanwhile nobody hears."""
        self.wire.is_cut = True
        assert self.task is not None
        consumer = self.runner._source._consumer  # type: ignore[attr-defined]
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.wait([self.task])
        if consumer is not None:
            consumer.kill()

    async def _run(self) -> None:
        """As `pipeline.app` does it."""
        try:
            await self.control.open()
            async with asyncio.TaskGroup() as tasks:
                following = tasks.create_task(self.control.follow(self.runner.released))
                await asyncio.wait([tasks.create_task(self.runner.run(lambda: 30.0), name=f"route of {self.name}")])
                following.cancel()
        except BaseExceptionGroup as group:
            expected, bugs = group.split((TransportError, asyncio.CancelledError))
            if bugs is not None:
                raise bugs from None
            self._trace(f"{self.name} ended: {expected!r:.300}")
        finally:
            self._trace(f"{self.name} is gone")
