"""Kafka Connect's types as JsonConverter embeds them (`"schema": …`): how their JSON reads as the values of guest ABI v1, and back.

Without a schema a base64 text cannot be told from any other; with it, bytes are bytes, decimals are texts of digits, NaN and
infinities are floats. Only types whose JSON says less than they mean are here; for all others `None` stands: as JSON says.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import msgspec

from schemas.change import DecodeError, EncodeError

DECIMAL: Final = "org.apache.kafka.connect.data.Decimal"
VARIABLE_DECIMAL: Final = "io.debezium.data.VariableScaleDecimal"
SCALE_MAX: Final = 16_383
"""PostgreSQL's largest number of digits behind the point."""
CACHED_BYTES_MAX: Final = 256 << 10
"""A larger schema is read anew with each event."""
_DIGITS = re.compile(r"-?[0-9]+(?:\.[0-9]+)?", re.ASCII)
_SPECIAL: Final = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


@dataclass(frozen=True, slots=True)
class BytesType:
    """Base64 in JSON, bytes in the ABI."""

    def read(self, value: Any) -> Any:
        """The ABI's value. Raises DecodeError."""
        return _unbase64(value) if isinstance(value, str) else value

    def write(self, value: Any) -> Any:
        """Raises EncodeError for a text: whoever reads it by the schema would take it for base64."""
        if isinstance(value, bytes):
            return base64.b64encode(value).decode()
        raise EncodeError("the embedded schema has bytes here")


@dataclass(frozen=True, slots=True)
class DecimalType:
    """Base64 of an unscaled integer in JSON, digits in the ABI."""

    scale: int

    def read(self, value: Any) -> Any:
        """The ABI's value. Raises DecodeError."""
        return _digits(_unbase64(value), self.scale) if isinstance(value, str) else value

    def write(self, value: Any) -> Any:
        """Raises EncodeError for what is no number of this scale."""
        return base64.b64encode(self.unscaled(value)).decode()

    def digits(self, unscaled: bytes) -> str:
        """The ABI's value, of the bytes themselves. Raises DecodeError."""
        return _digits(unscaled, self.scale)

    def unscaled(self, value: Any) -> bytes:
        """The bytes themselves. Raises EncodeError for what is no number of this scale."""
        return _unscaled(_decimal_text(value), self.scale)


@dataclass(frozen=True, slots=True)
class VariableDecimalType:
    """`{"scale": …, "value": base64}` in JSON, digits in the ABI."""

    def read(self, value: Any) -> Any:
        """The ABI's value. Raises DecodeError."""
        if not isinstance(value, dict) or not isinstance(text := value.get("value"), str):
            return value
        scale = value.get("scale")
        if type(scale) is not int or not 0 <= scale <= SCALE_MAX:
            raise DecodeError(f"a decimal with the scale {scale!r:.40}")
        return _digits(_unbase64(text), scale)

    def write(self, value: Any) -> Any:
        """Raises EncodeError for what is no number."""
        scale, unscaled = self.parts(value)
        return {"scale": scale, "value": base64.b64encode(unscaled).decode()}

    @staticmethod
    def parts(value: Any) -> tuple[int, bytes]:
        """Scale and unscaled integer. Raises EncodeError for what is no number."""
        text = _decimal_text(value)
        scale = len(text.partition(".")[2])
        if scale > SCALE_MAX:
            raise EncodeError(f"{scale} digits behind the point; {SCALE_MAX} is the most")
        return scale, _unscaled(text, scale)


@dataclass(frozen=True, slots=True)
class FloatType:
    """NaN and infinities are texts in JSON."""

    def read(self, value: Any) -> Any:
        """The ABI's value. Raises DecodeError."""
        if isinstance(value, str):
            return _SPECIAL.get(value, value)
        try:
            return float(value) if type(value) is int else value
        except OverflowError:
            return str(value)  # as numbers beyond a float are wherever nobody says their type

    def write(self, value: Any) -> Any:
        """The JSON's value."""
        return value


@dataclass(frozen=True, slots=True)
class StructType:
    """An object whose members have types; those that are not in `members` are as JSON says."""

    members: Mapping[str, ConnectType]

    def read(self, value: Any) -> Any:
        """The ABI's value. Raises DecodeError."""
        if isinstance(value, dict):
            for name in self.members.keys() & value.keys():
                value[name] = _read_at(name, self.members[name], value[name])
        return value

    def member(self, name: str) -> ConnectType | None:
        """The type of a member, if it has one."""
        return self.members.get(name)


