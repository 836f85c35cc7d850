"""When committed output appears: a read_committed reader that notes the time between a partition's arrivals."""

from __future__ import annotations

import threading
import time

from confluent_kafka import Consumer, TopicPartition

from tests.services.topics import TIMEOUT_S


class Watch:
    """Tails a topic from its end in a thread of its own; use `with`."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self.seen = 0
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "watch",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": 50,
                "log_level": 0,
            }
        )
        partitions = self._consumer.list_topics(topic, TIMEOUT_S).topics[topic].partitions
        self._consumer.assign([TopicPartition(topic, index, 0) for index in partitions])
        self._lock = threading.Lock()
        self._last: dict[int, float] = {}
        """When each partition's newest record came."""
        self._longest_s = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"watch {topic}", daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(30)
        self._consumer.close()

    @property
    def longest_gap_s(self) -> float:
        """The longest that any partition went without output since `forget`, the present gaps included."""
        with self._lock:
            return max([self._longest_s, *(time.monotonic() - last for last in self._last.values())])

    def forget(self) -> float:
        """Measure anew from now on; what was the longest until now."""
        with self._lock:
            longest, self._longest_s = self._longest_s, 0.0
            return longest

    def _run(self) -> None:
        while not self._over.is_set():
            messages = [message for message in self._consumer.consume(1_000, 0.05) if message.error() is None]
            now = time.monotonic()
            with self._lock:
                for partition in {message.partition() for message in messages}:
                    self._longest_s = max(self._longest_s, now - self._last.get(partition, now))
                    self._last[partition] = now
                self.seen += len(messages)
