"""Reads a topic without a group, for people who look: the last records of each partition, and what comes behind them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as KafkaPartition

from pipeline.kafka.client import consumer_options
from pipeline.kafka.cluster import learn_topics
from pipeline.kafka.errors import translate
from pipeline.kafka.source import within
from schemas.errors import ConfigError, Fault
from schemas.event import Event, TopicPartition
from schemas.specs import KafkaSpec

_POLL_MS = 500


@dataclass(frozen=True, slots=True)
class Seen:
    """A record and where it stands."""

    source: TopicPartition
    event: Event


@dataclass(frozen=True, slots=True)
class Window:
    """Which records are wanted."""

    last: int | None
    """So many of each partition, counted in offsets; None is from the first on."""
    follow: bool
    """Go on with what comes; else end where the topic ended at the start."""
    partitions: Collection[int] = ()
    """Empty is all of them."""
    uncommitted: bool = False
    """Records of open and of aborted transactions, too."""


async def tail(kafka: KafkaSpec, topic: str, window: Window) -> AsyncIterator[Seen]:
    """The records in the order they are fetched: of one partition in order of offsets.

    Raises ConfigError for a topic or partition that does not exist, TransportError when the brokers do not answer.
    """
    level = "read_uncommitted" if window.uncommitted else "read_committed"
    options = {
        **consumer_options(kafka),
        "auto_offset_reset": "earliest",
        "group_id": None,
        "isolation_level": level,
        # people look, nothing is passed on: what is damaged is worth a look, too, and so are the checksums of the demo's broker
        "check_crcs": False,
    }
    consumer = AIOKafkaConsumer(**options)
    timeout_s = kafka.request_timeout_ms / 1e3
    try:
        await within(timeout_s, f"reading {topic}", consumer.start())
        ends = await within(timeout_s, f"reading {topic}", _placed(consumer, topic, window))
        async for seen in _read(consumer, ends, follow=window.follow):
            yield seen
    finally:
        with contextlib.suppress(Exception):
            await consumer.stop()


async def _placed(consumer: AIOKafkaConsumer, topic: str, window: Window) -> dict[KafkaPartition, int]:
    """The consumer at the first wanted records; where each partition ends now."""
    known = await consumer.topics()
    if topic not in known:
        remedy = "check the name; `penstock check` lists a registry's topics"
        raise ConfigError(Fault(f"there is no topic {topic!r}", remedy, path="TOPIC"))
    await learn_topics(consumer, [topic])
    present = consumer.partitions_for_topic(topic) or set()
    missing = sorted(set(window.partitions) - present)
    if missing:
        problem = f"{topic} has no partition {missing[0]}"
        raise ConfigError(Fault(problem, f"it has {len(present)}, numbered from 0", path="--partition"))
    wanted = [KafkaPartition(topic, number) for number in sorted(set(window.partitions) or present)]
    begins, ends = await consumer.beginning_offsets(wanted), await consumer.end_offsets(wanted)
    consumer.assign(wanted)
    for partition in wanted:
        first = begins[partition] if window.last is None else max(begins[partition], ends[partition] - window.last)
        consumer.seek(partition, first)
    return dict(ends)


async def _read(consumer: AIOKafkaConsumer, ends: dict[KafkaPartition, int], *, follow: bool) -> AsyncIterator[Seen]:
    while follow or await _short_of(consumer, ends):
        try:
            fetched = await consumer.getmany(timeout_ms=_POLL_MS)
        except Exception as error:
            raise translate(error) from error
        for partition, records in fetched.items():
            source = TopicPartition(partition.topic, partition.partition)
            for one in records:
                if follow or one.offset < ends[partition]:
                    yield Seen(source, Event(one.offset, one.timestamp, one.key, one.value, tuple(one.headers)))


async def _short_of(consumer: AIOKafkaConsumer, ends: dict[KafkaPartition, int]) -> bool:
    return any([await consumer.position(partition) < end for partition, end in ends.items()])
