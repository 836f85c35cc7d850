"""What to write for a batch: pure functions from verdicts to records with a destination. The lane does the I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from pipeline.chain import Verdicts
from pipeline.observe.propagation import TRACE_HEADERS, replace_trace_headers
from pipeline.placement import place
from pipeline.ports import Outgoing
from sandbox.records import CodecError, HeaderChange, codecs
from schemas.dead_letter import HEADROOM_BYTES, PREFIX, dead_letter
from schemas.errors import KeylessError, OversizeError
from schemas.event import Event, Headers, TopicPartition
from schemas.outcome import Violation, ViolationKind
from schemas.records import Records
from schemas.specs import RouteSpec


@dataclass(frozen=True, slots=True)
class Destinations:
    """How many partitions each topic has: what placement needs to know. Taken when a lane starts."""

    source: int
    by_topic: Mapping[str, int]


def plan(
    route: RouteSpec, source: TopicPartition, verdicts: Verdicts, where: Destinations, trace: Headers, now_ms: int
) -> list[Outgoing]:
    """The records of a batch by destination partition, each list in source order; dead letters among them."""
    events = verdicts.batch.events
    groups = _records(route, source, verdicts, where, trace) or _events(route, source, verdicts, where, trace)
    letters: dict[TopicPartition, list[Event]] = {}
    for index, violation in verdicts.violations:
        letter = dead_letter(events[index], source, violation)
        letters.setdefault(_place(letter, letter.key, source, where, route.dead_letter), []).append(letter)
    for at, some in letters.items():
        groups[at] = [*groups.get(at, ()), *some]
    stamp = None if route.preserve_timestamps else now_ms
    return [Outgoing(at.topic, at.partition, group, stamp) for at, group in groups.items() if group]


Groups = dict[TopicPartition, Sequence[Event]]


def _records(
    route: RouteSpec, source: TopicPartition, verdicts: Verdicts, where: Destinations, trace: Headers
) -> Groups | None:
    """Records as they are, where nothing is to be decided for single ones: their keys are the source's, and so is the partition."""
    records = verdicts.emitted
    if not isinstance(records, Records) or where.source != where.by_topic[route.to]:
        return None
    if _is_dressed(route, trace):
        dropped_too = TRACE_HEADERS if trace else frozenset[str]()
        change = HeaderChange(route.drop_headers, dropped_too, replace_trace_headers(route.add_headers, trace))
        try:
            records = codecs().dressed(records, change)
        except CodecError:
            return None
    return {TopicPartition(route.to, source.partition): records}


def _events(
    route: RouteSpec, source: TopicPartition, verdicts: Verdicts, where: Destinations, trace: Headers
) -> Groups:
    events, default = verdicts.batch.events, route.to
    staying: list[Event] = []
    groups: dict[TopicPartition, list[Event]] = {TopicPartition(default, source.partition): staying}
    same = where.source == where.by_topic[default]
    dressed = _is_dressed(route, trace)
    for event, index in zip(verdicts.emitted, verdicts.origin, strict=True):
        origin_key = events[index].key
        sent = _dress(event, route, trace) if dressed else event
        if same and event.to is None and event.key == origin_key:
            staying.append(sent)  # nearly always: looking the group up would cost more than all the rest
        else:
            groups.setdefault(_place(event, origin_key, source, where, default), []).append(sent)
    return {**groups}


def _is_dressed(route: RouteSpec, trace: Headers) -> bool:
    return bool(trace or route.drop_headers or route.add_headers)


def _place(
    event: Event, origin_key: bytes | None, source: TopicPartition, where: Destinations, default: str
) -> TopicPartition:
    topic = event.to or default
    count = where.by_topic[topic]
    return TopicPartition(
        topic,
        place(
            event.key, source_key=origin_key, source_partition=source.partition, source_count=where.source, count=count
        ),
    )


def _dress(event: Event, route: RouteSpec, trace: Headers) -> Event:
    """The event with the route's header rules applied: dropped, added, and the trace context replaced."""
    kept = tuple(header for header in event.headers if header[0] not in route.drop_headers)
    return msgspec.structs.replace(event, headers=replace_trace_headers((*kept, *route.add_headers), trace))


def condemn(verdicts: Verdicts, offset: int, violation: Violation, *, drop: bool = False) -> Verdicts:
    """The same verdicts, but the source event at `offset` is dead-lettered (or dropped) instead of emitted."""
    index = next(i for i, event in enumerate(verdicts.batch.events) if event.offset == offset)
    keep = [position for position, origin in enumerate(verdicts.origin) if origin != index]
    return Verdicts(
        batch=verdicts.batch,
        decided=verdicts.decided,
        emitted=[verdicts.emitted[position] for position in keep],
        origin=[verdicts.origin[position] for position in keep],
        violations=sorted([*verdicts.violations, *([] if drop else [(index, violation)])], key=lambda entry: entry[0]),
        tolerated=[*verdicts.tolerated, *([(index, violation)] if drop else [])],
        dropped=verdicts.dropped + drop,
        halt=verdicts.halt,
        reports=verdicts.reports,
    )


def unfit_violation(transformer: str, sha256: str, error: OversizeError) -> Violation:
    """For an event whose output passed the transformer's limits but does not fit the destination topic."""
    kind = ViolationKind.BAD_OUTPUT if isinstance(error, KeylessError) else ViolationKind.OUTPUT_TOO_LARGE
    return Violation(kind=kind, message=str(error), transformer=transformer, module_sha256=sha256)


def truncated(letter: Event, size_bytes_max: int) -> Event:
    """A dead letter cut to fit its topic: the value first, then the original headers; it says so in `penstock.truncated`."""
    value = letter.value
    explanation = max(at for at, (name, _) in enumerate(letter.headers) if name == PREFIX + "violation")
    ours = letter.headers[explanation:]  # a record may bring `penstock.*` headers of its own, as long as it likes
    lost = len(letter.headers) - len(ours)
    note = (PREFIX + "truncated", f"value was {len(value or b'')} bytes, headers {lost}".encode())
    room = max(0, size_bytes_max - len(letter.key or b"") - HEADROOM_BYTES)
    return msgspec.structs.replace(letter, value=value and value[:room], headers=(*ours, note))
