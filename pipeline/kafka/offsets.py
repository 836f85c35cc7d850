"""Offsets of consumer groups, seen and set from outside of them: what is committed, what the log holds, who is in the group.

Only `fence` and `commit` change anything. Positions are those of a read_committed reader, as the lanes are.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, errors
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.client import ConnectionGroup, CoordinationType
from aiokafka.protocol.admin import DescribeGroupsRequest
from aiokafka.protocol.commit import OffsetCommitRequest, OffsetFetchRequest

from pipeline.kafka.blocks import Consumer, first_offset
from pipeline.kafka.client import consumer_options, producer_options
from pipeline.kafka.cluster import Cluster, learn_topics, open_cluster
from pipeline.kafka.errors import translate
from pipeline.kafka.source import UNREADABLE, within
from pipeline.kafka.topic_rules import sources
from pipeline.kafka.transport import transactional_id_of
from schemas.errors import TransportError
from schemas.event import TopicPartition
from schemas.specs import KafkaSpec, RouteSpec

T = TypeVar("T")
_NO_COMMIT = -1
_LOOK_S = 2.0
"""How long one look for the next event may take; then the answer is unknown, and asking again is cheap."""
_FENCES_AT_ONCE = 16
_AGAIN_S = 0.1
_COORDINATION = (
    errors.GroupCoordinatorNotAvailableError,
    errors.GroupLoadInProgressError,
    errors.NotCoordinatorForGroupError,
    errors.NodeNotReadyError,
)


@dataclass(frozen=True, slots=True)
class Extent:
    """What a partition's log holds: the oldest offset, and the one after the last that a read_committed reader may see."""

    earliest: int
    latest: int


@dataclass(frozen=True, slots=True)
class Member:
    """One live member of a group."""

    name: str
    client: str
    host: str


