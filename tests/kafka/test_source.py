"""How much a source fetches ahead, on real Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Any

import pytest

from pipeline.kafka.client import consumer_options
from pipeline.kafka.source import KafkaSource
from schemas.event import TopicPartition
from schemas.specs import KafkaSpec, RouteSpec
from tests.services.kafka import KafkaBroker
from tests.services.topics import create_topic, produce

Names = Callable[[str], str]
pytestmark = pytest.mark.services
PARTITIONS = 24
RECORD, RECORDS = b"x" * 100_000, 22
"""More of each partition than one may fetch ahead by itself; a record batch of nearly a megabyte is handed out however little was asked for."""


class Beginning:
    """Takes every partition from its start."""

    source: KafkaSource

    async def assigned(self, partitions: Collection[TopicPartition]) -> None:
        for partition in partitions:
            self.source.seek(partition, 0)

    async def revoked(self, partitions: Collection[TopicPartition]) -> None:
        pass


def held_bytes(source: KafkaSource) -> dict[Any, int]:
    """What the client keeps of each partition."""
    fetched = source._live()._fetcher._records
    return {at: result._partition_records._records.size_in_bytes() for at, result in fetched.items()}


@pytest.mark.parametrize(
    ("client", "mib_max"), [({}, 32), ({"max_partition_fetch_bytes": 200_000}, 22)], ids=["shared out", "as told"]
)
def test_what_is_fetched_ahead_does_not_grow_with_the_partitions(
    kafka_broker: KafkaBroker, unique: Names, client: dict[str, int], mib_max: int
) -> None:
    topic = create_topic(kafka_broker.bootstrap, unique("in"), PARTITIONS)
    for number in range(PARTITIONS):
        produce(kafka_broker.bootstrap, topic, ((None, RECORD) for _ in range(RECORDS)), number)
    spec = KafkaSpec(brokers=(kafka_broker.bootstrap,), client=client)
    route = RouteSpec("r", (topic,), ("t",), "out", "dead", unique("group"))
    listener = Beginning()
    source = listener.source = KafkaSource(spec, consumer_options(spec), route)

    async def scenario() -> dict[Any, int]:
        await source.start(listener)
        try:
            async with asyncio.timeout(30):
                while len(held := held_bytes(source)) < PARTITIONS:  # nothing is wanted, so all is kept
                    await source.fetch((), 1, 0.01)
            return held
        finally:
            await source.stop()

    held = asyncio.run(scenario())
    assert min(held.values()) > len(RECORD)
    assert sum(held.values()) <= mib_max << 20
