"""How Confluent's serializers frame a value: a zero byte, the schema's id in four, then the value in the schema's own encoding.

Source: the wire format in Confluent's documentation of its serializers. Values with the id in a header have no such frame and are
refused: they say nothing of themselves.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Mapping
from typing import Any, Final

from schemas.change import UNAVAILABLE, ChangeEvent, DecodeError, EncodeError, pack
from schemas.formats.splice import PLACEHOLDER

HEADER_BYTES: Final = 5
PLACEHOLDER_BYTES: Final = PLACEHOLDER.encode()
MEMBERS: Final = ("op", "before", "after", "source", "ts_ms", "transaction")
"""Of a change event, in their order."""
_INT64: Final = 1 << 63
_HEADER = struct.Struct(">BI")
_FLOAT32 = struct.Struct("<f")
_LEADING_NAME = re.compile(r"[^\s:]+: ")


def schema_id(data: bytes) -> int:
    """The id in front of a value. Raises DecodeError."""
    if len(data) < HEADER_BYTES or data[0] != 0:
        raise DecodeError(
            "not in the wire format of a schema registry: it does not begin with a zero byte and a schema's id"
        )
    number: int = _HEADER.unpack_from(data)[1]
    return number


def header(number: int) -> bytes:
    """What stands in front of a value of this schema."""
    return _HEADER.pack(0, number)


def change_of(members: Mapping[str, Any]) -> ChangeEvent:
    """The change event among an envelope's members. Raises DecodeError."""
    rows = {name: members.get(name) for name in ("before", "after", "source", "transaction")}
    for name, row in rows.items():
        if row is not None and not isinstance(row, dict):
            raise DecodeError(f"not a change event: `{name}` is not a record")
    op, moment = members.get("op"), members.get("ts_ms")
    if op not in ("c", "u", "d", "r", "t", "m"):
        raise DecodeError("not a change event: it has " + ("no `op`" if op is None else f"the `op` {str(op)[:20]!r}"))
    if moment is not None and (type(moment) is not int or not -_INT64 <= moment < _INT64):
        raise DecodeError("not a change event: `ts_ms` is not an integer of 64 bits")
    return ChangeEvent(op, rows["before"], rows["after"], rows["source"] or {}, moment, rows["transaction"])


def packed_of(change: ChangeEvent) -> bytes:
    """Its msgpack. Raises DecodeError for what that cannot say."""
    try:
        return pack(change)
    except (OverflowError, TypeError, ValueError, RecursionError) as error:
        raise DecodeError(f"not a change event: {error}") from None


def marked(value: Any) -> Any:
    """A row with `UNAVAILABLE` in place of values that were not sent."""
    match value:
        case str():
            return UNAVAILABLE if value == PLACEHOLDER else value
        case bytes():
            return UNAVAILABLE if value == PLACEHOLDER_BYTES else value
        case dict():
            return {name: marked(one) for name, one in value.items()}
        case list():
            return [marked(one) for one in value]
    return value


def widened(value: float) -> float:
    """A float32 as the float64 with the fewest digits that means it, which is what JSON would say: 0.1, not 0.10000000149."""
    if not math.isfinite(value) or (value.is_integer() and abs(value) < 1 << 24):
        return value
    exact = _FLOAT32.pack(value)
    for digits in (6, 7, 8):
        short = float(f"{value:.{digits}g}")
        try:
            if _FLOAT32.pack(short) == exact:
                return short
        except OverflowError:  # rounded beyond the largest
            continue
    return float(f"{value:.9g}") if abs(value) < 3.4e38 else value


def as_float(value: Any, *, narrow: bool = False) -> float:
    """A number for a column of floats. Raises EncodeError."""
    if type(value) is int and abs(value) <= 1 << (24 if narrow else 53):
        value = float(value)
    if type(value) is not float:
        raise EncodeError(f"the schema has a {'float' if narrow else 'double'} here, and this is {kind_of(value)}")
    if narrow:
        try:
            _FLOAT32.pack(value)
        except OverflowError:
            raise EncodeError("the number is beyond a float of 32 bits") from None
    return value


def as_integer(value: Any, lowest: int, highest: int) -> int:
    """An integer within bounds. Raises EncodeError."""
    if type(value) is not int:
        raise EncodeError(f"the schema has an integer here, and this is {kind_of(value)}")
    if not lowest <= value <= highest:
        raise EncodeError(f"the schema has an integer from {lowest} to {highest} here")
    return value


def as_text(value: Any) -> str:
    """A text; the placeholder for a value that was not sent. Raises EncodeError."""
    if value == UNAVAILABLE:
        return PLACEHOLDER
    if not isinstance(value, str):
        raise EncodeError(f"the schema has a text here, and this is {kind_of(value)}")
    return value


def as_bytes(value: Any) -> bytes:
    """Bytes; the placeholder for a value that was not sent. Raises EncodeError."""
    if value == UNAVAILABLE:
        return PLACEHOLDER_BYTES
    if not isinstance(value, bytes):
        raise EncodeError(f"the schema has bytes here, and this is {kind_of(value)}")
    return value


def kind_of(value: Any) -> str:
    """What a value is, in a few words."""
    if value == UNAVAILABLE:
        return "the placeholder of a value that was not sent"
    names = {
        bool: "a boolean",
        int: "an integer",
        float: "a float",
        str: "a text",
        bytes: "bytes",
        list: "a list",
        dict: "a map",
    }
    return "null" if value is None else names.get(type(value), "a msgpack extension")


def at(name: str, write: Callable[[Any], Any], value: Any) -> Any:
    """What `write` makes of a member; its EncodeError says where: `after.amount: …`."""
    try:
        return write(value)
    except EncodeError as error:
        raise EncodeError(placed(name, error)) from None


def placed(name: str, error: object) -> str:
    """An error's message with the member in front, of a bounded length however deep it is."""
    return f"{name[:100]}{'.' if _LEADING_NAME.match(str(error)) else ': '}{error}"[:500]
