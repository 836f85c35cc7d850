"""A change event as a guest with `encoding: event` sees it: the same map for every source format, as guest ABI v1 defines it.

Integers from -2^63 to 2^64-1 are integers; wider ones and decimals are texts with the source's own digits; floats are float64; bytes
are bytes; a column whose value the source did not send is `UNAVAILABLE`.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, get_args

import msgspec

Operation = Literal["c", "u", "d", "r", "t", "m"]
"""Created, updated, deleted, read by a snapshot, truncated, message."""
OPERATIONS: Final = frozenset(get_args(Operation))
UNAVAILABLE: Final = msgspec.msgpack.Ext(1, b"")
"""In place of a large value that did not change and therefore was not sent (TOAST)."""
DEPTH_MAX: Final = 128
"""Arrays and objects within each other, in a value that is decoded or encoded."""

Row = dict[str, Any]
Milliseconds = Annotated[int, msgspec.Meta(ge=-(1 << 63), le=(1 << 63) - 1)]


class ChangeEvent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What happened to one row. All members are there, nil where the source has none."""

    op: Operation
    before: Row | None
    after: Row | None
    source: Row
    ts_ms: Milliseconds | None
    transaction: Row | None


class DecodeError(ValueError):
    """Bytes are no change event of their format; the message says why."""


class EncodeError(ValueError):
    """A guest's map is no change event, or cannot be said in the source's format; the message says what and where."""


pack: Final = msgspec.msgpack.Encoder().encode
"""Msgpack of a change event or of a part of one. Raises OverflowError for integers beyond 64 bits."""
_unpack: Final = msgspec.msgpack.Decoder(ChangeEvent).decode


def unpack(packed: bytes) -> ChangeEvent:
    """The change event that a guest's msgpack says. Raises EncodeError for any other shape."""
    try:
        return _unpack(packed)
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError, OverflowError) as error:
        raise EncodeError(f"not a change event: {error}") from None


def same(one: Any, other: Any) -> bool:
    """Equal for a guest: unlike `==`, 1 is not true and 0.0 is not -0.0, and NaN is itself."""
    return one is other or pack(one) == pack(other)


_PLAIN: Final = frozenset({0xC4, 0xC5, 0xC6})
"""How msgpack's byte strings begin."""
_unpack_bytes: Final = msgspec.msgpack.Decoder(bytes).decode


def plain_bytes(packed: bytes) -> bytes | None:
    """The bytes that a guest answered in place of a change event: the record's value as it stands; None when it is no byte string."""
    return _unpack_bytes(packed) if packed[0] in _PLAIN else None
