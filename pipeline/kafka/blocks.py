"""A consumer that hands out record batches whole: aiokafka's own, with two of the names its code looks up bound otherwise.

aiokafka makes an object of 11 fields for every record, which costs more than all the rest of a lane's Python. Nothing here
fetches, tracks positions or takes part in a group: that is aiokafka's. Only what it does with the bytes of a fetch is ours:
the same checks (checksum, aborted transactions, control batches, every record's structure), by batch.

Batches of few records come as single events all the same, because a batch costs more than a record; many such are packed.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Iterator, Sequence
from itertools import groupby
from types import FunctionType
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.consumer.fetcher import READ_COMMITTED, Fetcher, PartitionRecords
from aiokafka.errors import CorruptRecordException
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c

from pipeline.kafka.unpack import CODECS, unpacked
from sandbox.records import CodecError, codecs
from schemas.event import Event
from schemas.records import Block

_log = logging.getLogger(__name__)
BATCH_RECORDS_MIN = 16
UNPACKED_FACTOR = 16
UNPACKED_BYTES_MIN = 4 << 20
"""One answer of a partition is unpacked up to so many times its size, or so many bytes."""
SECTION_BYTES_READ_MAX = 8 << 20
"""A larger one is taken apart record by record: the codec's memory is bounded."""
HEADER = struct.Struct(">qiibIhiqqqhii")
"""Message format v2: base offset, length, leader epoch, magic, CRC, attributes, last offset delta, base and greatest
timestamp, producer id, producer epoch, base sequence, records (https://kafka.apache.org/documentation/#recordbatch)."""
CHECKED_FROM = 21
"""Where the checksum begins to count: at the attributes."""
_PREFIX = struct.Struct(">qi")
_MAGIC_AT = 16
_LEAST_BYTES = _MAGIC_AT + 1 - _PREFIX.size
"""After the length field, of any format."""
_COMPRESSION, _LOG_APPEND_TIME, _TRANSACTIONAL, _CONTROL = 0x07, 0x08, 0x10, 0x20
_ATTRIBUTES_AT = 21
_ATTRIBUTES = struct.Struct(">h")
_LENGTH_AT = 8
_LENGTH = struct.Struct(">i")

Item = Block | Event
"""What is fetched; aiokafka's own record where the client is not the one that is known."""


def joined(items: Sequence[Any]) -> Sequence[Event]:
    """What one fetch brought of one partition, as one sequence of events."""
    runs = [(kind is Block, list(run)) for kind, run in groupby(items, type)]
    if len(items) < BATCH_RECORDS_MIN and not any(is_block for is_block, _ in runs):
        return _events(items)
    pool = codecs()
    try:
        parts = [pool.records(run) if is_block else pool.pack(_events(run)) for is_block, run in runs]
    except CodecError:
        return [event for is_block, run in runs for event in (pool.events(run) if is_block else _events(run))]
    return parts[0].joined(*parts[1:])


def _events(items: Sequence[Any]) -> list[Event]:
    return [item if isinstance(item, Event) else event_of(item) for item in items]


def first_offset(item: Any) -> int:
    """Of its first event."""
    return int(item.offsets[0] if isinstance(item, Block) else item.offset)


def offset_after(item: Any) -> int:
    """Where fetching goes on after it."""
    return int(item.offsets[-1] if isinstance(item, Block) else item.offset) + 1


