"""In the place of aiokafka's consumer and producer, under the real `KafkaSource` and `KafkaSink`: what those use of them.

They behave as docs/client-limits.md says aiokafka does: a produce that is refused does not keep a commit from succeeding,
offsets go into a transaction without a generation, a commit is made with whatever generation the consumer has by then.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from aiokafka import TopicPartition as KafkaPartition
from aiokafka import errors as kafka
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords

from pipeline.kafka.blocks import HEADER, event_of
from pipeline.kafka.blocks import _block as block_of
from pipeline.kafka.sections import SectionBatch
from pipeline.kafka.source import within
from pipeline.kafka.transport import KafkaTransport
from schemas.event import Event, TopicPartition
from schemas.records import Block
from schemas.specs import Registry
from tests.simulation.cluster import SESSION_S, Cluster
from tests.simulation.wire import Connection, Wire

_BLOCK_RECORDS_MIN = 3
_POLL_S = 0.05


class SimTransport(KafkaTransport):
    """The product's own, whose clients are told which wire they hang on."""

    def __init__(self, registry: Registry, cluster: Cluster, wire: Wire, *, blocks: bool) -> None:
        super().__init__(registry)
        link = {"cluster": cluster, "wire": wire, "blocks": blocks}
        self._consumer_options = {**self._consumer_options, **link}
        self._producer_options = {**self._producer_options, **link}
        self._link = (cluster, wire)

    def control(self) -> SimControlLog:  # type: ignore[override]
        return SimControlLog(*self._link)


class SimControlLog:
    """Implements `pipeline.ports.ControlLog`."""

    def __init__(self, cluster: Cluster, wire: Wire) -> None:
        self._cluster = cluster
        self._wire = wire
        self._seen = 0

    def releases(self, key: str) -> int:
        """How often this process has seen this lane released."""
        return self._cluster.documents[: self._seen].count((key, None))

    async def open(self) -> Mapping[str, bytes]:
        documents: dict[str, bytes] = {}
        for key, document in self._cluster.documents:
            documents.pop(key, None)
            if document is not None:
                documents[key] = document
        self._seen = len(self._cluster.documents)
        return documents

    async def put(self, key: str, document: bytes | None) -> None:
        await within(10.0, "noting", self._wire.call("note", lambda: self._cluster.put(key, document)))

    async def changes(self, timeout_s: float) -> Sequence[tuple[str, bytes | None]]:
        await asyncio.sleep(timeout_s)
        if not self._wire.is_up:
            return []
        changes = self._cluster.documents[self._seen :]
        self._seen += len(changes)
        return changes

    async def close(self) -> None:
        return None


