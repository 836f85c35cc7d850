"""What people write today: a plain, unsandboxed aiokafka loop with json and `send`, all defaults. The first yardstick."""

from __future__ import annotations

import asyncio
import json
import sys

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from bench.orders import enrich


async def main(bootstrap: str, source: str, destination: str, events: int) -> None:
    consumer = AIOKafkaConsumer(source, bootstrap_servers=bootstrap, group_id=destination, auto_offset_reset="earliest")
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await consumer.start()
    await producer.start()
    seen = 0
    async for record in consumer:
        if seen == 0:
            print("started", flush=True)
        event = json.loads(record.value)
        if enrich(event):
            await producer.send(destination, json.dumps(event).encode(), key=record.key)
        seen += 1
        if seen == events:
            break
    await producer.flush()
    print("done", flush=True)
    sys.stdin.readline()  # stay until the figures are taken
    await consumer.stop()
    await producer.stop()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
