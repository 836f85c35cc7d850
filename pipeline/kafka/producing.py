"""Writes records to topics, idempotent and without a transaction: for tools that make events, not for lanes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaProducer

from pipeline.kafka.client import open_admin, producer_options
from pipeline.kafka.errors import translate
from pipeline.kafka.source import within
from schemas.errors import ConfigError, Fault
from schemas.event import Headers
from schemas.specs import KafkaSpec

IN_FLIGHT_MAX = 5_000
"""Records sent and not yet acknowledged."""


class Writer:
    """Sends one record after the other; keys choose partitions as Kafka's own producers do."""

    def __init__(self, producer: AIOKafkaProducer, on_written: Callable[[int], None]) -> None:
        self._producer = producer
        self._on_written = on_written
        self._sent: list[asyncio.Future[Any]] = []

    async def write(self, topic: str, key: bytes | None, value: bytes | None, headers: Headers = ()) -> None:
        """Hand one record over. Raises TransportError when an earlier one could not be written."""
        self._sent.append(await self._producer.send(topic, value, key, headers=list(headers)))
        if len(self._sent) >= IN_FLIGHT_MAX:
            await self.flush()

    async def flush(self) -> None:
        """Wait until the brokers have all of them. Raises TransportError."""
        sent, self._sent = self._sent, []
        try:
            await asyncio.gather(*sent)
        except Exception as error:
            raise translate(error) from error
        if sent:
            self._on_written(len(sent))


async def _find(kafka: KafkaSpec, topics: Collection[str]) -> None:
    admin = await open_admin(kafka)
    try:
        known = set(await within(kafka.request_timeout_ms / 1e3, "listing topics", admin.list_topics()))
    finally:
        await admin.close()
    faults = [
        Fault(
            f"there is no topic {one!r}",
            "create it first; `create_topics` in the registry lets `penstock run` do it",
            path="ROUTE",
        )
        for one in topics
        if one not in known
    ]
    if faults:
        raise ConfigError(*faults)


@asynccontextmanager
async def writing(
    kafka: KafkaSpec, topics: Collection[str], on_written: Callable[[int], None]
) -> AsyncIterator[Writer]:
    """A writer to these topics, whose records are written when the context ends without an error; `on_written` hears of each so many.

    Raises ConfigError for a topic that does not exist (the client would wait for it in silence), TransportError.
    """
    await _find(kafka, topics)
    producer = AIOKafkaProducer(**producer_options(kafka))
    try:
        await within(kafka.request_timeout_ms / 1e3, "connecting", producer.start())
        writer = Writer(producer, on_written)
        yield writer
        await writer.flush()
    finally:
        with contextlib.suppress(Exception):
            await producer.stop()
