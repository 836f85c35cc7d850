"""Puts source transactions together again from the partitions they were spread over. Pure: no clock, no broker.

Each partition's records wait in a queue, in their order. A transaction may go when its END is here, every event that the END counts
is here, and in each partition nothing but events that belong to no transaction lies before its own. It takes with it what lies
between and the tombstones right behind. So whatever is released is a prefix of every queue: where each partition goes on after it is one
offset, and a restart from these offsets finds every transaction either whole or not at all.

A connector that died writes its last transactions once more, from somewhere within the first of them. What is here already counts once;
the second one belongs to no transaction, and passes by itself when what is before it has gone. So does what was released before: it is
told by the END that was read then, if need be by an earlier process (`recall`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import msgspec

from schemas.event import Event, TopicPartition
from schemas.transactions import End, Malformed, end_mark, membership

_HEADER_BYTES = 48
RELEASED_MAX = 10_000
"""Transactions that are remembered as released: what the connector writes of them again passes by itself."""


class GatheringError(Exception):
    """What was read cannot be put together to whole transactions; the text says what, where and what to do."""


class Item(msgspec.Struct, frozen=True, gc=False):
    """A record that waits."""

    event: Event
    size_bytes: int
    key: str | None
    """Its transaction's; None for what belongs to none."""
    total_order: int = 0
    is_mark: bool = False
    """BEGIN and END are read here and emitted nowhere."""


@dataclass(slots=True)
class _Open:
    """A transaction that is not complete, or not first."""

    orders: dict[str, set[int]] = field(default_factory=dict)
    """By table, the places of the events that are here."""
    last: dict[TopicPartition, int] = field(default_factory=dict)
    """By partition, the offset of its last record that is here; not of what was written again."""
    end: End | None = None
    events: int = 0
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Unit:
    """What must be written in one Kafka transaction, and the offsets to commit with it."""

    key: str | None
    runs: Sequence[tuple[TopicPartition, Sequence[Event]]]
    """In the transaction's order; neighbours of one partition together. Empty when there were only marks."""
    offsets: dict[TopicPartition, int]
    events: int
    """Records, marks among them."""
    size_bytes: int


