"""Debezium's change events in Avro, in the wire format of schema registries.

What it keeps: the very bytes of an event that passes unchanged; the writer's schema; what an envelope has beside a change event
(`ts_us`, `ts_ns`, `message`). Values are written by that schema, or not at all: a column it does not have is an EncodeError.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import fastavro

from schemas.change import ChangeEvent, DecodeError, EncodeError, same, unpack
from schemas.contracts.reading import from_avro, row_of
from schemas.contracts.types import Nullable
from schemas.formats.avro_spelling import respelled
from schemas.formats.avro_types import AvroType, Record, read_schema
from schemas.formats.registered import RegisteredFormat
from schemas.formats.schemas import RegisteredSchema, SchemaKind, Schemas, UnreadableSchema
from schemas.formats.wire import (
    HEADER_BYTES,
    MEMBERS,
    PLACEHOLDER_BYTES,
    at,
    change_of,
    header,
    marked,
    packed_of,
    placed,
)


class DebeziumAvro(RegisteredFormat):
    """See the module."""

    name = "debezium-avro"
    title = "Debezium change event"
    keys = "avro"
    kind = SchemaKind.AVRO

    def compiled(self, schema: RegisteredSchema, schemas: Schemas) -> AvroCodec:
        """See the base class."""
        return AvroCodec(schema)


@dataclass(frozen=True, slots=True)
class AvroDocument:
    """A record's value that is a change event."""

    data: bytes
    packed: bytes
    _codec: AvroCodec

    def encode(self, packed: bytes) -> bytes:
        """See `schemas.formats.format.Document`."""
        return self.data if packed == self.packed else self._codec.rewritten(self, unpack(packed))


class AvroCodec:
    """One Avro schema."""

    def __init__(self, schema: RegisteredSchema) -> None:
        """Raises UnreadableSchema."""
        self._schema = schema
        self._kind: AvroType = read_schema(schema.text, [one.text for one in schema.references])
        try:
            self._bare = fastavro.parse_schema(self._kind.bare(set()))
        except Exception as error:  # whatever fastavro has against it
            raise UnreadableSchema(f"it is no Avro schema: {error}") from None
        self._header = header(schema.id)

    def decode(self, data: bytes) -> AvroDocument:
        """See `schemas.formats.registered.Codec`."""
        self._envelope()
        members = self._native(data)
        if not isinstance(members, dict):
            raise DecodeError("not a change event: it is null")
        if PLACEHOLDER_BYTES in data:
            members |= {name: marked(members.get(name)) for name in ("before", "after")}
        return AvroDocument(data, packed_of(change_of(self._kind.read(members))), self)

    def encode(self, packed: bytes) -> bytes:
        """See `schemas.formats.registered.Codec`."""
        change = unpack(packed)
        members = {name: getattr(change, name) for name in MEMBERS}
        fields = self._fields()
        return self._written(
            self._kind.write({name: one for name, one in members.items() if one is not None or name in fields})
        )

    def rewritten(self, document: AvroDocument, change: ChangeEvent) -> bytes:
        """The document with other members; those that are the same keep what they were. Raises EncodeError."""
        was, fields = unpack(document.packed), self._fields()
        if self._kind.is_ambiguous:
            return self._respelled(document.data, fields, was, change)
        native = self._native(document.data)
        for name in MEMBERS:
            if not same(value := getattr(change, name), getattr(was, name)):
                if name not in fields:
                    raise EncodeError(f"{name}: the schema has no such member")
                native[name] = at(name, fields[name].write, value)
            elif name in fields:
                native[name] = fields[name].named(native[name])
        return self._written(native)

    def _respelled(self, data: bytes, fields: Mapping[str, AvroType], was: ChangeEvent, change: ChangeEvent) -> bytes:
        """The same, with the very bytes of what was not changed: what it was read as does not say how it was written."""
        stream = io.BytesIO(data)
        stream.seek(HEADER_BYTES)
        parts = [data[:HEADER_BYTES]]
        for name in MEMBERS:
            if name not in fields and not same(getattr(change, name), getattr(was, name)):
                raise EncodeError(f"{name}: the schema has no such member")
        for name, kind in fields.items():
            old, new = (getattr(one, name) if name in MEMBERS else None for one in (was, change))
            try:
                parts.append(respelled(kind, stream, old, new))
            except EncodeError as error:
                raise EncodeError(placed(name, error)) from None
        return b"".join(parts)

    def decode_key(self, data: bytes) -> object:
        """See `schemas.formats.registered.Codec`."""
        return self._kind.read(self._native(data))

    def encode_key(self, key: object) -> bytes:
        """See `schemas.formats.registered.Codec`."""
        return self._written(self._kind.write(key))

    def row(self) -> Nullable:
        """See `schemas.formats.registered.Codec`."""
        return row_of(
            from_avro(json.loads(self._schema.text), [json.loads(one.text) for one in self._schema.references])
        )

    def _envelope(self) -> None:
        if "op" not in self._fields():
            raise DecodeError(f"not a change event: schema {self._schema.id} has no `op`")

    def _fields(self) -> Any:
        return self._kind.fields if isinstance(self._kind, Record) else {}

    def _native(self, data: bytes) -> Any:
        """What fastavro reads. Raises DecodeError."""
        stream = io.BytesIO(data)
        stream.seek(HEADER_BYTES)
        try:
            native = fastavro.schemaless_reader(stream, self._bare, None)
        except Exception as error:  # it has no family of errors: EOFError, IndexError, UnicodeDecodeError, …
            why = "it ends too early" if isinstance(error, EOFError) else str(error) or type(error).__name__
            raise DecodeError(f"not what schema {self._schema.id} says: {why[:200]}") from None
        if stream.tell() != len(data):
            raise DecodeError(f"not what schema {self._schema.id} says: bytes behind its end")
        return native

    def _written(self, native: Any) -> bytes:
        stream = io.BytesIO()
        stream.write(self._header)
        try:
            fastavro.schemaless_writer(stream, self._bare, native)
        except Exception as error:
            raise EncodeError(f"the schema cannot say it: {str(error)[:200]}") from None
        return stream.getvalue()
