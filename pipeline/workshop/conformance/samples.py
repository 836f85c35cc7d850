"""The events that guests are examined with: Debezium's JSON, so that a guest that reads it has work to do, and anything that bytes can be."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from schemas.event import Event, Headers, TopicPartition

SOURCE: Final = TopicPartition("shop.public.orders", 3)
START_MS: Final = 1_700_000_000_000
LARGE_BYTES: Final = 1_000_000
TEXTS: Final = (
    "", "plain", "nul \0 within", "Grüße, Ægir", "日本語", "עברית", "👩‍👩‍👧‍👦", "e\u0301", "\ufeffmark", "\u2028\u2029", "\U0010ffff",
    '"quoted" \\ back', "\x1b[31m", "\x7f", "a\r\nb",
)  # fmt: skip
EXTREMES: Final[Mapping[str, int]] = {
    "int64_min": -(1 << 63),
    "int64_max": (1 << 63) - 1,
    "uint64_max": (1 << 64) - 1,
    "beyond_float": (1 << 53) + 1,
}
_DOUBLES = ("NaN", "Infinity", "-Infinity")
_SCHEMA: Final = {
    "type": "struct",
    "fields": [{"type": "struct", "field": "after", "fields": [{"type": "double", "field": f"double_{one}"} for one in _DOUBLES]}],
}  # fmt: skip


def row(number: int, **columns: Any) -> dict[str, Any]:
    """An order."""
    order = {"id": number, "first_name": "Ada", "last_name": "Lovelace", "email": "ada@example.com", "phone": "+44 20 7946 0958",
             "status": "paid", "amount": "12.50", "quantity": 2, "note": None}  # fmt: skip
    return order | columns


def change(number: int, op: str = "c", /, **columns: Any) -> bytes:
    """A change event of an order, as JSON."""
    after = None if op in "dt" else row(number, **columns)
    before = row(number) if op in "ud" else None
    source = {"version": "3.7.0.Final", "connector": "postgresql", "name": "shop", "ts_ms": START_MS, "snapshot": "false", "db": "shop",
              "schema": "public", "table": "orders", "txId": 748, "lsn": 26_585_320 + number, "xmin": None}  # fmt: skip
    envelope = {"before": before, "after": after, "source": source, "transaction": None, "op": op, "ts_ms": START_MS}
    return json.dumps(envelope, ensure_ascii=False, separators=(",", ":")).encode()


def event(number: int, value: bytes | None, key: bytes | None = b'{"id":1}', headers: Headers = ()) -> Event:
    """A record."""
    return Event(number, START_MS + number, key, value, headers)


def events(count: int) -> list[Event]:
    """Orders that were created, updated and deleted."""
    return [event(n, change(n, "cucd"[n % 4]), b'{"id":%d}' % n) for n in range(count)]


def tombstones() -> list[Event]:
    """Alone, without a key, between others, with headers that have no value."""
    none: Headers = (("__debezium.newkey", None), ("empty", b""))
    return [
        event(0, None),
        event(1, change(1, "d")),
        event(2, None, None),
        event(3, None, b"", none),
        event(4, change(4)),
    ]


def null_keys() -> list[Event]:
    """No key, an empty one, one that is no text."""
    return [event(n, change(n), key) for n, key in enumerate((None, b"", b"\xff\x00\xfe", None))]


def large() -> list[Event]:
    """A value of a megabyte, between small ones."""
    return [event(0, change(0)), event(1, change(1, note="x" * LARGE_BYTES)), event(2, change(2))]


def unicode() -> list[Event]:
    """Texts of every kind, in columns, keys and headers."""
    return [
        event(n, change(n, note=text, first_name=text), text.encode(), ((text, text.encode()),))
        for n, text in enumerate(TEXTS)
    ]


def extremes() -> list[Event]:
    """The largest and smallest integers; without an embedded schema, and doubles that are no numbers with one."""
    doubles = {f"double_{one}": one for one in _DOUBLES}
    envelope = json.loads(change(1, **doubles))
    wrapped = json.dumps({"schema": _SCHEMA, "payload": envelope}, separators=(",", ":")).encode()
    return [event(0, change(0, "c", **EXTREMES)), event(1, wrapped)]


def far() -> list[Event]:
    """Offsets and timestamps at their ends; -1 is Kafka's "no timestamp"."""
    ends: Sequence[tuple[int, int]] = ((0, -1), (127, 128), (65_536, 1 << 32), ((1 << 63) - 1, (1 << 63) - 1))
    return [Event(offset, moment, b"k", change(n)) for n, (offset, moment) in enumerate(ends)]


def any_bytes() -> list[Event]:
    """Values that are no JSON, no text, nothing."""
    values = (
        b"",
        b"\0",
        bytes(range(256)),
        b"null",
        b"[]",
        b"{}",
        b'{"op":',
        b"[" * 5_000,
        b'{"op":"c","after":1}',
        b'"\xc3("',
    )
    return [event(n, value) for n, value in enumerate(values)]
