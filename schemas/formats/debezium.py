"""Debezium's JSON (JsonConverter, with and without embedded schemas) as change events, and back.

What it keeps: every byte of an event that passes unchanged, the text of every member that a guest leaves as it was, the embedded
schema, and the members of the envelope that a change event does not have (`ts_us`, `ts_ns`, `message`). It does not judge a row:
`before` under the default replica identity has invented values, numerics without a schema are base64 without their scale
(`decimal.handling.mode=string` makes them texts), a message (`m`) may belong to a transaction that was rolled back.

Any bytes are a change event or a DecodeError, in linear time. A name that repeats within an object is refused: readers do not
agree on which of the two counts, so a guest that masks one of them would leave the other.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from schemas.change import OPERATIONS, ChangeEvent, DecodeError, unpack
from schemas.contracts.reading import from_connect, row_of
from schemas.contracts.types import Nullable
from schemas.event import Event
from schemas.formats.connect import ConnectType, read_schema
from schemas.formats.format import Format
from schemas.formats.jsontext import (
    check_names,
    is_int64,
    is_marked,
    joined,
    marked,
    or_refused,
    packed_change,
    parts,
    read_object,
    why,
)
from schemas.formats.splice import splice, write


@dataclass(frozen=True, slots=True)
class Document:
    """A record's value that is a change event."""

    data: bytes
    """As it came."""
    packed: bytes
    """The change event's msgpack, as a guest is sent it."""
    _envelope: bytes
    """The part of `data` that is the envelope: all of it, or its `payload`."""
    _kind: ConnectType | None
    """Of the envelope, when a schema is embedded."""
    _is_wrapped: bool
    """The envelope is a `payload`. Not told by its length: white space around an envelope that is all of `data` is none of it."""

    @property
    def change(self) -> ChangeEvent:
        """The change event."""
        return unpack(self.packed)

    def encode(self, packed: bytes) -> bytes:
        """The JSON of what a guest made of it (msgpack). Raises EncodeError when that is no change event."""
        if packed == self.packed:
            return self.data
        unpack(packed)
        envelope = splice(self._envelope, self.packed, packed, self._kind)
        if not self._is_wrapped:
            return envelope
        members = parts(self.data)
        return joined((name, envelope if name == "payload" else bytes(raw)) for name, raw in members.items())


class DebeziumJson(Format):
    """See the module."""

    name = "debezium-json"
    title = "Debezium change event"

    def decode(self, event: Event, topic: str) -> Document:
        """See the base class."""
        assert event.value is not None, "a tombstone is no document"
        return decode(event.value)

    def encode(self, packed: bytes, event: Event, topic: str) -> bytes:
        """See the base class. Without a schema."""
        return encode(packed)

    def decode_key(self, key: bytes, topic: str) -> object:
        """See the base class. Without the schema that JsonConverter put around it."""
        found = super().decode_key(key, topic)
        if isinstance(found, dict) and found.keys() == {"schema", "payload"} and isinstance(found["schema"], dict):
            kind = read_schema(bytes(parts(key)["schema"]))
            return found["payload"] if kind is None else kind.read(found["payload"])
        return found

    def writer_schema(self, event: Event, topic: str) -> tuple[object, Callable[[], Nullable]] | None:
        """See the base class. Of values with an embedded schema."""
        text = embedded_schema(event.value or b"")
        return None if text is None else (text, lambda: row_of(from_connect(json.loads(text))))


def embedded_schema(data: bytes) -> bytes | None:
    """The JSON of the schema that JsonConverter put around this value; None where there is none. Raises DecodeError."""
    try:
        members = parts(data)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise DecodeError(f"not JSON: {why(error)}") from None
    if "payload" not in members or "schema" not in members or "op" in members:
        return None
    schema = bytes(members["schema"])
    return None if schema == b"null" else schema


def encode(packed: bytes) -> bytes:
    """The JSON of a change event that a guest made where there was none, without a schema. Raises EncodeError."""
    return write(msgspec.to_builtins(unpack(packed), builtin_types=(bytes, msgspec.msgpack.Ext)))


def decode(data: bytes) -> Document:
    """The change event in a record's value. Raises DecodeError."""
    return or_refused(lambda: _document(data))


def decode_typed(data: bytes, kind: ConnectType | None) -> Document:
    """The change event in JSON without an embedded schema, of a type that is known from elsewhere. Raises DecodeError."""
    return or_refused(lambda: _of_envelope(data, data.strip(), kind, False))


def _document(data: bytes) -> Document:
    if data[:1].isspace() or data[:10] == b'{"schema":' or b'"payload"' in data:
        return _of_envelope(data, *_unwrapped(data))
    return _of_envelope(data, data, None, False)


def _of_envelope(data: bytes, envelope: bytes, kind: ConnectType | None, is_wrapped: bool) -> Document:
    change = _change(read_object(envelope))
    if is_marked(envelope):
        for name in ("before", "after"):
            change[name] = marked(change[name])
    if kind is not None:
        change = _change(kind.read(change))  # its schema may say that a row is none
    return Document(data, packed_change(change), envelope, kind, is_wrapped)


def _unwrapped(data: bytes) -> tuple[bytes, ConnectType | None, bool]:
    """The envelope, its type where a schema is embedded, and whether it is a `payload`."""
    members = parts(data)
    payload = members.get("payload")
    if payload is None or "schema" not in members or "op" in members:
        return data.strip(), None, False
    if bytes(payload) == b"null":
        raise DecodeError("its payload is null")
    envelope, schema = bytes(payload), bytes(members["schema"])
    if data != b'{"schema":%b,"payload":%b}' % (schema, envelope):
        check_names(data)
    return envelope, read_schema(schema), True


def _change(members: dict[str, Any]) -> dict[str, Any]:
    """The six members of a change event, in their order."""
    op = members.get("op")
    if not isinstance(op, str) or op not in OPERATIONS:
        shown = "no `op`" if op is None else f"the `op` {str(op)[:20]!r}"
        raise DecodeError(f"not a change event: it has {shown}")
    rows = {name: members.get(name) for name in ("before", "after", "source", "transaction")}
    for name, row in rows.items():
        if row is not None and not isinstance(row, dict):
            raise DecodeError(f"not a change event: `{name}` is not an object")
    moment = members.get("ts_ms")
    if moment is not None and (type(moment) is not int or not is_int64(moment)):
        raise DecodeError("not a change event: `ts_ms` is not an integer of 64 bits")
    before, after, source, transaction = rows.values()
    return {
        "op": op,
        "before": before,
        "after": after,
        "source": source or {},
        "ts_ms": moment,
        "transaction": transaction,
    }
