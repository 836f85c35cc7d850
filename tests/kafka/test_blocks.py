"""The consumer that hands out record batches whole, beside aiokafka's own: the same events, the same positions, the same errors."""

from __future__ import annotations

import asyncio
import random
import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.codec import gzip_decode, lz4_decode, snappy_decode, zstd_decode
from aiokafka.consumer.fetcher import READ_COMMITTED, READ_UNCOMMITTED, PartitionRecords
from aiokafka.errors import CorruptRecordException
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c, decode_varint_py
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.kafka import blocks, sections
from pipeline.kafka.blocks import BATCH_RECORDS_MIN, Consumer, event_of, joined
from schemas.event import Event
from schemas.records import Block, Extremes, Records
from tests.records.batches import CODECS, batch_of, event_lists, records_of
from tests.services.kafka import KafkaBroker
from tests.services.topics import create_topic, produce

AT = KafkaPartition("t", 0)
_CONTROL_KEY = struct.Struct(">hh")


def ours(data: bytes, aborted: Sequence[tuple[int, int]], offset: int, level: int) -> blocks._PartitionBlocks:
    return blocks._PartitionBlocks(AT, blocks._RawRecords(data), aborted, offset, None, None, True, level)


def theirs(data: bytes, aborted: Sequence[tuple[int, int]], offset: int, level: int) -> Any:
    return PartitionRecords(AT, MemoryRecords(data), aborted, offset, None, None, True, level)


def drained(records: Any) -> tuple[list[Event], int, type | None]:
    """Everything, where fetching goes on, and what was raised at the end."""
    items: list[Any] = []
    error = None
    try:
        items.extend(records)
    except (CorruptRecordException, ValueError) as raised:
        error = type(raised)
    return list(joined(items)), records.next_fetch_offset, error


def stamped(batch: bytes, *, producer: int = -1, attributes: int = 0) -> bytes:
    """The batch with another producer and more attributes, and a checksum that is right."""
    made = bytearray(batch)
    struct.pack_into(">h", made, 21, struct.unpack_from(">h", made, 21)[0] | attributes)
    struct.pack_into(">q", made, 43, producer)
    struct.pack_into(">I", made, 17, calc_crc32c(bytes(made[21:])))
    return bytes(made)


def marker(offset: int, producer: int, *, commits: bool) -> bytes:
    """The control batch that ends a transaction."""
    event = Event(offset, 0, _CONTROL_KEY.pack(0, 1 if commits else 0), b"\x00" * 6)
    return stamped(batch_of([event]), producer=producer, attributes=0x30)


@st.composite
def logs(draw: st.DrawFn) -> tuple[bytes, list[tuple[int, int]], int]:
    """What a broker answers with, transactions of two producers among it, the aborted ones of them, and the offset that was
    asked for: one of the first batch.
    """
    data, aborted, offset = b"", [], draw(st.integers(0, 1000))
    asked = -1
    for _ in range(draw(st.integers(1, 5))):
        size = draw(st.sampled_from([1, 3, BATCH_RECORDS_MIN - 1, BATCH_RECORDS_MIN, 40]))
        gap = draw(st.sampled_from([1, 1, 2]))
        events = [
            Event(offset + n * gap, 1_000_000 + n, b"k%d" % n, b"v%d" % offset, (("h", b"x"),)) for n in range(size)
        ]
        producer = draw(st.sampled_from([-1, 7, 8]))
        batch = batch_of(events, draw(st.sampled_from(list(CODECS))))
        if producer >= 0:
            batch = stamped(batch, producer=producer, attributes=0x10)
        if draw(st.booleans()):
            batch = stamped(batch, producer=producer, attributes=0x08)
        data += batch
        start, offset = offset, events[-1].offset + 1
        asked = draw(st.integers(start, offset - 1)) if asked < 0 else asked
        if producer >= 0:
            commits = draw(st.booleans())
            data += marker(offset, producer, commits=commits)
            offset += 1
            if not commits:
                aborted.append((producer, start))
    return data, aborted, asked


