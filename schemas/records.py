"""Many events as few objects: runs of records in Kafka's own format, which become `Event`s only when somebody looks at one.

A `Records` is a sequence of events like a list of them, so whoever does not care need not know. Who does care (the
healthy path of a lane, from the fetch to the produce request) passes the blocks on as they are.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, final, overload

from schemas.event import Event

Offsets = range | array  # type: ignore[type-arg]
"""One offset for each record: a range when there are no gaps, else 64-bit integers."""

_SINGLE_READS_MAX = 4
"""After so many single events were asked for, all are read at once."""


@dataclass(frozen=True, slots=True)
class Extremes:
    """What a producer must know of a block before sending it."""

    timestamp_min: int
    """Milliseconds since the epoch; negative where the source had none."""
    timestamp_max: int
    record_bytes_max: int
    """Of the largest record, its length field included."""
    keyless: int
    """Records whose key is null."""


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive records of a section: records of message format v2 one behind the other, uncompressed."""

    section: bytes
    section_records: int
    """How many records there are in the section; the block is `[skip, skip + len(offsets))` of them."""
    skip: int
    offsets: Offsets
    """A range only when the record's offset delta is its index in the section."""
    timestamp: int
    """The section's base timestamp, in milliseconds since the epoch."""
    flat: bool = False
    """Every record has that very timestamp, whatever its delta (the broker's, where topics say `LogAppendTime`)."""
    extremes: Extremes | None = None
    """Known for what was built to be sent; the whole section only."""

    def __len__(self) -> int:
        return len(self.offsets)

    @property
    def is_whole(self) -> bool:
        """The block is all of its section."""
        return len(self.offsets) == self.section_records

    @property
    def size_bytes(self) -> int:
        """Its share of the section's bytes, by the number of records."""
        return len(self.section) if self.is_whole else len(self.section) * len(self.offsets) // self.section_records

    def part(self, start: int, stop: int) -> Block:
        """Records `[start, stop)` of the block."""
        if start == 0 and stop == len(self.offsets):
            return self
        return Block(
            self.section, self.section_records, self.skip + start, self.offsets[start:stop], self.timestamp, self.flat
        )


class RecordReader(Protocol):
    """Takes records apart."""

    def events(self, blocks: Sequence[Block]) -> list[Event]:
        """The events of these blocks, in order."""
        ...


@final
class Records(Sequence[Event]):
    """Events in blocks. Immutable; reading an event makes it anew, or finds it when all were read before."""

    __slots__ = ("_events", "_length", "_reader", "_single_reads", "blocks")

    def __init__(self, blocks: Sequence[Block], reader: RecordReader) -> None:
        self.blocks = tuple(block for block in blocks if len(block))
        self._reader = reader
        self._length = sum(len(block) for block in self.blocks)
        self._events: list[Event] | None = None
        self._single_reads = 0

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Event]:
        return iter(self.events())

    @overload
    def __getitem__(self, index: int) -> Event: ...
    @overload
    def __getitem__(self, index: slice) -> Records: ...
    def __getitem__(self, index: int | slice) -> Event | Records:
        if isinstance(index, slice):
            start, stop, step = index.indices(self._length)
            if step != 1:
                raise ValueError("records are cut into consecutive runs only")
            return self if (start, stop) == (0, self._length) else self._cut(start, max(start, stop))
        if self._events is None and self._single_reads < _SINGLE_READS_MAX:
            self._single_reads += 1
            at = range(self._length)[index]
            (event,) = self._reader.events(self._cut(at, at + 1).blocks)
            return event
        return self.events()[index]

    def events(self) -> list[Event]:
        """All of them, made once."""
        if self._events is None:
            self._events = self._reader.events(self.blocks)
        return self._events

    def offset_at(self, index: int) -> int:
        """The offset of one event, without reading it."""
        at = range(self._length)[index]
        for block in self.blocks:
            if at < len(block):
                return int(block.offsets[at])
            at -= len(block)
        raise IndexError(index)

    @property
    def size_bytes(self) -> int:
        """Of keys, values, headers and a few bytes beside them for each record."""
        return sum(block.size_bytes for block in self.blocks)

    def joined(self, *others: Records) -> Records:
        """These, then those."""
        return Records([block for one in (self, *others) for block in one.blocks], self._reader)

    def _cut(self, start: int, stop: int) -> Records:
        parts, at = [], 0
        for block in self.blocks:
            first, last = max(start - at, 0), min(stop - at, len(block))
            if first < last:
                parts.append(block.part(first, last))
            at += len(block)
        return Records(parts, self._reader)


def offset_at(events: Sequence[Event], index: int) -> int:
    """The offset of `events[index]`; cheap for records that nobody has looked at."""
    return events.offset_at(index) if isinstance(events, Records) else events[index].offset
