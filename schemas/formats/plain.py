"""Values without an envelope: a row as JSON, a row or a change event as msgpack, and bytes that are nobody's business.

A row by itself says nothing about what happened to it: it is read as `r`, which is what a snapshot says of the rows it finds.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any

import msgpack  # type: ignore[import-untyped]
import msgspec

from schemas.change import DEPTH_MAX, ChangeEvent, DecodeError, EncodeError, pack, unpack
from schemas.event import Event
from schemas.formats.format import Document, Format
from schemas.formats.jsontext import is_marked, marked, or_refused, packed_change, read_object
from schemas.formats.rows import NIL, change_of, change_parts, refuse_other_changes, row_for
from schemas.formats.splice import splice, write

_OTHERS = ("op", "before", "source", "ts_ms", "transaction")
_decode = msgspec.msgpack.Decoder().decode
_CONTAINERS = (dict, list)
_MEMBERS = frozenset(ChangeEvent.__struct_fields__)


@dataclass(frozen=True, slots=True)
class JsonRow:
    """A JSON object that is a row."""

    data: bytes
    packed: bytes

    def encode(self, packed: bytes) -> bytes | None:
        """See `Document`. A row that a guest takes away is a tombstone."""
        if packed == self.packed:
            return self.data
        unpack(packed)
        sent, got = change_parts(self.packed), change_parts(packed)
        refuse_other_changes("json", sent, got, *_OTHERS)
        return None if got["after"] == NIL else splice(self.data.strip(), sent["after"], got["after"], None)


class Json(Format):
    """`json`: a row as an object. Of a change event only the row is written; a delete is a tombstone."""

    name = "json"
    title = "JSON object"

    def decode(self, event: Event, topic: str) -> Document:
        """See the base class."""
        data = event.value or b""
        return or_refused(lambda: _json_row(data))

    def encode(self, packed: bytes, event: Event, topic: str) -> bytes | None:
        """See the base class."""
        change = unpack(packed)
        if change.op == "d":
            return None
        return write(_plain(row_for(self.name, change)))


def _json_row(data: bytes) -> JsonRow:
    row = read_object(data.strip())
    return JsonRow(data, packed_change(change_of("r", None, marked(row) if is_marked(data) else row, {})))


def _plain(row: dict[str, Any]) -> Any:
    return msgspec.to_builtins(row, builtin_types=(bytes, msgspec.msgpack.Ext))


@dataclass(frozen=True, slots=True)
class PackedChange:
    """A change event in msgpack, as guests know it."""

    data: bytes
    packed: bytes

    def encode(self, packed: bytes) -> bytes:
        """See `Document`."""
        if packed == self.packed:
            return self.data
        unpack(packed)
        return packed


@dataclass(frozen=True, slots=True)
class PackedRow:
    """A msgpack map that is a row."""

    data: bytes
    packed: bytes

    def encode(self, packed: bytes) -> bytes | None:
        """See `Document`. A row that a guest takes away is a tombstone."""
        if packed == self.packed:
            return self.data
        unpack(packed)
        sent, got = change_parts(self.packed), change_parts(packed)
        refuse_other_changes("msgpack", sent, got, *_OTHERS)
        return None if got["after"] == NIL else got["after"]


class MessagePack(Format):
    """`msgpack`: a map with exactly the members of a change event is one; any other map is a row. Written is the change event."""

    name = "msgpack"
    title = "msgpack map"
    keys = "msgpack"

    def decode(self, event: Event, topic: str) -> Document:
        """See the base class."""
        data = event.value or b""
        value = _read(data)
        if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
            raise DecodeError("it is no map with names that are texts")
        if value.keys() == _MEMBERS:
            try:
                unpack(data)
            except EncodeError as error:
                raise DecodeError(str(error)) from None
            return PackedChange(data, data)
        return PackedRow(data, pack(change_of("r", None, value, {})))

    def encode(self, packed: bytes, event: Event, topic: str) -> bytes:
        """See the base class."""
        return packed

    def decode_key(self, key: bytes, topic: str) -> object:
        """See the base class."""
        return _read(key)

    def encode_key(self, key: object, topic: str) -> bytes:
        """See the base class."""
        try:
            return pack(key)
        except (OverflowError, TypeError, ValueError, RecursionError) as error:
            raise EncodeError(f"its key cannot be msgpack: {error}") from None


def _read(data: bytes) -> Any:
    try:
        value = _decode(data)
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError, OverflowError) as error:
        raise DecodeError(f"not msgpack: {error}") from None
    _check_depth(value)
    if b"\xff" in data and _has_moment(value):
        raise DecodeError("a msgpack timestamp: write an integer or a text")
    if len(pack(value)) != len(data):  # written at length, or a name is there twice
        try:
            msgpack.unpackb(data, object_pairs_hook=_once, strict_map_key=False, raw=True)
        except (ValueError, TypeError, msgpack.UnpackException) as error:
            raise error if isinstance(error, DecodeError) else DecodeError(f"not msgpack: {error}") from None
    return value


def _once(pairs: list[tuple[Any, Any]]) -> None:
    names = [name for name, _ in pairs]
    if len(set(names)) != len(names):
        twice = next(name for at, name in enumerate(names) if name in names[:at])
        raise DecodeError(f"the name {str(twice)[:100]} repeats within one map")


def _has_moment(value: Any) -> bool:
    level = [value]
    while level:
        if any(isinstance(one, datetime.datetime) for one in level):
            return True
        inside = (one.values() if type(one) is dict else one for one in level if type(one) in _CONTAINERS)
        level = [one for within in inside for one in within]
    return False


def _check_depth(value: Any) -> None:
    """Level by level: whoever works on it later may go down into it by calls."""
    level = [value]
    for _ in range(DEPTH_MAX):
        inside = (one.values() if type(one) is dict else one for one in level if type(one) in _CONTAINERS)
        if not (level := [one for within in inside for one in within if type(one) in _CONTAINERS]):
            return
    raise DecodeError(f"nested more than {DEPTH_MAX} levels deep")


class Raw(Format):
    """`raw`: bytes as they are. Transformers in its route work on bytes, and nothing is converted."""

    name = "raw"
    title = "change event"
    keys = "bytes"
    is_change = False

    def decode(self, event: Event, topic: str) -> Document:
        """See the base class; no bytes are a change event to it."""
        raise DecodeError("the route's format is raw: its values are not decoded")

    def encode(self, packed: bytes, event: Event, topic: str) -> bytes:
        """See the base class; there is no telling how."""
        raise EncodeError("the route's format is raw: nothing can be written in it")
