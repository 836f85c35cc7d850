"""As good as aiokafka gets by hand, exactly once and unsandboxed: the second yardstick.

orjson, `getmany`, record batches of its own (`create_batch`, `send_batch`), 5,000 events per transaction, one transactional
producer, large fetches, and a commit that goes on while the next 5,000 events are being computed. No compression: aiokafka
compresses on this very thread. Every produce future is awaited before its transaction commits, as it must be.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Sequence
from typing import Any

import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition

from bench.orders import enrich

EVENTS_PER_COMMIT = 5_000
YIELD_EVERY = 500
"""Events between two turns of the event loop, so that the commit under way gets on."""

Batches = list[tuple[int, Any]]


async def batches_of(
    producer: AIOKafkaProducer, partition: int, records: Sequence[ConsumerRecord[Any, Any]]
) -> Batches:
    """The enriched records of one partition, packed."""
    batches: Batches = [(partition, producer.create_batch())]
    append = batches[0][1].append
    loads, dumps = orjson.loads, orjson.dumps
    for number, record in enumerate(records, 1):
        event = loads(record.value)
        if enrich(event):
            value = dumps(event)
            if append(timestamp=record.timestamp, key=record.key, value=value) is None:  # full
                batches.append((partition, producer.create_batch()))
                append = batches[-1][1].append
                append(timestamp=record.timestamp, key=record.key, value=value)
        if number % YIELD_EVERY == 0:
            await asyncio.sleep(0)
    return batches


async def commit(
    producer: AIOKafkaProducer, batches: Batches, destination: str, offsets: dict[TopicPartition, int]
) -> None:
    """One transaction."""
    await producer.begin_transaction()
    sent = [await producer.send_batch(batch, destination, partition=partition) for partition, batch in batches]
    await asyncio.gather(*sent)
    await producer.send_offsets_to_transaction(offsets, destination)
    await producer.commit_transaction()


async def main(bootstrap: str, source: str, destination: str, events: int) -> None:
    consumer = AIOKafkaConsumer(
        source,
        bootstrap_servers=bootstrap,
        group_id=destination,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        fetch_max_bytes=16 << 20,
        max_partition_fetch_bytes=4 << 20,
    )
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap,
        transactional_id=destination,
        max_batch_size=1_000_000,
        max_request_size=1_048_576,
    )
    await consumer.start()
    await producer.start()
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    seen, committing = 0, None
    while seen < events:
        fetched = await consumer.getmany(max_records=EVENTS_PER_COMMIT, timeout_ms=200)
        if not fetched:
            continue
        if seen == 0:
            print("started", flush=True)
        batches: Batches = []
        for partition, records in fetched.items():
            batches += await batches_of(producer, partition.partition, records)
            seen += len(records)
        if committing is not None:
            await committing
        offsets = {partition: records[-1].offset + 1 for partition, records in fetched.items()}
        committing = asyncio.create_task(commit(producer, batches, destination, offsets))
    assert committing is not None
    await committing
    print("done", flush=True)
    sys.stdin.readline()  # stay until the figures are taken
    await consumer.stop()
    await producer.stop()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