class _RawRecords:
    """In the place of aiokafka's `MemoryRecords`: keeps the bytes."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def has_next(self) -> bool:
        """Whether there is a whole batch."""
        data = self.data
        return len(data) >= _PREFIX.size and len(data) >= _PREFIX.size + _PREFIX.unpack_from(data)[1]

    def size_in_bytes(self) -> int:
        """All of it, a partial batch at the end included."""
        return len(self.data)


class _PartitionBlocks(PartitionRecords):  # type: ignore[misc]
    """In the place of aiokafka's: iterates over `Item`s. `next_fetch_offset` is where fetching goes on, as there."""

    next_fetch_offset: int
    _room_bytes: int
    """What of this answer may still be unpacked; when it is used up, the answer ends there and the rest is fetched again."""

    def _unpack_records(self) -> Iterator[Item]:
        data, at = self._records.data, 0
        view = memoryview(data)
        self._room_bytes = max(UNPACKED_BYTES_MIN, UNPACKED_FACTOR * len(data))
        while len(data) - at >= _PREFIX.size and self._room_bytes > 0:
            length = _PREFIX.unpack_from(data, at)[1]
            stop = at + _PREFIX.size + length
            if length < _LEAST_BYTES:
                raise CorruptRecordException(f"a record batch of {length} bytes - {self._tp}")
            if stop > len(data):
                return  # the broker cuts the last batch where the response is full
            batch, at = view[at:stop], stop
            if len(batch) < HEADER.size or batch[_MAGIC_AT] < 2:
                yield from self._legacy(batch)
            else:
                yield from self._batch(batch)

    def _batch(self, batch: memoryview) -> Iterator[Item]:
        base, _, _, _, crc, attributes, last_delta, timestamp, greatest, producer, *_, count = HEADER.unpack_from(batch)
        if self._check_crcs and calc_crc32c(batch[CHECKED_FROM:]) != crc:
            raise CorruptRecordException(f"Invalid CRC - {self._tp}")
        after = base + last_delta + 1
        if self._is_void(batch, base, attributes, producer):
            self.next_fetch_offset = max(self.next_fetch_offset, after)
            return
        section, codec = bytes(batch[HEADER.size :]), attributes & _COMPRESSION
        if codec in CODECS:  # of others the client's parser knows what to say
            section = unpacked(codec, section)
        self._room_bytes -= len(section)
        if count >= BATCH_RECORDS_MIN:
            flat = bool(attributes & _LOG_APPEND_TIME)
            block = _block(section, count, base, greatest if flat else timestamp, flat, self.next_fetch_offset - base)
            if block is not None:
                self.next_fetch_offset = max(self.next_fetch_offset, after)
                if len(block):
                    yield block
                return
        if codec in CODECS:
            batch = _uncompressed(batch, attributes, section)  # the client's own parser would unpack it without a bound
        yield from self._singly(batch)  # which says what is wrong with a malformed one, after the records before

    def _is_void(self, batch: memoryview, base: int, attributes: int, producer: int) -> bool:
        """Nobody is to see it: a control batch, or one of an aborted transaction."""
        if self._isolation_level == READ_COMMITTED:
            self._consume_aborted_up_to(base)
            if attributes & _CONTROL and self._contains_abort_marker(MemoryRecords(bytes(batch)).next_batch()):
                self._aborted_producers.discard(producer)
            if attributes & _TRANSACTIONAL and producer in self._aborted_producers:
                return True
        return bool(attributes & _CONTROL)

    def _legacy(self, batch: memoryview) -> Iterator[Event]:
        """Of the formats before transactions and headers."""
        if self._check_crcs and not MemoryRecords(bytes(batch)).next_batch().validate_crc():
            raise CorruptRecordException(f"Invalid CRC - {self._tp}")
        yield from self._singly(batch)

    def _singly(self, batch: memoryview) -> Iterator[Event]:
        """Record by record, through aiokafka's own parser."""
        asked = self.next_fetch_offset
        records = MemoryRecords(bytes(batch)).next_batch()
        for record in records:
            if record.offset >= self.next_fetch_offset:
                self.next_fetch_offset = record.offset + 1
                yield event_of(record)
        self.next_fetch_offset = max(asked, records.next_offset)


def _block(section: bytes, count: int, base: int, timestamp: int, flat: bool, delta: int) -> Block | None:
    """The records of a section whose offset delta is at least `delta`; None when it must be taken apart record by record."""
    if len(section) > SECTION_BYTES_READ_MAX:
        return None
    try:
        with codecs().lease() as one:
            scan = one.scan(one.place(section), len(section), count, max(0, delta))
            if scan is None:
                return None
            if scan.count == 0 or (scan.last == count - 1 and scan.first == scan.skipped):
                offsets = range(base + scan.skipped, base + count)
                return Block(section, count, scan.skipped, offsets, timestamp, flat)
            whole = range(base + scan.skipped, base + scan.skipped + scan.count)
            one.load(Block(section, count, scan.skipped, whole, timestamp, flat))  # which reads the true offset deltas
            return Block(section, count, scan.skipped, one.offsets(), timestamp, flat)
    except CodecError:
        return None


def _uncompressed(batch: memoryview, attributes: int, section: bytes) -> memoryview:
    """The batch with its records unpacked; its checksum is as it was, and was looked at before."""
    made = bytearray(batch[: HEADER.size]) + section
    _ATTRIBUTES.pack_into(made, _ATTRIBUTES_AT, attributes & ~_COMPRESSION)
    _LENGTH.pack_into(made, _LENGTH_AT, len(made) - _PREFIX.size)
    return memoryview(made)


def event_of(record: Any) -> Event:
    """One of aiokafka's records as an event."""
    stamp = -1 if record.timestamp is None else record.timestamp  # Kafka's oldest record format has none
    return Event(record.offset, stamp, record.key, record.value, tuple(record.headers))


def _rebound(function: Any, **names: object) -> Any:
    """The function, finding these objects under these names; everything else is as it was. Raises LookupError."""
    missing = names.keys() - set(function.__code__.co_names)
    if missing:
        raise LookupError(f"aiokafka's {function.__qualname__} no longer uses {', '.join(missing)}")
    made = FunctionType(
        function.__code__,
        {**function.__globals__, **names},
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    made.__kwdefaults__ = function.__kwdefaults__
    return made


def _block_consumer() -> Any:
    class BlockFetcher(Fetcher):  # type: ignore[misc]
        _proc_fetch_request = _rebound(
            Fetcher._proc_fetch_request,  # noqa: SLF001 - see the module
            MemoryRecords=_RawRecords,
            PartitionRecords=_PartitionBlocks,
        )

    class BlockConsumer(AIOKafkaConsumer):  # type: ignore[misc]
        start = _rebound(AIOKafkaConsumer.start, Fetcher=BlockFetcher)

    return BlockConsumer


def _consumer() -> Any:
    try:
        return _block_consumer()
    except LookupError as error:
        _log.warning("records are read one by one, at half the speed: %s", error)
        return AIOKafkaConsumer


Consumer = _consumer()
"""aiokafka's consumer, whose `getmany` returns blocks where it can, and counts them as one record each."""
