"""The clusters that the contract suite runs over, behind one small surface: what a scenario needs besides the ports.

What is looked at from outside (records, committed offsets) is read through librdkafka, never through the code under test.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, Producer
from confluent_kafka import TopicPartition as LibrdkafkaPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from pipeline.embedded import CLIENT_SILENCE, EmbeddedBroker
from pipeline.kafka.sink import KafkaSink
from pipeline.kafka.source import KafkaSource
from pipeline.kafka.transport import KafkaTransport
from pipeline.memory.broker import MemoryBroker
from pipeline.memory.transport import MemorySource, MemoryTransport
from pipeline.ports import EventSink, EventSource, Transport
from schemas.event import Event, TopicPartition
from schemas.specs import KafkaSpec, Registry
from tests.services import topics
from tests.services.kafka import KafkaBroker

PARTITIONS = 4
"""Of every topic unless a scenario says otherwise: the embedded broker knows no other number."""
_READ_S = 20.0
TearDown = Callable[[], Awaitable[None]]
_NUMBERS = itertools.count(1)


class Cluster(Protocol):
    """One broker and the transport over it. Topics are made for one scenario each, under names nobody else has."""

    is_memory: bool
    kafka: KafkaSpec

    async def topic(self, base: str, partitions: int = PARTITIONS, **config: str) -> str:
        """Create a topic; its name begins with `base`."""
        ...

    async def produce(self, topic: str, events: Iterable[Event], partition: int | None = None) -> None:
        """Append records outside of any transaction; without a partition, by the key. Offsets are the broker's business."""
        ...

    async def visible(self, topic: str) -> list[tuple[int, Event]]:
        """Every record that a read_committed reader sees now, with its partition, partition by partition."""
        ...

    async def read(self, topic: str) -> list[tuple[int, Event]]:
        """The same, once no transaction is open on the topic: a commit returns a moment before readers see it."""
        ...

    async def committed(self, group: str, topic: str) -> dict[int, int]:
        """What the group has committed, by partition; waits for a commit or abort that is on its way."""
        ...

    async def forget_before(self, topic: str, partition: int, offset: int) -> None:
        """Retention took the records before this offset."""
        ...

    def transport(self, registry: Registry, sizes: Mapping[str, int] | None = None) -> Transport:
        """What the code under test talks to."""
        ...

    async def arrived(self, sink: EventSink) -> None:
        """Wait until what was written is in the broker's log, committed or not."""
        ...

    def kill(self, client: EventSink | EventSource) -> TearDown:
        """The process that held this client is gone: nothing is closed, nothing said to the broker.

        The owner has lost it when this returns; call what is returned to let go of the sockets.
        """
        ...


def fresh(base: str) -> str:
    """A name for a topic or a group that was never used before."""
    return f"{base}.{next(_NUMBERS)}.{uuid.uuid4().hex[:6]}"


class MemoryCluster:
    """The in-memory broker."""

    is_memory = True

    def __init__(self) -> None:
        self.broker = MemoryBroker()
        self.kafka = KafkaSpec()

    async def topic(self, base: str, partitions: int = PARTITIONS, **config: str) -> str:
        name = fresh(base)
        self.broker.create_topic(name, partitions)
        return name

    async def produce(self, topic: str, events: Iterable[Event], partition: int | None = None) -> None:
        for event in events:
            self.broker.produce(
                topic, event.value, key=event.key, partition=partition, timestamp=event.timestamp, headers=event.headers
            )

    async def visible(self, topic: str) -> list[tuple[int, Event]]:
        return await self.read(topic)

    async def read(self, topic: str) -> list[tuple[int, Event]]:
        return [(at.partition, event) for at, event in self.broker.records(topic)]

    async def committed(self, group: str, topic: str) -> dict[int, int]:
        return {
            at.partition: offset
            for (who, at), offset in self.broker.committed.items()
            if (who, at.topic) == (group, topic)
        }

    async def forget_before(self, topic: str, partition: int, offset: int) -> None:
        self.broker.partition(TopicPartition(topic, partition)).delete_before(offset)

    def transport(self, registry: Registry, sizes: Mapping[str, int] | None = None) -> MemoryTransport:
        return MemoryTransport(registry, self.broker, sizes)

    async def arrived(self, sink: EventSink) -> None:
        """It is there at once."""

    def kill(self, client: EventSink | EventSource) -> TearDown:
        """The in-memory coordinator has no session timeout: a killed member is gone at once."""
        return client.stop if isinstance(client, MemorySource) else _nothing


