"""The invariant. It is held at every commit, before anybody else sees what was committed.

Exactly once: a transaction that moves a partition's offset from C to N holds what the oracle says of the events [C, N), all
of it, nothing else, in order. At least once: by the time the offset moves to N, all that must come of [C, N) is visible, and
what is visible for the first time is in order. In both, an offset never moves backwards, nor beyond an event at which the lane must
stop, and a lane that has halted commits nothing until it is released.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from pipeline.control import LaneNote
from pipeline.ports import LaneState
from schemas.dead_letter import PREFIX, read_dead_letter
from schemas.event import Event, TopicPartition
from schemas.specs import Delivery, RouteSpec, TransformerSpec
from tests.simulation.cluster import Cluster, Written
from tests.simulation.guests import Fate, Letter, Piece, Stop, destination, fates

_HALTED = (LaneState.STOPPED, LaneState.PAUSED)


class Broken(Exception):
    """The invariant does not hold."""


@dataclass(frozen=True)
class Mark:
    """What one record looks like to the ledger."""

    at: TopicPartition
    key: bytes | None
    value: bytes | None


@dataclass
class Witness:
    """What the ledger knows of one process."""

    born: int
    """How many notes there were when it started."""
    ever_tripped: Callable[[TopicPartition], frozenset[str]]
    releases: Callable[[str], int]
    """How often it has seen a lane released, by the key of its note."""
    halts: dict[TopicPartition, int] = field(default_factory=dict)
    """Lanes it has said are halted; how often it had seen them released by then."""


class SimLedger:
    """Implements `tests.simulation.cluster.Ledger`. Keeps the first thing that is wrong in `wrong`."""

    def __init__(
        self, route: RouteSpec, chain: Sequence[TransformerSpec], counts: dict[str, int], delivery: Delivery
    ) -> None:
        self.cluster: Cluster
        self.wrong: str | None = None
        self.witnesses: dict[str, Witness] = {}
        self.notes: dict[TopicPartition, tuple[int, LaneNote]] = {}
        """By lane: the number of the note, and the note."""
        self.committed_events = 0
        self.outcomes = Counter[str]()
        self._route = route
        self._chain = chain
        self._counts = counts
        self._delivery = delivery
        self._number = 0
        self._tripped: dict[TopicPartition, set[str]] = defaultdict(set)
        self._visible: dict[tuple[TopicPartition, int], list[Mark]] = defaultdict(list)
        self._newest: dict[tuple[TopicPartition, TopicPartition], int] = {}

    def transaction(
        self, who: str, written: Sequence[Written], offsets: Mapping[tuple[str, TopicPartition], int]
    ) -> None:
        self._guarded(lambda: self._transaction(who, written, offsets))

    def produced(self, at: TopicPartition, events: Sequence[Event]) -> None:
        self._guarded(lambda: self._produced(at, events))

    def offset(self, who: str, group: str, at: TopicPartition, offset: int) -> None:
        self._guarded(lambda: self._offset(who, group, at, offset))

    def note(self, key: str, document: bytes | None) -> None:
        _, _, topic, partition = key.split(":")
        at = TopicPartition(topic, int(partition))
        self._number += 1
        if document is None:
            self.notes.pop(at, None)
        else:
            self.notes[at] = (self._number, msgspec.json.decode(document, type=LaneNote))

    def born(
        self, who: str, ever_tripped: Callable[[TopicPartition], frozenset[str]], releases: Callable[[str], int]
    ) -> None:
        self.witnesses[who] = Witness(self._number, ever_tripped, releases)

    def said(self, who: str, at: TopicPartition, state: LaneState) -> None:
        """A process says what one of its lanes does now."""
        if state in _HALTED:
            self.witnesses[who].halts[at] = self.witnesses[who].releases(self.key(at))

    def lane(self, at: TopicPartition) -> TopicPartition:
        """The partition that the lane over this one is named after."""
        return at

    def assigned(self, who: str) -> None:
        """Its lanes are new ones."""
        self.witnesses[who].halts.clear()

    def key(self, at: TopicPartition) -> str:
        """Of this lane's note."""
        return f"lane:{self._route.group}:{at.topic}:{at.partition}"

    def must_stop(self, at: TopicPartition, offset: int) -> str | None:
        """The transformer that stops the lane before the next event; None when the lane is to go on, or at its end."""
        events = self.cluster.log(at).since(offset, 1)
        return self.stopper(at, events[0]) if events else None

    def stopper(self, at: TopicPartition, event: Event) -> str | None:
        """The transformer that stops the lane before this event, if one may."""
        stops = (one for one in self._fates(at, event, frozenset()) if isinstance(one, Stop))
        stop = next(stops, None)
        return stop.transformer if stop is not None else None

    def _fates(self, at: TopicPartition, event: Event, surely: frozenset[str]) -> Iterator[Fate]:
        plain = msgspec.structs.replace(event, value=self.plain(event.value))
        return fates(plain, self._chain, self._maybe(at) - surely, surely)

    def plain(self, value: bytes | None) -> bytes | None:
        """From its commands on, as the oracle knows it."""
        return value

    def _guarded(self, check: Callable[[], None]) -> None:
        try:
            check()
        except Broken as broken:
            self.wrong = self.wrong or str(broken)

    def _transaction(
        self, who: str, written: Sequence[Written], offsets: Mapping[tuple[str, TopicPartition], int]
    ) -> None:
        if self._delivery is not Delivery.EXACTLY_ONCE or len(offsets) != 1:
            raise Broken(f"{who} committed a transaction with {len(offsets)} offsets and {len(written)} records")
        ((group, at), offset) = next(iter(offsets.items()))
        events = self._advance(who, group, at, offset)
        surely = self._surely(who, at)
        marks: dict[int, list[Mark]] = defaultdict(list)
        for place, event in written:
            source, number = _identity(event)
            if source != at:
                raise Broken(f"{who} wrote of {source}@{number} in the transaction of {at}")
            marks[number].append(self._mark(place, event))
        expected: dict[TopicPartition, list[Mark]] = defaultdict(list)
        for event in events:
            for mark in self._chosen(at, event, marks.pop(event.offset, []), surely):
                expected[mark.at].append(mark)
        if marks:
            raise Broken(f"{who} committed {at} up to {offset} with records of offsets {sorted(marks)}")
        actual: dict[TopicPartition, list[Mark]] = defaultdict(list)
        for place, event in written:
            actual[place].append(self._mark(place, event))
        for place, marks_there in actual.items():
            if marks_there != expected[place]:
                raise Broken(f"{who} committed {at} up to {offset} with the records to {place} out of order")

    def _chosen(self, at: TopicPartition, event: Event, marks: list[Mark], surely: frozenset[str]) -> list[Mark]:
        """The records of one event as they must be: one of its possible fates, and the one that is there."""
        possible: list[str] = []
        for fate in self._fates(at, event, surely):
            wanted = self._wanted(at, event, fate)
            if wanted is not None and Counter(wanted) == Counter(marks):
                self.outcomes["dead-lettered" if isinstance(fate, Letter) else "emitted" if wanted else "dropped"] += 1
                return wanted
            possible.append(str(fate))
        raise Broken(
            f"{at}@{event.offset} {event.value!r} was committed as {marks}, and should have been {' or '.join(possible)}"
        )

    def _wanted(self, at: TopicPartition, event: Event, fate: Fate) -> list[Mark] | None:
        match fate:
            case Stop():
                return None
            case Letter(transformer, kind):
                whole = Piece(self._route.dead_letter, event.key, event.value)
                place = destination(whole, event, at, self._route, self._counts)
                said = f"{transformer} {kind or 'quarantined'}".encode()
                return [Mark(place, event.key, said + b" " + (event.value or b"-"))]
            case pieces:
                return [Mark(destination(p, event, at, self._route, self._counts), p.key, p.value) for p in pieces]

    def _mark(self, place: TopicPartition, event: Event) -> Mark:
        at, offset = _identity(event)
        (source,) = self.cluster.log(at).between(offset, offset + 1)
        if event.timestamp != source.timestamp or event.headers[: len(source.headers)] != source.headers:
            raise Broken(f"{at}@{offset} lost its timestamp or its headers: {event}")
        if place.topic != self._route.dead_letter:
            return Mark(place, event.key, self.plain(event.value))
        letter = read_dead_letter(event.headers)
        if letter is None:
            raise Broken(f"a record in the dead letters that is none: {event}")
        kind = "quarantined" if letter.violation.code == "quarantined" else letter.violation.kind
        return Mark(place, event.key, f"{letter.violation.transformer} {kind} ".encode() + (event.value or b"-"))

    def _produced(self, at: TopicPartition, events: Sequence[Event]) -> None:
        for event in events:
            source, offset = _identity(event)
            mark = self._mark(at, event)
            seen = self._visible[source, offset]
            if mark not in seen and not self._maybe(source):
                newest = self._newest.get((source, at), -1)
                if offset < newest:
                    raise Broken(f"{source}@{offset} came to {at} for the first time after {newest}")
                self._newest[source, at] = offset
            seen.append(mark)

    def _offset(self, who: str, group: str, at: TopicPartition, offset: int) -> None:
        if self._delivery is not Delivery.AT_LEAST_ONCE:
            raise Broken(f"{who} committed {at} up to {offset} outside of a transaction")
        for event in self._advance(who, group, at, offset):
            seen = Counter(self._visible[at, event.offset])
            wanted = [
                Counter(marks)
                for fate in self._fates(at, event, frozenset())
                if (marks := self._wanted(at, event, fate)) is not None
            ]
            if not any(one <= seen for one in wanted) or seen.keys() - {mark for one in wanted for mark in one}:
                raise Broken(f"{who} committed {at}@{event.offset} {event.value!r}, of which there is {dict(seen)}")

    def _advance(self, who: str, group: str, at: TopicPartition, offset: int) -> Sequence[Event]:
        """The events that this commit is about."""
        before = self.cluster.committed.get((group, at), 0)
        if offset < before:
            raise Broken(f"{who} moved {at} back from {before} to {offset}")
        witness = self.witnesses[who]
        lane = self.lane(at)
        if lane in witness.halts and witness.halts[lane] == witness.releases(self.key(lane)):
            raise Broken(f"{who} committed {at} up to {offset} after it had halted")
        noted = self.notes.get(lane)
        if noted is not None and noted[0] <= witness.born and noted[1].state in _HALTED:
            raise Broken(f"{who} committed {at} up to {offset} although it was {noted[1].state} before {who} started")
        events = self.cluster.log(at).between(before, offset)
        if offset > before and (not events or events[-1].offset + 1 != offset):
            raise Broken(f"{who} committed {at} up to {offset}, which is not after an event")
        self.committed_events += len(events)
        return events

    def _maybe(self, at: TopicPartition) -> frozenset[str]:
        lane = self.lane(at)
        for witness in self.witnesses.values():
            self._tripped[lane] |= witness.ever_tripped(lane)
        return frozenset(self._tripped[lane])

    def _surely(self, who: str, at: TopicPartition) -> frozenset[str]:
        noted = self.notes.get(self.lane(at))
        if noted is None or noted[0] > self.witnesses[who].born:
            return frozenset()
        return frozenset(noted[1].quarantined)


def _identity(event: Event) -> tuple[TopicPartition, int]:
    said = dict(header for header in event.headers if not header[0].startswith(PREFIX))
    topic, partition, offset = (said["id"] or b"").decode().split(":")
    return TopicPartition(topic, int(partition)), int(offset)