class SimConsumer:
    """In the place of `AIOKafkaConsumer`."""

    def __init__(self, *, cluster: Cluster, wire: Wire, blocks: bool, group_id: str, **_: Any) -> None:
        self.topic = ""
        self.generation = -1
        self._cluster = cluster
        self._wire = wire
        self._blocks = blocks
        self._group_id = group_id
        self._connection = Connection()
        self._listener: Any = None
        self._rejoin = asyncio.Event()
        self._positions: dict[KafkaPartition, int | None] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._client = self
        self._coordinator = None
        self._subscription = SimpleNamespace(_fetch_count=0, _last_fetch_ended=0.0)
        self._fetcher = SimpleNamespace(_max_partition_fetch_bytes=1 << 20)

    def subscribe(self, topics: Sequence[str], listener: Any) -> None:
        self.topic, self._listener = topics[0], listener

    async def start(self) -> None:
        await self._wire.call("find coordinator", lambda: None)
        self._rejoin.set()
        self._tasks = [
            asyncio.create_task(self._follow(), name=f"membership of {self._wire.name}"),
            asyncio.create_task(self._beat(), name=f"heartbeats of {self._wire.name}"),
        ]

    async def stop(self) -> None:
        self.kill()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if self._wire.is_up:
            self._cluster.group.leave(self)

    def kill(self) -> None:
        """Without a word; where one is said after all, it comes before the session's end."""
        for task in self._tasks:
            task.cancel()
        asyncio.get_running_loop().call_later(SESSION_S, self._cluster.group.leave, self)

    async def close(self) -> None:
        return None

    def rejoin(self) -> None:
        """The coordinator wants it; the process learns of it with the next heartbeat that gets through."""
        self._rejoin.set()

    def assignment(self) -> Collection[KafkaPartition]:
        return self._positions.keys()

    def seek(self, partition: KafkaPartition, offset: int) -> None:
        if partition not in self._positions:
            raise kafka.IllegalStateError(f"{partition} is not assigned")
        self._positions[partition] = offset

    def highwater(self, partition: KafkaPartition) -> int | None:
        return self._cluster.log(TopicPartition(*partition)).end

    async def getmany(
        self, *partitions: KafkaPartition, timeout_ms: int, max_records: int
    ) -> dict[KafkaPartition, list[Any]]:
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout_ms / 1e3
        while True:
            before = dict(self._positions)
            if fetched := self._taken(partitions, max_records):
                return await self._handed_out(fetched, before)
            if loop.time() >= end:
                return {}
            await asyncio.sleep(min(_POLL_S, end - loop.time()))

    async def _handed_out(
        self, fetched: dict[KafkaPartition, list[Any]], before: Mapping[KafkaPartition, int | None]
    ) -> dict[KafkaPartition, list[Any]]:
        """Taken is not yet seen: the loop may be busy, and other tasks run in between. Cancelled meanwhile, nothing was taken."""
        after = dict(self._positions)
        try:
            await self._wire.dawdle()
        except asyncio.CancelledError:
            for partition in fetched:
                if self._positions.get(partition) == after[partition]:
                    self._positions[partition] = before[partition]
            raise
        return fetched

    async def commit(self, offsets: Mapping[KafkaPartition, int]) -> None:
        ((partition, offset),) = offsets.items()
        member, generation, cluster = self, self.generation, self._cluster
        await self._wire.call(
            "commit offset",
            lambda: cluster.commit_offset(
                self._wire.name, member, generation, self._group_id, TopicPartition(*partition), offset
            ),
            self._connection,
        )

    async def committed(self, partition: KafkaPartition) -> int | None:
        at = TopicPartition(*partition)
        return await self._wire.call(
            "read committed", lambda: self._cluster.committed.get((self._group_id, at)), self._connection
        )

    async def beginning_offsets(self, partitions: Sequence[KafkaPartition]) -> dict[KafkaPartition, int]:
        return await self._wire.call("list offsets", lambda: dict.fromkeys(partitions, 0))

    async def end_offsets(self, partitions: Sequence[KafkaPartition]) -> dict[KafkaPartition, int]:
        ends = lambda: {p: self._cluster.log(TopicPartition(*p)).end for p in partitions}  # noqa: E731
        return await self._wire.call("list offsets", ends)

    async def _follow(self) -> None:
        """Join again whenever the coordinator wants it, as aiokafka's coordination task does."""
        while True:
            await self._rejoin.wait()
            await self._wire.back()
            self._rejoin.clear()
            await self._listener.on_partitions_revoked(list(self._positions))
            self._positions = {}
            await self._wire.back()
            self._rejoin.clear()  # this answers all that was asked so far
            joining = self._cluster.group.join(self)
            try:
                self.generation, share = await joining
            except kafka.UnknownMemberIdError:
                self._rejoin.set()
                continue
            await asyncio.sleep(0.01)
            partitions = [KafkaPartition(*each) for each in share]
            self._positions = {p: self._cluster.committed.get((self._group_id, TopicPartition(*p))) for p in partitions}
            await self._listener.on_partitions_assigned(partitions)

    async def _beat(self) -> None:
        """A member that is not heard of for a whole session is out of the group."""
        heard = asyncio.get_running_loop().time()
        while True:
            await asyncio.sleep(2.0)
            now = asyncio.get_running_loop().time()
            if self._wire.is_up:
                heard = now
            elif now - heard > SESSION_S:
                self._cluster.group.leave(self)
                self._rejoin.set()

    def _taken(self, partitions: Sequence[KafkaPartition], count: int) -> dict[KafkaPartition, list[Any]]:
        if not self._wire.is_up:
            return {}
        taken: dict[KafkaPartition, list[Any]] = {}
        for partition in partitions:
            position = self._positions.get(partition)
            if position is None:
                if partition in self._positions:
                    raise kafka.NoOffsetForPartitionError(partition)
                continue
            if events := self._cluster.log(TopicPartition(*partition)).since(position, count):
                taken[partition] = self._items(events)
                self._positions[partition] = events[-1].offset + 1
        return taken

    def _items(self, events: Sequence[Event]) -> list[Any]:
        if not self._blocks or len(events) < _BLOCK_RECORDS_MIN:
            return list(events)
        block = as_block(events)
        assert block is not None
        return [block]


def as_block(events: Sequence[Event]) -> Block | None:
    """The events in Kafka's own format, as the real consumer hands them out."""
    builder = DefaultRecordBatchBuilder(2, 0, False, -1, -1, -1, 1 << 24)
    base = events[0].offset
    for event in events:
        builder.append(event.offset - base, event.timestamp, event.key, event.value, list(event.headers))
    batch = bytes(builder.build())
    return block_of(batch[HEADER.size :], len(events), base, events[0].timestamp, False, 0)


class _Placed:
    """What a batch builder says of a record it took."""

    def __init__(self, size: int) -> None:
        self.size = size