@given(logs(), st.data())
@settings(max_examples=300)
def test_the_same_events_and_the_same_position(
    log: tuple[bytes, list[tuple[int, int]], int], data: st.DataObject
) -> None:
    raw, aborted, offset = log
    level = data.draw(st.sampled_from([READ_COMMITTED, READ_UNCOMMITTED]))
    whole = raw[: data.draw(st.sampled_from([len(raw), len(raw) - 1, len(raw) // 2]))]  # a response ends anywhere
    mine, their = drained(ours(whole, aborted, offset, level)), theirs(whole, aborted, offset, level)
    expected = [event_of(record) for record in their]
    assert mine == (expected, their.next_fetch_offset, None)


def attributes_of(batch: bytes, count: int) -> Iterator[int]:
    """Of so many records of a batch, and of the next one if there is any; of none where the batch cannot be unpacked."""
    unpack = (bytes, gzip_decode, snappy_decode, lz4_decode, zstd_decode)[batch[22] & 7]
    with suppress(Exception):  # whatever a decompressor raises
        payload, at = bytearray(unpack(batch[61:])), 0
        for _ in range(count + 1):
            length, at = decode_varint_py(payload, at)
            yield payload[at]
            at += length


def test_a_records_attributes_are_eight_bits() -> None:
    """Nothing is said by them yet; aiokafka takes them for a varint."""
    events = [Event(n, 0, None, b"v") for n in range(BATCH_RECORDS_MIN)]
    batch = bytearray(batch_of(events))
    _, at = decode_varint_py(batch, 61)
    batch[at] = 0xC3
    raw = stamped(bytes(batch))
    assert next(attributes_of(raw, 0)) == 0xC3
    assert drained(ours(raw, [], 0, READ_COMMITTED)) == (events, len(events), None)


@given(event_lists(), st.sampled_from(list(CODECS)), st.integers(0, 1 << 32))
@settings(max_examples=300)
def test_a_damaged_batch_ends_in_the_same_way(events: list[Event], compression: str | None, seed: int) -> None:
    """With a checksum that is right, the structure is what is wrong: the records before the damage come first, as ever."""
    chance = random.Random(seed)  # drawn from outside: gzip's bytes differ from run to run
    batch = bytearray(batch_of(events * BATCH_RECORDS_MIN if len(events) == 1 else events, compression))
    for _ in range(chance.randint(1, 2)):
        batch[chance.randrange(61, len(batch))] ^= 1 << chance.randrange(8)
    raw = stamped(bytes(batch)) if chance.random() < 0.8 else bytes(batch)
    try:
        mine = drained(ours(raw, [], 0, READ_COMMITTED))
    except Exception as error:  # a damaged payload: what the decompressor raises
        with pytest.raises(type(error)):
            list(theirs(raw, [], 0, READ_COMMITTED))
        return
    if any(one >= 0x80 for one in attributes_of(raw, len(mine[0]))):
        return  # they read these eight bits as a varint, and all that follows from another place
    their = theirs(raw, [], 0, READ_COMMITTED)
    expected: list[Event] = []
    try:
        expected.extend(event_of(record) for record in their)
    except (CorruptRecordException, ValueError) as error:
        assert mine[2] is type(error)
    assert mine[0] == expected
    assert mine[2] is not None or mine[1] == their.next_fetch_offset


def test_large_batches_are_blocks_and_small_ones_are_not() -> None:
    large = [Event(n, 0, None, b"v") for n in range(BATCH_RECORDS_MIN)]
    items = list(ours(batch_of(large) + batch_of([Event(100, 0, None, b"v")]), [], 0, READ_COMMITTED))
    assert [type(item) for item in items] == [Block, Event]
    assert isinstance(joined(items[:1]), Records)
    assert isinstance(joined(items[1:]), list)
    packed = joined([*items, *items[1:] * 20])
    assert isinstance(packed, Records), "a few small ones among large ones do not make single events of all"
    assert list(packed) == [*large, *[Event(100, 0, None, b"v")] * 21]


@pytest.mark.parametrize("compression", list(CODECS), ids=str)
@pytest.mark.parametrize("transactional", [False, True])
def test_a_built_batch_is_one_that_a_stranger_can_read(compression: str | None, *, transactional: bool) -> None:
    events = [Event(n, 1_700_000_000_000 - n, b"k", b"value %d" % n * 9, (("h", None),)) for n in range(50)]
    (block,) = _built(events)
    batch = sections.SectionBatch(block, compression, transactional=transactional)
    batch._set_producer_state(77, 3, 1000)
    read = MemoryRecords(bytes(batch._build())).next_batch()
    assert read.validate_crc()
    assert (read.producer_id, read.producer_epoch, read.base_sequence) == (77, 3, 1000)
    assert read.is_transactional == transactional
    assert read.compression_type == CODECS[compression]
    assert (read.first_timestamp, read.max_timestamp) == (events[0].timestamp, events[0].timestamp)
    assert [event_of(record) for record in read] == events
    assert batch.record_count() == 50
    assert batch.size() == len(batch._build())


def test_what_does_not_get_smaller_is_not_compressed() -> None:
    (block,) = _built([Event(0, 0, None, random.Random(1).randbytes(1000))])
    batch = sections.SectionBatch(block, "lz4", transactional=False)
    assert MemoryRecords(bytes(batch._build())).next_batch().compression_type == 0


def _built(events: Sequence[Event]) -> Sequence[Block]:
    stamps = [event.timestamp for event in events]
    (block,) = records_of(events, len(events)).blocks
    extremes = Extremes(min(stamps), max(stamps), len(block.section), 0)
    return [Block(block.section, len(events), 0, block.offsets, block.timestamp, extremes=extremes)]


def test_an_aiokafka_with_other_names_inside_is_not_bent(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An update of the client costs speed, never events."""
    with pytest.raises(LookupError, match="no longer uses NoSuchName"):
        blocks._rebound(AIOKafkaConsumer.start, NoSuchName=object)

    def not_known() -> Any:
        raise LookupError("not the aiokafka that is known")

    monkeypatch.setattr(blocks, "_block_consumer", not_known)
    assert blocks._consumer() is AIOKafkaConsumer
    assert "one by one" in caplog.text


def test_both_consumers_read_the_same_of_a_real_broker(kafka_broker: KafkaBroker) -> None:
    """librdkafka's batches in every compression, more of them than one fetch brings."""
    topic = create_topic(kafka_broker.bootstrap, "blocks.read-alike", 1)
    for compression in ("none", "gzip", "snappy", "lz4", "zstd"):
        numbered: Iterable[tuple[bytes, bytes]] = (
            (b"%d" % n, b"%s %d" % (compression.encode(), n)) for n in range(3_000)
        )
        produce(kafka_broker.bootstrap, topic, numbered, compression=compression)
    at = KafkaPartition(topic, 0)

    async def read(kind: Any, start: int) -> list[Event]:
        consumer = kind(
            bootstrap_servers=kafka_broker.bootstrap, isolation_level="read_committed", max_partition_fetch_bytes=20_000
        )
        await consumer.start()
        try:
            consumer.assign([at])
            consumer.seek(at, start)
            events: list[Event] = []
            async with asyncio.timeout(30):
                while not events or events[-1].offset < 14_999:
                    for items in (await consumer.getmany(timeout_ms=1000, max_records=7)).values():
                        events.extend(joined(items))
            return events
        finally:
            await consumer.stop()

    for start in (0, 1_234):
        mine, theirs = asyncio.run(read(Consumer, start)), asyncio.run(read(AIOKafkaConsumer, start))
        assert [event.offset for event in mine] == list(range(start, 15_000))
        assert mine == theirs


def test_an_answer_is_unpacked_up_to_a_bound_and_the_rest_is_fetched_again() -> None:
    """Each of these batches is a megabyte when it is unpacked, which is no bomb; twenty megabytes of them at once would be."""
    events = [Event(n, 0, None, bytes(10_000)) for n in range(100)]
    small = batch_of(events, "gzip")
    log = b"".join(int.to_bytes(100 * n, 8, "big") + small[8:] for n in range(20))
    records = ours(log, [], 0, READ_COMMITTED)
    held = sum(item.size_bytes for item in records if isinstance(item, Block))
    assert blocks.UNPACKED_BYTES_MIN <= held < blocks.UNPACKED_BYTES_MIN + (2 << 20)
    assert records.next_fetch_offset % 100 == 0
    rest = log[records.next_fetch_offset // 100 * len(small) :]  # what the broker answers with then
    again = ours(rest, [], records.next_fetch_offset, READ_COMMITTED)
    assert next(iter(again)).offsets[0] == records.next_fetch_offset


@pytest.mark.parametrize("length", [-100, -12, 0, 4])
def test_a_length_that_cannot_be_is_corrupt(length: int) -> None:
    raw = struct.pack(">qi", 0, length) + bytes(100)
    with pytest.raises(CorruptRecordException):
        list(ours(raw, [], 0, READ_COMMITTED))
