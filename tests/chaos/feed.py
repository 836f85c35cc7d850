"""Events produced beside a scenario, at a steady pace, whatever the broker does meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

from confluent_kafka import KafkaError, Producer

_GIVE_UP_MS = 600_000
_FLUSH_S = 180.0


class Feed:
    """A thread with an idempotent librdkafka producer, so that each record is in the topic once and in its key's order.

    `topic` may be a function of the record's number. `finish` waits for the last acknowledgement.
    """

    def __init__(
        self,
        bootstrap: str,
        topic: str | Callable[[int], str],
        records: Iterable[tuple[bytes, bytes]],
        per_second: float,
    ) -> None:
        self.produced = 0
        self._topic = (lambda _: topic) if isinstance(topic, str) else topic
        self._records = records
        self._per_second = per_second
        self._failures: list[str] = []
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "enable.idempotence": True,
                "linger.ms": 5,
                "delivery.timeout.ms": _GIVE_UP_MS,
                "topic.metadata.refresh.interval.ms": 1_000,
                "log_level": 0,  # it complains on stderr about every connection that a scenario breaks
            }
        )
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)
        self._thread.start()

    @property
    def is_over(self) -> bool:
        """Whether everything was handed to the producer."""
        return not self._thread.is_alive()

    def finish(self, timeout_s: float = 600.0) -> int:
        """Wait for the end; how many records there are now. Raises AssertionError when one was not acknowledged."""
        self._thread.join(timeout_s)
        assert self.is_over, f"feeding did not end within {timeout_s:.0f} s, {self.produced} were produced"
        left = self._producer.flush(_FLUSH_S)
        assert not left and not self._failures, f"{left} of {self.produced} unsent; {self._failures[:3]}"
        return self.produced

    def _run(self) -> None:
        began = time.monotonic()
        for key, value in self._records:
            self._produce(key, value)
            self.produced += 1
            ahead_s = self.produced / self._per_second - (time.monotonic() - began)
            if ahead_s > 0.01:
                self._producer.poll(ahead_s)

    def _produce(self, key: bytes, value: bytes) -> None:
        while True:
            try:
                self._producer.produce(self._topic(self.produced), value, key, on_delivery=self._note)
            except BufferError:
                self._producer.poll(0.1)
            else:
                self._producer.poll(0)
                return

    def _note(self, error: KafkaError | None, _: object) -> None:
        if error is not None:
            self._failures.append(str(error))
