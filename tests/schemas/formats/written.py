"""One table in four formats, written by their own libraries and not by ours: what decoding is held to."""

from __future__ import annotations

import base64
import io
import json
import math
import struct
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

import fastavro
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import strategies as st

from pipeline.schema_registry.compiler import descriptor_set
from schemas.change import DecodeError
from schemas.formats.schemas import Reference, RegisteredSchema, SchemaKind

Row = dict[str, Any]


class Known:
    """Schemas in memory."""

    def __init__(self, *schemas: RegisteredSchema) -> None:
        self._schemas = {one.id: one for one in schemas}
        self.asked = 0

    def by_id(self, schema_id: int) -> RegisteredSchema:
        self.asked += 1
        if schema_id not in self._schemas:
            raise DecodeError(f"the schema registry has no schema {schema_id}")
        return self._schemas[schema_id]

    def by_subject(self, subject: str, version: int | None = None) -> RegisteredSchema | None:
        self.asked += 1
        return next(iter(self._schemas.values())) if subject == "orders-value" else None

    def register(self, subject: str, kind: SchemaKind, text: str) -> RegisteredSchema:
        raise AssertionError("nothing registers here")

    def descriptors(self, schema: RegisteredSchema) -> bytes:
        return descriptor_set(schema)


_AVRO_DECIMAL = {
    "type": "bytes",
    "logicalType": "decimal",
    "precision": 20,
    "scale": 2,
    "connect.name": "org.apache.kafka.connect.data.Decimal",
    "connect.parameters": {"scale": "2"},
}
_AVRO_VARIABLE = {
    "type": "record",
    "name": "VariableScaleDecimal",
    "namespace": "io.debezium.data",
    "fields": [{"name": "scale", "type": "int"}, {"name": "value", "type": "bytes"}],
    "connect.name": "io.debezium.data.VariableScaleDecimal",
}
_AVRO_ROW = {
    "type": "record",
    "name": "Value",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "big", "type": ["null", "long"], "default": None},
        {"name": "small", "type": {"type": "int", "connect.type": "int16"}},
        {"name": "flag", "type": "boolean"},
        {"name": "ratio", "type": ["null", "double"], "default": None},
        {"name": "narrow", "type": "float"},
        {"name": "name", "type": ["null", "string"], "default": None},
        {"name": "blob", "type": ["null", "bytes"], "default": None},
        {"name": "amount", "type": ["null", _AVRO_DECIMAL], "default": None},
        {"name": "vary", "type": ["null", _AVRO_VARIABLE], "default": None},
        {"name": "at", "type": {"type": "long", "connect.name": "io.debezium.time.MicroTimestamp"}},
        {"name": "tags", "type": {"type": "array", "items": "string"}},
        {"name": "attributes", "type": {"type": "map", "values": "string"}},
    ],
    "connect.name": "shop.public.orders.Value",
}
_AVRO_SOURCE = {
    "type": "record",
    "name": "Source",
    "namespace": "io.debezium.connector.postgresql",
    "fields": [{"name": "table", "type": "string"}, {"name": "lsn", "type": ["null", "long"], "default": None}],
}
AVRO: Final = json.dumps(
    {
        "type": "record",
        "name": "Envelope",
        "namespace": "shop.public.orders",
        "fields": [
            {"name": "before", "type": ["null", _AVRO_ROW], "default": None},
            {"name": "after", "type": ["null", "Value"], "default": None},
            {"name": "source", "type": _AVRO_SOURCE},
            {"name": "op", "type": "string"},
            {"name": "ts_ms", "type": ["null", "long"], "default": None},
            {"name": "ts_us", "type": ["null", "long"], "default": None},
        ],
    }
)
PROTO_SOURCE: Final = """
syntax = "proto3";
package io.debezium;
message Source { string table = 1; optional int64 lsn = 2; }
"""
PROTO: Final = """
syntax = "proto3";
package shop.orders;
import "confluent/meta.proto";
import "confluent/type/decimal.proto";
import "source.proto";
message Envelope {
  Value before = 1;
  Value after = 2;
  io.debezium.Source source = 3;
  string op = 4;
  optional int64 ts_ms = 5;
  optional int64 ts_us = 6;
  message Value {
    int64 id = 1;
    optional int64 big = 2;
    int32 small = 3 [(confluent.field_meta) = {params: [{key: "connect.type", value: "int16"}]}];
    bool flag = 4;
    optional double ratio = 5;
    float narrow = 6;
    optional string name = 7;
    optional bytes blob = 8;
    confluent.type.Decimal amount = 9;
    VariableScaleDecimal vary = 10;
    int64 at = 11;
    repeated string tags = 12;
    map<string, string> attributes = 13;
  }
  message VariableScaleDecimal { int32 scale = 1; bytes value = 2; }
}
"""


