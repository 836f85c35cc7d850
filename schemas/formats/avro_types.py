"""Avro schemas as types that turn what fastavro reads into the values of guest ABI v1, and back.

fastavro is given the bare schema: without logical types, so that numbers stay numbers, and without defaults and names of Connect,
which are read here. Refused are schemas that a few bytes could make much of: records within themselves, lists of nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Final

import fastavro

from schemas.change import DEPTH_MAX, DecodeError, EncodeError
from schemas.contracts.reading import full_name
from schemas.formats.connect import SCALE_MAX, VARIABLE_DECIMAL, DecimalType, VariableDecimalType
from schemas.formats.schemas import UnreadableSchema
from schemas.formats.wire import as_bytes, as_float, as_integer, as_text, at, kind_of, widened

NOTHINGS_MAX: Final = 64
"""In one record, with those in it: else a few bytes could stand for any number of values."""
_INT32: Final = 1 << 31
_INT64: Final = 1 << 63
_SCALARS: Final = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})


_VARIABLE: Final = {"scale": "int", "value": "bytes"}


class AvroType:
    """A type. `reads` says whether `read` changes anything; most of them do not."""

    reads = False
    is_empty = False
    """Takes no bytes."""
    depth = 1
    """Of what is in it, through references too."""
    nothings = 0
    """Values in it that take no bytes."""
    is_ambiguous = False
    """A value may have been written in several ways: there is a union of several types in it."""
    name = ""
    """By which a union's branch is chosen."""

    @cached_property
    def parsed(self) -> Any:
        """The schema of this alone, as fastavro wants it."""
        return fastavro.parse_schema(self.bare(set()))

    def read(self, value: Any) -> Any:
        """The ABI's value. Raises DecodeError."""
        return value

    def write(self, value: Any) -> Any:
        """What fastavro writes. Raises EncodeError."""
        raise NotImplementedError

    def named(self, native: Any) -> Any:
        """What was read, to be written again; with the branch of a union that it is, or fastavro would try them all."""
        return native

    def bare(self, known: set[str]) -> Any:
        """The schema for fastavro; `known` are names that stand in it already."""
        return self.name


class Scalar(AvroType):
    """Null, booleans, numbers, texts and bytes."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.reads = name == "float"
        self.is_empty = name == "null"
        self.nothings = int(self.is_empty)

    def read(self, value: Any) -> Any:
        """See the base class."""
        return widened(value) if type(value) is float else value

    def write(self, value: Any) -> Any:
        """See the base class."""
        match self.name:
            case "int":
                return as_integer(value, -_INT32, _INT32 - 1)
            case "long":
                return as_integer(value, -_INT64, _INT64 - 1)
            case "float" | "double":
                return as_float(value, narrow=self.name == "float")
            case "string":
                return as_text(value)
            case "bytes":
                return as_bytes(value)
        if (value is None) if self.name == "null" else isinstance(value, bool):
            return value
        raise EncodeError(
            f"the schema has {'null' if self.name == 'null' else 'a boolean'} here, and this is {kind_of(value)}"
        )


class Fixed(AvroType):
    """So many bytes."""

    def __init__(self, name: str, size: int) -> None:
        self.name, self.size = name, size
        self.is_empty = size == 0
        self.nothings = int(self.is_empty)

    def write(self, value: Any) -> Any:
        """See the base class."""
        if len(got := as_bytes(value)) != self.size:
            raise EncodeError(f"the schema has {self.size} bytes here, and these are {len(got)}")
        return got

    def bare(self, known: set[str]) -> Any:
        """See the base class."""
        return _defined(self.name, known, {"type": "fixed", "size": self.size})


class Enum(AvroType):
    """One of some texts."""

    def __init__(self, name: str, symbols: tuple[str, ...]) -> None:
        self.name, self.symbols = name, symbols

    def write(self, value: Any) -> Any:
        """See the base class."""
        if as_text(value) not in self.symbols:
            raise EncodeError(f"not one of the schema's symbols: {', '.join(self.symbols)[:200]}")
        return value

    def bare(self, known: set[str]) -> Any:
        """See the base class."""
        return _defined(self.name, known, {"type": "enum", "symbols": list(self.symbols)})


class Decimal(AvroType):
    """An unscaled integer in bytes; digits in the ABI."""

    reads = True

    def __init__(self, under: AvroType, scale: int) -> None:
        self._under, self._digits = under, DecimalType(scale)
        self.name, self.is_empty = under.name, under.is_empty

    def read(self, value: Any) -> Any:
        """See the base class."""
        return self._digits.digits(value) if isinstance(value, bytes) else value

    def write(self, value: Any) -> Any:
        """See the base class."""
        unscaled = self._digits.unscaled(value)
        if isinstance(self._under, Fixed):
            if len(unscaled) > self._under.size:
                raise EncodeError(f"a decimal too large for the schema's {self._under.size} bytes")
            sign = b"\xff" if unscaled[0] & 0x80 else b"\0"
            return unscaled.rjust(self._under.size, sign)
        return unscaled

    def bare(self, known: set[str]) -> Any:
        """See the base class."""
        return self._under.bare(known)


class Record(AvroType):
    """Fields in order."""

    def __init__(self, name: str, fields: Mapping[str, AvroType]) -> None:
        self.name, self.fields = name, fields
        self._reading = [(field, kind) for field, kind in fields.items() if kind.reads]
        self.reads = bool(self._reading)
        self.is_empty = all(kind.is_empty for kind in fields.values())
        self.depth = _deeper(*fields.values())
        self.nothings = self.is_empty + sum(kind.nothings for kind in fields.values())
        if self.nothings > NOTHINGS_MAX:
            raise UnreadableSchema(f"the record {name[:100]} has more than {NOTHINGS_MAX} values that take no bytes")
        self.is_ambiguous = any(kind.is_ambiguous for kind in fields.values())

    def read(self, value: Any) -> Any:
        """See the base class. Changes the record that it is given."""
        if isinstance(value, dict):
            for name, kind in self._reading:
                try:
                    value[name] = kind.read(value[name])
                except DecodeError as error:
                    raise DecodeError(f"{name[:100]}: {error}") from None
        return value

    def write(self, value: Any) -> Any:
        """See the base class. A nullable field that is not there is null."""
        row = self.within(value)
        return {name: at(name, kind.write, row.get(name)) for name, kind in self.fields.items()}

    def within(self, value: Any) -> dict[str, Any]:
        """The value, if it is a map of these fields and no others. Raises EncodeError."""
        if not isinstance(value, dict):
            raise EncodeError(f"the schema has a record here, and this is {kind_of(value)}")
        if not value.keys() <= self.fields.keys():
            extra = next(name for name in value if name not in self.fields)
            raise EncodeError(f"the schema has no {str(extra)[:100]!r} here")
        return value

    def bare(self, known: set[str]) -> Any:
        """See the base class."""
        if self.name in known:
            return self.name
        known.add(self.name)
        fields = [{"name": name, "type": kind.bare(known)} for name, kind in self.fields.items()]
        return {"type": "record", "name": self.name, "fields": fields}


class VariableDecimal(Record):
    """Debezium's record of a scale and an unscaled integer; digits in the ABI."""

    def __init__(self, name: str, fields: Mapping[str, AvroType]) -> None:
        super().__init__(name, fields)
        self.reads = True

    def read(self, value: Any) -> Any:
        """See the base class."""
        scale, unscaled = value.get("scale"), value.get("value")
        if not isinstance(unscaled, bytes):
            return value
        if not 0 <= scale <= SCALE_MAX:
            raise DecodeError(f"a decimal with the scale {scale}")
        return DecimalType(scale).digits(unscaled)

    def write(self, value: Any) -> Any:
        """See the base class."""
        scale, unscaled = VariableDecimalType.parts(value)
        return {"scale": scale, "value": unscaled}


