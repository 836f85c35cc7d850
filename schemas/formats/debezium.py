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
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from schemas.change import DEPTH_MAX, OPERATIONS, UNAVAILABLE, ChangeEvent, DecodeError, pack, unpack
from schemas.contracts.reading import from_connect, row_of
from schemas.contracts.types import Nullable
from schemas.event import Event
from schemas.formats.connect import ConnectType, read_schema
from schemas.formats.format import Format
from schemas.formats.splice import PLACEHOLDER, PLACEHOLDER_BASE64, splice, write

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


_parts = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode = msgspec.json.Decoder(float_hook=_number).decode


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
        members = _parts(self.data)
        return _joined((name, envelope if name == "payload" else bytes(raw)) for name, raw in members.items())


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

    def writer_schema(self, event: Event, topic: str) -> tuple[object, Callable[[], Nullable]] | None:
        """See the base class. Of values with an embedded schema."""
        text = embedded_schema(event.value or b"")
        return None if text is None else (text, lambda: row_of(from_connect(json.loads(text))))


def embedded_schema(data: bytes) -> bytes | None:
    """The JSON of the schema that JsonConverter put around this value; None where there is none. Raises DecodeError."""
    try:
        members = _parts(data)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise DecodeError(f"not JSON: {_why(error)}") from None
    if "payload" not in members or "schema" not in members or "op" in members:
        return None
    schema = bytes(members["schema"])
    return None if schema == b"null" else schema


def encode(packed: bytes) -> bytes:
    """The JSON of a change event that a guest made where there was none, without a schema. Raises EncodeError."""
    return write(msgspec.to_builtins(unpack(packed), builtin_types=(bytes, msgspec.msgpack.Ext)))


def decode(data: bytes) -> Document:
    """The change event in a record's value. Raises DecodeError."""
    try:
        return _document(data)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        if isinstance(error, DecodeError):
            raise
        raise DecodeError(f"not JSON: {_why(error)}") from None


def _why(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return f"nested more than {DEPTH_MAX} levels deep"
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8"
    return str(error)


def _document(data: bytes) -> Document:
    envelope, kind, is_wrapped = data, None, False
    if data[:1].isspace() or data[:10] == b'{"schema":' or b'"payload"' in data:
        envelope, kind, is_wrapped = _unwrapped(data)
    _check_depth(envelope)
    members = _decode(envelope)
    if not isinstance(members, dict):
        raise DecodeError("not a JSON object")
    if len(_NAME.findall(envelope)) != _names(members):
        _check_names(envelope)
    change = _change(members)
    if any(mark in envelope for mark in _MARKS):
        for name in ("before", "after"):
            change[name] = _marked(change[name])
    if kind is not None:
        change = kind.read(change)
    return Document(data, _packed(change), envelope, kind, is_wrapped)


def _unwrapped(data: bytes) -> tuple[bytes, ConnectType | None, bool]:
    """The envelope, its type where a schema is embedded, and whether it is a `payload`."""
    members = _parts(data)
    payload = members.get("payload")
    if payload is None or "schema" not in members or "op" in members:
        return data.strip(), None, False
    if bytes(payload) == b"null":
        raise DecodeError("its payload is null")
    envelope, schema = bytes(payload), bytes(members["schema"])
    if data != b'{"schema":%b,"payload":%b}' % (schema, envelope):
        _check_names(data)
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
    if moment is not None and (type(moment) is not int or not -_INT64 <= moment < _INT64):
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


def _packed(change: dict[str, Any]) -> bytes:
    try:
        return pack(change)
    except OverflowError:  # rare: integers beyond 64 bits
        return pack(_mapped(change, _narrow))


def _marked(row: Any) -> Any:
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


def _check_names(text: bytes) -> None:
    json.loads(text, object_pairs_hook=_once)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise DecodeError(f"the name {twice[:100]!r} repeats within one object")
    return made


def _check_depth(text: bytes) -> None:
    if text.count(b"{") + text.count(b"[") <= DEPTH_MAX:
        return
    depth = 0
    for mark in _NESTING.findall(_TEXT.sub(b"", text)):
        depth += 1 if mark in b"[{" else -1
        if depth > DEPTH_MAX:
            raise DecodeError(f"nested more than {DEPTH_MAX} levels deep")


def _joined(members: Iterable[tuple[str, bytes]]) -> bytes:
    return b"{" + b",".join(msgspec.json.encode(name) + b":" + text for name, text in members) + b"}"