class Gathering:
    """See the module. `put` what was fetched, then `release` until it has nothing."""

    def __init__(self, transaction_topic: str, prefix: str, events_max: int, size_bytes_max: int) -> None:
        """A table `schema.table` is looked for in topic `{prefix}.schema.table`. The bounds are of one transaction."""
        self.events = 0
        self.size_bytes = 0
        self._marks = transaction_topic
        self._prefix = prefix + "."
        self._events_max = events_max
        self._size_bytes_max = size_bytes_max
        self._queues: dict[TopicPartition, deque[Item]] = {}
        self._open: dict[str, _Open] = {}
        self._released: dict[str, None] = {}
        self._topics: frozenset[str] = frozenset()

    def begin(self, partitions: Collection[TopicPartition]) -> None:
        """These are all partitions of the route; nothing waits yet."""
        self._queues = {at: deque() for at in sorted(partitions)}
        self._topics = frozenset(at.topic for at in partitions)

    def put(self, at: TopicPartition, events: Sequence[Event]) -> int:
        """Queue consecutive records of one partition; returns their bytes. Raises GatheringError."""
        queue, before = self._queues[at], self.size_bytes
        for event in events:
            try:
                item = self._item(at, event)
            except Malformed as error:
                raise GatheringError(f"the record at offset {event.offset} of {at} is {error}") from None
            queue.append(item)
            self.events += 1
            self.size_bytes += item.size_bytes
            if item.key is not None:
                self._within_bounds(item, self._open[item.key])
        return self.size_bytes - before

    def recall(self, events: Sequence[Event]) -> None:
        """Records of the transaction topic that were done with before: transactions whose END is among them were released."""
        for event in events:
            with suppress(Malformed):
                if event.value is not None and (end := end_mark(event.value)) is not None:
                    self._remember(end.key)

    def wants(self, at: TopicPartition) -> bool:
        """Whether to read on in this partition: always where the first transaction's next record may be, and ahead while there is room."""
        if self.events < self._events_max and self.size_bytes < self._size_bytes_max:
            return True
        keys = {item.key for item in self._queues[at]} - {None}
        return len(keys) <= 1

    def release(self) -> Unit | None:
        """The next that may go; None when nothing may yet. Raises GatheringError."""
        for at, queue in self._queues.items():
            if queue and queue[0].key is None:
                return self._free(at, queue)
        for key in dict.fromkeys(queue[0].key for queue in self._queues.values() if queue):
            assert key is not None
            entry = self._open[key]
            if self._is_complete(key, entry) and self._is_first(key, entry):
                return self._whole(key, entry)
        return None

    def waiting(self) -> list[str]:
        """For people: the transactions at the heads of the queues, and what each lacks; empty when nothing waits."""
        return [
            f"transaction {key} ({entry.events} events here) lacks {self._lacks(entry)}"
            for key, entry in self._open.items()
        ]

    @property
    def is_overtaken(self) -> bool:
        """Whether a transaction waits behind another one that is not complete."""
        return len(self._open) > 1

    def _item(self, at: TopicPartition, event: Event) -> Item:
        size = len(event.key or b"") + len(event.value or b"") + _HEADER_BYTES * (1 + len(event.headers))
        if event.value is None:
            return Item(event, size, None)
        if at.topic == self._marks:
            return self._mark(at, event, size, event.value)
        member = membership(event.value)
        if member is None or member.key in self._released:
            return Item(event, size, None)
        entry = self._open.setdefault(member.key, _Open())
        orders = entry.orders.setdefault(at.topic.removeprefix(self._prefix), set())
        if member.total_order in orders:
            return Item(event, size, None)
        orders.add(member.total_order)
        entry.events += 1
        entry.size_bytes += size
        entry.last[at] = event.offset
        return Item(event, size, member.key, member.total_order)

    def _mark(self, at: TopicPartition, event: Event, size: int, value: bytes) -> Item:
        end = end_mark(value)
        if end is None or end.key in self._released or not self._awaited(end):
            return Item(event, size, None, is_mark=True)
        entry = self._open.setdefault(end.key, _Open())
        if entry.end is not None:
            return Item(event, size, None, is_mark=True)
        entry.end = end
        entry.last[at] = event.offset
        return Item(event, size, end.key, is_mark=True)

    def _awaited(self, end: End) -> dict[str, int]:
        """The counts of those tables that this route reads."""
        return {table: count for table, count in end.counts.items() if self._prefix + table in self._topics}

    def _within_bounds(self, item: Item, entry: _Open) -> None:
        if entry.events > self._events_max or entry.size_bytes > self._size_bytes_max:
            raise GatheringError(
                f"source transaction {item.key} is too large: {entry.events} events and {entry.size_bytes} bytes so far, "
                f"and at most {self._events_max} events and {self._size_bytes_max} bytes are gathered"
            )

    def _is_complete(self, key: str, entry: _Open) -> bool:
        if entry.end is None:
            return False
        awaited = self._awaited(entry.end)
        if unknown := sorted(entry.orders.keys() - awaited.keys()):
            raise GatheringError(
                f"END of source transaction {key} says nothing of {', '.join(unknown)}, of which there are events: "
                "was the topic renamed, or a transaction written half twice?"
            )
        return all(len(entry.orders.get(table, ())) >= count for table, count in awaited.items())

    def _is_first(self, key: str, entry: _Open) -> bool:
        """Whether nothing of another transaction lies before its last record in any partition."""
        return all(
            item.key in (None, key)
            for at, last in entry.last.items()
            for item in self._queues[at]
            if item.event.offset <= last
        )

    def _free(self, at: TopicPartition, queue: deque[Item]) -> Unit:
        """All at the head of one queue that belongs to no transaction."""
        taken = []
        while queue and queue[0].key is None:
            taken.append(queue.popleft())
        return self._unit(None, [(at, item) for item in taken])

    def _whole(self, key: str, entry: _Open) -> Unit:
        taken: list[tuple[int, TopicPartition, Item]] = []
        for at, last in entry.last.items():
            queue, order = self._queues[at], 0
            while queue and (queue[0].event.offset <= last or queue[0].event.value is None):
                item = queue.popleft()
                order = max(order, item.total_order)  # what has no place of its own stays behind its neighbour
                taken.append((order, at, item))
        del self._open[key]
        self._remember(key)
        taken.sort(key=lambda one: one[0])
        return self._unit(key, [(at, item) for _, at, item in taken])

    def _unit(self, key: str | None, taken: Sequence[tuple[TopicPartition, Item]]) -> Unit:
        runs: list[tuple[TopicPartition, list[Event]]] = []
        offsets: dict[TopicPartition, int] = {}
        size_bytes = 0
        for at, item in taken:
            offsets[at] = item.event.offset + 1
            size_bytes += item.size_bytes
            if item.is_mark or at.topic == self._marks:
                continue
            if not runs or runs[-1][0] != at:
                runs.append((at, []))
            runs[-1][1].append(item.event)
        self.events -= len(taken)
        self.size_bytes -= size_bytes
        return Unit(key, runs, offsets, len(taken), size_bytes)

    def _remember(self, key: str) -> None:
        self._released.pop(key, None)
        self._released[key] = None
        if len(self._released) > RELEASED_MAX:
            del self._released[next(iter(self._released))]

    def _lacks(self, entry: _Open) -> str:
        if entry.end is None:
            return f"its END, which has not come on {self._marks}"
        lacking = [
            f"{count - here} of {count} events of {table}"
            for table, count in self._awaited(entry.end).items()
            if (here := len(entry.orders.get(table, ()))) < count
        ]
        return ", ".join(lacking) or "nothing itself: it waits behind others"
