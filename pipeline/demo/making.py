"""Records for `penstock produce`: made-up tables or the shop's, in a route's format, with the marks of their transactions."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from random import Random
from typing import Final

from pipeline.demo.anything import AnyTable
from pipeline.demo.envelope import Envelope
from pipeline.demo.shop import EVENTS_MIN, Shop
from pipeline.steps.formats import Conversion
from schemas.errors import ConfigError, Fault
from schemas.event import Event, Headers, TopicPartition
from schemas.formats.named import make_format
from schemas.outcome import Emitted
from schemas.specs import AtomicSpec, FormatSpec
from schemas.transactions import Membership, membership

TRANSACTION_CHANGES_MAX: Final = 5
"""Of one transaction over made-up tables."""


@dataclass(frozen=True, slots=True)
class Made:
    """A record to be written."""

    topic: str
    key: bytes
    value: bytes | None
    headers: Headers = ()


def rows(topics: Sequence[str], seed: int) -> Iterator[Made]:
    """Changes of a made-up table for each topic, in turns: one database, whose transactions reach over its tables. Endless."""
    chance = Random(seed)  # noqa: S311 - made-up rows, no secrets
    envelope = Envelope(time.time_ns() // 1_000_000)
    tables = cycle([(one, iter(AnyTable(one.rpartition(".")[2], envelope, seed=seed))) for one in topics])
    while True:
        envelope.begin()
        for _ in range(chance.randint(1, TRANSACTION_CHANGES_MAX)):
            topic, table = next(tables)
            yield from (Made(topic, change.key, change.value) for change in next(table))


def stories(topics: Sequence[str], count: int, seed: int) -> Iterator[Made]:
    """The shop's records of these topics, one story of some `4 * count` records after the other. Endless."""
    while True:
        for event in Shop(max(EVENTS_MIN, 4 * count), seed=seed, started_ms=time.time_ns() // 1_000_000):
            if event.topic in topics:
                yield Made(event.topic, event.key, event.value, event.headers)
        seed += 1


def with_ends(made: Iterator[Made], spec: AtomicSpec) -> Iterator[Made]:
    """The same Debezium JSON, and behind the last record of each transaction its END, which counts them."""
    last: Membership | None = None
    counts: Counter[str] = Counter()
    for one in made:
        place = None if one.value is None else membership(one.value)  # a tombstone goes with the delete before it
        if last is not None and one.value is not None and (place is None or place.key != last.key):
            yield _end(last, counts, spec)
            last, counts = None, Counter()
        if place is not None:
            last = place
            counts[one.topic.removeprefix(f"{spec.prefix}.")] += 1
        yield one
    if last is not None:
        yield _end(last, counts, spec)


def _end(last: Membership, counts: Counter[str], spec: AtomicSpec) -> Made:
    tables = [{"data_collection": name, "event_count": count} for name, count in counts.items()]
    mark = {"status": "END", "id": last.id, "event_count": counts.total(), "data_collections": tables}
    value = json.dumps(mark | {"ts_ms": time.time_ns() // 1_000_000}, separators=(",", ":"))
    return Made(spec.transaction_topic, json.dumps({"id": last.id}).encode(), value.encode())


def in_format(made: Iterator[Made], spec: FormatSpec) -> Iterator[Made]:
    """The same Debezium JSON as a route reads it. Raises ConfigError for formats that want a schema of the tables."""
    written = FormatSpec()
    out = make_format(spec) if spec.name != written.name else None
    return made if out is None or not out.is_change else _converted(made, Conversion(make_format(written), out, ""))


def _converted(made: Iterator[Made], conversion: Conversion) -> Iterator[Made]:
    for one in made:
        found = conversion.outcome(Event(0, 0, one.key, one.value, one.headers), TopicPartition(one.topic, 0))
        if not isinstance(found, Emitted):
            raise ConfigError(Fault(f"a made-up record of {one.topic} has no place in the route's format", f"{found}"))
        (event,) = found.events
        yield replace(one, key=event.key or b"", value=event.value)
