"""The transport ports over a `MemoryBroker`: for users' tests, for the contract suite, for simulations."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection, Iterable, Mapping, Sequence

from pipeline.memory.broker import MemoryBroker
from pipeline.ports import AssignmentListener, EventSource, Outgoing, Position
from schemas.errors import FencedError, OffsetOutOfRangeError, OversizeError
from schemas.event import Event, TopicPartition
from schemas.specs import Delivery, Registry, RouteSpec

_HEADER_OVERHEAD_BYTES = 8


class MemoryTransport:
    """Implements `pipeline.ports.Transport`. `sizes` gives topics a largest record, as `max.message.bytes` does."""

    def __init__(self, registry: Registry, broker: MemoryBroker, sizes: Mapping[str, int] | None = None) -> None:
        self._registry = registry
        self._broker = broker
        self._sizes = sizes or {}

    def source(self, route: str) -> MemorySource:
        """A consumer for this route."""
        return MemorySource(self._broker, self._registry.routes[route])

    def sink(self, route: str, partition: TopicPartition, source: EventSource) -> MemorySink:
        """A fresh sink for this lane."""
        group = self._registry.routes[route].group
        transactional = self._registry.delivery is Delivery.EXACTLY_ONCE
        assert isinstance(source, MemorySource), "an in-memory sink commits through an in-memory source"
        return MemorySink(self._broker, partition, group, transactional, self._sizes, source)

    def control(self) -> MemoryControlLog:
        """The control topic."""
        return MemoryControlLog(self._broker)


class MemorySource:
    """Implements `pipeline.ports.EventSource`."""

    def __init__(self, broker: MemoryBroker, route: RouteSpec) -> None:
        pattern = route.pattern
        known = [t for t in broker.topics if pattern is not None and re.fullmatch(pattern, t)]
        self.topics = frozenset(known or route.sources)
        self.whole = route.atomic is not None
        self.epoch = 0
        """Counts assignments and revocations: outside of a transaction, no offset of one epoch is committed in another."""
        self._broker = broker
        self._route = route
        self._listener: AssignmentListener | None = None
        self._positions: dict[TopicPartition, int | None] = {}
        self._changed = asyncio.Event()

    async def start(self, listener: AssignmentListener) -> None:
        """See the port."""
        self._listener = listener
        self._broker.listen(self._changed)
        await self._broker.join(self._route.group, self)

    async def revoke(self) -> None:
        """The broker's coordinator takes everything back."""
        assert self._listener is not None
        if self._positions:
            await self._listener.revoked(list(self._positions))
        self._positions = {}
        self.epoch += 1

    async def assign(self, partitions: frozenset[TopicPartition]) -> None:
        """The broker's coordinator hands these out."""
        assert self._listener is not None
        self._positions = dict.fromkeys(partitions)
        self.epoch += 1
        await self._listener.assigned(partitions)

    async def fetch(
        self, partitions: Collection[TopicPartition], events_max: int, timeout_s: float
    ) -> Mapping[TopicPartition, Sequence[Event]]:
        """See the port."""
        self._changed.clear()
        fetched = self._take(partitions, events_max)
        if fetched or not timeout_s:
            return fetched
        try:
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()
        except TimeoutError:
            return {}
        return self._take(partitions, events_max)

    async def locate(self, partition: TopicPartition) -> Position:
        """See the port."""
        log = self._broker.partition(partition)
        committed = self._broker.committed.get((self._route.group, partition))
        start = {"earliest": log.start, "latest": log.end}.get(self._route.start)
        if start is None:
            start = next((e.offset for e in log.events if e.timestamp >= int(self._route.start)), log.end)
        return Position(committed=committed, earliest=log.start, latest=log.end, start=start)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """See the port."""
        if partition not in self._positions:
            raise FencedError(f"{partition} is no longer assigned")
        self._positions[partition] = offset
        self._changed.set()

    def high_watermark(self, partition: TopicPartition) -> int | None:
        """See the port."""
        return self._broker.partition(partition).end if partition in self._positions else None

    async def stop(self) -> None:
        """See the port."""
        await self._broker.leave(self._route.group, self)

    def _take(self, partitions: Collection[TopicPartition], events_max: int) -> dict[TopicPartition, Sequence[Event]]:
        fetched: dict[TopicPartition, Sequence[Event]] = {}
        for partition in partitions:
            position = self._positions.get(partition)
            if position is None:
                continue
            log = self._broker.partition(partition)
            if not log.start <= position <= log.end:
                raise OffsetOutOfRangeError(f"offset {position} of {partition} does not exist", [partition])
            if events := log.since(position, events_max):
                fetched[partition] = events
                self._positions[partition] = events[-1].offset + 1
        return fetched