@dataclass(frozen=True, slots=True)
class MapType:
    """An object with members of one type."""

    values: ConnectType

    def read(self, value: Any) -> Any:
        """The ABI's value. Raises DecodeError."""
        if isinstance(value, dict):
            return {name: _read_at(name, self.values, one) for name, one in value.items()}
        return value

    def member(self, name: str) -> ConnectType | None:
        """The type of a member, if it has one."""
        return self.values


@dataclass(frozen=True, slots=True)
class ArrayType:
    """An array of one type."""

    items: ConnectType

    def read(self, value: Any) -> Any:
        """The ABI's value. Raises DecodeError."""
        return [self.items.read(one) for one in value] if isinstance(value, list) else value


ConnectType = BytesType | DecimalType | VariableDecimalType | FloatType | StructType | MapType | ArrayType


class _Schema(msgspec.Struct):
    type: str
    name: str | None = None
    field: str | None = None
    fields: list[_Schema] | None = None
    items: _Schema | None = None
    keys: _Schema | None = None
    values: _Schema | None = None
    parameters: dict[str, str] | None = None


_decode = msgspec.json.Decoder(_Schema | None).decode


def read_schema(text: bytes) -> ConnectType | None:
    """The type that an embedded schema describes, as far as it matters. Raises DecodeError for what is no schema."""
    return _cached(text) if len(text) <= CACHED_BYTES_MAX else _read(text)


def _read(text: bytes) -> ConnectType | None:
    try:
        schema = _decode(text)
        return None if schema is None else _type_of(schema)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise DecodeError(f"its embedded schema cannot be read: {error}") from None


_cached = lru_cache(maxsize=64)(_read)


def _type_of(schema: _Schema) -> ConnectType | None:
    match schema.type:
        case "bytes":
            return _bytes_or_decimal(schema)
        case "float" | "double":
            return FloatType()
        case "array" if schema.items is not None and (items := _type_of(schema.items)):
            return ArrayType(items)
        case "map" if schema.keys is not None and schema.values is not None and schema.keys.type == "string":
            values = _type_of(schema.values)
            return MapType(values) if values else None
        case "struct" if schema.name == VARIABLE_DECIMAL:
            return VariableDecimalType()
        case "struct":
            typed = ((one.field, _type_of(one)) for one in schema.fields or () if one.field is not None)
            members = {name: kind for name, kind in typed if kind is not None}
            return StructType(members) if members else None
    return None


def _bytes_or_decimal(schema: _Schema) -> ConnectType:
    if schema.name != DECIMAL:
        return BytesType()
    text = (schema.parameters or {}).get("scale", "")
    scale = int(text) if re.fullmatch("[0-9]{1,5}", text, re.ASCII) else SCALE_MAX + 1
    return DecimalType(scale) if scale <= SCALE_MAX else BytesType()


def _read_at(name: str, kind: ConnectType, value: Any) -> Any:
    try:
        return kind.read(value)
    except DecodeError as error:
        raise DecodeError(f"{name[:100]}: {error}") from None


def _unbase64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise DecodeError("the embedded schema has bytes here, and the text is not base64") from None


def _digits(unscaled: bytes, scale: int) -> str:
    """Two's complement, most significant byte first, as decimal digits."""
    number = int.from_bytes(unscaled, "big", signed=True)
    try:
        text = str(abs(number))
    except ValueError:
        raise DecodeError(f"a decimal of {len(unscaled)} bytes is too long") from None
    if scale:
        text = text.rjust(scale + 1, "0")
        text = f"{text[:-scale]}.{text[-scale:]}"
    return f"-{text}" if number < 0 else text


def _decimal_text(value: Any) -> str:
    if type(value) is int:
        return str(value)
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        return value
    raise EncodeError("the embedded schema has a decimal here: write digits as text")


def _unscaled(text: str, scale: int) -> bytes:
    whole, _, part = text.partition(".")
    part = part.rstrip("0") if len(part) > scale else part
    if len(part) > scale:
        raise EncodeError(f"more digits behind the point than the {scale} of the embedded schema")
    try:
        number = int(whole + part.ljust(scale, "0"))
    except ValueError:
        raise EncodeError("a decimal with too many digits") from None
    return number.to_bytes((number + (number < 0)).bit_length() // 8 + 1, "big", signed=True)
