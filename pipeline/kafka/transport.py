"""Makes the Kafka clients of one registry: a consumer per route, a producer per lane, the control log."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from pipeline.kafka.client import consumer_options, producer_options
from pipeline.kafka.control import KafkaControlLog
from pipeline.kafka.sink import KafkaSink
from pipeline.kafka.source import KafkaSource
from pipeline.kafka.stamps import Window
from pipeline.ports import EventSource
from schemas.event import TopicPartition
from schemas.specs import Delivery, Registry


class KafkaTransport:
    """Implements `pipeline.ports.Transport`.

    `sizes` is each topic's `max.message.bytes`, as far as it is known; `compacted` topics take no record without a key;
    `windows` says which timestamps each topic takes.
    """

    def __init__(
        self,
        registry: Registry,
        sizes: Mapping[str, int] | None = None,
        compacted: Collection[str] = (),
        windows: Mapping[str, Window] | None = None,
    ) -> None:
        self._registry = registry
        self._consumer_options = consumer_options(registry.kafka)
        self._producer_options = producer_options(registry.kafka)
        self._sizes = sizes or {}
        self._compacted = compacted
        self._windows = windows or {}

    def source(self, route: str) -> KafkaSource:
        """A consumer for this route, in the route's own group."""
        return KafkaSource(self._registry.kafka, self._consumer_options, self._registry.routes[route])

    def sink(self, route: str, partition: TopicPartition, source: EventSource) -> KafkaSink:
        """A fresh producer for this lane."""
        assert isinstance(source, KafkaSource), "a Kafka sink commits through a Kafka source"
        spec = self._registry.routes[route]
        transactional_id = (
            transactional_id_of(partition, spec.group) if self._registry.delivery is Delivery.EXACTLY_ONCE else None
        )
        topics = {*spec.destinations, spec.dead_letter}
        sizes = {topic: size for topic, size in self._sizes.items() if topic in topics}
        return KafkaSink(
            self._producer_options,
            source,
            partition,
            spec.group,
            transactional_id,
            sizes,
            self._compacted,
            self._windows,
        )

    def control(self) -> KafkaControlLog:
        """The control topic."""
        return KafkaControlLog(self._registry.kafka.control_topic, self._consumer_options, self._producer_options)


def transactional_id_of(partition: TopicPartition, group: str) -> str:
    """`{topic}/{partition}/{group}`: slashes cannot occur in a topic's name, so no two lanes share an id (with dots, they could)."""
    return f"{partition.topic}/{partition.partition}/{group}"
