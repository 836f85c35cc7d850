"""One route over the in-memory broker with real transformers, in virtual time; its transport can be made to fail on cue."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.assembly import make_breakers, make_chain
from pipeline.clock import SystemClock
from pipeline.control import Control
from pipeline.memory.broker import MemoryBroker
from pipeline.memory.transport import MemoryControlLog, MemorySink, MemorySource, MemoryTransport
from pipeline.observe.null import NullObserver, NullVitals
from pipeline.ports import CommitFacts, EventSource, LaneId, LaneState, Outgoing, Position, Vitals
from pipeline.route import RouteRunner
from pipeline.workers import GuestThreads, InlineThread
from sandbox import Sandbox, Transformer
from schemas.dead_letter import DeadLetter, read_dead_letter
from schemas.event import Event, TopicPartition
from schemas.limits import Limits
from schemas.specs import BatchPolicy, Delivery, Registry, RouteSpec, TransformerSpec
from tests.pipeline.virtual_time import LoopClock, until

MODULES = Path(__file__).parents[2] / "transformers" / "modules"
QUICK = Limits(memory_bytes=4 << 20, deadline_ms=20, allocation_bytes_max=2 << 20)
LANE = TopicPartition("in", 0)


def spec(name: str = "saboteur", **settings: object) -> TransformerSpec:
    """A transformer of the repository's; its name is its module's."""
    return TransformerSpec(name=name, module=MODULES / f"{name}.wasm", limits=QUICK, **settings)  # type: ignore[arg-type]


def route(*through: str, **settings: object) -> RouteSpec:
    """`in` → `out`, dead letters to `dead`."""
    given: dict[str, object] = {
        "name": "r",
        "sources": ("in",),
        "through": through or ("saboteur",),
        "to": "out",
        "dead_letter": "dead",
        "group": "g",
        **settings,
    }
    return RouteSpec(**given)  # type: ignore[arg-type]


def misdeed(name: str, number: int = 0) -> bytes:
    """A value that makes the saboteur do this."""
    return b'{"id":%d,"penstock_demo":"%s"}' % (number, name.encode())


class Faults:
    """What goes wrong, and when: errors by the port's method, raised one after the other (None: this call goes well)."""

    def __init__(self) -> None:
        self.planned: dict[str, list[Exception | None]] = {}
        self.calls: list[str] = []

    def plan(self, method: str, *errors: Exception | None) -> None:
        self.planned.setdefault(method, []).extend(errors)

    def called(self, method: str) -> None:
        self.calls.append(method)
        errors = self.planned.get(method)
        if errors and (error := errors.pop(0)) is not None:
            raise error


class RiggedSink(MemorySink):
    """A memory sink that fails on cue, and that waits where a network client would."""

    faults: Faults

    async def open(self) -> None:
        self.faults.called("open")
        await asyncio.sleep(0)
        await super().open()

    async def write(self, outgoing: Iterable[Outgoing]) -> None:
        self.faults.called("write")
        await asyncio.sleep(0)
        await super().write(outgoing)

    async def commit(self, offset: int) -> None:
        self.faults.called("commit")
        await asyncio.sleep(0)
        await super().commit(offset)
        self.faults.called("committed")
        await asyncio.sleep(0)

    async def commit_all(self, offsets: Mapping[TopicPartition, int]) -> None:
        self.faults.called("commit")
        await asyncio.sleep(0)
        await super().commit_all(offsets)
        self.faults.called("committed")
        await asyncio.sleep(0)

    async def close(self) -> None:
        self.faults.calls.append("close")
        await asyncio.sleep(0)
        await super().close()


class RiggedSource(MemorySource):
    """A memory source whose `locate` and `seek` are noted and fail on cue."""

    faults: Faults

    async def fetch(
        self, partitions: Collection[TopicPartition], events_max: int, timeout_s: float
    ) -> Mapping[TopicPartition, Sequence[Event]]:
        self.faults.called("fetch")
        return await super().fetch(partitions, events_max, timeout_s)

    async def locate(self, partition: TopicPartition) -> Position:
        self.faults.called("locate")
        await asyncio.sleep(0)
        return await super().locate(partition)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self.faults.called("seek")
        super().seek(partition, offset)


class RiggedLog(MemoryControlLog):
    """A control log that fails on cue."""

    faults: Faults

    async def put(self, key: str, document: bytes | None) -> None:
        self.faults.called("put")
        await super().put(key, document)


class RiggedTransport(MemoryTransport):
    """Makes rigged clients."""

    def __init__(self, registry: Registry, broker: MemoryBroker, sizes: Mapping[str, int], faults: Faults) -> None:
        super().__init__(registry, broker, sizes)
        self._faults = faults

    def source(self, route: str) -> RiggedSource:
        source = RiggedSource(self._broker, self._registry.routes[route])
        source.faults = self._faults
        return source

    def sink(self, route: str, partition: TopicPartition, source: EventSource) -> RiggedSink:
        assert isinstance(source, MemorySource)
        group = self._registry.routes[route].group
        transactional = self._registry.delivery is Delivery.EXACTLY_ONCE
        sink = RiggedSink(self._broker, partition, group, transactional, self._sizes, source)
        sink.faults = self._faults
        return sink

    def control(self) -> RiggedLog:
        log = RiggedLog(self._broker)
        log.faults = self._faults
        return log


