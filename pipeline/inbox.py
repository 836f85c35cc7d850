"""What a lane has been handed and not yet taken up, cut into batches, and the bytes a route may hold at once."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

from schemas.event import Event
from schemas.records import Records
from schemas.specs import BatchPolicy

_HEADER_BYTES = 48
"""An event counts its key, its value, and this for each header: exact sizes would cost a pass over every header of every event."""
_BATCHES_AHEAD = 4
"""How many full batches wait for a lane before it is no longer asked for."""

Chunk = tuple[Sequence[Event], int]
"""Events and their size in bytes."""


class Allowance:
    """Bytes and events fetched and not yet written, over all lanes of one route in this process."""

    def __init__(self, size_bytes_max: int, changed: Callable[[int, int], None]) -> None:
        self.size_bytes = 0
        self.events = 0
        self._size_bytes_max = size_bytes_max
        self._changed = changed

    @property
    def has_room(self) -> bool:
        """Whether another fetch may be made; one fetch can overshoot by what it brings."""
        return self.size_bytes < self._size_bytes_max

    def take(self, events: int, size_bytes: int) -> None:
        """Count events as held; negative numbers give them back."""
        self.events += events
        self.size_bytes += size_bytes
        assert self.size_bytes >= 0, "more bytes given back than were taken"
        self._changed(self.size_bytes, self.events)


class Inbox:
    """A bounded queue of events, taken in batches by count, bytes and linger. One taker."""

    def __init__(self, policy: BatchPolicy, patience_s: Callable[[], float] = lambda: 0.0) -> None:
        """Wait `patience_s()` for a full batch where that is more than the policy's linger; asked when there is something to take."""
        self._policy = policy
        self._patience_s = patience_s
        self._chunks: deque[Chunk] = deque()
        self._arrived = asyncio.Event()
        self._ripe = asyncio.Event()
        """Set when there is no point in waiting for more: a full batch, or the end."""
        self._closed = False
        self._finishing = False
        self._events = 0
        self._size_bytes = 0

    @property
    def _ended(self) -> bool:
        return self._closed or self._finishing

    @property
    def has_room(self) -> bool:
        """Whether the lane should be asked for more."""
        policy = self._policy
        return (
            self._events < _BATCHES_AHEAD * policy.events_max and self._size_bytes < _BATCHES_AHEAD * policy.bytes_max
        )

    def put(self, events: Sequence[Event]) -> int:
        """Queue events; returns their size in bytes."""
        total = 0
        for chunk in cut(events, self._policy):
            self._chunks.append(chunk)
            total += chunk[1]
        self._events += len(events)
        self._size_bytes += total
        self._arrived.set()
        self._note_ripeness()
        return total

    async def take(self) -> Chunk | None:
        """The next batch, waiting for one; None once the inbox is closed, or finishing and empty."""
        await self._arrived.wait()
        if not self._ripe.is_set() and (seconds := max(self._policy.linger_ms / 1e3, self._patience_s())):
            await self._linger(seconds)
        if self._closed or not self._chunks:
            return None
        events, size_bytes = self._gather()
        self._events -= len(events)
        self._size_bytes -= size_bytes
        if not self._chunks and not self._finishing:
            self._arrived.clear()
        self._note_ripeness()
        return events, size_bytes

    def finish(self) -> None:
        """Hand out what is there, then nothing more."""
        self._finishing = True
        self._arrived.set()
        self._ripe.set()

    def close(self) -> None:
        """Hand out nothing more."""
        self._closed = True
        self._arrived.set()
        self._ripe.set()

    def hurry(self) -> None:
        """Nothing more comes for now: let what is there be taken."""
        self._ripe.set()

    async def _linger(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._ripe.wait()

    def _note_ripeness(self) -> None:
        if self._events >= self._policy.events_max or self._size_bytes >= self._policy.bytes_max or self._ended:
            self._ripe.set()
        else:
            self._ripe.clear()

    def _gather(self) -> Chunk:
        """As many of the waiting events as make a batch; one chunk at least, or a part of it."""
        parts: list[Sequence[Event]] = []
        count = total = 0
        while self._chunks and count < self._policy.events_max:
            events, size_bytes = self._chunks[0]
            fitting = self._fitting(events, size_bytes, count, total)
            if fitting == len(events):
                self._chunks.popleft()
            elif fitting:
                size_bytes = size_bytes * fitting // len(events)
                self._chunks[0] = (events[fitting:], self._chunks[0][1] - size_bytes)
                events = events[:fitting]
            else:
                break
            parts.append(events)
            count += len(events)
            total += size_bytes
        return _joined(parts), total

    def _fitting(self, events: Sequence[Event], size_bytes: int, count: int, total: int) -> int:
        """How many of these a batch of `count` events and `total` bytes has room for. Lists come cut to size: all or none."""
        policy = self._policy
        if count + len(events) <= policy.events_max and total + size_bytes <= policy.bytes_max:
            return len(events)
        if not isinstance(events, Records):
            return 0 if count else len(events)
        by_size = (policy.bytes_max - total) * len(events) // max(1, size_bytes)
        return max(min(policy.events_max - count, by_size, len(events)), 0 if count else 1)


def _joined(parts: Sequence[Sequence[Event]]) -> Sequence[Event]:
    if len(parts) == 1:
        return parts[0]
    records = [part for part in parts if isinstance(part, Records)]
    if len(records) == len(parts):
        return records[0].joined(*records[1:])
    return [event for part in parts for event in part]


def cut(events: Sequence[Event], policy: BatchPolicy) -> Iterator[Chunk]:
    """Chunks within the policy's bounds; an event larger than a batch may be is a chunk of its own."""
    if isinstance(events, Records):
        yield events, events.size_bytes  # cut when it is taken
        return
    sizes = [len(e.value or b"") + len(e.key or b"") + _HEADER_BYTES * len(e.headers) for e in events]
    total = sum(sizes)
    if len(events) <= policy.events_max and total <= policy.bytes_max:  # nearly always: a fetch brings a batch
        yield list(events), total
        return
    chunk: list[Event] = []
    chunk_bytes = 0
    for event, size in zip(events, sizes, strict=True):
        if chunk and (len(chunk) == policy.events_max or chunk_bytes + size > policy.bytes_max):
            yield chunk, chunk_bytes
            chunk, chunk_bytes = [], 0
        chunk.append(event)
        chunk_bytes += size
    yield chunk, chunk_bytes
