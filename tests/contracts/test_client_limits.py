"""What aiokafka does wrong, reproduced: when one of these fails after an upgrade, the work-around it names can go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.errors import KafkaError, OutOfOrderSequenceNumber

from tests.contracts.clusters import KafkaCluster, fresh, values
from tests.contracts.scenes import event, scenario

pytestmark = pytest.mark.services


@asynccontextmanager
async def producer(cluster: KafkaCluster, **options: Any) -> AsyncIterator[AIOKafkaProducer]:
    client = AIOKafkaProducer(bootstrap_servers=cluster.bootstrap, **options)
    await client.start()
    try:
        yield client
    finally:
        await client.stop()


@scenario
async def test_a_refused_record_does_not_fail_the_commit(kafka_cluster: KafkaCluster) -> None:
    """So every produce future is awaited before the commit."""
    topic = await kafka_cluster.topic("out", 1, cleanup_policy="compact")
    async with producer(kafka_cluster, transactional_id=fresh("id")) as client:
        await client.begin_transaction()
        refused = await client.send(topic, b"compacted topics want a key", partition=0)
        await client.commit_transaction()
        with pytest.raises(KafkaError):
            await refused
    assert await kafka_cluster.read(topic) == []


@scenario
async def test_after_a_refusal_the_producer_is_spoilt(kafka_cluster: KafkaCluster) -> None:
    """So a producer that saw an error is never used again."""
    topic = await kafka_cluster.topic("out", 1, cleanup_policy="compact")
    async with producer(kafka_cluster, enable_idempotence=True) as client:
        await client.send_and_wait(topic, b"with a key", key=b"k")
        with pytest.raises(KafkaError):
            await client.send_and_wait(topic, b"no key")
        with pytest.raises(OutOfOrderSequenceNumber):
            await client.send_and_wait(topic, b"with a key", key=b"k")


@scenario
async def test_a_zombie_moves_the_offset_of_a_live_group_back(kafka_cluster: KafkaCluster) -> None:
    """So each lane has a transactional id of its own, and is fenced by its successor."""
    topic, group = await kafka_cluster.topic("in", 1), fresh("group")
    await kafka_cluster.produce(topic, [event(b"x")] * 5, partition=0)
    zero = KafkaPartition(topic, 0)
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=kafka_cluster.bootstrap, group_id=group, enable_auto_commit=False
    )
    await consumer.start()
    try:
        await consumer.commit({zero: 5})
        async with producer(kafka_cluster, transactional_id=fresh("zombie")) as client, client.transaction():
            await client.send_offsets_to_transaction({zero: 1}, group)
        assert await kafka_cluster.committed(group, topic) == {0: 1}
    finally:
        await consumer.stop()


@scenario
async def test_neither_key_nor_value_goes_only_through_a_batch(kafka_cluster: KafkaCluster) -> None:
    """So records are sent as batches: Debezium emits such tombstones."""
    topic = await kafka_cluster.topic("out", 1)
    async with producer(kafka_cluster) as client:
        with pytest.raises(AssertionError, match="Need at least one"):
            await client.send(topic, None, key=None)
        batch = client.create_batch()
        assert batch.append(timestamp=None, key=None, value=None) is not None
        await (await client.send_batch(batch, topic, partition=0))
    assert values(await kafka_cluster.read(topic)) == [None]


class _Failing(ConsumerRebalanceListener):  # type: ignore[misc]
    async def on_partitions_revoked(self, revoked: object) -> None:
        return

    async def on_partitions_assigned(self, assigned: object) -> None:
        raise RuntimeError("swallowed")


@scenario
async def test_what_a_listener_raises_is_swallowed(kafka_cluster: KafkaCluster) -> None:
    """So the route keeps it and raises it from its own loop."""
    topic = await kafka_cluster.topic("in", 1)
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka_cluster.bootstrap, group_id=fresh("group"))
    consumer.subscribe([topic], listener=_Failing())
    await consumer.start()
    try:
        assert await asyncio.wait_for(consumer.getmany(timeout_ms=50), 10) == {}
        assert len(consumer.assignment()) == 1
    except KafkaError as error:  # pragma: no cover - says what changed
        raise AssertionError("aiokafka tells of it now") from error
    finally:
        await consumer.stop()
