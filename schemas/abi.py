"""Guest ABI v1: the names a module exports and imports, and the frames that cross the boundary.

Frames are msgpack. The host writes `[meta, events]`, the guest answers with one result per event. What comes back is the
guest's word: `decode_results` checks its whole shape before anything of it is used, and never allocates by a length that
the guest merely claims.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

import msgspec

from schemas.event import Event, TopicPartition

MEMORY: Final = "memory"
ALLOC: Final = "penstock_v1_alloc"
TRANSFORM: Final = "penstock_v1_transform"
CONFIGURE: Final = "penstock_v1_configure"
CURSOR: Final = "penstock_v1_cursor"
INITIALIZE: Final = "_initialize"
IMPORT_MODULE: Final = "penstock"
ENCODINGS: Final = ("raw", "event")
"""How values are handed over: the record's own bytes, or the change event in them."""

ERROR_DENIED: Final = -1
ERROR_BAD_POINTER: Final = -2
ERROR_TOO_LARGE: Final = -3
ERROR_UNAVAILABLE: Final = -4
ERROR_DEADLINE: Final = -5
ERROR_INVALID: Final = -6

RECORDS_MAX: Final = 10_000
"""Records one event may become. Empty ones weigh nothing in bytes, so their number needs a bound of its own."""
HEADERS_MAX: Final = 1_000
"""Headers one emitted record may have."""

ResultHeaders = Annotated[tuple[tuple[str, bytes | None], ...], msgspec.Meta(max_length=HEADERS_MAX)]


class FrameError(ValueError):
    """A result frame is not what the ABI says; the message names the place."""


class ResultRecord(msgspec.Struct, frozen=True, gc=False, array_like=True, forbid_unknown_fields=True):
    """One record of an `[2, records]` result: `[topic, key, value, headers]`."""

    topic: str | None
    """None is the route's destination."""
    key: bytes | None
    value: bytes | None
    headers: ResultHeaders | None
    """None keeps the source event's headers; an empty array has none."""


class Drop(msgspec.Struct, tag=0, frozen=True, gc=False, array_like=True, forbid_unknown_fields=True):
    """`[0]`: the event ends here."""


class Replace(msgspec.Struct, tag=1, frozen=True, gc=False, array_like=True, forbid_unknown_fields=True):
    """`[1, value]`: the event goes on with this value; None makes it a tombstone."""

    value: bytes | None


class Emit(msgspec.Struct, tag=2, frozen=True, gc=False, array_like=True, forbid_unknown_fields=True):
    """`[2, records]`: these records go on instead of the event."""

    records: Annotated[tuple[ResultRecord, ...], msgspec.Meta(max_length=RECORDS_MAX)]


class Reject(msgspec.Struct, tag=3, frozen=True, gc=False, array_like=True, forbid_unknown_fields=True):
    """`[3, code, message]`: the guest judges the event unfit."""

    code: str
    message: str


Result = Drop | Replace | Emit | Reject | None
"""What a guest says about one event; None (msgpack nil) is "unchanged"."""


class ChangeRecord(msgspec.Struct, frozen=True, gc=False, array_like=True, forbid_unknown_fields=True):
    """A `ResultRecord` in `encoding: event`: its value is a change event's msgpack, or msgpack's nil."""

    topic: str | None
    key: bytes | None
    value: msgspec.Raw
    headers: ResultHeaders | None


class ReplaceChange(msgspec.Struct, tag=1, frozen=True, gc=False, array_like=True, forbid_unknown_fields=True):
    """`[1, value]` in `encoding: event`."""

    value: msgspec.Raw


class EmitChanges(msgspec.Struct, tag=2, frozen=True, gc=False, array_like=True, forbid_unknown_fields=True):
    """`[2, records]` in `encoding: event`."""

    records: Annotated[tuple[ChangeRecord, ...], msgspec.Meta(max_length=RECORDS_MAX)]


ChangeResult = Drop | ReplaceChange | EmitChanges | Reject | None
"""`Result` in `encoding: event`: what lies in a value is not looked into yet."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Result]).decode
_decode_changes = msgspec.msgpack.Decoder(list[ChangeResult]).decode
_decode_reject = msgspec.msgpack.Decoder(Reject).decode


class BatchEncoder:
    """Encodes the batches of one lane; what all of them share is encoded once.

    The frame is `head + body(events)`: two pieces, so that the caller may copy both straight into the guest.
    """

    __slots__ = ("head",)

    def __init__(self, source: TopicPartition, encoding: str = "raw") -> None:
        meta = {"topic": source.topic, "partition": source.partition, "encoding": encoding}
        self.head: Final[bytes] = b"\x92" + _encode(meta)

    def body(self, events: Sequence[Event]) -> bytes:
        """The frame's second element."""
        return encode_events(events)


def encode_events(events: Sequence[Event]) -> bytes:
    """`[[offset, timestamp, key, value, headers], …]`."""
    return _encode([(event.offset, event.timestamp, event.key, event.value, event.headers) for event in events])


def encode_config(config: object) -> bytes:
    """A registry entry's `config` as `penstock_v1_configure` gets it. Raises TypeError for what msgpack cannot carry."""
    return _encode(config)


def decode_results(frame: bytes, count: int) -> list[Result]:
    """The `count` results in `frame`. Raises FrameError for anything else: shape, types, tags, count, trailing bytes, UTF-8."""
    claimed = _array_length(frame)
    if claimed != count:
        raise FrameError(f"{claimed} results for {count} events")
    try:
        return _decode(frame)
    except (msgspec.MsgspecError, ValueError, RecursionError, OverflowError, MemoryError) as error:
        raise FrameError(str(error)) from None


def decode_change_results(frame: bytes, count: int) -> list[ChangeResult]:
    """`decode_results` for `encoding: event`. Raises FrameError."""
    claimed = _array_length(frame)
    if claimed != count:
        raise FrameError(f"{claimed} results for {count} events")
    try:
        return _decode_changes(frame)
    except (msgspec.MsgspecError, ValueError, RecursionError, OverflowError, MemoryError) as error:
        raise FrameError(str(error)) from None


def decode_rejection(item: bytes) -> tuple[str, str]:
    """Code and message of one `[3, code, message]`. Raises FrameError."""
    try:
        rejection = _decode_reject(item)
    except (msgspec.MsgspecError, ValueError) as error:
        raise FrameError(str(error)) from None
    return rejection.code, rejection.message


def _array_length(frame: bytes) -> int:
    """The length that the frame's outermost array claims. It is compared, never allocated."""
    if not frame:
        raise FrameError("an empty result frame")
    first = frame[0]
    if 0x90 <= first <= 0x9F:
        return first & 0x0F
    width = {0xDC: 2, 0xDD: 4}.get(first)
    if width is None:
        raise FrameError(f"the result frame is not an array (it begins with byte 0x{first:02x})")
    if len(frame) <= width:
        raise FrameError("the result frame ends inside its array header")
    return int.from_bytes(frame[1 : 1 + width], "big")
