"""Kafka's promises without Kafka: topics, consumer groups, transactions, fencing and committed offsets, in one process.

What a transaction wrote becomes visible, together with its offset, when it commits, and never otherwise. An owner of a
transactional id that was superseded cannot write or commit. Not a model of Kafka's timing or of its failures.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from pipeline.placement import murmur2
from pipeline.ports import Outgoing
from schemas.errors import FencedError, TransportError
from schemas.event import Event, Headers, TopicPartition


class Member(Protocol):
    """A consumer in a group, as the broker's coordinator sees it."""

    topics: frozenset[str]
    whole: bool
    """One member of the group gets all partitions, and the others none."""

    async def revoke(self) -> None:
        """Give up what was assigned."""
        ...

    async def assign(self, partitions: frozenset[TopicPartition]) -> None:
        """Take these, perhaps none."""
        ...


@dataclass(slots=True)
class Partition:
    """One partition's log. `start` is the oldest offset that still exists."""

    events: list[Event] = field(default_factory=list)
    start: int = 0

    @property
    def end(self) -> int:
        """The offset the next record gets."""
        return self.start + len(self.events)

    def append(self, event: Event) -> int:
        """Store a record under the next offset, which is returned."""
        offset = self.end
        self.events.append(Event(offset, event.timestamp, event.key, event.value, event.headers))
        return offset

    def since(self, offset: int, events_max: int) -> Sequence[Event]:
        """Records from this offset on."""
        at = offset - self.start
        return self.events[at : at + events_max]

    def delete_before(self, offset: int) -> None:
        """Retention: records before this offset are gone."""
        del self.events[: max(0, offset - self.start)]
        self.start = max(self.start, offset)


class MemoryBroker:
    """One cluster. All calls are made on one event loop."""

    def __init__(self) -> None:
        self.topics: dict[str, list[Partition]] = {}
        self.committed: dict[tuple[str, TopicPartition], int] = {}
        self.documents: list[tuple[str, bytes | None]] = []
        """The control topic."""
        self._epochs: dict[str, int] = defaultdict(int)
        self._members: dict[str, list[Member]] = defaultdict(list)
        self._balancing: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._waiters: set[asyncio.Event] = set()

    def create_topic(self, topic: str, partitions: int = 1) -> None:
        """Make a topic; one that exists keeps its records."""
        self.topics.setdefault(topic, [Partition() for _ in range(partitions)])

    def produce(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        partition: int | None = None,
        timestamp: int = 0,
        headers: Headers = (),
    ) -> TopicPartition:
        """Append one record outside of any transaction; without a partition, by murmur2 of the key."""
        count = len(self._known(topic))
        at = partition if partition is not None else (murmur2(key or b"") & 0x7FFFFFFF) % count
        self.topics[topic][at].append(Event(0, timestamp, key, value, headers))
        self.wake()
        return TopicPartition(topic, at)

    def records(self, topic: str) -> list[tuple[TopicPartition, Event]]:
        """All committed records of a topic, partition by partition."""
        found = enumerate(self.topics.get(topic, []))
        return [(TopicPartition(topic, number), event) for number, log in found for event in log.events]

    def partition(self, at: TopicPartition) -> Partition:
        """The log of one partition. Raises TransportError when there is none."""
        logs = self._known(at.topic)
        if at.partition >= len(logs):
            raise TransportError(f"{at.topic} has no partition {at.partition}", topic=at.topic)
        return logs[at.partition]

    def partition_count(self, topic: str) -> int:
        """Raises TransportError when the topic does not exist."""
        return len(self._known(topic))

    def fence(self, transactional_id: str) -> int:
        """A new owner of this id; returns its epoch, and every earlier one is fenced."""
        self._epochs[transactional_id] += 1
        return self._epochs[transactional_id]

    def commit(
        self,
        owner: tuple[str, int] | None,
        outgoing: Iterable[Outgoing],
        offsets: Mapping[tuple[str, TopicPartition], int],
    ) -> None:
        """All of it at once, or FencedError and nothing. No owner: outside of a transaction."""
        self.check(owner)
        for out in outgoing:
            log = self.partition(TopicPartition(out.topic, out.partition))
            for event in out.events:
                log.append(
                    event if out.timestamp is None else Event(0, out.timestamp, event.key, event.value, event.headers)
                )
        self.committed.update(offsets)
        self.wake()

    def check(self, owner: tuple[str, int] | None) -> None:
        """Raises FencedError when someone else has taken this transactional id over."""
        if owner is not None and self._epochs[owner[0]] != owner[1]:
            raise FencedError(f"{owner[0]} has a newer owner")

    async def join(self, group: str, member: Member) -> None:
        """Enter a group; all its members are reassigned before this returns."""
        async with self._balancing[group]:
            self._members[group].append(member)
            await self._rebalance(group)

    async def leave(self, group: str, member: Member) -> None:
        """Leave a group; the others take over."""
        async with self._balancing[group]:
            if member in self._members[group]:
                self._members[group].remove(member)
                await member.revoke()
                await self._rebalance(group)

    def listen(self, waiter: asyncio.Event) -> None:
        """Set this event whenever something became visible."""
        self._waiters.add(waiter)

    def wake(self) -> None:
        """Tell the listeners."""
        for waiter in self._waiters:
            waiter.set()

    async def _rebalance(self, group: str) -> None:
        """Eager, as aiokafka's: everyone gives everything up, then partitions are dealt out in turn."""
        members = self._members[group]
        for member in members:
            await member.revoke()
        shares: list[set[TopicPartition]] = [set() for _ in members]
        for topic in sorted({topic for member in members for topic in member.topics}):
            takers = [i for i, member in enumerate(members) if topic in member.topics]
            for number in range(len(self.topics.get(topic, []))):
                shares[takers[0 if members[takers[0]].whole else number % len(takers)]].add(
                    TopicPartition(topic, number)
                )
        for member, share in zip(members, shares, strict=True):
            await member.assign(frozenset(share))

    def _known(self, topic: str) -> list[Partition]:
        if topic not in self.topics:
            raise TransportError(f"there is no topic {topic}", topic=topic)
        return self.topics[topic]
