"""The shop's stream: a snapshot, then transactions; a known few of its events make the guests misbehave.

The same number of events, seed and start time give the same stream, byte for byte.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from random import Random
from typing import Final, TypeVar

from pipeline.demo.envelope import CONTEXT_HEADERS, Envelope
from pipeline.demo.fates import MISDEEDS, NUMBER_HEADER, Fate, ShopEvent
from pipeline.demo.rows import DELETED, STATUSES, Customer, Line, Order, Rows

EVENTS_MIN: Final = 100
"""Fewer have no room for every kind of misdeed."""
TOPICS: Final = {
    "customers": "shop.public.customers",
    "orders": "shop.public.orders",
    "order_lines": "shop.public.order_lines",
}
_Row = TypeVar("_Row")
_LIVE_MAX = 2_000
"""Rows of a kind that may still change; older ones are left alone, so that memory does not grow with the stream."""
_EXPENSIVE_CENTS = 1_000_000
_LOOPS_MAX = 3
"""Each endless loop costs its deadline twice."""
_OTHERS_MAX = 4
_BAD_AMOUNT = "bad-amount"
"""A misdeed of the data, not of a guest: an order whose amount is NULL (Debezium's word for NaN), which enrich-order rejects."""


@dataclass(frozen=True, slots=True)
class _Change:
    table: str
    id: int
    value: bytes | None
    fate: Fate


class Shop:
    """A stream of `events` events. Iterate once."""

    def __init__(self, events: int, *, seed: int = 7, started_ms: int) -> None:
        """`started_ms`: when the shop's story begins, milliseconds since the epoch. Raises ValueError for fewer than EVENTS_MIN events."""
        if events < EVENTS_MIN:
            raise ValueError(f"{events} events have no room for every misdeed: {EVENTS_MIN} at least")
        self.events = events
        self._chance = Random(seed)  # noqa: S311 - a story, not a secret
        self._rows = Rows(self._chance)
        self._envelope = Envelope(started_ms)
        self._misdeeds = deque(_schedule(events))
        self._customers: list[Customer] = []
        self._orders: list[Order] = []
        self._lines: list[Line] = []
        self._ids = dict.fromkeys(TOPICS, 0)
        self._number = 0

    def __iter__(self) -> Iterator[ShopEvent]:
        """The stream, in the order of production."""
        keys = dict.fromkeys(TOPICS, b"")
        for change in islice(self._changes(), self.events):
            keys[change.table] = b'{"id":%d}' % change.id
            headers = ((NUMBER_HEADER, b"%d" % self._number), *CONTEXT_HEADERS)
            yield ShopEvent(self._number, TOPICS[change.table], keys[change.table], change.value, headers, change.fate)
            self._number += 1

    def _changes(self) -> Iterator[_Change]:
        yield from self._snapshot()
        stories = (
            self._order_placed,
            self._order_moved_on,
            self._customer_changed,
            self._customer_joined,
            self._order_deleted,
        )
        weights = (40, 35, 12, 8, 5)
        while True:
            for story in self._chance.choices(stories, weights, k=64):
                self._envelope.begin()
                yield from story()

    def _snapshot(self) -> Iterator[_Change]:
        """What was in the tables when the connector started: a tenth of the stream, `op` r."""
        count = max(2, self.events // 60)
        for index in range(count):
            where = _snapshot_position(index, count)
            yield self._customer("r", self._new_customer(), where)
        for index in range(2 * count):
            yield self._order("r", self._new_order(), _snapshot_position(index, 2 * count))
        for index in range(3 * count):
            where = "last" if index == 3 * count - 1 else _snapshot_position(index, 3 * count)
            yield self._line("r", self._new_line(self._chance.choice(self._orders)), where)

    def _customer_joined(self) -> Iterator[_Change]:
        yield self._customer("c", self._new_customer())

    def _customer_changed(self) -> Iterator[_Change]:
        """An update; one in eight leaves for good."""
        index = self._chance.randrange(len(self._customers))
        customer = self._customers[index]
        if self._chance.random() > 0.125 or len(self._customers) < 3:
            customer.phone = f'"+49 30 5551{self._chance.randrange(10_000):04}"'
            yield self._customer("u", customer)
            return
        self._customers[index] = self._customers[-1]
        self._customers.pop()
        yield from self._deleted("customers", customer.id)

    def _order_placed(self) -> Iterator[_Change]:
        order = self._new_order()
        yield self._order("c", order)
        for _ in range(1 + self._chance.randrange(2)):
            yield self._line("c", self._new_line(order))

    def _order_moved_on(self) -> Iterator[_Change]:
        order = self._chance.choice(self._orders)
        order.status = self._chance.choice(STATUSES)
        yield self._order("u", order)

    def _order_deleted(self) -> Iterator[_Change]:
        """An order goes, and one line with it."""
        index = self._chance.randrange(len(self._orders))
        order = self._orders[index]
        if len(self._orders) > 2:
            self._orders[index] = self._orders[-1]
            self._orders.pop()
            yield from self._deleted("orders", order.id)
        if self._lines:
            yield from self._deleted("order_lines", self._lines.pop().id)

    def _deleted(self, table: str, number: int) -> Iterator[_Change]:
        """A delete, and the tombstone after it."""
        value = self._envelope.value("d", table, DELETED[table].format(number), "null")
        yield _Change(table, number, value, Fate.UNCHANGED if table == "order_lines" else Fate.MASKED)
        yield _Change(table, number, None, Fate.UNCHANGED)

    def _customer(self, op: str, customer: Customer, snapshot: str = "false") -> _Change:
        value = self._envelope.value(op, "customers", "null", customer.json(), snapshot)
        return _Change("customers", customer.id, value, Fate.MASKED)

    def _order(self, op: str, order: Order, snapshot: str = "false") -> _Change:
        misdeed = self._due_misdeed()
        row = order.json()
        if misdeed == _BAD_AMOUNT:
            fate, row = Fate.REJECTED, order.json(amount="null")
        elif misdeed is not None:
            fate, row = MISDEEDS[misdeed], order.json(f',"penstock_demo":"{misdeed}"')
        else:
            fate = _fate_of(order)
        return _Change("orders", order.id, self._envelope.value(op, "orders", "null", row, snapshot), fate)

    def _line(self, op: str, line: Line, snapshot: str = "false") -> _Change:
        value = self._envelope.value(op, "order_lines", "null", line.json(), snapshot)
        return _Change("order_lines", line.id, value, Fate.UNCHANGED)

    def _due_misdeed(self) -> str | None:
        return self._misdeeds.popleft()[1] if self._misdeeds and self._misdeeds[0][0] <= self._number else None

    def _new_customer(self) -> Customer:
        customer = self._rows.customer(self._next_id("customers"), self._created_at())
        _keep(self._customers, customer)
        return customer

    def _new_order(self) -> Order:
        order = self._rows.order(self._next_id("orders"), self._chance.choice(self._customers), self._created_at())
        _keep(self._orders, order)
        return order

    def _new_line(self, order: Order) -> Line:
        line = self._rows.line(self._next_id("order_lines"), order)
        _keep(self._lines, line)
        return line

    def _next_id(self, table: str) -> int:
        self._ids[table] += 1
        return self._ids[table]

    def _created_at(self) -> str:
        return datetime.fromtimestamp(self._envelope.now_ms / 1e3, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _fate_of(order: Order) -> Fate:
    if order.status == "draft":
        return Fate.DROPPED
    return Fate.FLAGGED if order.total_cents > _EXPENSIVE_CENTS else Fate.ENRICHED


def _keep(rows: list[_Row], row: _Row) -> None:
    rows.append(row)
    if len(rows) > _LIVE_MAX:
        del rows[0]


def _snapshot_position(index: int, count: int) -> str:
    if index == 0:
        return "first_in_data_collection"
    return "last_in_data_collection" if index == count - 1 else "true"


def _schedule(events: int) -> list[tuple[int, str]]:
    """Which misdeed is due from which event on: a few of each kind, spread over the middle of the stream."""
    each = min(_OTHERS_MAX, 1 + events // 10_000)
    kinds = [
        kind for round_ in range(each) for kind in (*MISDEEDS, _BAD_AMOUNT) if kind != "loop" or round_ < _LOOPS_MAX
    ]
    first, last = events * 15 // 100, events * 80 // 100
    return [(first + (last - first) * index // len(kinds), kind) for index, kind in enumerate(kinds)]