class _Batch:
    """A batch that is being filled."""

    def __init__(self, size_max: int) -> None:
        self.events: list[Event] = []
        self._left = size_max

    def append(
        self, *, timestamp: int | None, key: bytes | None, value: bytes | None, headers: list[Any]
    ) -> _Placed | None:
        size = (
            len(key or b"") + len(value or b"") + sum(len(name) + len(each or b"") + 4 for name, each in headers) + 20
        )
        if size > self._left and self.events:
            return None
        self._left -= size
        self.events.append(Event(0, timestamp or 0, key, value, tuple(headers)))
        return _Placed(size)


class SimProducer:
    """In the place of `AIOKafkaProducer`."""

    def __init__(
        self, *, cluster: Cluster, wire: Wire, max_batch_size: int, transactional_id: str | None = None, **_: Any
    ) -> None:
        self._cluster = cluster
        self._wire = wire
        self._size_max = min(max_batch_size, 2_000)
        self._name = transactional_id
        self._owner: tuple[str, int] | None = None
        self._connection = Connection()
        self._unacknowledged: list[asyncio.Future[None]] = []
        self._sent: dict[TopicPartition, int] = defaultdict(int)
        self._stored: dict[TopicPartition, int] = defaultdict(int)
        """Batches sent to a partition, and those the broker took: idempotence lets none be left out."""
        self._is_fenced = False
        self._in_transaction = False
        self._sender = self
        self.sender_task: asyncio.Task[None] | None = None
        self.client = self
        self._message_accumulator = SimpleNamespace(_batches={})
        self._txn_manager = None
        self.cluster = SimpleNamespace(leader_for_partition=lambda _: None)
        """Nobody to be asked for open transactions: this cluster forgets none."""

    async def start(self) -> None:
        name = self._name
        if name is None:
            await self._wire.call("init", lambda: None, self._connection)
        else:
            self._owner = (
                name,
                await self._wire.call("init", lambda: self._cluster.init_producer(name), self._connection),
            )

    async def partitions_for(self, topic: str) -> set[int]:
        return await self._wire.call("metadata", lambda: set(range(len(self._cluster.logs[topic]))))

    def create_batch(self) -> _Batch:
        return _Batch(self._size_max)

    async def send_batch(self, batch: Any, topic: str, *, partition: int) -> asyncio.Future[None]:
        self._check()
        at = TopicPartition(topic, partition)
        events = (
            [event_of(r) for r in MemoryRecords(bytes(batch._build())).next_batch()]
            if isinstance(batch, SectionBatch)
            else batch.events
        )
        number = self._sent[at]
        self._sent[at] += 1
        sent = self._wire.post("produce", lambda: self._produce(at, number, events), self._connection, topic)
        sent.add_done_callback(self._acknowledged)
        self._unacknowledged.append(sent)
        return sent

    async def begin_transaction(self) -> None:
        self._check()
        assert not self._in_transaction, "READY -> IN_TRANSACTION: nested"
        self._in_transaction = True

    async def send_offsets_to_transaction(self, offsets: Mapping[KafkaPartition, int], group: str) -> None:
        await self._flush()
        self._check()
        owner = self._live()
        wanted = {(group, TopicPartition(*p)): offset for p, offset in offsets.items()}
        await self._request("add offsets", lambda: self._cluster.add_offsets(owner, wanted))

    async def commit_transaction(self) -> None:
        await self._end(commit=True)

    async def abort_transaction(self) -> None:
        await self._end(commit=False)

    async def stop(self) -> None:
        await self._flush()

    async def close(self) -> None:
        return None

    async def _end(self, *, commit: bool) -> None:
        await self._flush()
        self._check()
        owner = self._live()
        await self._request(
            "commit" if commit else "abort", lambda: self._cluster.end(self._wire.name, owner, commit=commit)
        )
        self._in_transaction = False

    async def _request(self, what: str, effect: Any) -> None:
        try:
            await self._wire.call(what, effect, self._connection)
        except (kafka.ProducerFenced, kafka.InvalidProducerEpoch):
            self._is_fenced = True
            raise

    async def _flush(self) -> None:
        waiting, self._unacknowledged = self._unacknowledged, []
        if waiting:
            await asyncio.wait(waiting)

    def _produce(self, at: TopicPartition, number: int, events: Sequence[Event]) -> None:
        if number != self._stored[at]:
            raise kafka.OutOfOrderSequenceNumber
        self._cluster.produce(self._owner, at, events)
        self._stored[at] += 1

    def _acknowledged(self, sent: asyncio.Future[None]) -> None:
        if not sent.cancelled() and isinstance(sent.exception(), kafka.InvalidProducerEpoch):
            self._is_fenced = True

    def _check(self) -> None:
        assert not self._is_fenced, "Invalid state transition TransactionState.FATAL_ERROR -> TransactionState.READY"

    def _live(self) -> tuple[str, int]:
        assert self._owner is not None
        return self._owner
