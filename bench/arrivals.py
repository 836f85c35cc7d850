"""Who waits at the end: `python -m bench.arrivals BOOTSTRAP TOPIC PARTITIONS EVENTS`, a read_committed reader of librdkafka's.

Says `ready`, and once it has seen that many orders, as JSON, each order's number and how long after it was sent it came,
in microseconds, in the order of their coming; and the offsets that held no record: the markers of transactions.
"""

from __future__ import annotations

import json
import sys
import time

from confluent_kafka import Consumer, KafkaException, TopicPartition

QUIET_S = 60.0


def main(bootstrap: str, topic: str, partitions: int, events: int) -> None:
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "arrivals",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "fetch.min.bytes": 1,
        }
    )
    consumer.assign([TopicPartition(topic, number, 0) for number in range(partitions)])
    consumer.poll(0.5)  # connected, and waiting for the first record
    print("ready", flush=True)
    seen: list[tuple[int, int]] = []
    ends: dict[int, int] = {}
    while len(seen) < events:
        message = consumer.poll(QUIET_S)
        now = time.time_ns()
        if message is None:
            raise RuntimeError(f"only {len(seen)} of {events} orders came")
        if message.error() is not None:
            raise KafkaException(message.error())
        row = json.loads(message.value())["after"]
        seen.append((row["id"], (now - row["sent_ns"]) // 1000))
        ends[message.partition()] = message.offset() + 1
    print(json.dumps({"arrivals": seen, "markers": sum(ends.values()) - len(seen)}))
    consumer.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
