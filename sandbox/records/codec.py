"""One instance of the host's own codec (`transformers/guests/rust/record-codec`): its exports, as methods.

Places are byte positions in what was placed since the last `clear`. An instance that raised is good for `close` only.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from msgspec.msgpack import Encoder

from sandbox.calls import GuestTrap, Link, LinkError
from sandbox.host import HostState, Services
from schemas.event import Headers
from schemas.records import Block, Extremes, Offsets

EXPORTS: Final = (
    "reserve",
    "facts",
    "scan",
    "load",
    "take",
    "restamp",
    "dress",
    "frame",
    "frame_changes",
    "told",
    "absorb",
    "build",
    "offsets",
    "kept",
    "out",
)
(
    _RESERVE,
    _FACTS,
    _SCAN,
    _LOAD,
    _TAKE,
    _RESTAMP,
    _DRESS,
    _FRAME,
    _FRAME_CHANGES,
    _TOLD,
    _ABSORB,
    _BUILD,
    _OFFSETS,
    _KEPT,
    _OUT,
) = range(len(EXPORTS))
_U32: Final = 0xFFFFFFFF
_NEVER: Final = 1 << 40
"""Epochs; the codec's engine counts none."""
_FACTS_OF: Final = struct.Struct("<8q")


_encode = Encoder().encode


@dataclass(frozen=True, slots=True)
class HeaderChange:
    """Which headers go, by name, and which are put behind the rest."""

    drop: frozenset[str] = frozenset()
    drop_any_case: frozenset[str] = frozenset()
    """ASCII names in lower case; the headers' may be in any."""
    add: Headers = ()


class CodecError(Exception):
    """The codec gave up: out of memory, or a bug in it. Its work can always be done without it."""


@dataclass(frozen=True, slots=True)
class Scan:
    """What a section holds."""

    skipped: int
    """Records with an offset delta before the one asked for."""
    first: int
    last: int
    """Offset deltas of the others; they grow from record to record."""
    count: int


class Codec:
    """See the module. Used by one thread at a time."""

    def __init__(self, link: Link) -> None:
        """Raises CodecError when there is no room for an instance."""
        self._seat = link.seat()
        try:
            self._seat.open(HostState(Services(), 0), _NEVER)
            self._facts_at = self._call(_FACTS) & _U32
        except LinkError as error:
            raise CodecError(str(error)) from None
        self.is_broken = False
        """It raised: good for `close` only."""
        self._end = 0
        """The place after what was placed last."""

    @property
    def memory_bytes(self) -> int:
        """What the instance has grown to."""
        return self._seat.memory.size()

    def close(self) -> None:
        """Give the memory back."""
        self._seat.close()

    def clear(self) -> None:
        """Forget all that was placed and loaded."""
        self._call(_RESERVE, 0, 1)
        self._end = 0

    def place(self, data: bytes) -> int:
        """Copy bytes in; their place."""
        address = self._call(_RESERVE, len(data)) & _U32
        self._seat.memory.write(address, data)
        at, self._end = self._end, self._end + len(data)
        return at

    def scan(self, at: int, length: int, count: int, delta: int) -> Scan | None:
        """Check `count` records to the last byte; None when they are malformed. `delta`: the first offset delta of interest."""
        found = self._signed(_SCAN, at, length, count, delta)
        if found < 0:
            return None
        skipped, first, last, *_ = self._facts()
        return Scan(skipped, first, last, found)

    def load(self, block: Block) -> None:
        """Place a block and take up its records, after those there are."""
        at = self.place(block.section)
        offsets, base = _U32, 0
        if isinstance(block.offsets, range):
            base = block.offsets.start - block.skip
        else:
            offsets = self.place(block.offsets.tobytes())
        words = (at, len(block.section), block.skip, len(block), base, block.timestamp, block.flat, offsets)
        if self._signed(_LOAD, *words) < 0:
            raise CodecError("records that were looked through before are malformed now")

    def take(self, body: bytes) -> None:
        """Take up events as `BatchEncoder.body` writes them, after those there are."""
        if self._signed(_TAKE, self.place(body)) < 0:
            raise CodecError("events that were encoded just now are malformed")

    def restamp(self, timestamp: int) -> None:
        """Give all that is loaded this timestamp, in milliseconds since the epoch."""
        self._call(_RESTAMP, timestamp)

    def dress(self, change: HeaderChange) -> None:
        """Change the headers of all that is loaded."""
        spec = _encode((sorted(change.drop), sorted(change.drop_any_case), change.add))
        if self._signed(_DRESS, self.place(spec)) < 0:
            raise CodecError("a change of headers that was encoded just now is malformed")

    def frame(self) -> bytes:
        """What is loaded, as the second element of a batch frame."""
        return self._read(self._call(_FRAME))

    def frame_changes(self) -> bytes | None:
        """The same in `encoding: event`, of Debezium's JSON: `absorb` then takes the answer to it.

        None when any value is not what Debezium nearly always writes, whether it can be decoded or not.
        """
        return None if self._signed(_FRAME_CHANGES) < 0 else self._read(self._call(_TOLD))

    def absorb(self, answer: bytes, output_bytes_max: int) -> list[tuple[int, bytes]] | None:
        """Take a guest's result frame for what is loaded: the rejections, by index, each as it lies in the frame.

        None when the frame is not in one of the usual forms, right or wrong; nothing has changed then.
        """
        at = self.place(answer)
        rejected = self._signed(_ABSORB, at, len(answer), output_bytes_max)
        if rejected < 0:
            return None
        if rejected == 0:
            return []
        numbers = struct.iter_unpack("<3I", self._read(self._call(_OUT)))
        return [(index, answer[start - at : start - at + length]) for index, start, length in numbers]

    def build(self, bytes_max: int) -> Iterator[tuple[bytes, int, int, Extremes]]:
        """The kept records anew, in sections of at most `bytes_max` bytes or one record: the section, its records, its base timestamp."""
        at = 0
        while count := self._signed(_BUILD, at, bytes_max):
            at, first, *extremes = self._facts()[:6]
            yield self._read(self._call(_OUT)), count, first, Extremes(*extremes)

    def offsets(self) -> Offsets:
        """Of the kept records."""
        self._call(_OFFSETS)
        return array("q", self._read(self._call(_OUT)))

    def kept(self) -> array[int]:
        """Which of the loaded records are kept, by index."""
        self._call(_KEPT)
        return array("I", self._read(self._call(_OUT)))

    @property
    def kept_count(self) -> int:
        """As of the last `absorb`."""
        return self._facts()[0]

    def _facts(self) -> tuple[int, ...]:
        return _FACTS_OF.unpack(self._seat.memory.read(self._facts_at, _FACTS_OF.size))

    def _call(self, function: int, first: int = 0, second: int = 0) -> int:
        try:
            return self._seat.call(function, first, second)
        except GuestTrap as trap:
            self.is_broken = True
            raise CodecError(str(trap)) from None

    def _signed(self, function: int, *words: int) -> int:
        try:
            (word,) = self._seat.call_words(function, words, 1)
        except GuestTrap as trap:
            self.is_broken = True
            raise CodecError(str(trap)) from None
        return word - (1 << 64) if word >> 63 else word

    def _read(self, packed: int) -> bytes:
        return self._seat.memory.read(packed >> 32 & _U32, packed & _U32)
