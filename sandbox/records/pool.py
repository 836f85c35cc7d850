"""The process' codecs: compiled once, leased for one batch at a time."""

from __future__ import annotations

import hashlib
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from msgspec.msgpack import Decoder
from wasmtime import Config, Engine, Module, WasmtimeError

from sandbox.cache import open_cache
from sandbox.calls import Exports, Link, LinkPlan, StoreLimits, choose
from sandbox.engine import reserve_little
from sandbox.modules import compiler_version
from sandbox.records.codec import EXPORTS, Codec, CodecError, HeaderChange
from schemas.abi import encode_events
from schemas.event import Event, Headers
from schemas.records import Block, Records

_MODULE = Path(__file__).with_name("record_codec.wasm")
MEMORY_BYTES_MAX = 256 << 20
"""Of one codec; what needs more goes as single events."""
_IDLE_BYTES_MAX = 16 << 20
"""An instance that one huge batch made larger than this is not kept."""
_IDLE_MAX = 16
SECTION_BYTES_MAX = 900 << 10
"""Records are built in runs of this size: one record batch of a topic with Kafka's default `max.message.bytes`."""
_decode = Decoder(list[tuple[int, int, bytes | None, bytes | None, Headers]]).decode


class Codecs:
    """Implements `schemas.records.RecordReader`; any thread may lease."""

    def __init__(self, memory_bytes_max: int = MEMORY_BYTES_MAX) -> None:
        self._memory_bytes_max = memory_bytes_max
        self._link: Link | None = None
        self._idle: deque[Codec] = deque()
        self._lock = threading.Lock()

    @contextmanager
    def lease(self) -> Iterator[Codec]:
        """A cleared codec for this thread alone. One whose user raised is discarded."""
        try:
            codec = self._idle.pop()
        except IndexError:
            codec = Codec(self._linked())
        try:
            codec.clear()
            yield codec
        except BaseException:
            codec.close()
            raise
        if codec.is_broken or codec.memory_bytes > _IDLE_BYTES_MAX or len(self._idle) >= _IDLE_MAX:
            codec.close()
        else:
            self._idle.append(codec)

    def events(self, blocks: Sequence[Block]) -> list[Event]:
        """See the protocol."""
        if not blocks:
            return []
        try:
            with self.lease() as codec:
                for block in blocks:
                    codec.load(block)
                return [Event(*row) for row in _decode(codec.frame())]
        except CodecError:
            if len(blocks) == 1:
                raise
        return [
            event for block in blocks for event in self.events((block,))
        ]  # together they are too much for its memory

    def pack(self, events: Sequence[Event]) -> Records:
        """The same events as records; at least one. Raises CodecError."""
        with self.lease() as codec:
            codec.take(encode_events(events))
            return self.built(codec)

    def dressed(self, records: Records, change: HeaderChange) -> Records:
        """The records with other headers. Raises CodecError."""
        with self._loaded(records) as codec:
            codec.dress(change)
            return self.built(codec)

    def restamped(self, records: Records, timestamp: int) -> Records:
        """The records with this timestamp, in milliseconds since the epoch. Raises CodecError."""
        with self._loaded(records) as codec:
            codec.restamp(timestamp)
            return self.built(codec)

    @contextmanager
    def _loaded(self, records: Records) -> Iterator[Codec]:
        with self.lease() as codec:
            for block in records.blocks:
                codec.load(block)
            yield codec

    def built(self, codec: Codec) -> Records:
        """What the codec has kept, in sections."""
        offsets = codec.offsets()
        if len(offsets) and offsets[-1] - offsets[0] == len(offsets) - 1:
            offsets = range(offsets[0], offsets[-1] + 1)
        blocks, at = [], 0
        for section, count, timestamp, extremes in codec.build(SECTION_BYTES_MAX):
            blocks.append(Block(section, count, 0, offsets[at : at + count], timestamp, extremes=extremes))
            at += count
        return Records(blocks, self)

    def records(self, blocks: Sequence[Block]) -> Records:
        """These blocks as a sequence of events."""
        return Records(blocks, self)

    def _linked(self) -> Link:
        with self._lock:
            if self._link is None:
                self._link = _link(self._memory_bytes_max)
            return self._link


@cache
def codecs() -> Codecs:
    """The process' own."""
    return Codecs()


def _link(memory_bytes_max: int) -> Link:
    engine = _engine()
    module = _compiled(engine)
    places = {export.name: at for at, export in enumerate(module.exports)}
    limits = StoreLimits(memory_bytes_max, table_elements=1024, instances=1, tables=1, memories=1)
    return choose().link(
        LinkPlan(
            engine=engine,
            module=module,
            imports=(),
            exports=Exports(places["memory"], tuple(places[name] for name in EXPORTS)),
            limits=limits,
            runs_at_start=False,
            metered=False,
        )
    )


def _engine() -> Engine:
    """Without epochs and fuel: its loops end with the bytes they are given."""
    config = Config()
    config.wasm_memory64 = False
    reserve_little(config)
    return Engine(config)


def _compiled(engine: Engine) -> Module:
    """From the authenticated cache of compiled modules, or compiled and put there."""
    wasm = _MODULE.read_bytes()
    disk = open_cache(None, 64)
    name = f"codec {hashlib.sha256(wasm).hexdigest()} wasmtime={compiler_version()}"
    code = disk.get(name) if disk else None
    if code is not None:
        try:
            return Module.deserialize(engine, code)
        except WasmtimeError:  # another CPU, or another setting of this file's
            pass
    module = Module(engine, wasm)
    if disk:
        disk.put(name, bytes(module.serialize()))
    return module
