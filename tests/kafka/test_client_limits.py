"""What aiokafka does wrong, reproduced: when one of these fails after an upgrade, the work-around it names may go."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka import errors as kafka

from pipeline.kafka.client import consumer_options, producer_options
from schemas.specs import KafkaSpec
from tests.services.kafka import KafkaBroker
from tests.services.topics import await_empty_group, committed_offsets, create_topic, produce, read_topic

Names = Callable[[str], str]
pytestmark = pytest.mark.services
SMALL = {"max.message.bytes": "1000"}
TOO_LARGE = b"x" * 5_000


def spec(broker: KafkaBroker) -> KafkaSpec:
    return KafkaSpec(brokers=(broker.bootstrap,), compression=None)


def producer(broker: KafkaBroker, **options: Any) -> AIOKafkaProducer:
    return AIOKafkaProducer(**{**producer_options(spec(broker)), **options})


def consumer(broker: KafkaBroker, **options: Any) -> AIOKafkaConsumer:
    return AIOKafkaConsumer(**{**consumer_options(spec(broker)), "auto_offset_reset": "earliest", **options})


def test_a_commit_succeeds_though_a_record_was_refused(kafka_broker: KafkaBroker, unique: Names) -> None:
    """So the sink awaits every produce future before it commits."""
    topic = create_topic(kafka_broker.bootstrap, unique("t"), 2, SMALL)

    async def scenario() -> Any:
        async with producer(kafka_broker, transactional_id=unique("x")) as client:
            await client.begin_transaction()
            await client.send(topic, b"kept", partition=0)
            refused = await client.send(topic, TOO_LARGE, partition=1)
            await client.commit_transaction()
            return refused.exception()

    assert isinstance(asyncio.run(scenario()), kafka.MessageSizeTooLargeError)
    assert [record.value for record in read_topic(kafka_broker.bootstrap, topic)] == [b"kept"]


def test_a_producer_is_useless_after_one_refusal(kafka_broker: KafkaBroker, unique: Names) -> None:
    """So a producer that saw an error is discarded."""
    topic = create_topic(kafka_broker.bootstrap, unique("t"), config=SMALL)

    async def scenario() -> None:
        async with producer(kafka_broker) as client:
            await client.send_and_wait(topic, b"1", partition=0)
            with pytest.raises(kafka.MessageSizeTooLargeError):
                await client.send_and_wait(topic, TOO_LARGE, partition=0)
            for _ in range(2):
                with pytest.raises(kafka.OutOfOrderSequenceNumber):
                    await client.send_and_wait(topic, b"2", partition=0)

    asyncio.run(scenario())


def test_a_strangers_transaction_moves_a_live_groups_offset_back(kafka_broker: KafkaBroker, unique: Names) -> None:
    """So each lane has a transactional id of its own, which fences whoever had the lane before."""
    topic, group = create_topic(kafka_broker.bootstrap, unique("t")), unique("g")
    produce(kafka_broker.bootstrap, topic, [(None, b"v")] * 5)
    partition = TopicPartition(topic, 0)

    async def scenario() -> None:
        async with (
            consumer(kafka_broker, group_id=group) as live,
            producer(kafka_broker, transactional_id=unique("x")) as zombie,
        ):
            live.subscribe([topic])
            await live.getmany(timeout_ms=10_000)
            await live.commit({partition: 5})
            await zombie.begin_transaction()
            await zombie.send_offsets_to_transaction({partition: 1}, group)
            await zombie.commit_transaction()

    asyncio.run(scenario())
    assert committed_offsets(kafka_broker.bootstrap, group, topic) == {0: 1}


def test_a_stalled_consumer_rewinds_the_group(kafka_broker: KafkaBroker, unique: Names) -> None:
    """So the source counts assignments, and commits nothing across one."""
    topic, group = create_topic(kafka_broker.bootstrap, unique("t")), unique("g")
    produce(kafka_broker.bootstrap, topic, [(None, b"v")] * 5)
    partition = TopicPartition(topic, 0)
    options = {"group_id": group, "session_timeout_ms": 3_000, "heartbeat_interval_ms": 200}

    async def scenario() -> None:
        async with consumer(kafka_broker, max_poll_interval_ms=800, **options) as stalled:
            stalled.subscribe([topic])
            assert await stalled.getmany(timeout_ms=10_000)
            await asyncio.to_thread(await_empty_group, kafka_broker.bootstrap, group)
            async with consumer(kafka_broker, **options) as heir:
                heir.subscribe([topic])
                assert await heir.getmany(timeout_ms=10_000)
                await heir.commit({partition: 5})
            await stalled.commit({partition: 1})

    asyncio.run(scenario())
    assert committed_offsets(kafka_broker.bootstrap, group, topic) == {0: 1}


def test_a_record_of_nothing_goes_by_batch_only(kafka_broker: KafkaBroker, unique: Names) -> None:
    """So the sink builds batches: the tombstone of a table without key has neither key nor value."""
    topic = create_topic(kafka_broker.bootstrap, unique("t"))

    async def scenario() -> None:
        async with producer(kafka_broker) as client:
            with pytest.raises(AssertionError):
                await client.send(topic, None, None)
            batch = client.create_batch()
            batch.append(timestamp=None, key=None, value=None)
            await (await client.send_batch(batch, topic, partition=0))

    asyncio.run(scenario())
    assert [(kept.key, kept.value) for kept in read_topic(kafka_broker.bootstrap, topic)] == [(None, None)]