def _json_schema(row: str) -> dict[str, Any]:
    def nullable(schema: dict[str, Any]) -> dict[str, Any]:
        return {"oneOf": [{"type": "null"}, schema]}

    decimal = {
        "type": "string",
        "title": "org.apache.kafka.connect.data.Decimal",
        "connect.type": "bytes",
        "connect.parameters": {"scale": "2"},
    }
    members = {
        "id": {"type": "integer", "connect.type": "int64"},
        "ratio": nullable({"type": "number", "connect.type": "float64"}),
        "narrow": {"type": "number", "connect.type": "float32"},
        "name": nullable({"type": "string"}),
        "blob": nullable({"type": "string", "connect.type": "bytes"}),
        "amount": nullable(decimal),
        "vary": nullable({"type": "object", "title": "io.debezium.data.VariableScaleDecimal", "properties": {}}),
        "tags": {"type": "array", "items": {"type": "string"}},
        "attributes": {"type": "object", "additionalProperties": {"type": "string"}, "connect.type": "map"},
    }
    return {
        "type": "object",
        "title": "shop.public.orders.Envelope",
        "definitions": {"Row": {"type": "object", "properties": members}},
        "properties": {"before": nullable({"$ref": row}), "after": nullable({"$ref": row}), "op": {"type": "string"}},
    }


JSON_SCHEMA: Final = json.dumps(_json_schema("#/definitions/Row"))

_OF_CONNECT = {
    "id": {"type": "int64"},
    "ratio": {"type": "double", "optional": True},
    "narrow": {"type": "float"},
    "blob": {"type": "bytes", "optional": True},
    "amount": {
        "type": "bytes",
        "optional": True,
        "name": "org.apache.kafka.connect.data.Decimal",
        "parameters": {"scale": "2"},
    },
    "vary": {"type": "struct", "optional": True, "name": "io.debezium.data.VariableScaleDecimal", "fields": []},
}


def embedded() -> dict[str, Any]:
    """The schema that JsonConverter would embed, as far as it matters."""
    row = [{"field": name, **kind} for name, kind in _OF_CONNECT.items()]
    return {
        "type": "struct",
        "fields": [{"field": name, "type": "struct", "optional": True, "fields": row} for name in ("before", "after")],
    }


SCHEMAS: Final = {
    "debezium-avro": RegisteredSchema(7, SchemaKind.AVRO, AVRO),
    "debezium-protobuf": RegisteredSchema(
        7, SchemaKind.PROTOBUF, PROTO, (Reference("source.proto", PROTO_SOURCE, "source", 1),)
    ),
    "debezium-json-schema": RegisteredSchema(7, SchemaKind.JSON, JSON_SCHEMA),
}

INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
SHORT = st.integers(-999_999, 999_999).map(lambda number: number / 1000)
"""No more than six digits: a float32 of it means the same number."""
DOUBLES = st.floats(width=64, allow_nan=True)
TEXTS = st.text(st.characters(blacklist_categories=["Cs"]), max_size=12)
DECIMALS = st.decimals(-(10**15), 10**15, places=2)
VARIABLE = st.builds(
    lambda number, scale: Decimal(number).scaleb(-scale), st.integers(-(10**20), 10**20), st.integers(0, 9)
)


def rows() -> st.SearchStrategy[Row]:
    """Rows as Python has them: Decimals, bytes, floats."""
    return st.fixed_dictionaries(
        {
            "id": INT64,
            "big": st.none() | INT64,
            "small": st.integers(-(1 << 15), (1 << 15) - 1),
            "flag": st.booleans(),
            "ratio": st.none() | DOUBLES,
            "narrow": SHORT,
            "name": st.none() | TEXTS | st.just("__debezium_unavailable_value"),
            "blob": st.none() | st.binary(max_size=9) | st.just(b"__debezium_unavailable_value"),
            "amount": st.none() | DECIMALS,
            "vary": st.none() | VARIABLE,
            "at": INT64,
            "tags": st.lists(TEXTS, max_size=3),
            "attributes": st.dictionaries(TEXTS, TEXTS, max_size=3),
        }
    )


