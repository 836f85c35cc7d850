"""The stream that the end-to-end figures are taken on: Debezium orders of about 400 bytes, and the work done on each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

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


def fill(bootstrap: str, topic: str, partitions: int, events: int, *, padding: int = 0, per_batch: int = 500) -> None:
    """Write `events` orders in record batches of `per_batch`, to one partition after the other: the same batches however many there are.

    Uncompressed, as Debezium does by default.
    """
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "linger.ms": 200,
            "batch.num.messages": per_batch,
            "batch.size": 4 << 20,
            "enable.idempotence": True,
            "delivery.report.only.error": True,
        }
    )
    for number, (key, value) in enumerate(orders(events, padding=padding)):
        while True:
            try:
                producer.produce(topic, value, key, number // per_batch % partitions, on_delivery=raise_refused)
            except BufferError:
                producer.poll(0.1)
            else:
                break
    if producer.flush(120):
        raise RuntimeError(f"not all orders were acknowledged for {topic}")


def raise_refused(error: KafkaError | None, _: object) -> None:
    """A delivery callback."""
    if error is not None:
        raise KafkaException(error)


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
