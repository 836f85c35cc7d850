"""What people write today: a plain, unsandboxed aiokafka loop with json and `send`, all defaults. The yardstick."""

from __future__ import annotations

import asyncio
import json
import sys

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer


def enrich(value: bytes) -> bytes | None:
    """The same work as the enrich-order transformer does, on Python objects."""
    event = json.loads(value)
    after = event["after"]
    if after["status"] == "draft":
        return None
    after["full_name"] = f"{after['first_name']} {after['last_name']}"
    after["amount_cents"] = round(float(after["amount"]) * 100)
    after["total"] = round(float(after["amount"]) * after["quantity"], 2)
    after["currency"] = "EUR"
    return json.dumps(event).encode()


async def main(bootstrap: str, source: str, destination: str, events: int) -> None:
    consumer = AIOKafkaConsumer(source, bootstrap_servers=bootstrap, group_id=destination, auto_offset_reset="earliest")
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await consumer.start()
    await producer.start()
    seen = 0
    async for record in consumer:
        value = enrich(record.value)
        if value is not None:
            await producer.send(destination, value, key=record.key)
        seen += 1
        if seen == 1:
            print("started", flush=True)
        if seen == events:
            break
    await producer.flush()
    print("done", flush=True)
    await consumer.stop()
    await producer.stop()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