EVENTS = st.fixed_dictionaries(
    {
        "before": st.none() | rows(),
        "after": st.none() | rows(),
        "source": st.fixed_dictionaries({"table": TEXTS, "lsn": st.none() | INT64}),
        "op": st.sampled_from("cudrtm"),
        "ts_ms": st.none() | INT64,
        "ts_us": st.none() | INT64,
    }
)


def variable(number: Decimal) -> tuple[int, bytes]:
    """Scale and unscaled integer."""
    exponent = number.as_tuple().exponent
    assert isinstance(exponent, int)
    return -exponent, unscaled(number, -exponent)


def unscaled(number: Decimal, scale: int) -> bytes:
    """Java's BigInteger.toByteArray."""
    sign, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int)
    whole = int("".join(map(str, digits))) * 10 ** (exponent + scale) * (-1 if sign else 1)
    return whole.to_bytes((whole if whole >= 0 else ~whole).bit_length() // 8 + 1, "big", signed=True)


def in_avro(event: Row) -> bytes:
    """Written by fastavro, by its own reading of the whole schema."""

    def row(values: Row | None) -> Row | None:
        if values is None:
            return None
        number = values["vary"]
        parts = None if number is None else dict(zip(("scale", "value"), variable(number), strict=True))
        return values | {"vary": parts}

    stream = io.BytesIO(b"\0\0\0\0\7")
    stream.seek(5)
    whole = event | {"before": row(event["before"]), "after": row(event["after"])}
    fastavro.schemaless_writer(stream, fastavro.parse_schema(json.loads(AVRO)), whole)
    return stream.getvalue()


_POOL = descriptor_pool.DescriptorPool()
for _file in descriptor_pb2.FileDescriptorSet.FromString(descriptor_set(SCHEMAS["debezium-protobuf"])).file:
    _POOL.Add(_file)
ENVELOPE: Final[Any] = message_factory.GetMessageClass(_POOL.FindMessageTypeByName("shop.orders.Envelope"))


def in_protobuf(event: Row) -> bytes:
    """Written by Google's library."""
    message = ENVELOPE(op=event["op"], ts_ms=event["ts_ms"], ts_us=event["ts_us"], source=event["source"])
    for side in ("before", "after"):
        if event[side] is not None:
            part, values = getattr(message, side), dict(event[side])
            amount, number = values.pop("amount"), values.pop("vary")
            part.MergeFrom(type(part)(**values))
            part.SetInParent()
            if amount is not None:
                part.amount.value, part.amount.scale, part.amount.precision = unscaled(amount, 2), 2, 20
            if number is not None:
                part.vary.scale, part.vary.value = variable(number)
                part.vary.SetInParent()
    return b"\0\0\0\0\7\0" + message.SerializeToString()


def _payload(event: Row) -> Row:
    def number(value: float) -> float | str:
        return (
            "NaN" if math.isnan(value) else value if math.isfinite(value) else "Infinity" if value > 0 else "-Infinity"
        )

    def row(values: Row | None) -> Row | None:
        if values is None:
            return None
        made = dict(values)
        if made["ratio"] is not None:
            made["ratio"] = number(made["ratio"])
        made["blob"] = None if made["blob"] is None else base64.b64encode(made["blob"]).decode()
        if made["amount"] is not None:
            made["amount"] = base64.b64encode(unscaled(made["amount"], 2)).decode()
        if made["vary"] is not None:
            scale, value = variable(made["vary"])
            made["vary"] = {"scale": scale, "value": base64.b64encode(value).decode()}
        return made

    return event | {"before": row(event["before"]), "after": row(event["after"])}


def in_json_schema(event: Row) -> bytes:
    """As Confluent's JsonSchemaConverter writes it."""
    return b"\0\0\0\0\7" + json.dumps(_payload(event)).encode()


def in_json(event: Row) -> bytes:
    """As JsonConverter writes it, with its schema: what the others are compared with."""
    return json.dumps({"schema": embedded(), "payload": _payload(event)}).encode()


WRITERS: Final[dict[str, Callable[[Row], bytes]]] = {
    "debezium-avro": in_avro,
    "debezium-protobuf": in_protobuf,
    "debezium-json-schema": in_json_schema,
}


def float32(value: float) -> float:
    """What is left of it in 32 bits."""
    return float(struct.unpack("f", struct.pack("f", value))[0])
