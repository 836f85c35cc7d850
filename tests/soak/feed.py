"""Produces the numbered stream of orders in a process of its own, never further ahead than it was told on standard input.

python -m tests.soak.feed BOOTSTRAP TOPIC PARTITIONS EVENTS     (then lines: how many may have been produced)
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from confluent_kafka import KafkaError, Producer

from tests.e2e.stream import fate

KEYS = 480
"""A multiple of every number of partitions that is used, so that a key stays on its partition."""
_ROW = (
    b'{"before":null,"after":{"id":%d,"first_name":"Zo\xc3\xab","last_name":"Lovelace","amount":"%d.25","quantity":2,'
    b'"status":"%s","note":"%s"%s},"source":{"connector":"postgresql","table":"orders","lsn":%d},"op":"c","ts_ms":1}'
)
_NOTE = b"x" * 120


def order(number: int) -> tuple[bytes, bytes]:
    """Key and Debezium envelope; `fate(number)` is what becomes of it."""
    does = fate(number)
    status = b"draft" if does == "dropped" else b"placed"
    asks = b"" if does in ("emitted", "dropped") else b',"penstock_demo":"%s"' % does.encode()
    return b"%d" % (number % KEYS), _ROW % (number, number % 1000, status, _NOTE, asks, number)


def allowances() -> Iterator[int]:
    """How many events may have been produced, as often as it is said."""
    for line in sys.stdin:
        yield int(line)


def main() -> None:
    bootstrap, topic, partitions, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    options = {"linger.ms": 20, "compression.type": "lz4", "batch.size": 262_144, "enable.idempotence": True}
    producer = Producer({"bootstrap.servers": bootstrap, "queue.buffering.max.messages": 200_000, **options})
    produced = 0
    for allowed in allowances():
        for number in range(produced, min(allowed, count)):
            _produce(producer, topic, number, partitions)
        produced = max(produced, min(allowed, count))
        if produced == count:
            break
    if producer.flush(120):
        raise SystemExit("the broker did not take everything")


def _produce(producer: Producer, topic: str, number: int, partitions: int) -> None:
    key, value = order(number)
    while True:
        try:
            producer.produce(topic, value, key, number % partitions, on_delivery=_delivered)
        except BufferError:
            producer.poll(0.1)
        else:
            if number % 1_000 == 0:
                producer.poll(0)
            return


def _delivered(error: KafkaError | None, _: object) -> None:
    if error is not None:
        raise SystemExit(f"an event was not produced: {error}")


if __name__ == "__main__":
    main()
