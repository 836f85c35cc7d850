"""Old events meet a young topic: a record that keeps its timestamp may be beyond its destination's retention on arrival.

The broker then deletes it within minutes, without a word to anyone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as KafkaPartition

from pipeline.kafka.cluster import learn_topics
from schemas.specs import RouteSpec

Settings = Mapping[str, Mapping[str, str]]


def shortest_retention(route: RouteSpec, settings: Settings) -> tuple[str, int] | None:
    """The route's output topic that forgets first, and after how many ms; None when none forgets by time."""
    if not route.preserve_timestamps:
        return None
    found = []
    for topic in sorted({*route.destinations, route.dead_letter}):
        known = settings.get(topic, {})
        retention = int(known.get("retention.ms", "-1"))
        stamped = known.get("message.timestamp.type") == "LogAppendTime"
        if retention >= 0 and not stamped and "delete" in known.get("cleanup.policy", ""):
            found.append((retention, topic))
    return (min(found)[1], min(found)[0]) if found else None


async def old_partitions(
    route: RouteSpec, partitions: Collection[KafkaPartition], cutoff_ms: int, options: Mapping[str, Any]
) -> list[KafkaPartition]:
    """Partitions in which the route has yet to read records older than `cutoff_ms`. Raises as aiokafka does."""
    consumer = AIOKafkaConsumer(**{**options, "group_id": route.group})
    await consumer.start()
    try:
        await learn_topics(consumer, {each.topic for each in partitions})
        begin = await consumer.beginning_offsets(partitions)
        end = await consumer.end_offsets(partitions)
        young = await consumer.offsets_for_times(dict.fromkeys(partitions, cutoff_ms))
        border = {each: found.offset if (found := young[each]) is not None else end[each] for each in partitions}
        suspects = [each for each in partitions if begin[each] < border[each]]
        consumer.assign(suspects)
        committed = {each: await consumer.committed(each) for each in suspects}
    finally:
        await consumer.stop()
    return list(_still_to_read(route, begin, border, committed, cutoff_ms))


def _still_to_read(
    route: RouteSpec,
    begin: Mapping[KafkaPartition, int],
    border: Mapping[KafkaPartition, int],
    committed: Mapping[KafkaPartition, int | None],
    cutoff_ms: int,
) -> Iterator[KafkaPartition]:
    from_the_start = route.start == "earliest" or (route.start.isdecimal() and int(route.start) < cutoff_ms)
    for partition, offset in committed.items():
        if offset is None and not from_the_start:
            continue
        if (begin[partition] if offset is None else offset) < border[partition]:
            yield partition


def retention_warning(route: RouteSpec, topic: str, retention_ms: int, old: Collection[KafkaPartition]) -> str:
    """The sentence for it."""
    where = ", ".join(sorted({each.topic for each in old}))
    return (
        f"route {route.name}: {where} holds records older than {topic} keeps any (retention.ms={retention_ms}, "
        f"{len(old)} partitions): with `timestamps: preserve` they vanish soon after they arrive; "
        "set `timestamps: now`, or raise retention.ms"
    )