class Array(AvroType):
    """A list of one type."""

    def __init__(self, items: AvroType) -> None:
        if items.is_empty:
            raise UnreadableSchema("a list of what takes no bytes")
        self._items = items
        self.reads, self.is_ambiguous, self.depth = items.reads, items.is_ambiguous, _deeper(items)

    def read(self, value: Any) -> Any:
        """See the base class."""
        return [self._items.read(one) for one in value] if isinstance(value, list) else value

    def write(self, value: Any) -> Any:
        """See the base class."""
        if not isinstance(value, list):
            raise EncodeError(f"the schema has a list here, and this is {kind_of(value)}")
        return [self._items.write(one) for one in value]

    def bare(self, known: set[str]) -> Any:
        """See the base class."""
        return {"type": "array", "items": self._items.bare(known)}


class Map(AvroType):
    """Texts to values of one type."""

    def __init__(self, values: AvroType) -> None:
        self._values = values
        self.reads, self.is_ambiguous, self.depth = values.reads, values.is_ambiguous, _deeper(values)

    def read(self, value: Any) -> Any:
        """See the base class."""
        return {name: self._values.read(one) for name, one in value.items()} if isinstance(value, dict) else value

    def write(self, value: Any) -> Any:
        """See the base class."""
        if not isinstance(value, dict):
            raise EncodeError(f"the schema has a map here, and this is {kind_of(value)}")
        return {as_text(name): at(str(name), self._values.write, one) for name, one in value.items()}

    def bare(self, known: set[str]) -> Any:
        """See the base class."""
        return {"type": "map", "values": self._values.bare(known)}


