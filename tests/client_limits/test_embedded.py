"""What the embedded broker is not: rows M1 to M4. Where it becomes more of a Kafka, more tests may run on it."""

from __future__ import annotations

import asyncio
import contextlib

from aiokafka.errors import KafkaError
from confluent_kafka import Consumer, Producer, TopicPartition

from pipeline.embedded import CLIENT_SILENCE, PARTITION_BYTES_MAX, EmbeddedBroker
from tests.client_limits.plain import consumer
from tests.client_limits.trap import Trap
from tests.contracts.clusters import fresh
from tests.contracts.scenes import scenario


def client(broker: EmbeddedBroker, **more: str) -> dict[str, str | int]:
    return {"bootstrap.servers": broker.address, **CLIENT_SILENCE, **more}


def test_transactions_are_none() -> None:
    offsets = Trap("M1", "running the tests of offsets in transactions on real Kafka only", "confluent-kafka")
    aborted = Trap("M2", "running the tests of aborts on real Kafka only", "confluent-kafka")
    with EmbeddedBroker() as broker:
        broker.create_topics(["orders"])
        reader = Consumer(client(broker, **{"group.id": "g", "isolation.level": "read_committed"}))
        producer = Producer(client(broker, **{"transactional.id": "t"}))
        producer.init_transactions(10)
        producer.begin_transaction()
        producer.produce("orders", b"committed", partition=0)
        producer.send_offsets_to_transaction([TopicPartition("orders", 0, 1)], reader.consumer_group_metadata(), 10)
        producer.commit_transaction(10)
        producer.begin_transaction()
        producer.produce("orders", b"aborted", partition=0)
        producer.flush(10)
        producer.abort_transaction(10)
        offsets.holds(reader.committed([TopicPartition("orders", 0)], 10)[0].offset < 0, "the offset is kept")
        reader.assign([TopicPartition("orders", 0, 0)])
        seen = [message.value() for message in reader.consume(2, timeout=5)]
        reader.close()
    aborted.holds(seen == [b"committed", b"aborted"], f"{seen}")


def test_it_forgets_old_records() -> None:
    trap = Trap("M3", "reading back while producing (TopicReader.read)", "confluent-kafka")
    with EmbeddedBroker() as broker:
        broker.create_topics(["orders"])
        producer = Producer(client(broker))
        for _ in range(8):
            producer.produce("orders", b"x" * (PARTITION_BYTES_MAX // 6), partition=0)
            producer.flush(10)
        reader = Consumer(client(broker, **{"group.id": "g"}))
        low, high = reader.get_watermark_offsets(TopicPartition("orders", 0), 10)
        reader.close()
    assert high == 8
    trap.holds(low > 0, "all are kept")


@scenario
async def test_a_second_member_gets_nothing() -> None:
    trap = Trap("M4", "testing groups of several members on real Kafka only", "confluent-kafka")
    with EmbeddedBroker() as broker:
        broker.create_topics(["orders"])
        group, options = fresh("g"), {"session_timeout_ms": 6_000, "heartbeat_interval_ms": 100}
        async with consumer(broker.address, "orders", group_id=group, **options) as first:
            everything = first.assignment()
            assert everything
            joining = asyncio.create_task(_join(broker.address, group, options))
            while not joining.done():
                with contextlib.suppress(KafkaError):
                    await first.getmany(timeout_ms=100)
            found = await joining
            shared = bool(found) and bool(first.assignment()) and found.isdisjoint(first.assignment())
            trap.holds(not shared, "they share the partitions")


async def _join(address: str, group: str, options: dict[str, int]) -> set[object]:
    """What a second member is given; it is refused, or waits in vain."""
    try:
        async with asyncio.timeout(8), consumer(address, "orders", group_id=group, **options) as second:
            return set(second.assignment())
    except (TimeoutError, KafkaError):
        return set()
