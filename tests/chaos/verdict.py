"""The check that ends every scenario: each event of the input ended once, where it should, in order, and committed.

The input is read back, so "every event" is what the broker has, not what somebody meant to send. Readers are read_committed;
a transaction that is still open would hold the last stable offset back, and is a fault of its own.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from confluent_kafka import IsolationLevel, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from schemas.dead_letter import read_dead_letter
from tests.e2e.stream import account, fate
from tests.services.topics import TIMEOUT_S, Kept, committed_offsets, read_topic

KINDS = {"trap": "trap", "reject": "rejected", "bad-output": "bad-output", "memory": "memory", "stack": "stack"}
"""What a misbehaviour of `tests.e2e.stream` is dead-lettered as."""


@dataclass(frozen=True)
class Streams:
    """Where to look."""

    bootstrap: str
    group: str
    sources: tuple[str, ...]
    out: str
    dead: str
    forgone: frozenset[int] = frozenset()
    """Numbers that were deleted from the source before they were read, by decision."""
    read_before: tuple[tuple[str, Kept], ...] = ()
    """What the sources held before something was deleted from them."""


def faults(streams: Streams) -> list[str]:
    """Everything that is not as promised; empty when nothing was lost, doubled, reordered or left open."""
    source = list(dict.fromkeys((*streams.read_before, *_present(streams))))
    out, dead = read_topic(streams.bootstrap, streams.out), read_topic(streams.bootstrap, streams.dead)
    return [
        *_offset_faults(streams),
        *_open_transactions(streams),
        *judge(source, out, dead, streams.forgone),
    ]


def judge(
    source: Sequence[tuple[str, Kept]], out: Sequence[Kept], dead: Sequence[Kept], forgone: Collection[int] = ()
) -> list[str]:
    """The part that needs no broker: `source` pairs each record with its topic."""
    counted = account(out, dead)
    origin = {number_of(record): (topic, record) for topic, record in source}
    expected = origin.keys() - set(forgone)
    found = [f"{len(source) - len(origin)} orders are in the source twice"] if len(origin) != len(source) else []
    for number in sorted(expected | counted.emitted.keys() | counted.dead.keys()):
        if number in forgone and not counted.emitted[number] + counted.dead[number]:
            continue
        does = fate(number)
        wanted = (int(does == "emitted"), int(does not in ("emitted", "dropped"))) if number in expected else (0, 0)
        got = (counted.emitted[number], counted.dead[number])
        if got != wanted:
            found.append(f"order {number} ({does}): emitted and dead-lettered {got}, expected {wanted}")
    found += _order_faults(origin, out, "downstream") + _order_faults(origin, dead, "in the dead letters")
    return found + _letter_faults(origin, dead)


def number_of(record: Kept) -> int:
    """The order's number."""
    return int(json.loads(record.value or b"")["after"]["id"])


def _present(streams: Streams) -> Iterator[tuple[str, Kept]]:
    for topic in streams.sources:
        yield from ((topic, record) for record in read_topic(streams.bootstrap, topic))


def _order_faults(origin: dict[int, tuple[str, Kept]], kept: Sequence[Kept], where: str) -> list[str]:
    """A key's orders of one source partition must stand in one partition's order. Numbers of one source partition rise."""
    last: dict[tuple[str, int, int, bytes | None], int] = {}
    inversions = []
    for record in kept:
        number = number_of(record)
        if number not in origin:
            continue
        topic, source = origin[number]
        lane = (topic, source.partition, record.partition, record.key)
        if last.get(lane, -1) > number:
            inversions.append(f"order {number} stands after {last[lane]} of the same key {where}")
        last[lane] = number
    return inversions


def _letter_faults(origin: dict[int, tuple[str, Kept]], dead: Sequence[Kept]) -> list[str]:
    """Each dead letter is the original, byte for byte, and says the right reason."""
    found = []
    for record in dead:
        number, letter = number_of(record), read_dead_letter(record.headers)
        kind = letter.violation.kind.value if letter else "unexplained"
        if kind != KINDS.get(fate(number)):
            found.append(f"order {number} ({fate(number)}) is dead-lettered as {kind}")
        if number in origin and (record.key, record.value) != (origin[number][1].key, origin[number][1].value):
            found.append(f"the dead letter of order {number} is not the original")
    return found


def _offset_faults(streams: Streams) -> list[str]:
    found = []
    for topic in streams.sources:
        ends = ends_of(streams.bootstrap, topic, committed=False)
        committed = committed_offsets(streams.bootstrap, streams.group, topic)
        for partition, end in ends.items():
            if end and committed.get(partition) != end:
                found.append(f"{topic}/{partition} ends at {end}, but {committed.get(partition)} is committed")
    return found


def _open_transactions(streams: Streams) -> list[str]:
    found = []
    for topic in (streams.out, streams.dead):
        stable = ends_of(streams.bootstrap, topic, committed=True)
        high = ends_of(streams.bootstrap, topic, committed=False)
        found += [
            f"a transaction is open on {topic}/{partition}: stable {stable[partition]}, end {end}"
            for partition, end in high.items()
            if stable[partition] != end
        ]
    return found


def ends_of(bootstrap: str, topic: str, *, committed: bool) -> dict[int, int]:
    """The end of each partition: its last stable offset (`committed`) or its high watermark."""
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 3})
    partitions = admin.list_topics(topic, TIMEOUT_S).topics[topic].partitions
    level = IsolationLevel.READ_COMMITTED if committed else IsolationLevel.READ_UNCOMMITTED
    asked = admin.list_offsets(
        {TopicPartition(topic, index): OffsetSpec.latest() for index in partitions},
        isolation_level=level,
        request_timeout=TIMEOUT_S,
    )
    return {partition.partition: future.result(TIMEOUT_S).offset for partition, future in asked.items()}


def summary(found: Sequence[str], most: int = 8) -> str:
    """The first few faults, and how many there are of each sort."""
    sorts = Counter(fault.split(" ")[0] for fault in found)
    return "\n".join((*found[:most], f"{len(found)} faults: {dict(sorts)}"))