class _BrokerCluster:
    """What the two brokers with a port have in common."""

    is_memory = False

    def __init__(self, bootstrap: str, session_timeout_ms: int) -> None:
        self.bootstrap = bootstrap
        self.kafka = KafkaSpec(
            brokers=(bootstrap,),
            control_topic=fresh("control"),
            request_timeout_ms=15_000,
            rebalance_timeout_ms=8_000,
            session_timeout_ms=session_timeout_ms,
            client={"heartbeat_interval_ms": 100},
        )
        self._produced_to: set[str] = set()
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "max.in.flight": 1,
                "linger.ms": 0,
                "partitioner": "murmur2_random",
                **CLIENT_SILENCE,
            }
        )

    async def produce(self, topic: str, events: Iterable[Event], partition: int | None = None) -> None:
        await asyncio.to_thread(self._produce, topic, list(events), partition)

    def _produce(self, topic: str, events: Sequence[Event], partition: int | None) -> None:
        failures: list[KafkaError] = []
        for event in events:
            fields = _fields(event) | ({} if partition is None else {"partition": partition})
            self._producer.produce(topic, on_delivery=lambda error, _: error and failures.append(error), **fields)
            if topic not in self._produced_to:  # librdkafka can reorder what it is given while it gets to know a topic
                self._producer.flush(_READ_S)
                self._produced_to.add(topic)
        assert self._producer.flush(_READ_S) == 0 and not failures, failures

    async def visible(self, topic: str) -> list[tuple[int, Event]]:
        return await asyncio.to_thread(_read, self.bootstrap, topic)

    async def read(self, topic: str) -> list[tuple[int, Event]]:
        await asyncio.to_thread(_await_stable, self.bootstrap, topic)
        return await self.visible(topic)

    async def committed(self, group: str, topic: str) -> dict[int, int]:
        return await asyncio.to_thread(topics.committed_offsets, self.bootstrap, group, topic)

    def transport(self, registry: Registry, sizes: Mapping[str, int] | None = None) -> KafkaTransport:
        return KafkaTransport(registry, sizes)

    async def arrived(self, sink: EventSink) -> None:
        assert isinstance(sink, KafkaSink)
        for _, future in sink._sent:
            await asyncio.shield(future)

    def kill(self, client: EventSink | EventSource) -> TearDown:
        if isinstance(client, KafkaSource):
            consumer, client._consumer = client._consumer, None
            return _nothing if consumer is None else functools.partial(_tear_down_consumer, consumer)
        assert isinstance(client, KafkaSink)
        producer, client._producer = client._producer, None
        for _, future in client._sent:
            future.add_done_callback(lambda done: done.cancelled() or done.exception())
        return _nothing if producer is None else functools.partial(_tear_down_producer, producer)


class EmbeddedCluster(_BrokerCluster):
    """librdkafka's mock cluster. Joining a group takes it three seconds, whatever the group."""

    def __init__(self, broker: EmbeddedBroker) -> None:
        super().__init__(broker.address, session_timeout_ms=6_000)
        broker.create_topics([self.kafka.control_topic])
        self._broker = broker

    async def topic(self, base: str, partitions: int = PARTITIONS, **config: str) -> str:
        assert partitions == PARTITIONS and not config, "the embedded broker makes topics its own way"
        name = fresh(base)
        assert self._broker.create_topics([name]) == {name: PARTITIONS}
        return name

    async def forget_before(self, topic: str, partition: int, offset: int) -> None:
        raise NotImplementedError("the embedded broker forgets by size only")


