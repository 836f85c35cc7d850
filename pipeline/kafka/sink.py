"""A lane's producer over aiokafka: transactional for exactly-once, idempotent for at-least-once.

One task owns a producer and awaits in sequence (concurrent `send_batch` calls reorder). Every produce future is awaited
before a commit (one that is not drops a refused record silently). A producer that saw any error is never used again.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka import TopicPartition as KafkaPartition

from pipeline.kafka.blocks import HEADER
from pipeline.kafka.errors import translate
from pipeline.kafka.hanging import refuse_hanging
from pipeline.kafka.sections import SectionBatch
from pipeline.kafka.source import KafkaSource, within
from pipeline.kafka.stamps import Window
from pipeline.ports import Outgoing
from sandbox.records import CodecError, codecs
from schemas.errors import KeylessError, OversizeError, TransportError
from schemas.event import TopicPartition
from schemas.records import Block, Records

RECORD_BYTES_MAX = 1_048_588
"""The broker's default, for topics whose own limit is not known."""
_BATCH_OVERHEAD_BYTES = 61 + 21
"""Header of a record batch, and the most that one record adds besides key, value and headers (Kafka message format v2)."""
_CLOSE_S = 5.0


class KafkaSink:
    """Implements `pipeline.ports.EventSink` for one lane; `transactional_id=None` is at-least-once."""

    def __init__(
        self,
        options: Mapping[str, Any],
        source: KafkaSource,
        partition: TopicPartition,
        group: str,
        transactional_id: str | None,
        sizes: Mapping[str, int],
        compacted: Collection[str] = (),
        windows: Mapping[str, Window] | None = None,
    ) -> None:
        """`compacted` topics refuse a whole batch for one record without a key: such a record is refused here instead.
        A timestamp outside of its topic's window would be refused likewise, and becomes now.
        """
        self._options = options
        self._source = source
        self._partition = partition
        self._group = group
        self._transactional_id = transactional_id
        self._sizes = sizes
        self._compacted = compacted
        self._windows = windows or {}
        self._batch_bytes_max = min([options["max_batch_size"], *sizes.values()])
        self._timeout_s = options["request_timeout_ms"] / 1e3
        self._producer: AIOKafkaProducer | None = None
        self._sent: list[tuple[str, asyncio.Future[Any]]] = []
        self._in_transaction = False
        self._epoch = source.epoch

    async def open(self) -> None:
        """See the port: InitProducerId fences whoever held the id, and waits until their transaction has ended."""
        options = {"linger_ms": 0, **self._options, "max_batch_size": self._batch_bytes_max}
        if self._transactional_id is None:
            options.pop("transaction_timeout_ms", None)
        else:
            options["transactional_id"] = self._transactional_id
        self._producer = AIOKafkaProducer(**options)
        await within(self._timeout_s, f"opening the producer of {self._partition}", self._producer.start())

    async def partition_count(self, topic: str) -> int:
        """See the port. Refuses a topic in which a transaction of this lane is open that InitProducerId has not ended."""
        partitions = await within(self._timeout_s, f"looking up topic {topic}", self._live().partitions_for(topic))
        if self._transactional_id is not None:
            what = f"looking for open transactions in {topic}"
            await within(self._timeout_s, what, refuse_hanging(self._live(), topic, partitions))
        return len(partitions)

    async def write(self, outgoing: Iterable[Outgoing]) -> None:
        """See the port: everything is laid out first, so that a record which does not fit is refused before anything is sent."""
        batches = [(out, batch) for out in outgoing for batch in self._lay_out(out)]
        if not batches:
            return
        await self._begin()
        producer = self._live()
        for out, batch in batches:
            future = await within(
                self._timeout_s,
                f"sending to {out.topic}",
                producer.send_batch(batch, out.topic, partition=out.partition),
            )
            self._sent.append((out.topic, future))

    async def commit(self, offset: int) -> None:
        """See the port."""
        if self._transactional_id is None:
            await self._settle()
            await self._source.commit(self._partition, offset, self._epoch)
            return
        await self.commit_all({self._partition: offset})

    async def commit_all(self, offsets: Mapping[TopicPartition, int]) -> None:
        """See the port."""
        assert self._transactional_id is not None, "offsets of several partitions are committed in a transaction only"
        await self._begin()
        await self._settle()
        producer, at = self._live(), {KafkaPartition(*each): offset for each, offset in offsets.items()}
        await within(
            self._timeout_s,
            f"adding the offset of {self._partition}",
            producer.send_offsets_to_transaction(at, self._group),
        )
        await within(self._timeout_s, f"committing {self._partition}", producer.commit_transaction())
        self._in_transaction = False

    async def close(self) -> None:
        """See the port."""
        producer, self._producer = self._producer, None
        for _, future in self._sent:
            future.add_done_callback(_retrieve)
        self._sent.clear()
        if producer is None:
            return
        _forget_unsent(producer)
        with contextlib.suppress(Exception):
            async with asyncio.timeout(_CLOSE_S):
                if self._in_transaction:
                    await producer.abort_transaction()
        try:
            async with asyncio.timeout(_CLOSE_S):
                await producer.stop()
        except Exception:
            await _tear_down(producer)
        _forget_unsent(producer)

    async def _begin(self) -> None:
        if self._transactional_id is not None and not self._in_transaction:
            await within(
                self._timeout_s, f"beginning a transaction for {self._partition}", self._live().begin_transaction()
            )
            self._in_transaction = True

    async def _settle(self) -> None:
        """Every record is acknowledged, or the first refusal is raised with the topic it was for; `close` sees to the rest."""
        for topic, future in self._sent:
            try:
                async with asyncio.timeout(self._timeout_s):
                    await future
            except TimeoutError as error:
                raise TransportError(
                    f"{topic} did not acknowledge within {self._timeout_s:g} s", topic=topic
                ) from error
            except Exception as error:
                raise _about(topic, translate(error)) from error
        self._sent.clear()

    def _lay_out(self, out: Outgoing) -> list[Any]:
        """Record batches, each within the client's batch size; a larger record gets one of its own."""
        producer = self._live()
        size_max = self._sizes.get(out.topic, RECORD_BYTES_MAX) - _BATCH_OVERHEAD_BYTES
        ready = self._ready(out, size_max)
        if ready is not None:
            transactional = self._transactional_id is not None
            return [
                SectionBatch(block, self._options["compression_type"], transactional=transactional) for block in ready
            ]
        batches = [producer.create_batch()]
        append = batches[0].append
        fixed, compacted = out.timestamp, out.topic in self._compacted
        earliest, latest = self._windows.get(out.topic, Window()).bounds(int(time.time() * 1e3))
        for event in out.events:
            stamp: int | None = event.timestamp if fixed is None else fixed
            if stamp is not None and not earliest <= stamp <= latest:
                stamp = None  # now: the source had none, or one that the topic does not take
            if compacted and event.key is None:
                raise KeylessError(out.topic, event.offset)
            headers = list(event.headers) if event.headers else []
            placed = append(timestamp=stamp, key=event.key, value=event.value, headers=headers)
            if placed is None:  # full
                batches.append(producer.create_batch())
                append = batches[-1].append
                placed = append(timestamp=stamp, key=event.key, value=event.value, headers=headers)
            if placed.size > size_max:
                raise OversizeError(out.topic, event.offset, placed.size, size_max)
        return batches

    def _ready(self, out: Outgoing, size_max: int) -> Sequence[Block] | None:
        """Blocks that can go as they are: every record fits, has the key its topic wants, and a timestamp that it takes."""
        if not isinstance(out.events, Records):
            return None
        try:
            records = out.events if out.timestamp is None else codecs().restamped(out.events, out.timestamp)
        except CodecError:
            return None
        earliest, latest = self._windows.get(out.topic, Window()).bounds(int(time.time() * 1e3))
        keyless = out.topic not in self._compacted
        fit = all(
            (facts := block.extremes) is not None
            and block.is_whole
            and len(block.section) + HEADER.size <= self._batch_bytes_max
            and facts.record_bytes_max <= size_max
            and earliest <= facts.timestamp_min
            and facts.timestamp_max <= latest
            and (keyless or not facts.keyless)
            for block in records.blocks
        )
        return records.blocks if fit else None

    def _live(self) -> AIOKafkaProducer:
        assert self._producer is not None, "the sink is not open"
        return self._producer


