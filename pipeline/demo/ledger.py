"""Accounts for every event of the demo by what stands in the topics, and by nothing else.

Pure: it is told what must become of each event, and shown records; it knows no broker and none of the pipeline's counters.
"""

from __future__ import annotations

import zlib
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import NamedTuple

from pipeline.demo.fates import Fate, ShopEvent, number_of
from schemas.dead_letter import read_dead_letter
from schemas.event import Headers
from schemas.specs import RouteSpec

_EXAMPLES_MAX = 5
_OFTEN = 255
"""Sightings are counted in a byte."""


class Found(NamedTuple):
    """One record as it stands in a topic."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers


class Role(Enum):
    """What a topic is to the demo."""

    SOURCE = auto()
    DESTINATION = auto()
    SIDE = auto()
    DEAD_LETTER = auto()


@dataclass(frozen=True, slots=True)
class Copies:
    """Records that a transformer sent to a side topic besides the destination."""

    expected: int = 0
    found: int = 0
    lost: int = 0
    duplicated: int = 0


@dataclass(frozen=True, slots=True)
class Account:
    """What the topics say. Counts are of events; `produced` = emitted + dropped + dead_lettered + lost."""

    produced: int
    emitted: int
    dropped: int
    """Dropped by declaration: expected to be, and found nowhere."""
    dead_lettered: int
    by_violation: Mapping[str, int]
    lost: int
    """Found nowhere, though nobody declared that they be dropped."""
    duplicated: int
    """Records beyond the first of an event."""
    unexpected: int
    """Records in a place, with a violation or with a content that their event does not explain."""
    out_of_order: int
    """Records that stand behind a later event in their partition."""
    copies: Copies
    examples: tuple[str, ...] = field(default=())
    """What was unexpected, the first few."""

    @property
    def is_clean(self) -> bool:
        """Whether each event ended where it must, once, and in order."""
        copies = self.copies.lost + self.copies.duplicated
        return not (self.lost or self.duplicated or self.unexpected or self.out_of_order or copies)


class Ledger:
    """`expect` each event before it is produced, `take` each record that is found, then `account`."""

    def __init__(self, routes: Iterable[RouteSpec], watched: Mapping[Fate, bytes] | None = None) -> None:
        """`watched`: of which fates one event is to be kept in `shown`, and what its value must contain to be worth showing."""
        self.shown: dict[Fate, tuple[Found, Found]] = {}
        """For each watched fate: the first source record that ended so, and what became of it."""
        self.outstanding_bytes = 0
        """Of events that must come out and have not yet."""
        self.outstanding = 0
        """How many those are."""
        self.expected = 0
        self._watched = dict(watched or {})
        self._followed: dict[int, Found] = {}
        self._roles = dict(_roles(routes))
        self._routes = array("B")
        self._fates = bytearray()
        self._sizes = array("L")
        self._sums = array("L")
        self._produced = bytearray()
        self._seen = bytearray()
        self._copied = bytearray()
        self._emitted = 0
        self._dead = 0
        self._violations = Counter[str]()
        self._last: dict[tuple[str, int], int] = {}
        self._out_of_order = 0
        self._unexpected = 0
        self._examples: list[str] = []

    @property
    def topics(self) -> list[str]:
        """Every topic whose records must be taken."""
        return list(self._roles)

    @property
    def found(self) -> Counter[str]:
        """Events found so far: `emitted`, `dead_lettered`."""
        return Counter(emitted=self._emitted, dead_lettered=self._dead)

    @property
    def by_violation(self) -> Mapping[str, int]:
        """Dead letters found so far."""
        return self._violations

    def expect(self, event: ShopEvent) -> None:
        """The next event, by number: it is about to be produced."""
        assert event.number == len(self._fates), "events are numbered without gaps"
        size = len(event.key) + len(event.value or b"")
        self._fates.append(event.fate)
        self._routes.append(self._roles[event.topic][1])
        self._sizes.append(size)
        self._sums.append(_sum(event.key, event.value))
        for sightings in (self._produced, self._seen, self._copied):
            sightings.append(0)
        self.expected += 1
        if event.fate is not Fate.DROPPED:
            self.outstanding += 1
            self.outstanding_bytes += size

    def take(self, found: Found) -> None:
        """One record of one of the topics, each partition in its own order."""
        role, route = self._roles[found.topic]
        number = number_of(found.headers)
        if number is None or number >= len(self._fates):
            self._surprise(found, "came of no event of this run")
            return
        fate = Fate(self._fates[number])
        if role is Role.SOURCE:
            self._take_source(found, number, fate)
            return
        self._check_order(found, number)
        if route != self._routes[number]:
            self._surprise(found, f"event {number} belongs to another route")
        elif role is Role.SIDE:
            self._take_copy(found, number, fate)
        else:
            self._take_outcome(found, number, fate, role)

    def account(self) -> Account:
        """The balance, as of what was taken."""
        produced = sum(map(bool, self._produced))
        missing = [Fate(fate) for fate, seen in zip(self._fates, self._seen, strict=True) if not seen]
        dropped = sum(fate is Fate.DROPPED for fate in missing)
        repeats = sum(seen - 1 for seen in self._seen if seen) + sum(seen - 1 for seen in self._produced if seen)
        return Account(
            produced=produced,
            emitted=self._emitted,
            dropped=dropped,
            dead_lettered=self._dead,
            by_violation=dict(sorted(self._violations.items())),
            lost=len(missing) - dropped,
            duplicated=repeats,
            unexpected=self._unexpected,
            out_of_order=self._out_of_order,
            copies=self._copies(),
            examples=tuple(self._examples),
        )

    def _take_source(self, found: Found, number: int, fate: Fate) -> None:
        self._count(self._produced, number)
        wanted = self._watched.get(fate)
        if wanted is not None and wanted in (found.value or b""):
            del self._watched[fate]
            self._followed[number] = found

    def _take_copy(self, found: Found, number: int, fate: Fate) -> None:
        if fate is not Fate.FLAGGED:
            self._surprise(found, f"event {number} is {fate.name.lower()}, not to be copied here")
            return
        self._count(self._copied, number)

    def _take_outcome(self, found: Found, number: int, fate: Fate, role: Role) -> None:
        if self._count(self._seen, number) == 1:
            self._settle(found, number, fate, role)
        problem = (
            self._judge_letter(found, number, fate) if role is Role.DEAD_LETTER else self._judge(found, number, fate)
        )
        if problem:
            self._surprise(found, f"event {number} {problem}")

    def _settle(self, found: Found, number: int, fate: Fate, role: Role) -> None:
        """The first record of this event."""
        if fate is not Fate.DROPPED:
            self.outstanding -= 1
            self.outstanding_bytes -= self._sizes[number]
        if role is Role.DEAD_LETTER:
            self._dead += 1
        else:
            self._emitted += 1
        source = self._followed.pop(number, None)
        if source is not None:
            self.shown[fate] = (source, found)

    def _judge(self, found: Found, number: int, fate: Fate) -> str:
        """What is wrong with an emitted record; nothing is an empty text."""
        if fate >= Fate.DROPPED:
            return f"must end as {fate.name.lower()}"
        value = found.value or b""
        if fate is Fate.UNCHANGED:
            return "" if _sum(found.key, found.value) == self._sums[number] else "must be unchanged, byte for byte"
        if b"@" in value:
            return "still shows an e-mail address"
        if fate is not Fate.MASKED and b'"amount_cents":' not in value:
            return "has no amount_cents"
        return ""

    def _judge_letter(self, found: Found, number: int, fate: Fate) -> str:
        letter = read_dead_letter(found.headers)
        if letter is None:
            return "has no explanation in its headers"
        kind = letter.violation.kind
        self._violations[kind.value] += 1
        if kind is not fate.violation:
            return f"must end as {fate.name.lower()}, not dead-lettered for {kind.value}"
        return (
            ""
            if _sum(found.key, found.value) == self._sums[number]
            else "must be dead-lettered as it came, byte for byte"
        )

    def _check_order(self, found: Found, number: int) -> None:
        place = (found.topic, found.partition)
        last = self._last.get(place, -1)
        if number < last:
            self._out_of_order += 1
        else:
            self._last[place] = number

    def _count(self, sightings: bytearray, number: int) -> int:
        sightings[number] = min(_OFTEN, sightings[number] + 1)
        return sightings[number]

    def _copies(self) -> Copies:
        expected = self._fates.count(Fate.FLAGGED)
        found = len(self._copied) - self._copied.count(0)
        return Copies(expected, found, expected - found, sum(self._copied) - found)

    def _surprise(self, found: Found, problem: str) -> None:
        self._unexpected += 1
        if len(self._examples) < _EXAMPLES_MAX:
            self._examples.append(f"{found.topic}/{found.partition} offset {found.offset}: {problem}")


def _sum(key: bytes | None, value: bytes | None) -> int:
    """A checksum that tells an empty value from none."""
    return zlib.crc32(b"\0" if value is None else value, zlib.crc32(key or b""))


def _roles(routes: Iterable[RouteSpec]) -> Iterable[tuple[str, tuple[Role, int]]]:
    for index, route in enumerate(routes):
        for topic in route.sources:
            yield topic, (Role.SOURCE, index)
        for topic in route.also_to:
            yield topic, (Role.SIDE, index)
        yield route.to, (Role.DESTINATION, index)
        yield route.dead_letter, (Role.DEAD_LETTER, index)
