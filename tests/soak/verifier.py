"""Reads the output and the dead letters while they are written, read_committed, into the ledger."""

from __future__ import annotations

from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from tests.soak.ledger import Ledger

_MARK = b'"id":'


class Verifier:
    """`topics` are the output and the dead letters; an order's source partition is its number modulo `partitions`."""

    def __init__(self, bootstrap: str, topics: tuple[str, str], partitions: int, ledger: Ledger) -> None:
        self.ledger = ledger
        self._out, self._dead = topics
        self._partitions = partitions
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "verifier-that-never-commits",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "auto.offset.reset": "error",  # what retention took away unread would be lost to the count
                "queued.max.messages.kbytes": 65_536,
            }
        )
        places = [(topic, number) for topic in topics for number in range(partitions)]
        self._consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for topic, number in places])

    def read(self, patience_s: float = 0.5) -> int:
        """Count what is there; how much has arrived by now."""
        for message in self._consumer.consume(10_000, patience_s):
            self._count(message)
        return self.ledger.arrived

    def read_to_end(self) -> None:
        """Until nothing more comes: what is twice there comes after what was waited for."""
        before = -1
        while before != (before := self.read(2.0) + self.ledger.duplicates):
            pass

    def close(self) -> None:
        self._consumer.close()

    def _count(self, message: Any) -> None:
        error: KafkaError | None = message.error()
        if error is not None:
            raise KafkaException(error)
        value: bytes = message.value()
        at = value.index(_MARK) + len(_MARK)
        number = int(value[at : value.index(b",", at)])
        self.ledger.take(number, number % self._partitions, dead=message.topic() == self._dead)