class KafkaCluster(_BrokerCluster):
    """Apache Kafka."""

    def __init__(self, broker: KafkaBroker) -> None:
        super().__init__(broker.bootstrap, session_timeout_ms=2_000)
        topics.create_topic(self.bootstrap, self.kafka.control_topic, 1, {"cleanup.policy": "compact"})

    async def topic(self, base: str, partitions: int = PARTITIONS, **config: str) -> str:
        settings = {name.replace("_", "."): value for name, value in config.items()}
        return await asyncio.to_thread(self._create, fresh(base), partitions, settings)

    def _create(self, name: str, partitions: int, settings: Mapping[str, str]) -> str:
        """Until every partition has a leader: members that join before that are rebalanced once more."""
        topics.create_topic(self.bootstrap, name, partitions, settings)
        end = time.monotonic() + _READ_S
        while True:
            known = self._producer.list_topics(name, _READ_S).topics[name]
            if len(known.partitions) == partitions and all(each.leader > 0 for each in known.partitions.values()):
                return name
            assert time.monotonic() < end, f"{name} did not become usable"
            time.sleep(0.01)

    async def forget_before(self, topic: str, partition: int, offset: int) -> None:
        await asyncio.to_thread(topics.delete_records, self.bootstrap, topic, partition, offset)


def _fields(event: Event) -> dict[str, Any]:
    fields: dict[str, Any] = {"key": event.key, "value": event.value, "headers": list(event.headers) or None}
    return fields | ({"timestamp": event.timestamp} if event.timestamp else {})


async def _nothing() -> None:
    """There is nothing to let go of."""


async def _tear_down_consumer(consumer: AIOKafkaConsumer) -> None:
    consumer._closed = True
    coordinator = consumer._coordinator
    await _cancel(coordinator._coordination_task, coordinator._heartbeat_task, coordinator._commit_refresh_task)
    await consumer._fetcher.close()
    await consumer._client.close()


async def _tear_down_producer(producer: AIOKafkaProducer) -> None:
    producer._closed = True
    await _cancel(producer._sender.sender_task)
    await producer.client.close()


async def _cancel(*tasks: asyncio.Future[Any] | None) -> None:
    for task in tasks:
        if task is not None:
            task.cancel()
            await asyncio.wait([task], timeout=1.0)


def _await_stable(bootstrap: str, topic: str) -> None:
    end = time.monotonic() + _READ_S
    while _has_open_transaction(bootstrap, topic):
        assert time.monotonic() < end, f"a transaction stays open on {topic}"
        time.sleep(0.01)


def _has_open_transaction(bootstrap: str, topic: str) -> bool:
    """Whether a partition's last stable offset is before its end."""
    admin = AdminClient({"bootstrap.servers": bootstrap, **CLIENT_SILENCE})
    count = len(admin.list_topics(topic, _READ_S).topics[topic].partitions)
    latest = {LibrdkafkaPartition(topic, number): OffsetSpec.latest() for number in range(count)}
    ends = [
        [future.result().offset for future in admin.list_offsets(latest, isolation_level=level).values()]
        for level in (IsolationLevel.READ_COMMITTED, IsolationLevel.READ_UNCOMMITTED)
    ]
    return ends[0] != ends[1]


def _read(bootstrap: str, topic: str) -> list[tuple[int, Event]]:
    """As `tests.services.topics.read_topic`, without its half second for a topic that ends early."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "reader-that-never-commits",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 5,
            **CLIENT_SILENCE,
        }
    )
    try:
        unread = set(consumer.list_topics(topic, _READ_S).topics[topic].partitions)
        consumer.assign([LibrdkafkaPartition(topic, number, 0) for number in unread])
        found: list[tuple[int, Event]] = []
        while unread:
            message = consumer.poll(_READ_S)
            assert message is not None, f"{topic} could not be read to its end"
            if (error := message.error()) is None:
                found.append((message.partition(), _event(message)))
            elif error.code() == KafkaError._PARTITION_EOF:
                unread.discard(message.partition())
            else:
                raise KafkaException(error)
        return sorted(found, key=lambda entry: (entry[0], entry[1].offset))
    finally:
        consumer.close()


def _event(message: Any) -> Event:
    headers = tuple(message.headers() or ())
    return Event(message.offset(), message.timestamp()[1], message.key(), message.value(), headers)


def values(read: Sequence[tuple[int, Event]]) -> list[bytes | None]:
    """Just the values."""
    return [event.value for _, event in read]
