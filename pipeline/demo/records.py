"""Reads whole topics back, from their first record, and notices when a record was gone before it could be read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from confluent_kafka import OFFSET_END, Consumer, KafkaError, KafkaException, TopicPartition

from pipeline.demo.ledger import Found
from pipeline.embedded import CLIENT_SILENCE
from schemas.errors import TransportError

_CHUNK = 500
_TIMEOUT_S = 10.0
_GROUP = "penstock-demo-verifier"
"""Never joined and never committed to: librdkafka wants a name."""


class TopicReader:
    """All partitions of these topics, read_committed, by a consumer of its own and without a group."""

    def __init__(self, address: str, partitions: Mapping[str, int]) -> None:
        """`partitions`: how many each topic has."""
        self._consumer = Consumer(_options(address, _GROUP))
        self._places = [(topic, index) for topic, count in partitions.items() for index in range(count)]
        self._consumer.assign([TopicPartition(*place, 0) for place in self._places])

    def read(self) -> list[Found]:
        """What has arrived, without waiting. Raises TransportError when records are gone, or the broker is."""
        try:
            messages = self._consumer.consume(_CHUNK, timeout=0)
        except KafkaException as error:
            raise TransportError(f"the topics cannot be read back: {error}", retriable=False) from error
        return [_found(message) for message in messages]

    def is_at_end(self) -> bool:
        """Whether everything that stands in the topics now was read. Asks the broker, so it blocks."""
        read = self._consumer.position([TopicPartition(*place) for place in self._places])
        ends = self._consumer.offsets_for_times(
            [TopicPartition(*place, OFFSET_END) for place in self._places], _TIMEOUT_S
        )
        return all(end.offset <= max(0, place.offset) for end, place in zip(ends, read, strict=True))

    def close(self) -> None:
        """Let go."""
        self._consumer.close()


def _found(message: Any) -> Found:
    error = message.error()
    if error is not None and error.code() == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001 - that is how the client names its own codes
        raise TransportError(
            f"{message.topic()}/{message.partition()}: the embedded broker forgot records before they were read back "
            f"(offset {message.offset()}), so nothing can be said about this run",
            retriable=False,
        )
    if error is not None:
        raise TransportError(f"the topics cannot be read back: {error.str()}", retriable=False)
    return Found(
        message.topic(), message.partition(), message.offset(), message.key(), message.value(), message.headers() or ()
    )


def _options(address: str, group: str) -> dict[str, Any]:
    return {
        "bootstrap.servers": address,
        "group.id": group,
        "isolation.level": "read_committed",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",
        "fetch.wait.max.ms": 50,
        "queued.max.messages.kbytes": 8 << 10,
        **CLIENT_SILENCE,
    }
