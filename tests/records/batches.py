"""Record batches as aiokafka's producer writes them, and random events for them."""

from __future__ import annotations

from collections.abc import Sequence

from aiokafka.record.default_records import DefaultRecordBatchBuilder
from hypothesis import strategies as st

from sandbox.records import codecs
from schemas.event import Event
from schemas.records import Block, Records

BATCH_HEADER_BYTES = 61
CODECS = {None: 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}


def batch_of(events: Sequence[Event], compression: str | None = None, *, transactional: bool = False) -> bytes:
    """One record batch; offsets are `events[0].offset` and later ones, gaps included."""
    base = events[0].offset
    builder = DefaultRecordBatchBuilder(2, CODECS[compression], transactional, -1, -1, 0, 64 << 20)
    for event in events:
        placed = builder.append(event.offset - base, event.timestamp, event.key, event.value, list(event.headers))
        assert placed is not None
    batch = bytearray(builder.build())
    batch[:8] = base.to_bytes(8, "big")
    return bytes(batch)


def block_of(events: Sequence[Event]) -> Block:
    """One block, as a fetch would bring it."""
    offsets = [event.offset for event in events]
    whole = range(offsets[0], offsets[-1] + 1)
    section = batch_of(events)[BATCH_HEADER_BYTES:]
    if len(whole) == len(offsets):
        return Block(section, len(events), 0, whole, events[0].timestamp)
    with codecs().lease() as one:
        one.load(Block(section, len(events), 0, range(offsets[0], offsets[0] + len(events)), events[0].timestamp))
        return Block(section, len(events), 0, one.offsets(), events[0].timestamp)


def records_of(events: Sequence[Event], events_per_block: int = 100) -> Records:
    """The same events as records."""
    parts = [events[at : at + events_per_block] for at in range(0, len(events), events_per_block)]
    return codecs().records([block_of(part) for part in parts])


_header_names = st.text(st.characters(codec="utf-8"), max_size=40)
_bytes = st.none() | st.binary(max_size=300) | st.integers(0, 70_000).map(lambda size: b"\x00\xff" * size)
_headers = st.lists(st.tuples(_header_names, st.none() | st.binary(max_size=300)), max_size=20).map(tuple)


@st.composite
def event_lists(draw: st.DrawFn, max_size: int = 30) -> list[Event]:
    """Events with growing offsets, gaps now and then, and any timestamps, keys, values and headers."""
    offset = draw(st.sampled_from([0, 127, 128, 65_535, 1 << 31, 1 << 40]))
    stamp = draw(st.sampled_from([0, 1_700_000_000_000, 1 << 40]))
    made = []
    for _ in range(draw(st.integers(1, max_size))):
        near = stamp + draw(st.integers(-(1 << 20), 1 << 34) if stamp else st.integers(0, 300))
        made.append(Event(offset, near, draw(_bytes), draw(_bytes), draw(_headers)))
        offset += draw(st.sampled_from([1, 1, 1, 1, 2, 200]))
    return made