class Offsets:
    """See the module and `open_offsets`. Methods raise TransportError."""

    def __init__(self, kafka: KafkaSpec, cluster: Cluster, consumer: AIOKafkaConsumer) -> None:
        self._kafka = kafka
        self._cluster = cluster
        self._consumer = consumer
        self._timeout_s = kafka.request_timeout_ms / 1e3

    async def partitions(self, route: RouteSpec) -> list[TopicPartition]:
        """Every partition that the route reads now; those of a pattern are the topics it matches at this moment."""
        seen = await self._cluster.topics(None if route.pattern is not None else route.sources)
        counts = {topic: count for topic, count in seen.items() if isinstance(count, int)}
        return [
            TopicPartition(topic, index)
            for topic in sources(route, counts)
            if topic in counts
            for index in range(counts[topic])
        ]

    async def extents(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, Extent]:
        """What each partition holds."""
        if not partitions:
            return {}
        wanted = [KafkaPartition(*each) for each in partitions]
        await self._within("the topics", learn_topics(self._consumer, {each.topic for each in partitions}))
        begin = await self._within("the first offsets", self._consumer.beginning_offsets(wanted))
        end = await self._within("the last offsets", self._consumer.end_offsets(wanted))
        return {TopicPartition(*each): Extent(begin[each], end[each]) for each in wanted}

    async def at_time(self, partitions: Collection[TopicPartition], time_ms: int) -> dict[TopicPartition, int | None]:
        """The first offset of each partition that is not older than this (ms since the epoch); None when all are older."""
        if not partitions:
            return {}
        wanted = {KafkaPartition(*each): time_ms for each in partitions}
        await self._within("the topics", learn_topics(self._consumer, {each.topic for each in partitions}))
        found = await self._within("offsets by time", self._consumer.offsets_for_times(wanted))
        return {TopicPartition(*each): at.offset if at is not None else None for each, at in found.items()}

    async def committed(self, group: str, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """What the group has committed; a partition without a commit is not in it.

        Right after a transaction's commit it may still be the offset before, as for every reader without `require_stable`.
        """
        if not partitions:
            return {}
        answer = await self._ask_coordinator(group, OffsetFetchRequest(group, _by_topic(partitions)), _fetch_codes)
        return {
            TopicPartition(topic, index): offset
            for topic, rows in answer.topics
            for index, offset, _, _ in rows
            if offset != _NO_COMMIT
        }

    async def members(self, group: str) -> list[Member]:
        """The group's live members; a killed one counts until its session times out."""
        answer = await self._ask_coordinator(
            group, DescribeGroupsRequest([group]), lambda said: [row[0] for row in said.groups]
        )
        return [Member(name, client, host) for row in answer.groups for name, client, host, *_ in row[5]]

    async def next_event(self, partition: TopicPartition, offset: int, end: int) -> int | None:
        """Offset of the first readable event from `offset` on and before `end`; None when there is none.

        Control records, aborted transactions and what compaction took away are no events. Raises TransportError when it
        could not be found out in time.
        """
        at, consumer = KafkaPartition(*partition), self._consumer
        try:
            async with asyncio.timeout(_LOOK_S):
                consumer.assign([at])
                consumer.seek(at, offset)
                while await consumer.position(at) < end:
                    for items in (await consumer.getmany(at, timeout_ms=200, max_records=1)).values():
                        first = first_offset(items[0])
                        return first if first < end else None
                return None
        except (TimeoutError, *UNREADABLE) as error:
            raise TransportError(f"{partition} does not tell what follows offset {offset}") from error
        except Exception as error:
            raise translate(error) from error
        finally:
            consumer.unsubscribe()

    async def fence(self, group: str, partitions: Iterable[TopicPartition]) -> None:
        """Abort whatever transaction a dead lane of these partitions left open, and keep it from committing ever again.

        InitProducerId under the lane's transactional id does that and returns when the transaction's markers are written.
        """
        gate = asyncio.Semaphore(_FENCES_AT_ONCE)

        async def fence(partition: TopicPartition) -> None:
            async with gate:
                await self._fence(transactional_id_of(partition, group))

        ended = await asyncio.gather(*map(fence, partitions), return_exceptions=True)
        for error in ended:
            if error is not None:
                raise error

    async def commit(self, group: str, offsets: Mapping[TopicPartition, int]) -> None:
        """Set the group's offsets. Raises TransportError, not retriable, when the group has a member after all."""
        topics = defaultdict[str, list[tuple[int, int, str]]](list)
        for partition, offset in offsets.items():
            topics[partition.topic].append((partition.partition, offset, ""))
        request = OffsetCommitRequest(group, -1, "", -1, list(topics.items()))
        await self._ask_coordinator(group, request, lambda said: [code for _, rows in said.topics for _, code in rows])

    async def _fence(self, transactional_id: str) -> None:
        producer = AIOKafkaProducer(**{**producer_options(self._kafka), "transactional_id": transactional_id})
        try:
            await self._within(f"fencing {transactional_id}", producer.start())
        finally:
            with contextlib.suppress(Exception):
                await producer.stop()

    async def _ask_coordinator(self, group: str, request: Any, codes: Callable[[Any], Iterable[int]]) -> Any:
        """The coordinator's answer, asked again while it is moving or loading."""

        async def ask() -> Any:
            while True:
                try:
                    node = await self._cluster.client.coordinator_lookup(CoordinationType.GROUP, group)
                    answer = await self._cluster.client.send(node, request, group=ConnectionGroup.COORDINATION)
                    for kind in map(errors.for_code, codes(answer)):
                        if kind is not errors.NoError:
                            raise kind(group)
                    return answer
                except _COORDINATION:
                    await asyncio.sleep(_AGAIN_S)

        try:
            return await self._within(f"the coordinator of group {group}", ask())
        except TransportError as error:
            if isinstance(error.__cause__, errors.UnknownMemberIdError | errors.RebalanceInProgressError):
                raise TransportError(f"group {group} has live members", retriable=False) from error
            raise

    async def _within(self, what: str, call: Awaitable[T]) -> T:
        return await within(self._timeout_s, what, call)


@contextlib.asynccontextmanager
async def open_offsets(kafka: KafkaSpec) -> AsyncIterator[Offsets]:
    """Raises ConfigError for bad settings, TransportError when no broker answers."""
    async with open_cluster(kafka) as cluster:
        consumer = Consumer(**{**consumer_options(kafka), "group_id": None, "max_partition_fetch_bytes": 1 << 16})
        try:
            await within(kafka.request_timeout_ms / 1e3, "opening a consumer", consumer.start())
            yield Offsets(kafka, cluster, consumer)
        finally:
            with contextlib.suppress(Exception):
                await consumer.stop()


def _by_topic(partitions: Iterable[TopicPartition]) -> list[tuple[str, list[int]]]:
    topics = defaultdict[str, list[int]](list)
    for partition in partitions:
        topics[partition.topic].append(partition.partition)
    return list(topics.items())


def _fetch_codes(answer: Any) -> list[int]:
    whole = [answer.error_code] if hasattr(answer, "error_code") else []
    return [*whole, *(row[3] for _, rows in answer.topics for row in rows)]
