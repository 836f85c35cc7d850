"""Topics seen from outside, through librdkafka: nothing of ours or aiokafka between a test and the broker."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from functools import partial
from typing import Any, NamedTuple, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic, ResourceType

TIMEOUT_S = 30.0
SETTLING = frozenset(
    {
        KafkaError.NOT_COORDINATOR,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
    }
)
"""What a broker says that has just started."""
T = TypeVar("T")


class Kept(NamedTuple):
    """One record as the broker keeps it."""

    partition: int
    offset: int
    timestamp: int
    """Milliseconds since the epoch."""
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


def create_topic(bootstrap: str, name: str, partitions: int = 1, config: Mapping[str, str] | None = None) -> str:
    """Create a topic, wait until it can be used, and return its name."""
    admin = _admin(bootstrap)
    _await(admin, admin.create_topics([NewTopic(name, partitions, 1, config=dict(config or {}))]))
    _await_leaders(bootstrap, name, partitions)
    return name


def _await_leaders(bootstrap: str, name: str, partitions: int) -> None:
    """A busy broker says that a topic is made a moment before it knows the topic when asked for it."""
    admin, end = _admin(bootstrap), time.monotonic() + TIMEOUT_S
    while True:
        seen = admin.list_topics(timeout=TIMEOUT_S).topics.get(name)
        if seen is not None and sum(each.leader >= 0 for each in seen.partitions.values()) >= partitions:
            return
        if time.monotonic() > end:
            raise TimeoutError(f"{name} was made and is not to be seen")
        time.sleep(0.02)


def alter_topic(bootstrap: str, name: str, config: Mapping[str, str]) -> None:
    """Change some of a topic's settings."""
    _alter(bootstrap, ResourceType.TOPIC, name, config)


def alter_broker(bootstrap: str, config: Mapping[str, str]) -> None:
    """Change some of the broker's dynamic settings, e.g. `message.max.bytes`."""
    _alter(bootstrap, ResourceType.BROKER, "1", config)


def delete_topic(bootstrap: str, name: str) -> None:
    """Delete a topic."""
    admin = _admin(bootstrap)
    _await(admin, admin.delete_topics([name]))


def delete_records(bootstrap: str, topic: str, partition: int, before: int) -> None:
    """Move a partition's start: offsets below `before` are gone."""
    admin = _admin(bootstrap)
    _await(admin, admin.delete_records([TopicPartition(topic, partition, before)]))


def produce(
    bootstrap: str,
    topic: str,
    records: Iterable[tuple[bytes | None, bytes | None]],
    partition: int | None = None,
    compression: str = "none",
) -> int:
    """Append `(key, value)` records, in order, and return how many once the broker has them all."""
    full = ({"key": key, "value": value} for key, value in records)
    return produce_full(bootstrap, topic, full, partition, compression)


def produce_full(
    bootstrap: str,
    topic: str,
    records: Iterable[Mapping[str, Any]],
    partition: int | None = None,
    compression: str = "none",
) -> int:
    """As `produce`; a record is a mapping of `key`, `value`, `headers`, `timestamp`, `partition`, each optional."""
    failures: list[KafkaError] = []
    settings = {"linger.ms": 5, "enable.idempotence": True, "compression.type": compression}
    producer = Producer({"bootstrap.servers": bootstrap, **settings})
    count = 0
    for record in records:
        fields = {name: value for name, value in record.items() if value is not None or name == "value"}
        if partition is not None:
            fields["partition"] = partition
        _enqueue(producer, topic, fields, failures)
        count += 1
    if producer.flush(TIMEOUT_S) or failures:
        raise KafkaException(failures[0] if failures else KafkaError(KafkaError._TIMED_OUT))
    return count


def _enqueue(producer: Producer, topic: str, fields: dict[str, Any], failures: list[KafkaError]) -> None:
    def report(error: KafkaError | None, _: object) -> None:
        if error is not None:
            failures.append(error)

    while True:
        try:
            producer.produce(topic, on_delivery=report, **fields)
        except BufferError:
            producer.poll(0.1)
        else:
            producer.poll(0)
            return


def read_topic(bootstrap: str, topic: str, *, committed: bool = True) -> list[Kept]:
    """Every record of a topic up to the last stable offset (`committed`) or the high watermark, by partition."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "reader-that-never-commits",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed" if committed else "read_uncommitted",
        }
    )
    try:
        partitions = consumer.list_topics(topic, TIMEOUT_S).topics[topic].partitions
        starts = {
            index: _once_settled(partial(consumer.get_watermark_offsets, TopicPartition(topic, index), TIMEOUT_S))[0]
            for index in partitions
        }
        consumer.assign([TopicPartition(topic, index, start) for index, start in starts.items()])
        return sorted(_drain(consumer, set(partitions)))
    finally:
        consumer.close()


def _drain(consumer: Consumer, unfinished: set[int]) -> list[Kept]:
    kept: list[Kept] = []
    while unfinished:
        messages = consumer.consume(10_000, 0.5)
        for message in messages:
            error = message.error()
            if error is None:
                kept.append(_kept(message))
            elif error.code() == KafkaError._PARTITION_EOF:
                unfinished.discard(message.partition())
            else:
                raise KafkaException(error)
    return kept


def _kept(message: Any) -> Kept:
    headers = tuple(message.headers() or ())
    return Kept(message.partition(), message.offset(), message.timestamp()[1], message.key(), message.value(), headers)


def committed_offsets(bootstrap: str, group: str, topic: str) -> dict[int, int]:
    """What the group has committed, by partition; a partition without a commit is not in it."""
    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": group, "enable.auto.commit": False, "log_level": 3}
    )
    try:
        partitions = consumer.list_topics(topic, TIMEOUT_S).topics[topic].partitions
        found = _once_settled(
            lambda: consumer.committed([TopicPartition(topic, index) for index in partitions], TIMEOUT_S)
        )
        return {each.partition: each.offset for each in found if each.offset >= 0}
    finally:
        consumer.close()


def _once_settled(ask: Callable[[], T]) -> T:
    """The answer, asked again while the broker is still loading its groups or electing leaders (the first seconds after its start)."""
    until = time.monotonic() + TIMEOUT_S
    while True:
        try:
            return ask()
        except KafkaException as error:
            if error.args[0].code() not in SETTLING or time.monotonic() > until:
                raise
            time.sleep(0.1)


def await_empty_group(bootstrap: str, group: str) -> None:
    """Return once the consumer group has no member left."""
    admin, end = _admin(bootstrap), time.monotonic() + TIMEOUT_S
    while admin.describe_consumer_groups([group])[group].result(TIMEOUT_S).members:
        if time.monotonic() > end:
            raise TimeoutError(f"{group} still has members")
        time.sleep(0.05)


def _admin(bootstrap: str) -> AdminClient:
    return AdminClient({"bootstrap.servers": bootstrap, "log_level": 3})


def _alter(bootstrap: str, kind: ResourceType, name: str, config: Mapping[str, str]) -> None:
    entries = [ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET) for key, value in config.items()]
    admin = _admin(bootstrap)
    _await(admin, admin.incremental_alter_configs([ConfigResource(kind, name, incremental_configs=entries)]))


def _await(admin: AdminClient, futures: Mapping[Any, Future[Any]]) -> None:
    for future in futures.values():
        future.result(TIMEOUT_S)
    del admin  # held until here: a collected client never answers
