"""Reading whole topics back from the embedded broker, and noticing what it forgot."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator

import pytest
from confluent_kafka import Producer

from pipeline.assets import shop_registry
from pipeline.demo.feed import Feed
from pipeline.demo.ledger import Found, Ledger
from pipeline.demo.records import TopicReader
from pipeline.demo.shop import Shop
from pipeline.embedded import CLIENT_SILENCE, EmbeddedBroker
from pipeline.registry import load_registry
from schemas.errors import TransportError


@pytest.fixture(scope="module")
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as made:
        yield made


def produce(broker: EmbeddedBroker, topic: str, values: list[bytes], partition: int = 0, **options: object) -> None:
    producer = Producer({"bootstrap.servers": broker.address, **CLIENT_SILENCE, **options})
    if "transactional.id" in options:
        producer.init_transactions(10)
        producer.begin_transaction()
    for value in values:
        producer.produce(topic, value, partition=partition, headers=[("n", b"1")])
    producer.flush(10)
    if "transactional.id" in options:
        producer.commit_transaction(10)


def read_all(reader: TopicReader) -> list[Found]:
    found: list[Found] = []
    end = time.monotonic() + 10
    while not reader.is_at_end() and time.monotonic() < end:
        found += reader.read()
    return found + reader.read()


def test_everything_is_read_from_the_first_record_on(broker: EmbeddedBroker) -> None:
    partitions = broker.create_topics(["whole", "other"])
    produce(broker, "whole", [b"a", b"b"], partition=0)
    produce(broker, "other", [b"c"], partition=3)
    reader = TopicReader(broker.address, partitions)
    found = read_all(reader)
    reader.close()
    assert sorted((record.topic, record.partition, record.offset, record.value) for record in found) == [
        ("other", 3, 0, b"c"),
        ("whole", 0, 0, b"a"),
        ("whole", 0, 1, b"b"),
    ]
    assert list(found[0].headers) == [("n", b"1")]


def test_commit_markers_do_not_keep_a_reader_from_the_end(broker: EmbeddedBroker) -> None:
    partitions = broker.create_topics(["marked"])
    produce(broker, "marked", [b"a"], **{"transactional.id": "t"})
    reader = TopicReader(broker.address, partitions)
    found = read_all(reader)
    assert [record.value for record in found] == [b"a"]
    assert reader.is_at_end()
    reader.close()


def test_records_that_were_forgotten_before_they_were_read_are_an_error(broker: EmbeddedBroker) -> None:
    partitions = broker.create_topics(["forgetful"])
    produce(broker, "forgetful", [os.urandom(500_000) for _ in range(14)], partition=1, **{"batch.size": 600_000})
    reader = TopicReader(broker.address, partitions)
    with pytest.raises(TransportError, match=r"forgetful/1.*forgot"):
        read_all(reader)
    reader.close()


def test_the_feed_waits_while_nothing_is_read_back(broker: EmbeddedBroker) -> None:
    registry = load_registry(shop_registry(), environ={})
    ledger = Ledger(registry.routes.values())
    broker.create_topics(ledger.topics)
    waited = asyncio.Event()

    async def never() -> None:
        waited.set()
        await asyncio.Event().wait()

    async def feed() -> None:
        feeding = asyncio.create_task(
            Feed(broker.address, ledger, ahead_bytes_max=100_000).run(Shop(5_000, started_ms=0), never)
        )
        async with asyncio.timeout(10):
            await waited.wait()
        feeding.cancel()

    asyncio.run(feed())
    assert 100_000 < ledger.outstanding_bytes < 400_000
