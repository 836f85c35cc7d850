"""The stream that the end-to-end figures are taken on: Debezium orders of about 400 bytes, and the work done on each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

BYTES = 400
"""Of one value, about."""
_NOTE = 80


def order(number: int, *, sent_ns: int | None = None, padding: int = 0) -> tuple[bytes, bytes]:
    """Key and value of one order; `sent_ns` travels in the row, `padding` bytes make it larger."""
    after: dict[str, Any] = {
        "id": number,
        "first_name": "Ada",
        "last_name": "Lovelace",
        "amount": f"{number % 9000}.25",
        "quantity": 3,
        "status": "placed",
        "note": "n" * (_NOTE + padding),
        "created_at": "2026-01-02T00:00:01.123456Z",
    }
    if sent_ns is not None:
        after["sent_ns"] = sent_ns
    source = {"version": "3.7.0.Final", "connector": "postgresql", "name": "shop", "table": "orders", "lsn": number}
    envelope = {"before": None, "after": after, "source": source, "op": "c", "ts_ms": 1_795_353_061_265}
    return str(number % 5_000).encode(), json.dumps(envelope, separators=(",", ":")).encode()


def orders(count: int, *, padding: int = 0) -> Iterator[tuple[bytes, bytes]]:
    """`count` of them."""
    return (order(number, padding=padding) for number in range(count))


def enrich(change: dict[str, Any]) -> bool:
    """What the enrich-order transformer does, on Python objects and in place; False when the order is dropped.

    Every loop that is compared with penstock calls this, between its own way to read and to write JSON.
    """
    after = change["after"]
    if after["status"] == "draft":
        return False
    amount = float(after["amount"])
    after["full_name"] = f"{after['first_name']} {after['last_name']}"
    after["amount_cents"] = round(amount * 100)
    after["total"] = f"{amount * after['quantity']:.2f}"
    after["currency"] = "EUR"
    return True
