"""Debezium's change events as JSON with a registered JSON Schema, in the wire format of schema registries.

The value is JSON as JsonConverter writes it without embedded schemas; the JSON Schema stands in for those. It is read for its types
only (Connect's `title`, `connect.type`, `connect.parameters`): values are not held to it, contracts do that.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from schemas.change import DecodeError, unpack
from schemas.contracts.reading import from_json_schema, row_of
from schemas.contracts.types import Nullable
from schemas.formats import debezium
from schemas.formats.connect import (
    DECIMAL,
    SCALE_MAX,
    VARIABLE_DECIMAL,
    ArrayType,
    BytesType,
    ConnectType,
    DecimalType,
    FloatType,
    MapType,
    StructType,
    VariableDecimalType,
)
from schemas.formats.registered import RegisteredFormat
from schemas.formats.schemas import RegisteredSchema, SchemaKind, Schemas, UnreadableSchema
from schemas.formats.splice import write
from schemas.formats.wire import HEADER_BYTES, header

_FLOATS: Final = frozenset({"float32", "float64"})


class DebeziumJsonSchema(RegisteredFormat):
    """See the module."""

    name = "debezium-json-schema"
    title = "Debezium change event"
    keys = "json-schema"
    kind = SchemaKind.JSON

    def compiled(self, schema: RegisteredSchema, schemas: Schemas) -> JsonSchemaCodec:
        """See the base class."""
        return JsonSchemaCodec(schema)


@dataclass(frozen=True, slots=True)
class JsonSchemaDocument:
    """A record's value that is a change event."""

    data: bytes
    _json: debezium.Document

    @property
    def packed(self) -> bytes:
        """See `schemas.formats.format.Document`."""
        return self._json.packed

    def encode(self, packed: bytes) -> bytes:
        """See `schemas.formats.format.Document`."""
        return self.data if packed == self.packed else self.data[:HEADER_BYTES] + self._json.encode(packed)


class JsonSchemaCodec:
    """One JSON Schema."""

    def __init__(self, schema: RegisteredSchema) -> None:
        """Raises UnreadableSchema."""
        self._schema = schema
        self._kind = read_schema(schema.text, {one.name: one.text for one in schema.references})
        self._header = header(schema.id)

    def decode(self, data: bytes) -> JsonSchemaDocument:
        """See `schemas.formats.registered.Codec`."""
        return JsonSchemaDocument(data, debezium.decode_typed(data[HEADER_BYTES:], self._kind))

    def encode(self, packed: bytes) -> bytes:
        """See `schemas.formats.registered.Codec`."""
        return self._written(msgspec.to_builtins(unpack(packed), builtin_types=(bytes, msgspec.msgpack.Ext)))

    def decode_key(self, data: bytes) -> object:
        """See `schemas.formats.registered.Codec`."""
        try:
            key = msgspec.json.decode(data[HEADER_BYTES:])
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise DecodeError(f"not JSON: {error}") from None
        return key if self._kind is None else self._kind.read(key)

    def encode_key(self, key: object) -> bytes:
        """See `schemas.formats.registered.Codec`."""
        return self._written(key)

    def row(self) -> Nullable:
        """See `schemas.formats.registered.Codec`."""
        return row_of(from_json_schema(json.loads(self._schema.text)))

    def _written(self, value: Any) -> bytes:
        return self._header + write(value, self._kind)


def read_schema(text: str, references: Mapping[str, str]) -> ConnectType | None:
    """The type that a JSON Schema describes, as far as JSON says less. Raises UnreadableSchema."""
    try:
        documents = {name: json.loads(one) for name, one in references.items()}
        return _Reader(json.loads(text), documents).read()
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UnreadableSchema(f"it is no JSON Schema: {error or type(error).__name__}") from None


class _Reader:
    def __init__(self, root: Any, documents: Mapping[str, Any]) -> None:
        self._root, self._documents = root, documents
        self._open: list[str] = []
        self._made: dict[str, ConnectType | None] = {}
        """By place: what is referred to from many places is read once."""

    def read(self) -> ConnectType | None:
        return self._type(self._root, self._root)

    def _type(self, schema: Any, root: Any) -> ConnectType | None:
        if not isinstance(schema, dict):
            return None
        if isinstance(reference := schema.get("$ref"), str):
            return self._followed(reference, root)
        for choice in ("oneOf", "anyOf"):
            if isinstance(schema.get(choice), list):
                values = [one for one in schema[choice] if not isinstance(one, dict) or one.get("type") != "null"]
                return self._type(values[0], root) if len(values) == 1 else None
        found = _leaf(schema)
        if found is not None:
            return found
        if isinstance(members := schema.get("properties"), dict):
            typed = ((name, self._type(one, root)) for name, one in members.items())
            kinds = {name: kind for name, kind in typed if kind is not None}
            return StructType(kinds) if kinds else None
        if isinstance(schema.get("items"), dict):
            items = self._type(schema["items"], root)
            return ArrayType(items) if items else None
        if isinstance(schema.get("additionalProperties"), dict):
            values_kind = self._type(schema["additionalProperties"], root)
            return MapType(values_kind) if values_kind else None
        return None

    def _followed(self, reference: str, root: Any) -> ConnectType | None:
        """What a `$ref` stands for. A schema within itself says nothing from there on: its values are as JSON says."""
        document, _, pointer = reference.partition("#")
        place = f"{document or id(root)}#{pointer}"
        if place in self._made:
            return self._made[place]
        if place in self._open:
            raise UnreadableSchema(f"{reference[:100]} is within itself")
        if document and document not in self._documents:
            raise UnreadableSchema(f"it refers to {document[:100]}, which is not there")
        target = root = self._documents[document] if document else root
        for step in pointer.split("/")[1:]:
            target = target[step.replace("~1", "/").replace("~0", "~")]
        self._open.append(place)
        try:
            self._made[place] = made = self._type(target, root)
            return made
        finally:
            self._open.pop()


def _leaf(schema: Mapping[str, Any]) -> ConnectType | None:
    connect, title = schema.get("connect.type"), schema.get("title")
    if title == VARIABLE_DECIMAL:
        return VariableDecimalType()
    if connect == "bytes":
        scale = (schema.get("connect.parameters") or {}).get("scale", "")
        if title == DECIMAL and str(scale).isdecimal() and int(scale) <= SCALE_MAX:
            return DecimalType(int(scale))
        return BytesType()
    return FloatType() if connect in _FLOATS else None