@dataclass
class Recorder(NullObserver):
    """Keeps what it is told."""

    commits: list[CommitFacts] = field(default_factory=list)
    states: list[tuple[LaneState, str]] = field(default_factory=list)
    held: tuple[int, int] = (0, 0)
    held_bytes_max: int = 0

    def committed(self, lane: LaneId, facts: CommitFacts) -> None:
        self.commits.append(facts)

    def lane(self, lane: LaneId, state: LaneState, reason: str) -> None:
        self.states.append((state, reason))

    def in_flight(self, route: str, size_bytes: int, events: int) -> None:
        self.held = (size_bytes, events)
        self.held_bytes_max = max(self.held_bytes_max, size_bytes)


class Joined(NullVitals):
    """Whether the route has been assigned its partitions."""

    is_joined = False

    def joined(self, route: str) -> None:
        self.is_joined = True

    def left(self, route: str) -> None:
        self.is_joined = False


class Rig:
    """See the module. `running` may be entered several times over: each is a process of its own."""

    runner_type = RouteRunner

    def __init__(
        self,
        sandbox: Sandbox,
        *specs: TransformerSpec,
        delivery: Delivery = Delivery.EXACTLY_ONCE,
        partitions: int = 1,
        sizes: Mapping[str, int] | None = None,
        threads: Callable[[], GuestThreads] = InlineThread,
        ends: Mapping[TopicPartition, int] | None = None,
        **settings: object,
    ) -> None:
        used = specs or (spec(),)
        settings.setdefault("batch", BatchPolicy(events_max=8, commit_interval_ms=100))
        self.route = route(*(one.name for one in used), **settings)
        self.registry = Registry({one.name: one for one in used}, {"r": self.route}, delivery=delivery)
        self._sandbox = sandbox
        self.change(*used)
        self.broker = MemoryBroker()
        for topic in ("in", "out", "dead", *self.route.also_to):
            self.broker.create_topic(topic, partitions)
        self.faults = Faults()
        self.observer = Recorder()
        self.threads = threads
        self.ends = ends
        self.vitals = Joined()
        self.caught_up: list[bool] = []
        """What lanes said of themselves, batch by batch."""
        self.retry_limit_s = 120.0
        self.drain_budget_s = 5.0
        self._transport = RiggedTransport(self.registry, self.broker, sizes or {}, self.faults)

    def change(self, *specs: TransformerSpec) -> None:
        """What the next process finds in its registry."""
        self.transformers: dict[str, Transformer] = {one.name: self._sandbox.load(one) for one in specs}

    def produce(self, *values: bytes | None, partition: int = 0) -> None:
        for value in values:
            self.broker.produce("in", value, key=b"k", partition=partition, timestamp=5)

    def commit_interval_s(self, route: RouteSpec, caught_up: bool) -> float:
        self.caught_up.append(caught_up)
        return route.batch.commit_interval_ms / 1e3

    def runner(self, control: Control, vitals: Vitals) -> RouteRunner:
        return self.runner_type(
            self.route,
            self._transport,
            LoopClock(),
            self.observer,
            vitals,
            control,
            lambda: make_breakers(self.route, self.transformers, LoopClock()),
            lambda breakers: make_chain(self.route, self.transformers, breakers, self.threads(), LoopClock()),
            commit_interval_s=self.commit_interval_s,
            drain_budget_s=self.drain_budget_s,
            retry_limit_s=self.retry_limit_s,
            chance=random.Random(7),
            ends=self.ends,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[RouteRunner]:
        """A process with this route; drains on the way out. What ends it by itself is raised there."""
        control = await self.control()
        vitals = self.vitals = Joined()
        runner = self.runner(control, vitals)
        following = asyncio.create_task(control.follow(runner.released))
        task = asyncio.create_task(runner.run(lambda: self.drain_budget_s))
        try:
            await until(lambda: vitals.is_joined or task.done())
            yield runner
            runner.stop()
            await task
        finally:
            task.cancel()
            following.cancel()
            with suppress(BaseException):
                await task

    async def control(self) -> Control:
        control = Control(self._transport.control(), SystemClock())
        await control.open()
        return control

    async def release(self) -> None:
        """`penstock resume` from another process."""
        control = await self.control()
        for note in control.notes():
            await control.forget(LaneId(note.route, TopicPartition(note.topic, note.partition), note.group))

    async def run_dry(self) -> None:
        """Run a process until everything is committed (or it ends by itself), then drain it."""
        async with self.running():
            await until(lambda: self.is_dry() or not self.vitals.is_joined)

    def is_dry(self) -> bool:
        """Whether every input partition is committed to its end."""
        return all(self.committed(at) == log.end for at, log in self.inputs())

    def inputs(self) -> list[tuple[int, object]]:
        return list(enumerate(self.broker.topics["in"]))

    def committed(self, partition: int = 0) -> int:
        return self.broker.committed.get(("g", TopicPartition("in", partition)), 0)

    def values(self, topic: str = "out") -> list[bytes | None]:
        return [event.value for event in self.events(topic)]

    def events(self, topic: str = "out") -> list[Event]:
        return [event for _, event in self.broker.records(topic)]

    def letters(self) -> list[DeadLetter]:
        letters = [read_dead_letter(event.headers) for event in self.events("dead")]
        assert None not in letters
        return [letter for letter in letters if letter is not None]

    def state(self, runner: RouteRunner, partition: int = 0) -> LaneState:
        return runner.lanes[TopicPartition("in", partition)].state

    def stopped(self, runner: RouteRunner) -> Callable[[], bool]:
        return lambda: self.state(runner) is LaneState.STOPPED

    def paused(self, runner: RouteRunner) -> Callable[[], bool]:
        return lambda: self.state(runner) is LaneState.PAUSED