def _about(topic: str, error: Exception) -> Exception:
    """The error with the topic it was for, so that the lane can tell a refused dead letter from a broker that is away."""
    if isinstance(error, TransportError) and error.topic is None:
        error.topic = topic
    return error


def _retrieve(future: asyncio.Future[Any]) -> None:
    """Mark the outcome of an abandoned produce as seen."""
    if not future.cancelled():
        future.exception()


def _forget_unsent(producer: AIOKafkaProducer) -> None:
    """What waits in the producer carries its error for whoever waits for that: batches that never left, offsets that were
    on their way, the transaction. Nobody does any more, and asyncio would complain of each. Called before closing, which
    drops some of them, and after it, which makes others."""
    accumulator, transactions = producer._message_accumulator, producer._txn_manager  # noqa: SLF001
    waiting = [batch for batches in accumulator._batches.values() for batch in batches]  # noqa: SLF001
    futures = [future for batch in waiting for future in (batch.future, batch._drain_waiter)]  # noqa: SLF001
    if transactions is not None:
        futures += [future for *_, future in transactions._pending_txn_offsets]  # noqa: SLF001
        futures += filter(None, [transactions._transaction_waiter])  # noqa: SLF001
    for future in futures:
        future.add_done_callback(_retrieve)


async def _tear_down(producer: AIOKafkaProducer) -> None:
    """Let go of a producer whose broker no longer answers: `stop` flushes first and would wait for ever."""
    sender = producer._sender.sender_task  # noqa: SLF001 - there is no public way to give up
    if sender is not None:
        sender.cancel()
        await asyncio.wait([sender], timeout=1.0)
    with contextlib.suppress(Exception):
        async with asyncio.timeout(1.0):
            await producer.client.close()