class MemorySink:
    """Implements `pipeline.ports.EventSink`; without transactions every write is visible at once, as in at-least-once mode."""

    def __init__(
        self,
        broker: MemoryBroker,
        partition: TopicPartition,
        group: str,
        transactional: bool,
        sizes: Mapping[str, int],
        source: MemorySource,
    ) -> None:
        self._broker = broker
        self._partition = partition
        self._group = group
        self._transactional = transactional
        self._sizes = sizes
        self._source = source
        self._epoch = source.epoch
        self._owner: tuple[str, int] | None = None
        self._written: list[Outgoing] = []

    async def open(self) -> None:
        """See the port."""
        if self._transactional:
            transactional_id = f"{self._partition}/{self._group}"
            self._owner = (transactional_id, self._broker.fence(transactional_id))

    async def partition_count(self, topic: str) -> int:
        """See the port."""
        return self._broker.partition_count(topic)

    async def write(self, outgoing: Iterable[Outgoing]) -> None:
        """See the port."""
        outgoing = list(outgoing)
        self._broker.check(self._owner)
        for out in outgoing:
            self._check_sizes(out)
        self._written += outgoing
        if not self._transactional:
            self._broker.commit(None, self._take(), {})

    async def commit(self, offset: int) -> None:
        """See the port."""
        if not self._transactional and self._epoch != self._source.epoch:
            raise FencedError(f"{self._partition} was reassigned before offset {offset} could be committed")
        self._broker.commit(self._owner, self._take(), {(self._group, self._partition): offset})

    async def commit_all(self, offsets: Mapping[TopicPartition, int]) -> None:
        """See the port."""
        assert self._transactional, "offsets of several partitions are committed in a transaction only"
        self._broker.commit(self._owner, self._take(), {(self._group, at): offset for at, offset in offsets.items()})

    async def close(self) -> None:
        """See the port."""
        self._written.clear()

    def _take(self) -> list[Outgoing]:
        written, self._written = self._written, []
        return written

    def _check_sizes(self, out: Outgoing) -> None:
        size_max = self._sizes.get(out.topic)
        if size_max is None:
            return
        for event in out.events:
            headers = sum(len(name) + len(value or b"") + _HEADER_OVERHEAD_BYTES for name, value in event.headers)
            size = len(event.key or b"") + len(event.value or b"") + headers
            if size > size_max:
                raise OversizeError(out.topic, event.offset, size, size_max)


class MemoryControlLog:
    """Implements `pipeline.ports.ControlLog`."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker
        self._seen = 0
        self._changed = asyncio.Event()

    async def open(self) -> Mapping[str, bytes]:
        """See the port."""
        self._broker.listen(self._changed)
        documents: dict[str, bytes] = {}
        for key, document in self._broker.documents:
            documents.pop(key, None)
            if document is not None:
                documents[key] = document
        self._seen = len(self._broker.documents)
        return documents

    async def put(self, key: str, document: bytes | None) -> None:
        """See the port."""
        self._broker.documents.append((key, document))
        self._broker.wake()

    async def changes(self, timeout_s: float) -> Sequence[tuple[str, bytes | None]]:
        """See the port."""
        self._changed.clear()
        if self._seen == len(self._broker.documents):
            try:
                async with asyncio.timeout(timeout_s):
                    await self._changed.wait()
            except TimeoutError:
                return []
        changes = self._broker.documents[self._seen :]
        self._seen += len(changes)
        return changes

    async def close(self) -> None:
        """See the port."""
