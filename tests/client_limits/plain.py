"""aiokafka as anyone would use it: no option of ours but the addresses."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

SMALL = {"max_message_bytes": "1000"}
TOO_LARGE = random.Random(3).randbytes(5_000)
"""Beyond `SMALL`, and compression does not help."""


@asynccontextmanager
async def producer(bootstrap: str, **options: Any) -> AsyncIterator[AIOKafkaProducer]:
    """Started, and stopped at the end."""
    client = AIOKafkaProducer(bootstrap_servers=bootstrap, **options)
    try:
        await client.start()
        yield client
    finally:
        await client.stop()


@asynccontextmanager
async def consumer(bootstrap: str, *topics: str, **options: Any) -> AsyncIterator[AIOKafkaConsumer]:
    """Started, reading from the earliest record, committing nothing by itself; stopped at the end."""
    settings = {"enable_auto_commit": False, "auto_offset_reset": "earliest", **options}
    client = AIOKafkaConsumer(*topics, bootstrap_servers=bootstrap, **settings)
    try:
        await client.start()
        yield client
    finally:
        await client.stop()
