"""The seams of the pipeline: what a lane needs of the outside, stated where it is used.

`pipeline.kafka` and `pipeline.memory` implement the transport ports (one contract suite runs over both),
`pipeline.observe` the observer. Nothing here knows a client library.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from schemas.event import Batch, Event, Headers, TopicPartition
from schemas.outcome import Report


class Clock(Protocol):
    """Time, injected: nothing else in the pipeline reads a clock or sleeps."""

    def monotonic(self) -> float:
        """Seconds; only differences mean anything."""
        ...

    def time_ms(self) -> int:
        """Milliseconds since the epoch."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""
        ...


class AssignmentListener(Protocol):
    """Told by a source when partitions come and go. Both calls finish before the source hands out anything of the new assignment."""

    async def assigned(self, partitions: Collection[TopicPartition]) -> None:
        """These partitions are ours now."""
        ...

    async def revoked(self, partitions: Collection[TopicPartition]) -> None:
        """These partitions are about to be someone else's: finish or abort what is in flight."""
        ...


class EventSource(Protocol):
    """One route's consumer: membership in the group, and the records of the assigned partitions."""

    async def start(self, listener: AssignmentListener) -> None:
        """Join the group. Raises TransportError when no broker answers."""
        ...

    async def fetch(
        self, partitions: Collection[TopicPartition], events_max: int, timeout_s: float
    ) -> Mapping[TopicPartition, Sequence[Event]]:
        """Events of these partitions only, none of which was handed out before since the last seek.

        An empty collection keeps the membership alive and returns nothing (never everything).
        Raises OffsetOutOfRangeError when a position is gone from the broker, TransportError else.
        """
        ...

    async def locate(self, partition: TopicPartition) -> Position:
        """Where the group's commit says this partition goes on, and what the broker still holds. Call after the sink opened."""
        ...

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """The next fetch of this partition starts at `offset`; records already prefetched from elsewhere are discarded."""
        ...

    def high_watermark(self, partition: TopicPartition) -> int | None:
        """The offset after the newest record, as of the last fetch; None before it, or when not assigned."""
        ...

    async def stop(self) -> None:
        """Leave the group."""
        ...


@dataclass(frozen=True, slots=True)
class Position:
    """What `EventSource.locate` found out about one partition."""

    committed: int | None
    """The group's committed offset; None on a first start."""
    earliest: int
    """The oldest offset that still exists."""
    latest: int
    """The offset after the newest record."""
    start: int
    """Where a first start begins, by the route's `start`."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """Records bound for one partition, in order."""

    topic: str
    partition: int
    events: Sequence[Event]
    timestamp: int | None = None
    """Milliseconds for all of them; None keeps each event's own."""


class EventSink(Protocol):
    """One lane's way out. Owned by one task; after any exception it is good for `close` only."""

    async def open(self) -> None:
        """Fence whoever held this lane before; returns when their transaction is over."""
        ...

    async def partition_count(self, topic: str) -> int:
        """How many partitions the topic has now. Raises TransportError when it does not exist."""
        ...

    async def write(self, outgoing: Iterable[Outgoing]) -> None:
        """Hand records to the transport, in order; the first write after a commit opens a transaction. Not yet durable.

        Raises OversizeError (nothing of this call was sent), TransportError.
        """
        ...

    async def commit(self, offset: int) -> None:
        """Make durable, together: all that was written since the last commit, and `offset` as where the group goes on."""
        ...

    async def commit_all(self, offsets: Mapping[TopicPartition, int]) -> None:
        """As `commit`, with where the group goes on in several partitions at once. In exactly-once mode only."""
        ...

    async def close(self) -> None:
        """Abort what is open and let go. Never raises."""
        ...


class Transport(Protocol):
    """Makes the clients of one cluster; `pipeline.kafka.KafkaTransport` and `pipeline.memory.MemoryTransport`."""

    def source(self, route: str) -> EventSource:
        """A consumer for this route."""
        ...

    def sink(self, route: str, partition: TopicPartition, source: EventSource) -> EventSink:
        """A fresh sink for this lane; in exactly-once mode with the lane's own transactional id."""
        ...

    def control(self) -> ControlLog:
        """The compacted topic that remembers which lanes are stopped."""
        ...


class ControlLog(Protocol):
    """Small JSON documents by key, shared by all processes and surviving them. A None document deletes."""

    async def open(self) -> Mapping[str, bytes]:
        """Everything that is remembered now."""
        ...

    async def put(self, key: str, document: bytes | None) -> None:
        """Durable when it returns. Raises TransportError."""
        ...

    async def changes(self, timeout_s: float) -> Sequence[tuple[str, bytes | None]]:
        """What others and this process have put since the last call (or since `open`), oldest first; waits up to `timeout_s`."""
        ...

    async def close(self) -> None:
        """Let go. Never raises."""
        ...


@dataclass(frozen=True, slots=True)
class LaneId:
    """One route's lane over one partition."""

    route: str
    source: TopicPartition
    group: str

    def __str__(self) -> str:
        return f"{self.route}:{self.source}"


class LaneState(StrEnum):
    """Where a lane is in its life."""

    STARTING = "starting"
    RUNNING = "running"
    RETRYING = "retrying"
    """A transport error; the lane starts anew after a pause."""
    PAUSED = "paused"
    """A tripped breaker; needs `penstock resume`."""
    STOPPED = "stopped"
    """Stopped by declaration or because it could not go on safely; needs `penstock resume`."""
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts of source events by outcome."""

    emitted: int = 0
    dropped: int = 0
    dead_lettered: int = 0
    passed_through: int = 0
    """Violations that `on_violation: pass-through` let go on unchanged."""
    by_violation: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CommitFacts:
    """What one commit made durable. Counts are of source events except `records_out`."""

    tally: Tally
    records_out: int
    offset: int
    lag: int | None
    seconds: float
    """How long the commit itself took."""


class Vitals(Protocol):
    """Signs of life of this process' routes: what liveness and readiness are made of."""

    def joined(self, route: str) -> None:
        """The route is a member of its group, with or without partitions."""
        ...

    def progressed(self, route: str) -> None:
        """The route's loop came round."""
        ...

    def left(self, route: str) -> None:
        """The route is out of its group."""
        ...


class BatchSpan(Protocol):
    """One batch being processed, as a trace sees it."""

    def headers(self) -> Headers:
        """Trace context for outgoing records; empty leaves the incoming records' own context alone."""
        ...

    def transformed(self, transformer: str, batch: Batch, report: Report) -> None:
        """One transformer is done with (what is left of) the batch."""
        ...

    def end(self, error: BaseException | None = None) -> None:
        """The batch is written, or failed."""
        ...


class Observer(Protocol):
    """Everything that metrics and traces learn, per batch and never per event."""

    def batch(self, lane: LaneId, batch: Batch) -> BatchSpan:
        """A batch begins."""
        ...

    def committed(self, lane: LaneId, facts: CommitFacts) -> None:
        """A commit succeeded: only now do outcomes count."""
        ...

    def lane(self, lane: LaneId, state: LaneState, reason: str) -> None:
        """A lane changed its state."""
        ...

    def in_flight(self, route: str, size_bytes: int, events: int) -> None:
        """Fetched and not yet written, by this process."""
        ...
