"""Produces the shop's stream, never further ahead of what was read back than the embedded broker remembers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from itertools import islice

from confluent_kafka import KafkaError, Producer

from pipeline.demo.fates import ShopEvent
from pipeline.demo.ledger import Ledger
from pipeline.embedded import CLIENT_SILENCE, PARTITION_BYTES_MAX
from schemas.errors import TransportError

AHEAD_BYTES_MAX = 2 * PARTITION_BYTES_MAX
"""Uncompressed, over all partitions together. The broker's bound is for each partition and counts compressed bytes, about a third."""
_CHUNK = 250
_FLUSH_S = 10.0


class Feed:
    """One producer of the whole stream."""

    def __init__(self, address: str, ledger: Ledger, *, ahead_bytes_max: int = AHEAD_BYTES_MAX) -> None:
        self._ledger = ledger
        self._ahead_bytes_max = ahead_bytes_max
        self._refused: list[KafkaError] = []
        self._producer = Producer(
            {
                "bootstrap.servers": address,
                "enable.idempotence": True,
                "compression.type": "lz4",
                "partitioner": "murmur2_random",
                "linger.ms": 20,
                "delivery.report.only.error": True,
                "on_delivery": lambda error, _: self._refused.append(error),
                **CLIENT_SILENCE,
            }
        )

    async def run(self, events: Iterable[ShopEvent], room: Callable[[], Awaitable[object]]) -> None:
        """Produce all events; `room()` completes when something was read back. Raises TransportError when the broker refuses one."""
        stream = iter(events)
        while chunk := list(islice(stream, _CHUNK)):
            while self._ledger.outstanding_bytes > self._ahead_bytes_max:
                await room()
            self._produce(chunk)
            await asyncio.sleep(0)
        await asyncio.to_thread(self._producer.flush, _FLUSH_S)
        self._check()

    def _produce(self, events: Iterable[ShopEvent]) -> None:
        produce, expect = self._producer.produce, self._ledger.expect
        for event in events:
            expect(event)
            produce(event.topic, key=event.key, value=event.value, headers=list(event.headers))
        self._producer.poll(0)
        self._check()

    def _check(self) -> None:
        if self._refused:
            raise TransportError(f"the embedded broker refused an event: {self._refused[0].str()}", retriable=False)
