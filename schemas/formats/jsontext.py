"""JSON text, read as every JSON format reads it: in linear time, to a bounded depth, with every number kept and no name twice.

A name that repeats within an object is refused: readers do not agree on which of the two counts, so a guest that masks one of them
would leave the other.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar

import msgspec

from schemas.change import DEPTH_MAX, UNAVAILABLE, DecodeError, pack
from schemas.formats.splice import PLACEHOLDER, PLACEHOLDER_BASE64

T = TypeVar("T")
_INT64 = 1 << 63
_UINT64 = 1 << 64
_NAME = re.compile(rb'"\s*:')
_TEXT = re.compile(rb'"(?:[^"\\]|\\.)*"?', re.DOTALL)
_NESTING = re.compile(rb"[\[\]{}]")
_MARKS: Final = (PLACEHOLDER.encode(), PLACEHOLDER_BASE64.encode())


def _number(text: str) -> float | str:
    """A JSON number with a point or an exponent: float64, or its own text where that cannot hold it at all."""
    value = float(text)
    return text if value in (float("inf"), float("-inf")) else value


_decode = msgspec.json.Decoder(float_hook=_number).decode
parts: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
"""An object's members, unread. Raises MsgspecError, ValueError, RecursionError."""


def read_object(text: bytes) -> dict[str, Any]:
    """The object in this text. Raises DecodeError, and what `or_refused` makes one of."""
    check_depth(text)
    members = _decode(text)
    if not isinstance(members, dict):
        raise DecodeError("not a JSON object")
    if len(_NAME.findall(text)) != _names(members):
        check_names(text)
    return members


def or_refused(made: Callable[[], T]) -> T:
    """What `made` returns. Raises DecodeError for any text that it cannot read."""
    try:
        return made()
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        if isinstance(error, DecodeError):
            raise
        raise DecodeError(f"not JSON: {why(error)}") from None


def is_int64(number: int) -> bool:
    """It fits 64 bits, signed."""
    return -_INT64 <= number < _INT64


def is_marked(text: bytes) -> bool:
    """It may hold Debezium's placeholder for a value that was not sent."""
    return any(mark in text for mark in _MARKS)


def why(error: Exception) -> str:
    """What an error of the reader means to somebody who sent the text."""
    if isinstance(error, RecursionError):
        return f"nested more than {DEPTH_MAX} levels deep"
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8"
    return str(error)


def packed_change(change: Any) -> bytes:
    """Msgpack of a change event or of a part of one; integers beyond 64 bits as texts."""
    try:
        return pack(change)
    except OverflowError:  # rare: integers beyond 64 bits
        return pack(_mapped(change, _narrow))


def marked(row: Any) -> Any:
    """The row with `UNAVAILABLE` in place of Debezium's placeholders."""
    return _mapped(row, lambda value: UNAVAILABLE if value in (PLACEHOLDER, PLACEHOLDER_BASE64) else value)


def _narrow(value: Any) -> Any:
    return str(value) if type(value) is int and not -_INT64 <= value < _UINT64 else value


def _mapped(value: Any, leaf: Callable[[Any], Any]) -> Any:
    if isinstance(value, dict):
        return {name: _mapped(one, leaf) for name, one in value.items()}
    if isinstance(value, list):
        return [_mapped(one, leaf) for one in value]
    return leaf(value)


def _names(value: dict[str, Any]) -> int:
    """How many members its objects have. Texts that look like names can only make the JSON seem to have more."""
    count = len(value)
    for one in value.values():
        if type(one) is dict:
            count += _names(one)
        elif type(one) is list:
            count += _names_within(one)
    return count


def _names_within(values: list[Any]) -> int:
    return sum(_names(one) if type(one) is dict else _names_within(one) if type(one) is list else 0 for one in values)


def check_names(text: bytes) -> None:
    """Raises DecodeError when a name repeats within an object."""
    json.loads(text, object_pairs_hook=_once)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise DecodeError(f"the name {twice[:100]!r} repeats within one object")
    return made


def check_depth(text: bytes) -> None:
    """Raises DecodeError for what is nested too deeply to read."""
    if text.count(b"{") + text.count(b"[") <= DEPTH_MAX:
        return
    depth = 0
    for mark in _NESTING.findall(_TEXT.sub(b"", text)):
        depth += 1 if mark in b"[{" else -1
        if depth > DEPTH_MAX:
            raise DecodeError(f"nested more than {DEPTH_MAX} levels deep")


def joined(members: Iterable[tuple[str, bytes]]) -> bytes:
    """The object with these members."""
    return b"{" + b",".join(msgspec.json.encode(name) + b":" + text for name, text in members) + b"}"
