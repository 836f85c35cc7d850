"""As good as confluent-kafka gets by hand, at least once and unsandboxed: the third yardstick, in two kinds.

orjson, messages consumed by the thousand, lz4 and large batches in librdkafka's own threads, callbacks for refused records only, and
every half second or so a flush, then the offsets. `produce` keeps each record's timestamp, as penstock does. With `batch` as a
fifth argument `produce_batch` takes its place: faster, but it can carry neither timestamps nor headers, so it does not do the same job.
"""

from __future__ import annotations

import gc
import sys
from typing import Any

import orjson
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from bench.orders import enrich, raise_refused

EVENTS_PER_CALL = 2_000
EVENTS_PER_COMMIT = 50_000


class Output:
    """The producing half: what it is given is on its way, `settle` returns when all of it is acknowledged."""

    def __init__(self, bootstrap: str, destination: str) -> None:
        self.destination = destination
        self.producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "enable.idempotence": True,
                "compression.type": "lz4",
                "linger.ms": 20,
                "batch.size": 1_000_000,
                "queue.buffering.max.messages": 200_000,
                "delivery.report.only.error": True,
            }
        )

    def put(self, messages: list[Any]) -> None:
        loads, dumps, produce, topic = orjson.loads, orjson.dumps, self.producer.produce, self.destination
        for message in messages:
            event = loads(message.value())
            if enrich(event):
                produce(
                    topic,
                    dumps(event),
                    message.key(),
                    message.partition(),
                    on_delivery=raise_refused,
                    timestamp=message.timestamp()[1],
                )
        self.producer.poll(0)

    def settle(self) -> None:
        if self.producer.flush(60):
            raise RuntimeError("not everything was acknowledged within a minute")


class BatchOutput(Output):
    """The same with `produce_batch`."""

    def put(self, messages: list[Any]) -> None:
        loads, dumps, out = orjson.loads, orjson.dumps, list[Any]()
        for message in messages:
            event = loads(message.value())
            if enrich(event):
                out.append({"key": message.key(), "value": dumps(event), "partition": message.partition()})
        if self.producer.produce_batch(self.destination, out, on_delivery=raise_refused) != len(out):
            raise RuntimeError("the producer's queue was full")
        self.producer.poll(0)


def main(bootstrap: str, source: str, destination: str, events: int, kind: str = "") -> None:
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": destination,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest",
            "max.partition.fetch.bytes": 4 << 20,
            "queued.min.messages": 200_000,
        }
    )
    consumer.subscribe([source])
    output = (BatchOutput if kind == "batch" else Output)(bootstrap, destination)
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    seen = uncommitted = 0
    ends: dict[tuple[str, int], int] = {}
    while seen < events:
        messages = consumer.consume(EVENTS_PER_CALL, 0.2)
        for message in messages:
            if message.error() is not None:
                raise KafkaException(message.error())
            ends[message.topic(), message.partition()] = message.offset() + 1
        if not messages:
            continue
        if seen == 0:
            print("started", flush=True)
        output.put(messages)
        seen += len(messages)
        uncommitted += len(messages)
        if uncommitted >= EVENTS_PER_COMMIT or seen >= events:
            output.settle()
            consumer.commit(offsets=[TopicPartition(*at, end) for at, end in ends.items()], asynchronous=False)
            uncommitted = 0
    print("done", flush=True)
    sys.stdin.readline()  # stay until the figures are taken
    consumer.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), *sys.argv[5:])
