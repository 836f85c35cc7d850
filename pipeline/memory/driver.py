"""`PipelineDriver`: a registry's real routes, chains and sandbox, in memory, one event at a time, for users' own tests.

After Kafka Streams' TopologyTestDriver: bytes in, bytes out, a clock that moves when told to; no broker, no threads, no event
loop. What decides and places records is what decides and places them in production (`Chain`, `plan`). It does not model what
only a broker and time bring about: batching, commits by time, retries, rebalances, record sizes.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import msgspec

from pipeline.memory.broker import MemoryBroker
from pipeline.memory.clock import ManualClock
from pipeline.memory.driver_lane import DriverLane, LaneHaltedError, Sent
from pipeline.memory.transport import MemoryTransport
from pipeline.placement import murmur2
from pipeline.registry import load_checked
from pipeline.registry.shape import did_you_mean
from pipeline.registry.topology import reads
from pipeline.schema_registry import open_schemas, settle
from pipeline.steps import RouteFormats
from sandbox import Sandbox, Transformer
from schemas.dead_letter import DeadLetter, read_dead_letter
from schemas.errors import ConfigError, Fault, ModuleFault
from schemas.event import Event, TopicPartition
from schemas.specs import Registry, RouteSpec

if TYPE_CHECKING:  # most registries need none
    from pipeline.schema_registry.client import RegistryClient

T = TypeVar("T")
Payload = bytes | str | Mapping[str, Any] | Sequence[Any] | None
"""Bytes as they are, text as UTF-8, mappings and lists as compact JSON; None is no key, or a tombstone."""

_CASCADE_MAX = 1_000
"""Partitions visited on account of one event: routes may feed each other, but not for ever."""


class PipelineDriver:
    """Runs a registry synchronously: `send` events, `read` what comes out. Also a context manager.

    >>> from pipeline import PipelineDriver, RegistryBuilder
    >>> registry = RegistryBuilder()
    >>> _ = registry.register("uppercase", module="transformers/modules/uppercase.wasm")
    >>> _ = registry.route("shout", sources="words", through="uppercase", to="words.loud")
    >>> with PipelineDriver(registry.build()) as driver:
    ...     _ = driver.send("words", {"say": "hello"}, key="1")
    ...     print(driver.read("words.loud")[0].value)
    b'{"SAY":"HELLO"}'
    """

    def __init__(
        self,
        registry: Registry | str | Path,
        *,
        partitions: int | Mapping[str, int] = 1,
        environ: Mapping[str, str] = os.environ,
        time_ms: int = 1_700_000_000_000,
        sandbox: Sandbox | None = None,
    ) -> None:
        """`partitions` is how many every topic has, or some of them by name (the others one). The clock starts at `time_ms`.

        `environ` fills in the `${VAR}`s of a registry that is read from a file. A `sandbox` that is passed in is not closed.
        Raises ConfigError for a registry with faults, or a module that is refused. A schema registry is a real one, if routes need one:
        TransportError when it is out of reach.
        """
        self.clock = ManualClock(time_ms)
        self._lanes: dict[tuple[str, TopicPartition], DriverLane] = {}
        self._own_sandbox = sandbox is None
        self._sandbox = sandbox or Sandbox()
        self._schemas: RegistryClient | None = None
        try:
            self.registry, self._transformers = _load(registry, self._sandbox, environ)
            self._schemas = open_schemas(self.registry)
            settled = {} if self._schemas is None else settle(self.registry, self._schemas)
        except BaseException:
            self.close()
            raise
        self._partitions = partitions
        routes = self.registry.routes.values()
        self._formats = {route.name: RouteFormats.of(route, settled.get(route.name)) for route in routes}
        self._broker = MemoryBroker()
        self._transport = MemoryTransport(self.registry, self._broker)
        self._read: dict[TopicPartition, int] = {}
        for topic in sorted(_named_topics(self.registry)):
            self._create(topic)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def send(
        self,
        topic: str,
        value: Payload,
        *,
        key: Payload = None,
        headers: Iterable[tuple[str, bytes | str | None]] = (),
        timestamp: int | None = None,
        partition: int | None = 0,
    ) -> list[Sent]:
        """Run one event through every route that reads `topic`, and on through routes that read what those write.

        `timestamp` is in milliseconds since the epoch, the clock's when None; `partition` None places by murmur2 of the key.
        Returns what the routes that read `topic` made of it, in the registry's order. Raises LaneHaltedError when one of their
        lanes is halted (nothing was sent then), LookupError for a topic that no route reads or a partition it does not have.
        """
        at = self._place(topic, _bytes(key), partition)
        lanes = self._lanes_at(at)
        if not lanes:
            raise LookupError(f"no route reads {topic!r}: {did_you_mean(topic, self._sources())}")
        for lane in lanes:
            if lane.halt is not None:
                raise LaneHaltedError(lane.identity, lane.halt)
        self._broker.produce(
            topic,
            _bytes(value),
            key=_bytes(key),
            partition=at.partition,
            timestamp=self.clock.time_ms() if timestamp is None else timestamp,
            headers=tuple((name, text.encode() if isinstance(text, str) else text) for name, text in headers),
        )
        return self._run(lanes)

    def read(self, topic: str, partition: int | None = None) -> list[Event]:
        """What was written to `topic` (or one partition of it) since it was last read, partition by partition in offset order.

        Raises LookupError for a topic that no route reads or writes.
        """
        self._check(topic, partition or 0)
        fresh: list[Event] = []
        for number in range(self._broker.partition_count(topic)) if partition is None else (partition,):
            at = TopicPartition(topic, number)
            log = self._broker.partition(at)
            fresh += log.since(self._read.get(at, 0), log.end)
            self._read[at] = log.end
        return fresh

    def dead_letters(self, route: str) -> list[tuple[Event, DeadLetter]]:
        """The route's dead letters since they were last read, each with what its headers say. Raises LookupError."""
        letters: list[tuple[Event, DeadLetter]] = []
        for event in self.read(self._route(route).dead_letter):
            explained = read_dead_letter(event.headers)
            assert explained is not None, "a dead-letter topic holds dead letters only"
            letters.append((event, explained))
        return letters

    def advance(self, seconds: float) -> None:
        """Move the clock forward."""
        if seconds < 0:
            raise ValueError("a clock only moves forward")
        self.clock.advance(seconds)

    def resume(self, route: str) -> list[Sent]:
        """As `penstock resume`: the route's halted lanes forget their halt and strikes, and go on with the event they halted at.

        Returns what became of the events that waited. Raises LookupError.
        """
        name = self._route(route).name
        lanes = [lane for (of, _), lane in self._lanes.items() if of == name]
        for lane in lanes:
            lane.resume()
        return self._run(lanes)

    def close(self) -> None:
        """Let go of every guest."""
        for lane in self._lanes.values():
            lane.close()
        if self._schemas is not None:
            self._schemas.close()
        if self._own_sandbox:
            self._sandbox.close()

    def _run(self, lanes: Sequence[DriverLane]) -> list[Sent]:
        """Run these lanes to the end of their partitions, then whatever lanes are fed by them."""
        sent: list[Sent] = []
        written: deque[TopicPartition] = deque()
        for lane in lanes:
            sent += lane.run(written.append)
        for _ in range(_CASCADE_MAX):
            if not written:
                return sent
            for lane in self._lanes_at(written.popleft()):
                lane.run(written.append)
        raise RuntimeError("these routes feed each other without end")

    def _place(self, topic: str, key: bytes | None, partition: int | None) -> TopicPartition:
        self._check(topic, partition or 0)
        if partition is None:
            partition = (murmur2(key or b"") & 0x7FFFFFFF) % self._broker.partition_count(topic)
        return TopicPartition(topic, partition)

    def _sources(self) -> list[str]:
        """Every source as the registry names it."""
        routes = self.registry.routes.values()
        return [source for route in routes for source in route.sources or (f"/{route.pattern}/",)]

    def _lanes_at(self, at: TopicPartition) -> list[DriverLane]:
        return [self._lane(route, at) for route in self.registry.routes.values() if reads(route, at.topic)]

    def _lane(self, route: RouteSpec, at: TopicPartition) -> DriverLane:
        place = (route.name, at)
        if place not in self._lanes:
            sink = self._transport.sink(route.name, at, self._transport.source(route.name))
            formats = self._formats[route.name]
            self._lanes[place] = DriverLane(route, at, self._broker, sink, self.clock, self._transformers, formats)
        return self._lanes[place]

    def _route(self, name: str) -> RouteSpec:
        found = self.registry.routes.get(name)
        if found is None:
            raise LookupError(f"there is no route {name!r}: {did_you_mean(name, self.registry.routes)}")
        return found

    def _check(self, topic: str, partition: int) -> None:
        """Create the topic if a pattern asks for it. Raises LookupError when nobody knows it, or it has no such partition."""
        if topic not in self._broker.topics:
            if not any(reads(route, topic) for route in self.registry.routes.values()):
                raise LookupError(f"no route reads or writes {topic!r}: {did_you_mean(topic, self._broker.topics)}")
            self._create(topic)
        count = self._broker.partition_count(topic)
        if not 0 <= partition < count:
            raise LookupError(f"{topic} has partitions 0 to {count - 1}, not {partition}: see `partitions=`")

    def _create(self, topic: str) -> None:
        count = self._partitions if isinstance(self._partitions, int) else self._partitions.get(topic, 1)
        self._broker.create_topic(topic, count)


def _bytes(payload: Payload) -> bytes | None:
    if payload is None or isinstance(payload, bytes):
        return payload
    return payload.encode() if isinstance(payload, str) else msgspec.json.encode(payload)


def _named_topics(registry: Registry) -> set[str]:
    return {
        topic
        for route in registry.routes.values()
        for topic in (*route.sources, *route.destinations, route.dead_letter)
    }


def _load(
    registry: Registry | str | Path, sandbox: Sandbox, environ: Mapping[str, str]
) -> tuple[Registry, Mapping[str, Transformer]]:
    if not isinstance(registry, Registry):
        return load_checked(Path(registry), sandbox, environ=environ)
    try:
        return registry, {name: sandbox.load(spec) for name, spec in registry.transformers.items()}
    except ModuleFault as fault:
        raise ConfigError(Fault(fault.problem, fault.remedy, path=f"transformers.{fault.module}")) from fault
