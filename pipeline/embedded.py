"""A Kafka broker inside this process: librdkafka's mock cluster, for the demo and for tests that need no Java.

It listens on a port of 127.0.0.1 and speaks the protocol, but it is no Kafka: everything is in memory, a partition forgets its
oldest records beyond `PARTITION_BYTES_MAX`, aborted records stay visible, offsets committed in a transaction are acknowledged
and forgotten, and a zombie may commit. Never for anyone's data.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType

from confluent_kafka import KafkaException, Producer

from schemas.errors import TransportError

PARTITION_BYTES_MAX = 5 << 20
"""Record batches of one partition, as they were sent (compressed): beyond it, the oldest batch is gone."""
CLIENT_SILENCE = {"log_level": 0}
"""For clients of this broker: librdkafka would write to stderr when the broker ends before they do."""
_TIMEOUT_S = 10.0


class EmbeddedBroker:
    """Runs from construction to `close`; it also ends with this process, whatever happens to it.

    >>> with EmbeddedBroker() as broker:
    ...     broker.create_topics(["orders"])
    """

    def __init__(self) -> None:
        self._owner: Producer | None = Producer({"test.mock.num.brokers": 1, **CLIENT_SILENCE})
        """The cluster lives as long as this client."""
        try:
            (broker,) = self._owner.list_topics(timeout=_TIMEOUT_S).brokers.values()
        except KafkaException as error:
            raise TransportError(f"the embedded broker does not answer: {error}", retriable=False) from error
        self.address = f"{broker.host}:{broker.port}"
        """`host:port` to bootstrap from."""

    def create_topics(self, topics: Iterable[str]) -> dict[str, int]:
        """Create those that are missing, and say how many partitions each has. The number is the broker's own choice."""
        assert self._owner is not None, "the broker was closed"
        counts = {}
        for topic in topics:
            known = self._owner.list_topics(topic, timeout=_TIMEOUT_S).topics[topic]
            if known.error is not None:
                raise TransportError(f"the embedded broker cannot create {topic}: {known.error}", topic=topic)
            counts[topic] = len(known.partitions)
        return counts

    def close(self) -> None:
        """End the broker and forget its records. Close its clients before."""
        self._owner = None

    def __enter__(self) -> EmbeddedBroker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
