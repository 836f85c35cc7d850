"""What scenarios are told with: events, routes, members of a group, and waiting for something to be so."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from pipeline.ports import EventSink, EventSource, Outgoing, Transport
from schemas.event import Event, Headers, TopicPartition
from schemas.specs import Delivery, Registry, RouteSpec
from tests.contracts.clusters import Cluster, fresh

ROUTE = "orders"
SCENARIO_S = 60.0
WAIT_S = 20.0


def scenario(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an async test on a loop of its own, within a bound."""

    @functools.wraps(test)
    def run(**fixtures: Any) -> None:
        asyncio.run(asyncio.wait_for(test(**fixtures), SCENARIO_S))

    run.__signature__ = inspect.signature(test)  # type: ignore[attr-defined]
    del run.__wrapped__  # type: ignore[attr-defined]
    return run


async def until(condition: Callable[[], bool | Awaitable[bool]], what: str, seconds: float = WAIT_S) -> None:
    """Wait until it is so; fails with `what` when it never is."""
    try:
        async with asyncio.timeout(seconds):
            while True:
                so = condition()
                if so if isinstance(so, bool) else await so:
                    return
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"not within {seconds:g} s: {what}") from None


def event(
    value: bytes | None, key: bytes | None = b"k", timestamp: int = 0, headers: Headers = (), offset: int = 0
) -> Event:
    return Event(offset, timestamp, key, value, headers)


def numbered(count: int, first: int = 0) -> list[Event]:
    """Events whose values are their numbers."""
    return [event(str(number).encode()) for number in range(first, first + count)]


def route(sources: Sequence[str], to: str = "nowhere", **settings: Any) -> RouteSpec:
    """A route in a group of its own."""
    defaults: dict[str, Any] = {"dead_letter": to, "group": fresh("group"), "through": ()}
    return RouteSpec(name=ROUTE, sources=tuple(sources), to=to, **(defaults | settings))


def registry(cluster: Cluster, spec: RouteSpec, delivery: Delivery = Delivery.EXACTLY_ONCE) -> Registry:
    return Registry(transformers={}, routes={spec.name: spec}, kafka=cluster.kafka, delivery=delivery)


def transport(
    cluster: Cluster,
    spec: RouteSpec,
    delivery: Delivery = Delivery.EXACTLY_ONCE,
    sizes: Mapping[str, int] | None = None,
) -> Transport:
    return cluster.transport(registry(cluster, spec, delivery), sizes)


def outgoing(topic: str, events: Sequence[Event], partition: int = 0, timestamp: int | None = None) -> list[Outgoing]:
    return [Outgoing(topic, partition, events, timestamp)]


@dataclass
class Listening:
    """An assignment listener that remembers what it was told, in order."""

    told: list[tuple[str, frozenset[TopicPartition]]] = field(default_factory=list)
    held: set[TopicPartition] = field(default_factory=set)

    async def assigned(self, partitions: Collection[TopicPartition]) -> None:
        self.told.append(("assigned", frozenset(partitions)))
        self.held |= set(partitions)

    async def revoked(self, partitions: Collection[TopicPartition]) -> None:
        self.told.append(("revoked", frozenset(partitions)))
        self.held -= set(partitions)


@dataclass(frozen=True)
class Member:
    """A started source and what its listener was told."""

    source: EventSource
    listening: Listening
    transport: Transport

    @property
    def held(self) -> set[TopicPartition]:
        return self.listening.held


@asynccontextmanager
async def member(
    cluster: Cluster, spec: RouteSpec, delivery: Delivery = Delivery.EXACTLY_ONCE
) -> AsyncIterator[Member]:
    """A member of the route's group, positioned where the group goes on; it leaves at the end."""
    made = transport(cluster, spec, delivery)
    source, listening = made.source(spec.name), Listening()
    await source.start(listening)
    try:
        await until(lambda: bool(listening.held), "partitions are assigned")
        await take_up(Member(source, listening, made))
        yield Member(source, listening, made)
    finally:
        await source.stop()


@asynccontextmanager
async def opened(made: Transport, partition: TopicPartition, source: EventSource) -> AsyncIterator[EventSink]:
    """This lane's sink, open; closed at the end, whatever became of it."""
    sink = made.sink(ROUTE, partition, source)
    try:
        await sink.open()
        yield sink
    finally:
        await sink.close()


async def take_up(who: Member) -> None:
    """Go on where the group's commits say, as a lane does."""
    for partition in sorted(who.held):
        position = await who.source.locate(partition)
        who.source.seek(partition, position.start if position.committed is None else position.committed)


async def collect(
    source: EventSource, partitions: Iterable[TopicPartition], count: int, events_max: int = 500
) -> dict[TopicPartition, list[Event]]:
    """Fetch until `count` events came."""
    asked = list(partitions)
    got: dict[TopicPartition, list[Event]] = {}
    async with asyncio.timeout(WAIT_S):
        while sum(map(len, got.values())) < count:
            for partition, events in (await source.fetch(asked, events_max, 0.2)).items():
                got.setdefault(partition, []).extend(events)
    return got


def texts(events: Iterable[Event]) -> list[str]:
    """Values as text."""
    return [(each.value or b"").decode() for each in events]
