"""The broker inside this process: it answers, has topics, keeps quiet, and ends."""

from __future__ import annotations

import socket

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from pipeline.embedded import CLIENT_SILENCE, EmbeddedBroker


def test_it_listens_creates_topics_and_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    with EmbeddedBroker() as broker:
        host, _, port = broker.address.partition(":")
        counts = broker.create_topics(["orders", "lines"])
        with socket.create_connection((host, int(port)), timeout=5):
            pass
        assert broker.create_topics(["orders"]) == {"orders": counts["orders"]}
    assert set(counts) == {"orders", "lines"}
    assert min(counts.values()) >= 1
    assert capfd.readouterr() == ("", "")


def test_it_ends_when_closed() -> None:
    broker = EmbeddedBroker()
    host, _, port = broker.address.partition(":")
    broker.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), timeout=5)


def test_two_do_not_disturb_each_other() -> None:
    with EmbeddedBroker() as one, EmbeddedBroker() as two:
        assert one.address != two.address


def test_what_it_does_not_do() -> None:
    """Pins what its users must know: when a new version keeps offsets or hides aborted records, the demo can rely on it."""
    with EmbeddedBroker() as broker:
        broker.create_topics(["orders"])
        client = {"bootstrap.servers": broker.address, **CLIENT_SILENCE}
        consumer = Consumer({**client, "group.id": "g", "isolation.level": "read_committed"})
        producer = Producer({**client, "transactional.id": "t"})
        producer.init_transactions(10)
        producer.begin_transaction()
        producer.produce("orders", b"committed", partition=0)
        producer.send_offsets_to_transaction([TopicPartition("orders", 0, 1)], consumer.consumer_group_metadata(), 10)
        producer.commit_transaction(10)
        producer.begin_transaction()
        producer.produce("orders", b"aborted", partition=0)
        producer.flush(10)
        producer.abort_transaction(10)
        assert consumer.committed([TopicPartition("orders", 0)], 10)[0].offset < 0
        consumer.assign([TopicPartition("orders", 0, 0)])
        seen = [message.value() for message in consumer.consume(2, timeout=10)]
        consumer.close()
    assert seen == [b"committed", b"aborted"]
