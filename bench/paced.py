"""A steady stream: `python -m bench.paced BOOTSTRAP TOPIC EVENTS_PER_S EVENTS`. Open loop: it never waits for who reads.

Each order carries the time at which it was handed to the client, which sends it at once. Says as JSON how late it was
against its own schedule, for a producer that cannot keep its pace would make any reader look good.
"""

from __future__ import annotations

import json
import sys
import time

from confluent_kafka import Producer

from bench.orders import order, raise_refused


def main(bootstrap: str, topic: str, events_per_s: int, events: int) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 0, "acks": "all"})
    producer.list_topics(topic, 10.0)
    late_ms: list[float] = []
    began = time.perf_counter()
    for number in range(events):
        due = began + number / events_per_s
        while (left := due - time.perf_counter()) > 0:
            time.sleep(left)
        late_ms.append(-left * 1e3)
        key, value = order(number, sent_ns=time.time_ns())
        producer.produce(topic, value, key, on_delivery=raise_refused)
        producer.poll(0)
    if producer.flush(30):
        raise RuntimeError("not everything was acknowledged")
    late_ms.sort()
    print(json.dumps({"late_ms_p99": late_ms[events * 99 // 100], "late_ms_max": late_ms[-1]}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
