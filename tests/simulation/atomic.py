"""Worlds with an atomic route: source transactions over several topics and partitions, whose records come to light one partition after
another, some of them twice because the connector died. The ledger holds every commit to whole transactions besides all it holds
others to.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pipeline.ports import LaneState
from schemas.event import Event, TopicPartition
from schemas.specs import AtomicSpec, BatchPolicy, Delivery, RouteSpec, TransformerSpec
from schemas.transactions import membership
from tests.simulation.cluster import Written
from tests.simulation.ledger import Broken, Mark, SimLedger, _identity
from tests.simulation.world import World

TABLES = ("db.s.one", "db.s.two")
MARKS = "db.transaction"
LANE = TopicPartition(MARKS, 0)
_PREFIX = b'{"c":"'
_CHANGES_MAX = 9


@dataclass(frozen=True)
class Sent:
    """A record that the connector has sent, and nobody can read yet."""

    at: TopicPartition
    key: bytes | None
    value: bytes | None


class AtomicLedger(SimLedger):
    """See the module."""

    def __init__(
        self, route: RouteSpec, chain: Sequence[TransformerSpec], counts: dict[str, int], delivery: Delivery
    ) -> None:
        super().__init__(route, chain, counts, delivery)
        self.members: dict[str, int] = {}
        """How many changes each source transaction has."""
        self._whole: set[str] = set()

    def lane(self, at: TopicPartition) -> TopicPartition:
        return LANE

    def plain(self, value: bytes | None) -> bytes | None:
        return None if value is None else value.removeprefix(_PREFIX)

    def _transaction(
        self, who: str, written: Sequence[Written], offsets: Mapping[tuple[str, TopicPartition], int]
    ) -> None:
        events = {at: self._advance(who, group, at, offset) for (group, at), offset in offsets.items()}
        surely = self._surely(who, LANE)
        marks: dict[tuple[TopicPartition, int], list[Mark]] = defaultdict(list)
        actual: dict[tuple[TopicPartition, TopicPartition], list[Mark]] = defaultdict(list)
        for place, event in written:
            source, offset = _identity(event)
            mark = self._mark(place, event)
            marks[source, offset].append(mark)
            actual[source, place].append(mark)
        expected: dict[tuple[TopicPartition, TopicPartition], list[Mark]] = defaultdict(list)
        for at, its in events.items():
            for event in its if at != LANE else ():
                for mark in self._chosen(at, event, marks.pop((at, event.offset), []), surely):
                    expected[at, mark.at].append(mark)
        if marks:
            raise Broken(f"{who} committed {dict(offsets)} with records of {sorted(marks)}")
        for (source, place), marks_there in actual.items():
            if marks_there != expected[source, place]:
                raise Broken(f"{who} committed the records of {source} to {place} out of order")
        self._check_whole(who, events)

    def _check_whole(self, who: str, events: Mapping[TopicPartition, Sequence[Event]]) -> None:
        """A transaction comes whole when it comes for the first time; what is written of it again may come by itself."""
        found: dict[str, set[int]] = defaultdict(set)
        for at, its in events.items():
            for event in its:
                if at != LANE and event.value is not None and (place := membership(event.value)) is not None:
                    found[place.key].add(place.total_order)
        for key in found.keys() - self._whole:
            if len(found[key]) != self.members[key]:
                raise Broken(
                    f"{who} committed {len(found[key])} of {self.members[key]} changes of source transaction {key}"
                )
            self._whole.add(key)


class AtomicWorld(World):
    """See the module."""

    commands_at = len(_PREFIX)
    ledger: AtomicLedger

    def _draw_delivery(self) -> Delivery:
        self._number = 0
        self._loops = self._chance.choice((0.0, 0.0, 0.4))
        self._whole: list[list[Sent]] = []
        self._sent: dict[TopicPartition, deque[Sent]] = defaultdict(deque)
        return Delivery.EXACTLY_ONCE

    def _commands(self) -> str:
        """In some worlds so many loop that taking a batch apart takes longer than it may."""
        return super()._commands() if self._chance.random() >= self._loops else "Lkk"

    def _draw_counts(self) -> dict[str, int]:
        chance = self._chance
        tables = {name: chance.randint(1, 2) for name in TABLES}
        return tables | {MARKS: 1, "out": chance.randint(1, 3), "other": 1, "dead": chance.randint(1, 2)}

    def _make_ledger(self, chain: list[TransformerSpec]) -> AtomicLedger:
        return AtomicLedger(self._route, chain, self._counts, self._delivery)

    def _draw_route(self, through: list[str]) -> RouteSpec:
        chance = self._chance
        return RouteSpec(
            name="r",
            sources=(*TABLES, MARKS),
            through=tuple(through),
            to="out",
            dead_letter="dead",
            group="g",
            also_to=("other",),
            atomic=AtomicSpec(MARKS, wait_s=chance.choice((5.0, 60.0))),
            batch=BatchPolicy(
                events_max=chance.choice((1, 3, 32)),
                bytes_max=chance.choice((200, 1 << 20)),
                commit_events_max=chance.choice((1, 10, 1_000)),
            ),
        )

    def _produce(self, count: int) -> None:
        """So many records are sent, and some of those that were sent can be read."""
        self._cluster.group.all_to_one = True
        while count > 0 and self._left_to_produce > 0:
            sent = self._written() if self._chance.random() < 0.85 else self._lonely()
            count -= sent
            self._left_to_produce -= sent
            self.produced += sent
        for at in list(self._sent):
            self._show(at, self._chance.randint(0, len(self._sent[at])))

    def _written(self) -> int:
        """One source transaction, which the connector may have begun once before; returns its records."""
        chance = self._chance
        if self._whole and chance.random() < 0.1:
            return self._again()
        self._number += 1
        tables = [TopicPartition(name, n) for name in TABLES for n in range(self._counts[name])]
        places = [chance.choice(tables) for _ in range(chance.randint(1, _CHANGES_MAX))]
        whole = [*self._transaction(places)]
        begun = whole[: chance.randrange(len(whole))] if chance.random() < 0.1 else []
        self.ledger.members[str(self._number)] = len(places)
        self._whole.append(whole)
        return self._send([*begun, *whole])

    def _again(self) -> int:
        """The connector died, and writes again from somewhere within one of its last transactions."""
        first, *others = self._whole[-self._chance.randint(1, 3) :]
        begin, *changes = first
        written = [begin, *changes[self._chance.randrange(len(changes)) :]] if self._chance.random() < 0.5 else first
        return self._send([*written, *(one for other in others for one in other)])

    def _transaction(self, places: Sequence[TopicPartition]) -> Iterator[Sent]:
        """What is written of one, BEGIN and END included."""
        yield self._record(LANE, None, {"status": "BEGIN", "id": f"{self._number}:1"})
        for order, at in enumerate(places, 1):
            place = {"id": f"{self._number}:{self._number * 100 + order}", "total_order": order}
            yield self._record(at, self._commands(), {"op": "c", "transaction": place})
            if self._chance.random() < 0.1:
                yield Sent(at, b"t", None)
        counts = Counter(at.topic.removeprefix("db.") for at in places)
        tally = [{"data_collection": name, "event_count": count} for name, count in counts.items()]
        yield self._record(LANE, None, {"status": "END", "id": f"{self._number}:2", "data_collections": tally})

    def _lonely(self) -> int:
        """What belongs to no transaction: a snapshot's row."""
        name = self._chance.choice(TABLES)
        at = TopicPartition(name, self._chance.randrange(self._counts[name]))
        return self._send([self._record(at, self._commands(), {"op": "r"})])

    def _record(self, at: TopicPartition, commands: str | None, rest: Mapping[str, object]) -> Sent:
        told = {} if commands is None else {"c": f"{commands}0...|{self.produced}"}
        value = json.dumps(told | dict(rest), separators=(",", ":")).encode()
        return Sent(at, self._chance.choice((b"a", b"b", None)), value)

    def _send(self, records: Sequence[Sent]) -> int:
        for one in records:
            self._sent[one.at].append(one)
        return len(records)

    def _show(self, at: TopicPartition, count: int) -> None:
        log = self._cluster.log(at)
        for _ in range(count):
            one = self._sent[at].popleft()
            gap = self._chance.choice((0, 0, 0, 0, 1))
            identity = f"{at.topic}:{at.partition}:{log.end + gap}".encode()
            log.append(Event(0, 1_600_000_000_000 + log.end, one.key, one.value, (("id", identity),)), gap)

    async def _calm_down(self) -> None:
        for at in list(self._sent):
            self._show(at, len(self._sent[at]))
        await super()._calm_down()

    def _is_done(self, at: TopicPartition) -> bool:
        """Of the one lane: at all ends, or at a transaction before which it must stop, and has said so."""
        rest = {
            each: self._cluster.log(each).between(self._committed(each), self._cluster.log(each).end)
            for each in self._cluster.group.partitions
        }
        if not any(rest.values()):
            return True
        noted = self.ledger.notes.get(LANE)
        if noted is None or noted[1].state is not LaneState.STOPPED:
            return False
        return any(
            (stopper := self.ledger.stopper(each, event)) is not None
            and noted[1].reason.startswith(f"{stopper} at offset {event.offset}")
            for each, events in rest.items()
            if each != LANE
            for event in events
        )