class Union(AvroType):
    """One of several types; a value that several could say is written as the likest, else the first of them."""

    def __init__(self, branches: Sequence[AvroType]) -> None:
        self.branches = branches
        self.depth = _deeper(*branches)
        self._nullable = any(one.name == "null" for one in branches)
        self._values = [one for one in branches if one.name != "null"]
        self._only = self._values[0] if len(self._values) == 1 else None
        self.is_ambiguous = self._only is None or self._only.is_ambiguous
        self.reads = any(one.reads for one in self._values)
        if self.reads and self._only is None:
            raise UnreadableSchema("a union of several types, of which one is a decimal or a float")

    @property
    def is_nullable_only(self) -> bool:
        """One type, or null."""
        return self._only is not None

    def read(self, value: Any) -> Any:
        """See the base class."""
        return value if value is None or self._only is None else self._only.read(value)

    def write(self, value: Any) -> Any:
        """See the base class."""
        if value is None and self._nullable:
            return None
        if self._only is not None:
            return self._named(self._only, self._only.write(value))
        for kind in sorted(self._values, key=lambda kind: _unlikeness(kind, value)):
            try:
                return self._named(kind, kind.write(value))
            except EncodeError:
                continue
        raise EncodeError(f"none of the schema's {len(self.branches)} choices can say {kind_of(value)}")

    def named(self, native: Any) -> Any:
        """See the base class."""
        return native if native is None or self._only is None else self._named(self._only, native)

    @staticmethod
    def _named(kind: AvroType, value: Any) -> Any:
        return (kind.name, value) if kind.name else value

    def bare(self, known: set[str]) -> Any:
        """See the base class."""
        return [one.bare(known) for one in self.branches]


def _unlikeness(kind: AvroType, value: Any) -> int:
    """An integer is first of all one, and a map first of all the record with just its members, then a map."""
    if type(value) is int:
        return kind.name in ("float", "double")
    if isinstance(value, dict) and isinstance(kind, Record):
        return 0 if kind.fields.keys() == value.keys() else 2
    return 1


def _deeper(*kinds: AvroType) -> int:
    """The depth of what has these in it. Raises UnreadableSchema."""
    depth = 1 + max((one.depth for one in kinds), default=0)
    if depth > DEPTH_MAX:
        raise UnreadableSchema(f"nested more than {DEPTH_MAX} levels deep")
    return depth


def read_schema(text: str, references: Iterable[str] = ()) -> AvroType:
    """The type that a schema describes; what it refers to is given before. Raises UnreadableSchema."""
    reader = _Reader()
    try:
        for one in references:
            reader.read(json.loads(one), "", 0)
        return reader.read(json.loads(text), "", 0)
    except UnreadableSchema:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UnreadableSchema(f"it is no Avro schema: {error or type(error).__name__}") from None


class _Reader:
    def __init__(self) -> None:
        self._named: dict[str, AvroType] = {}
        self._open: set[str] = set()

    def read(self, schema: Any, space: str, depth: int) -> AvroType:
        if depth > DEPTH_MAX:
            raise UnreadableSchema(f"nested more than {DEPTH_MAX} levels deep")
        if isinstance(schema, list):
            return Union([self.read(one, space, depth + 1) for one in schema])
        if isinstance(schema, str):
            return Scalar(schema) if schema in _SCALARS else self._reference(schema, space)
        kind = schema["type"]
        if isinstance(kind, dict | list):
            return self.read(kind, space, depth + 1)
        match kind:
            case "array":
                return Array(self.read(schema["items"], space, depth + 1))
            case "map":
                return Map(self.read(schema["values"], space, depth + 1))
            case "record" | "error":
                return self._record(schema, space, depth)
            case "enum":
                name = full_name(str(schema["name"]), schema.get("namespace", space))
                return self._define(name, Enum(name, tuple(schema["symbols"])))
            case "fixed":
                name = full_name(str(schema["name"]), schema.get("namespace", space))
                return self._define(name, _decimal(schema, Fixed(name, int(schema["size"]))))
        found = self.read(kind, space, depth + 1)
        return _decimal(schema, found) if kind == "bytes" else found

    def _reference(self, name: str, space: str) -> AvroType:
        for full in (name if "." in name or not space else f"{space}.{name}", name):
            if full in self._open:
                raise UnreadableSchema(f"the record {full} is within itself")
            if full in self._named:
                return self._named[full]
        raise UnreadableSchema(f"it refers to {name[:100]}, which is not there")

    def _record(self, schema: Mapping[str, Any], space: str, depth: int) -> AvroType:
        name = full_name(str(schema["name"]), schema.get("namespace", space))
        self._open.add(name)
        inner = name.rpartition(".")[0]
        fields = {str(one["name"]): self.read(one["type"], inner, depth + 1) for one in schema["fields"]}
        self._open.discard(name)
        variable = VARIABLE_DECIMAL in (name, schema.get("connect.name")) and _VARIABLE.items() == {
            (one, kind.name) for one, kind in fields.items() if type(kind) is Scalar
        }
        return self._define(name, VariableDecimal(name, fields) if variable else Record(name, fields))

    def _define(self, name: str, kind: AvroType) -> AvroType:
        if name in self._named:
            raise UnreadableSchema(f"{name[:100]} is defined twice")
        self._named[name] = kind
        return kind


def _decimal(schema: Mapping[str, Any], under: AvroType) -> AvroType:
    scale = schema.get("scale", 0)
    if schema.get("logicalType") != "decimal" or type(scale) is not int or not 0 <= scale <= SCALE_MAX:
        return under
    return Decimal(under, scale)


def _defined(name: str, known: set[str], schema: dict[str, Any]) -> Any:
    if name in known:
        return name
    known.add(name)
    return {"name": name, **schema}
