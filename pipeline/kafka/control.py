"""The compacted control topic over aiokafka: read whole at start, followed without a group, written with acks=all."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka import TopicPartition as KafkaPartition

from pipeline.kafka.cluster import learn_topics
from pipeline.kafka.errors import translate
from pipeline.kafka.source import within


class KafkaControlLog:
    """Implements `pipeline.ports.ControlLog`. The topic has one partition, so all processes see the same order."""

    def __init__(self, topic: str, consumer_options: Mapping[str, Any], producer_options: Mapping[str, Any]) -> None:
        self._topic = topic
        self._consumer_options = consumer_options
        self._producer_options = producer_options
        self._timeout_s = consumer_options["request_timeout_ms"] / 1e3
        self._consumer: AIOKafkaConsumer | None = None
        self._producer: AIOKafkaProducer | None = None
        self._writing = asyncio.Lock()

    async def open(self) -> Mapping[str, bytes]:
        """See the port."""
        self._consumer = AIOKafkaConsumer(
            **{**self._consumer_options, "auto_offset_reset": "earliest", "group_id": None}
        )
        await within(self._timeout_s, f"reading {self._topic}", self._consumer.start())
        return await within(self._timeout_s, f"reading {self._topic}", self._read_whole(self._consumer))

    async def put(self, key: str, document: bytes | None) -> None:
        """See the port. A producer that saw an error is discarded; the next call makes a new one."""
        async with self._writing:
            if self._producer is None:
                self._producer = AIOKafkaProducer(**self._producer_options)
                await self._or_discard(self._producer.start())
            await self._or_discard(
                self._producer.send_and_wait(self._topic, key=key.encode(), value=document, partition=0)
            )

    async def changes(self, timeout_s: float) -> Sequence[tuple[str, bytes | None]]:
        """See the port."""
        assert self._consumer is not None, "the control log is not open"
        try:
            fetched = await self._consumer.getmany(timeout_ms=int(timeout_s * 1e3))
        except Exception as error:
            raise translate(error) from error
        return [
            (record.key.decode("utf-8", "replace"), record.value)
            for records in fetched.values()
            for record in records
            if record.key is not None
        ]

    async def close(self) -> None:
        """See the port."""
        for client in (self._consumer, self._producer):
            if client is not None:
                with contextlib.suppress(Exception):
                    async with asyncio.timeout(5.0):
                        await client.stop()
        self._consumer = self._producer = None

    async def _read_whole(self, consumer: AIOKafkaConsumer) -> dict[str, bytes]:
        if self._topic not in await consumer.topics():
            return {}  # nothing ever ran here: `run` creates the topic before it opens this
        partition = KafkaPartition(self._topic, 0)
        # Asked before there is an assignment: behind a fetch that waits for records, the answer would wait as well.
        await learn_topics(consumer, [self._topic])
        begin = (await consumer.beginning_offsets([partition]))[partition]
        end = (await consumer.end_offsets([partition]))[partition]
        consumer.assign([partition])
        consumer.seek(partition, begin)
        documents: dict[str, bytes] = {}
        while await consumer.position(partition) < end:
            for key, document in await self.changes(0.5):
                documents.pop(key, None)
                if document is not None:
                    documents[key] = document
        return documents

    async def _or_discard(self, call: Any) -> None:
        try:
            await within(self._timeout_s, f"writing to {self._topic}", call)
        except BaseException:
            producer, self._producer = self._producer, None
            if producer is not None:
                with contextlib.suppress(Exception):
                    async with asyncio.timeout(5.0):
                        await producer.stop()
            raise
