"""The route's consumer over aiokafka. Raw bytes only (a raising deserializer would stick the consumer for ever), explicit
commits only, read_committed, no silent reset: see the table of client traps in docs/client-limits.md."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import time
import zlib
from collections.abc import Awaitable, Collection, Mapping, Sequence
from typing import Any, TypeVar

from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.errors import CorruptRecordException, IllegalStateError, NoOffsetForPartitionError
from aiokafka.protocol.group import LeaveGroupRequest
from cramjam import DecompressionError

from pipeline.kafka.assignment import AllToOne
from pipeline.kafka.blocks import Consumer, joined, offset_after
from pipeline.kafka.errors import translate
from pipeline.ports import AssignmentListener, Position
from schemas.errors import FencedError, TransportError, UnreadableRecordError
from schemas.event import Event, TopicPartition
from schemas.specs import KafkaSpec, RouteSpec

T = TypeVar("T")
_NOBODY = KafkaPartition("penstock.no-such-topic", 0)
"""Asking for a partition that is never assigned keeps the poll clock running and drains nothing (an empty ask means all)."""

UNREADABLE = (CorruptRecordException, ValueError, DecompressionError, gzip.BadGzipFile, zlib.error, EOFError)
"""What the client's parser raises: a bad checksum, lengths that contradict each other, a header's name that is not UTF-8, and
what its codecs say to a damaged batch (the last three are gzip's)."""
_SINGLY_MS = 500
_FETCH_BYTES = 2 << 20
"""Per broker and fetch. An answer is put together in one buffer before it is looked at: with answers of 8 MiB that alone cost
a quarter of the event loop, and memory."""
ITEM_EVENTS_MIN, ITEM_EVENTS_MAX = 16, 500
"""What is believed about how many events the next item of a fetch has: an item may be a block of any size, whatever the last ones were."""
PARTITION_BYTES = 2 << 20
"""Per partition and fetch, at most."""
PREFETCH_BYTES = 32 << 20
"""Of all partitions together. The client fetches ahead one answer of each and keeps it until it is wanted, however many there are:
so each asks for its share only."""
_SHARE_BYTES_MIN = 64 << 10


async def within(seconds: float, what: str, call: Awaitable[T]) -> T:
    """`call` under a timeout, its failures as ours: aiokafka waits for ever on a broker that went away. Raises TransportError."""
    try:
        async with asyncio.timeout(seconds):
            return await call
    except TimeoutError as error:
        raise TransportError(f"{what}: no answer within {seconds:g} s") from error
    except Exception as error:
        raise translate(error) from error


_JOIN_S = 1.0
"""How long leaving a group may wait for a join that is under way."""


class KafkaSource:
    """Implements `pipeline.ports.EventSource`."""

    def __init__(self, kafka: KafkaSpec, options: Mapping[str, Any], route: RouteSpec) -> None:
        self.epoch = 0
        """Counts assignments and revocations: an offset of one epoch must never be committed in another."""
        self._kafka = kafka
        self._options = options
        self._route = route
        self._timeout_s = kafka.request_timeout_ms / 1e3
        self._consumer: AIOKafkaConsumer | None = None
        self._next: dict[KafkaPartition, int] = {}
        """Offset after the last record that was handed out."""
        self._unreadable: UnreadableRecordError | None = None
        self._events_per_item = float(ITEM_EVENTS_MAX)
        """In the last fetch: a block counts as one record for the client."""

    async def start(self, listener: AssignmentListener) -> None:
        """Join the group. Raises TransportError when no broker answers."""
        kafka, route = self._kafka, self._route
        self._consumer = Consumer(
            **{
                "fetch_max_bytes": _FETCH_BYTES,
                "max_partition_fetch_bytes": PARTITION_BYTES,
                "heartbeat_interval_ms": max(500, kafka.session_timeout_ms // 4),
                **self._options,
                **({"partition_assignment_strategy": (AllToOne,)} if route.atomic is not None else {}),
                "group_id": route.group,
            }
        )
        relay = _Listener(self, listener)
        if route.pattern is not None:
            self._consumer.subscribe(pattern=f"^(?:{route.pattern})$", listener=relay)
        else:
            self._consumer.subscribe(topics=list(route.sources), listener=relay)
        await within(self._timeout_s, f"joining group {route.group}", self._consumer.start())

    async def fetch(
        self, partitions: Collection[TopicPartition], events_max: int, timeout_s: float
    ) -> Mapping[TopicPartition, Sequence[Event]]:
        """See the port. Nothing is awaited between taking records from the client and returning them, so a cancelled fetch loses none."""
        wanted = [KafkaPartition(p.topic, p.partition) for p in partitions] or [_NOBODY]
        if self._unreadable is not None:
            unreadable, self._unreadable = self._unreadable, None
            raise unreadable
        try:
            items_max = max(1, round(events_max / self._events_per_item))
            fetched = await self._getmany(wanted, int(timeout_s * 1e3), items_max)
        except NoOffsetForPartitionError:
            # Dealt out anew while this fetch waited, and nothing is committed yet: its lane will seek. No record was taken.
            return {}
        except UNREADABLE:
            fetched = await self._fetch_singly(wanted)
        except Exception as error:
            raise translate(error) from error
        for partition, records in fetched.items():
            self._next[partition] = offset_after(records[-1])
        events = {TopicPartition(*p): joined(records) for p, records in fetched.items()}
        if events:
            seen = sum(map(len, events.values())) / sum(map(len, fetched.values()))
            self._events_per_item = min(max(seen, ITEM_EVENTS_MIN), ITEM_EVENTS_MAX)
        return events

    async def _getmany(
        self, wanted: Collection[KafkaPartition], timeout_ms: int, items_max: int
    ) -> dict[KafkaPartition, list[Any]]:
        """The client's own, which counts itself in, and out again only when it returns: one that fails or is cancelled would
        switch `max_poll_interval_ms` off for good."""
        consumer = self._live()
        subscription = consumer._subscription  # noqa: SLF001 - the count has no public name
        counted = subscription._fetch_count  # noqa: SLF001
        try:
            fetched: dict[KafkaPartition, list[Any]] = await consumer.getmany(
                *wanted, timeout_ms=timeout_ms, max_records=items_max
            )
        except BaseException:
            if subscription._fetch_count > counted:  # noqa: SLF001
                subscription._fetch_count = counted  # noqa: SLF001
                subscription._last_fetch_ended = time.monotonic()  # noqa: SLF001
            raise
        return fetched

    async def _fetch_singly(self, wanted: Collection[KafkaPartition]) -> dict[KafkaPartition, list[Any]]:
        """One record of each partition, after a fetch met one that cannot be taken apart: the client does not say which it
        was, and has thrown away what it took of the others. The bad one is told of by the next fetch when this has others.
        """
        self._rewind(wanted)
        fetched: dict[KafkaPartition, list[Any]] = {}
        try:
            for partition in wanted:
                try:
                    fetched |= await self._getmany([partition], _SINGLY_MS, 1)
                except NoOffsetForPartitionError:
                    continue
                except UNREADABLE as error:
                    self._unreadable = self._unreadable_at(partition, error)
        except BaseException as error:
            self._rewind(wanted)
            if isinstance(error, Exception):
                raise translate(error) from error
            raise
        if self._unreadable is not None and not fetched:
            unreadable, self._unreadable = self._unreadable, None
            raise unreadable
        return fetched

    def _rewind(self, partitions: Collection[KafkaPartition]) -> None:
        """Back to where each was handed out to."""
        for partition in partitions:
            if partition in self._next:
                with contextlib.suppress(IllegalStateError):  # no longer assigned
                    self._live().seek(partition, self._next[partition])

    def _unreadable_at(self, partition: KafkaPartition, error: Exception) -> UnreadableRecordError:
        at, offset = TopicPartition(*partition), self._next.get(partition, 0)
        return UnreadableRecordError(
            f"the record at offset {offset} of {at} (or the next one there is) cannot be taken apart by the Kafka client "
            f"({type(error).__name__}: {error}); to skip it, stop penstock, set group {self._route.group} to the offset after "
            "it, and `penstock resume`",
            [at],
        )

    async def locate(self, partition: TopicPartition) -> Position:
        """See the port. Only meaningful once the lane's sink is open: a commit in flight may still be hidden before that."""
        return await within(
            self._timeout_s, f"looking up where {partition} goes on", self._locate(KafkaPartition(*partition))
        )

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """See the port. Raises FencedError when the partition was taken away meanwhile."""
        try:
            self._live().seek(KafkaPartition(*partition), offset)
            self._next[KafkaPartition(*partition)] = offset
        except Exception as error:
            raise FencedError(f"{partition} is no longer assigned: {error}") from error

    def high_watermark(self, partition: TopicPartition) -> int | None:
        """See the port."""
        wanted = KafkaPartition(*partition)
        consumer = self._live()
        if wanted not in consumer.assignment():
            return None
        high: int | None = consumer.highwater(wanted)
        return high

    async def commit(self, partition: TopicPartition, offset: int, epoch: int) -> None:
        """Commit outside of a transaction (at-least-once). Raises FencedError across a rebalance, TransportError else."""
        if epoch != self.epoch:
            raise FencedError(f"{partition} was reassigned before offset {offset} could be committed")
        await within(
            self._timeout_s, f"committing {partition}", self._live().commit({KafkaPartition(*partition): offset})
        )

    async def stop(self) -> None:
        """Leave the group. Raises TransportError when that was not possible; the clients are let go of all the same."""
        if self._consumer is None:
            return
        try:
            async with asyncio.timeout(min(10.0, self._timeout_s)):
                await self._leave(self._consumer)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # aiokafka's own: its heartbeat was leaving the group at the same moment, and cancelled what waited for it.
            with contextlib.suppress(Exception):
                await self._consumer._client.close()  # noqa: SLF001 - a second `stop` does nothing
        except Exception as error:
            raise translate(error) from error

    async def _leave(self, consumer: AIOKafkaConsumer) -> None:
        """Leave the group; in the middle of joining it the client would wait for the join, which others may hold up.

        The broker answers one request of a connection after another: the farewell takes another one than the join.
        """
        stopping = asyncio.ensure_future(consumer.stop())
        try:
            await asyncio.wait({stopping}, timeout=_JOIN_S)
            coordinator = consumer._coordinator  # noqa: SLF001 - there is no public way to stop joining
            if not stopping.done() and coordinator is not None and coordinator.coordinator_id is not None:
                farewell = LeaveGroupRequest(self._route.group, coordinator.member_id)
                await consumer._client.send(coordinator.coordinator_id, farewell)  # noqa: SLF001
            await stopping
        finally:
            stopping.cancel()
            await asyncio.gather(stopping, return_exceptions=True)

    async def _locate(self, partition: KafkaPartition) -> Position:
        consumer = self._live()
        committed: int | None = await consumer.committed(partition)
        earliest: int = (await consumer.beginning_offsets([partition]))[partition]
        latest: int = (await consumer.end_offsets([partition]))[partition]
        start = {"earliest": earliest, "latest": latest}.get(self._route.start)
        if start is None:
            found = (await consumer.offsets_for_times({partition: int(self._route.start)}))[partition]
            start = found.offset if found is not None else latest
        return Position(committed=committed, earliest=earliest, latest=latest, start=start)

    def share_out(self, partitions: int) -> None:
        """So many partitions are fetched from now on. Does nothing when the registry's `client` says how much each fetches."""
        if "max_partition_fetch_bytes" not in self._options:
            share = max(_SHARE_BYTES_MIN, PREFETCH_BYTES // max(1, partitions))
            fetcher = self._live()._fetcher  # noqa: SLF001 - the client takes it at its start only, before the assignment
            fetcher._max_partition_fetch_bytes = min(PARTITION_BYTES, share)  # noqa: SLF001

    def _live(self) -> AIOKafkaConsumer:
        assert self._consumer is not None, "the source was not started"
        return self._consumer


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    """aiokafka's callbacks, in our types; every call is a new epoch."""

    def __init__(self, source: KafkaSource, listener: AssignmentListener) -> None:
        self._source = source
        self._listener = listener

    async def on_partitions_revoked(self, revoked: Collection[KafkaPartition]) -> None:
        await self._listener.revoked([TopicPartition(*p) for p in revoked])
        self._source.epoch += 1

    async def on_partitions_assigned(self, assigned: Collection[KafkaPartition]) -> None:
        self._source.share_out(len(assigned))
        self._source.epoch += 1
        await self._listener.assigned([TopicPartition(*p) for p in assigned])
