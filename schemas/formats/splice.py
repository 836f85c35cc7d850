"""Puts a guest's values into the JSON they came from: what the guest left as it was keeps its very text.

Three things lie side by side: the source's JSON, the msgpack the guest was sent, the msgpack it answered. Where the two msgpacks say
the same, the JSON stays: numbers keep their digits, texts their escapes, objects their order.
"""

from __future__ import annotations

import base64
import math
import re
from typing import Any, Final

import msgspec

from schemas.change import DEPTH_MAX, UNAVAILABLE, EncodeError, pack
from schemas.formats.connect import ArrayType, BytesType, ConnectType, MapType, StructType

PLACEHOLDER: Final = "__debezium_unavailable_value"
PLACEHOLDER_BASE64: Final = base64.b64encode(PLACEHOLDER.encode()).decode()
_NUMBER = re.compile(rb"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")

_MAPS: Final = frozenset(bytes((first,)) for first in (*range(0x80, 0x90), 0xDE, 0xDF))
_ARRAYS: Final = frozenset(bytes((first,)) for first in (*range(0x90, 0xA0), 0xDC, 0xDD))
_TEXTS: Final = frozenset(bytes((first,)) for first in (*range(0xA0, 0xC0), 0xD9, 0xDA, 0xDB))
"""First bytes in msgpack."""

_unpack = msgspec.msgpack.Decoder().decode
_unpack_members = msgspec.msgpack.Decoder(dict[str, msgspec.Raw]).decode
_unpack_items = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode
_json = msgspec.json.Encoder().encode
_json_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_json_items = msgspec.json.Decoder(list[msgspec.Raw]).decode


def splice(text: bytes, sent: bytes, got: bytes, kind: ConnectType | None) -> bytes:
    """The JSON for `got`, where `sent` is what a guest was told of `text`. Raises EncodeError."""
    if got == sent:
        return text
    if got[:1] in _MAPS and sent[:1] in _MAPS and text[:1] == b"{":
        return _object(text, sent, got, kind)
    if got[:1] in _ARRAYS and sent[:1] in _ARRAYS and text[:1] == b"[":
        return _array(text, sent, got, kind)
    value = read(got)
    if pack(value) == sent:
        return text
    if isinstance(value, str) and sent[:1] in _TEXTS and _NUMBER.match(text) and _NUMBER.fullmatch(value.encode()):
        return value.encode()  # was a number too wide for 64 bits and is another one now
    return write(value, kind)


def read(packed: bytes) -> Any:
    """What a guest's msgpack says. Raises EncodeError."""
    try:
        return _unpack(packed)
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError, OverflowError) as error:
        raise EncodeError(str(error)) from None


def _object(text: bytes, sent: bytes, got: bytes, kind: ConnectType | None) -> bytes:
    """Members in the source's order, new ones behind them. What the guest was not shown stays."""
    members, shown, answered = _json_members(text), _unpack_members(sent), _members(got)
    made: list[bytes] = []
    same = True
    for name, raw in members.items():
        was = told = bytes(raw)
        if name in shown:
            if name not in answered:
                same = False
                continue
            told = _member(name, was, bytes(shown[name]), bytes(answered[name]), kind)
        same = same and told == was
        made.append(_json(name) + b":" + told)
    for name, item in answered.items():
        if name in members or (name in shown and bytes(shown[name]) == bytes(item)):
            continue  # the second: absent in the source, told as nil, still nil
        same = False
        made.append(_json(name) + b":" + _write_at(name, read(bytes(item)), _kind_of(kind, name)))
    return text if same else b"{" + b",".join(made) + b"}"


def _member(name: str, text: bytes, sent: bytes, got: bytes, kind: ConnectType | None) -> bytes:
    if got == sent:
        return text
    try:
        return splice(text, sent, got, _kind_of(kind, name))
    except EncodeError as error:
        raise EncodeError(_placed(name, error)) from None


def _members(packed: bytes) -> dict[str, msgspec.Raw]:
    try:
        return _unpack_members(packed)
    except (msgspec.MsgspecError, ValueError) as error:
        raise EncodeError(f"not a map with names: {error}") from None


def _array(text: bytes, sent: bytes, got: bytes, kind: ConnectType | None) -> bytes:
    """Item by item where there are as many as before; else there is no telling which is which."""
    texts, shown, answered = _json_items(text), _unpack_items(sent), _items(got)
    if len(answered) != len(shown):
        return write(read(got), kind)
    items = kind.items if isinstance(kind, ArrayType) else None
    triples = zip(texts, shown, answered, strict=True)
    made = [splice(bytes(raw), bytes(told), bytes(said), items) for raw, told, said in triples]
    same = all(one == bytes(raw) for one, raw in zip(made, texts, strict=True))
    return text if same else b"[" + b",".join(made) + b"]"


def _items(packed: bytes) -> list[msgspec.Raw]:
    try:
        return _unpack_items(packed)
    except (msgspec.MsgspecError, ValueError) as error:
        raise EncodeError(str(error)) from None


def write(value: Any, kind: ConnectType | None = None, depth: int = 0) -> bytes:
    """JSON of a value that was not in the source. Raises EncodeError."""
    if depth > DEPTH_MAX:
        raise EncodeError(f"nested more than {DEPTH_MAX} levels deep")
    if value is None or isinstance(value, bool):
        return _json(value)
    if isinstance(value, msgspec.msgpack.Ext):
        return _write_extension(value, kind)
    if isinstance(kind, StructType | MapType | ArrayType) or kind is None:
        return _write_plain(value, kind, depth)
    return _write_plain(kind.write(value), None, depth)


def _write_plain(value: Any, kind: ConnectType | None, depth: int) -> bytes:
    match value:
        case float() if not math.isfinite(value):
            return b'"NaN"' if math.isnan(value) else b'"Infinity"' if value > 0 else b'"-Infinity"'
        case None | bool() | int() | float() | str() | bytes():
            return _json(value)  # bytes as base64
        case list():
            items = kind.items if isinstance(kind, ArrayType) else None
            return b"[" + b",".join(write(one, items, depth + 1) for one in value) + b"]"
        case dict():
            members = (
                _json(_name(name)) + b":" + _write_at(name, one, _kind_of(kind, name), depth + 1)
                for name, one in value.items()
            )
            return b"{" + b",".join(members) + b"}"
    raise EncodeError("a msgpack timestamp; write an integer or a text")


def _write_at(name: str, value: Any, kind: ConnectType | None, depth: int = 0) -> bytes:
    try:
        return write(value, kind, depth)
    except EncodeError as error:
        raise EncodeError(_placed(name, error)) from None


def _placed(name: str, error: EncodeError) -> str:
    """`after.amount: …`, of a bounded length however deep it is."""
    return f"{name[:100]}{'.' if _LEADING_NAME.match(str(error)) else ': '}{error}"[:500]


_LEADING_NAME = re.compile(r"[^\s:]+: ")


def _name(name: Any) -> str:
    if isinstance(name, str):
        return name
    raise EncodeError("a map with names that are no texts")


def _write_extension(value: msgspec.msgpack.Ext, kind: ConnectType | None) -> bytes:
    if value != UNAVAILABLE:
        raise EncodeError(f"a msgpack extension of type {value.code} with {len(bytes(value.data))} bytes")
    return _json(PLACEHOLDER_BASE64 if isinstance(kind, BytesType) else PLACEHOLDER)


def _kind_of(kind: ConnectType | None, name: str) -> ConnectType | None:
    return kind.member(name) if isinstance(kind, StructType | MapType) else None
