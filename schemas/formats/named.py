"""The formats by the names that the registry file knows them by. A format is imported when a route uses it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from schemas.formats.format import Format
from schemas.formats.schemas import Schemas
from schemas.specs import FormatSpec


def _canal(spec: FormatSpec) -> Format:
    from schemas.formats.dumps import Canal

    return Canal()


def _debezium_avro(schemas: Schemas | None) -> Format:
    from schemas.formats.avro import DebeziumAvro

    return DebeziumAvro(schemas)


def _debezium_json(spec: FormatSpec) -> Format:
    from schemas.formats.debezium import DebeziumJson

    return DebeziumJson()


def _debezium_json_schema(schemas: Schemas | None) -> Format:
    from schemas.formats.json_schema import DebeziumJsonSchema

    return DebeziumJsonSchema(schemas)


def _debezium_protobuf(schemas: Schemas | None) -> Format:
    from schemas.formats.protobuf import DebeziumProtobuf

    return DebeziumProtobuf(schemas)


def _flattened_json(spec: FormatSpec) -> Format:
    from schemas.formats.flattened import FlattenedJson

    return FlattenedJson()


def _json(spec: FormatSpec) -> Format:
    from schemas.formats.plain import Json

    return Json()


def _maxwell(spec: FormatSpec) -> Format:
    from schemas.formats.dumps import Maxwell

    return Maxwell()


def _msgpack(spec: FormatSpec) -> Format:
    from schemas.formats.plain import MessagePack

    return MessagePack()


def _raw(spec: FormatSpec) -> Format:
    from schemas.formats.plain import Raw

    return Raw()


REGISTERED: Final[Mapping[str, Callable[[Schemas | None], Format]]] = {
    "debezium-avro": _debezium_avro,
    "debezium-protobuf": _debezium_protobuf,
    "debezium-json-schema": _debezium_json_schema,
}
"""Makers of formats whose schemas are in a registry; without one, a format can only be asked what it is."""
PLAIN: Final[Mapping[str, Callable[[FormatSpec], Format]]] = {
    "debezium-json": _debezium_json,
    "flattened-json": _flattened_json,
    "maxwell": _maxwell,
    "canal": _canal,
    "json": _json,
    "msgpack": _msgpack,
    "raw": _raw,
}
"""Makers that need nothing but what the registry file says."""
FORMATS: Final = (*PLAIN, *REGISTERED)
"""All names."""


def make_format(spec: FormatSpec, schemas: Schemas | None = None) -> Format:
    """The format of one side of a route. The name is one of `FORMATS`."""
    if spec.name in REGISTERED:
        return REGISTERED[spec.name](schemas)
    return PLAIN[spec.name](spec)
