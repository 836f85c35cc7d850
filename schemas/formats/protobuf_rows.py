"""Rows in Protobuf as contracts see them."""

from __future__ import annotations

from typing import Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from schemas.contracts.types import AnyType, Kind, ListOf, MapOf, Member, Nullable, Record, Scalar, Type
from schemas.formats.protobuf_types import is_wrapper

_KINDS: Final[dict[int, Kind]] = {
    FieldDescriptor.CPPTYPE_INT32: "int32",
    FieldDescriptor.CPPTYPE_INT64: "int64",
    FieldDescriptor.CPPTYPE_UINT32: "int64",
    FieldDescriptor.CPPTYPE_UINT64: "int64",
    FieldDescriptor.CPPTYPE_FLOAT: "float32",
    FieldDescriptor.CPPTYPE_DOUBLE: "float64",
    FieldDescriptor.CPPTYPE_BOOL: "boolean",
    FieldDescriptor.CPPTYPE_STRING: "string",
}
_WELL_KNOWN: Final[dict[str, Kind]] = {
    "confluent.type.Decimal": "decimal",
    "google.protobuf.Timestamp": "int64",
    "google.type.Date": "int32",
    "google.type.TimeOfDay": "int32",
}


def row_of_message(envelope: Descriptor) -> Nullable:
    """The type of rows in an envelope: of `after`; a message that has none is the row itself."""
    after = envelope.fields_by_name.get("after")
    row = envelope if after is None or after.message_type is None else after.message_type
    return Nullable(_record(row, ()))


def _record(message: Descriptor, within: tuple[str, ...]) -> Type:
    name = message.full_name
    if name in _WELL_KNOWN or message.name == "VariableScaleDecimal":
        return Scalar(_WELL_KNOWN.get(name, "decimal"))
    if name in within:
        return AnyType()
    within = (*within, name)
    return Record({one.name: Member(_field(one, within), one.has_presence) for one in message.fields})


def _field(field: FieldDescriptor, within: tuple[str, ...]) -> Nullable:
    message = field.message_type
    if message is not None and message.GetOptions().map_entry:
        return Nullable(MapOf(_field(message.fields_by_name["value"], within)))
    one = _single(field, within)
    return Nullable(ListOf(Nullable(one))) if field.is_repeated else Nullable(one, bool(field.has_presence))


def _single(field: FieldDescriptor, within: tuple[str, ...]) -> Type:
    if field.message_type is not None:
        if is_wrapper(field.message_type):
            return _single(field.message_type.fields_by_name["value"], within)
        return _record(field.message_type, within)
    if field.enum_type is not None:
        return Scalar("string", frozenset(field.enum_type.values_by_name))
    if field.type == FieldDescriptor.TYPE_BYTES:
        return Scalar("bytes")
    return Scalar(_KINDS[field.cpp_type])
