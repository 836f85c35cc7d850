"""A section of records as a batch that aiokafka's producer can send: compressed, with a header, without touching a record.

The producer asks of a batch builder how many records it has, tells it the producer's id, epoch and sequence, and takes the
bytes. Sequences, retries and transactions stay the producer's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from aiokafka import codec
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.util import calc_crc32c

from pipeline.kafka.blocks import CHECKED_FROM, HEADER
from schemas.records import Block

MAGIC: Final = 2
_TRANSACTIONAL: Final = 0x10
_CRC_AT: Final = 17
_ENCODERS: Mapping[str | None, tuple[int, Callable[[bytes], bytes]]] = {
    "gzip": (1, codec.gzip_encode),
    "snappy": (2, codec.snappy_encode),
    "lz4": (3, codec.lz4_encode),
    "zstd": (4, codec.zstd_encode),
}


class SectionBatch(BatchBuilder):  # type: ignore[misc]
    """One whole block, closed from the start. Its header is made when the producer has told who it is."""

    def __init__(self, block: Block, compression: str | None, *, transactional: bool) -> None:
        assert block.is_whole, "a part of a section has offset deltas that do not begin at 0"
        assert block.extremes is not None
        self._relative_offset = len(block)
        self._closed = True
        self._timestamps = block.timestamp, block.extremes.timestamp_max
        self._attributes, self._payload = _compressed(block.section, compression)
        self._attributes |= _TRANSACTIONAL * transactional
        self._producer = (-1, -1, -1)
        self._buffer: bytes | None = None

    def append(self, **_: Any) -> None:
        """Full."""

    def size(self) -> int:
        """Of the batch as it is sent."""
        return HEADER.size + len(self._payload)

    def _set_producer_state(self, producer_id: int, producer_epoch: int, base_sequence: int) -> None:
        self._producer = (producer_id, producer_epoch, base_sequence)

    def _build(self) -> bytes:
        if self._buffer is None:
            count = self._relative_offset
            length = HEADER.size + len(self._payload) - 12  # it counts from after itself
            fields = (self._attributes, count - 1, *self._timestamps, *self._producer, count)
            head = HEADER.pack(0, length, -1, MAGIC, 0, *fields)
            crc = calc_crc32c(head[CHECKED_FROM:] + self._payload)
            self._buffer = head[:_CRC_AT] + crc.to_bytes(4, "big") + head[CHECKED_FROM:] + self._payload
        return self._buffer


def _compressed(section: bytes, compression: str | None) -> tuple[int, bytes]:
    """The codec's number and the payload; uncompressed where compressing makes it no smaller, as aiokafka does."""
    if compression is None:
        return 0, section
    number, encode = _ENCODERS[compression]
    payload = encode(section)
    return (number, payload) if len(payload) < len(section) else (0, section)
