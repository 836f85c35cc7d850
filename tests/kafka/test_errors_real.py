"""The table of errors against what a real broker makes aiokafka raise."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from confluent_kafka.admin import AclOperation, ResourceType

from pipeline.kafka.client import consumer_options, producer_options
from pipeline.kafka.errors import translate
from schemas.errors import FencedError, OffsetOutOfRangeError, PenstockError, TransportError
from schemas.specs import KafkaSpec, Security
from tests.services.access import deny
from tests.services.kafka import KafkaBroker
from tests.services.secure_kafka import PASSWORD, USER
from tests.services.topics import create_topic, delete_records, produce

Names = Callable[[str], str]
pytestmark = pytest.mark.services


async def failure(call: Awaitable[Any]) -> PenstockError:
    with pytest.raises(Exception) as raised:
        await call
    return translate(raised.value)


def as_user(broker: KafkaBroker) -> KafkaSpec:
    security = Security("SASL_PLAINTEXT", "SCRAM-SHA-512", USER, PASSWORD)
    return KafkaSpec(brokers=(broker.address("SASL_PLAINTEXT"),), security=security, request_timeout_ms=10_000)


async def transactional(kafka: KafkaSpec, transactional_id: str) -> AIOKafkaProducer:
    producer = AIOKafkaProducer(**producer_options(kafka), transactional_id=transactional_id)
    await producer.start()
    return producer


@pytest.mark.parametrize("late", ["send", "commit"])
def test_a_producer_whose_id_was_taken_is_fenced(kafka_broker: KafkaBroker, unique: Names, late: str) -> None:
    topic, transactional_id = create_topic(kafka_broker.bootstrap, unique("t")), unique("x")
    kafka = KafkaSpec(brokers=(kafka_broker.bootstrap,))

    async def scenario() -> list[PenstockError]:
        zombie = await transactional(kafka, transactional_id)
        await zombie.begin_transaction()
        await zombie.send_and_wait(topic, b"1", partition=0)
        heir = await transactional(kafka, transactional_id)
        if late == "send":
            errors = [await failure(zombie.send_and_wait(topic, b"2", partition=0))]
        else:
            errors = [await failure(zombie.commit_transaction()), await failure(zombie.begin_transaction())]
        await heir.stop()
        await zombie.stop()
        return errors

    for error in asyncio.run(scenario()):
        assert isinstance(error, FencedError)


def test_missing_records_name_partition_and_offset(kafka_broker: KafkaBroker, unique: Names) -> None:
    topic = create_topic(kafka_broker.bootstrap, unique("t"))
    produce(kafka_broker.bootstrap, topic, [(None, b"1"), (None, b"2")])
    delete_records(kafka_broker.bootstrap, topic, 0, 2)
    kafka = KafkaSpec(brokers=(kafka_broker.bootstrap,))

    async def scenario() -> PenstockError:
        async with AIOKafkaConsumer(**consumer_options(kafka)) as consumer:
            consumer.assign([TopicPartition(topic, 0)])
            consumer.seek(TopicPartition(topic, 0), 1)
            return await failure(consumer.getmany(timeout_ms=10_000))

    error = asyncio.run(scenario())
    assert isinstance(error, OffsetOutOfRangeError)
    assert error.partitions == {(topic, 0)}
    assert f"{topic}/0 at offset 1" in str(error)


def test_a_batch_too_large_for_its_topic_is_not_tried_again(kafka_broker: KafkaBroker, unique: Names) -> None:
    topic = create_topic(kafka_broker.bootstrap, unique("t"), config={"max.message.bytes": "1000"})
    kafka = KafkaSpec(brokers=(kafka_broker.bootstrap,), compression=None)

    async def scenario() -> PenstockError:
        async with AIOKafkaProducer(**producer_options(kafka)) as producer:
            return await failure(producer.send_and_wait(topic, b"x" * 5_000))

    error = asyncio.run(scenario())
    assert isinstance(error, TransportError)
    assert not error.retriable
    assert "max.message.bytes" in str(error)


def test_a_topic_that_may_not_be_written_is_named(secure_kafka: KafkaBroker, unique: Names) -> None:
    topic = create_topic(secure_kafka.bootstrap, unique("t"))
    deny(secure_kafka.bootstrap, USER, ResourceType.TOPIC, topic, AclOperation.WRITE)

    async def scenario() -> PenstockError:
        async with AIOKafkaProducer(**producer_options(as_user(secure_kafka))) as producer:
            return await failure(producer.send_and_wait(topic, b"1"))

    expect_denied(asyncio.run(scenario()), topic, topic)


def test_a_topic_that_may_not_be_read_is_named(secure_kafka: KafkaBroker, unique: Names) -> None:
    topic = create_topic(secure_kafka.bootstrap, unique("t"))
    produce(secure_kafka.bootstrap, topic, [(None, b"1")])
    deny(secure_kafka.bootstrap, USER, ResourceType.TOPIC, topic, AclOperation.READ)

    async def scenario() -> PenstockError:
        async with AIOKafkaConsumer(**consumer_options(as_user(secure_kafka))) as consumer:
            consumer.assign([TopicPartition(topic, 0)])
            consumer.seek(TopicPartition(topic, 0), 0)
            return await failure(consumer.getmany(timeout_ms=10_000))

    expect_denied(asyncio.run(scenario()), topic, topic)


def test_a_group_that_may_not_be_used_is_named(secure_kafka: KafkaBroker, unique: Names) -> None:
    topic, group = create_topic(secure_kafka.bootstrap, unique("t")), unique("g")
    deny(secure_kafka.bootstrap, USER, ResourceType.GROUP, group, AclOperation.READ)

    async def scenario() -> PenstockError:
        consumer = AIOKafkaConsumer(topic, **{**consumer_options(as_user(secure_kafka)), "group_id": group})
        try:
            await consumer.start()
            return await failure(consumer.getmany(timeout_ms=10_000))
        except Exception as error:
            return translate(error)
        finally:
            await consumer.stop()

    expect_denied(asyncio.run(scenario()), group)


def test_a_transactional_id_that_may_not_be_used_is_named(secure_kafka: KafkaBroker, unique: Names) -> None:
    transactional_id = unique("x")
    deny(secure_kafka.bootstrap, USER, ResourceType.TRANSACTIONAL_ID, transactional_id, AclOperation.WRITE)

    async def scenario() -> PenstockError:
        producer = AIOKafkaProducer(**producer_options(as_user(secure_kafka)), transactional_id=transactional_id)
        try:
            return await failure(producer.start())
        finally:
            await producer.stop()

    expect_denied(asyncio.run(scenario()), transactional_id)


def test_a_password_that_was_changed_is_not_tried_again(secure_kafka: KafkaBroker) -> None:
    kafka = as_user(secure_kafka)
    wrong = replace(kafka, security=replace(kafka.security, password="wrong-secret"))

    async def scenario() -> PenstockError:
        producer = AIOKafkaProducer(**producer_options(wrong))
        try:
            return await failure(producer.start())
        finally:
            await producer.stop()

    error = asyncio.run(scenario())
    assert isinstance(error, TransportError)
    assert "wrong-secret" not in str(error)


def expect_denied(error: PenstockError, name: str, topic: str | None = None) -> None:
    assert isinstance(error, TransportError)
    assert not error.retriable
    assert "no permission for" in str(error)
    assert name in str(error)
    assert error.topic == topic
