"""Schemas in the languages that people write them in, as types.

What a language says beyond types (lengths, patterns, ranges) is no part of a comparison; data are held to it by the language's own
validator (`schemas.contracts.rows`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from schemas.change import DEPTH_MAX
from schemas.contracts.types import AnyType, Kind, ListOf, MapOf, Member, Nullable, Record, Scalar, Type
from schemas.formats.connect import DECIMAL, VARIABLE_DECIMAL


class SchemaError(ValueError):
    """A schema cannot be read; the message says where and why."""


_ANYTHING: Final = Nullable(AnyType(), null=True)
_JSON: Final[Mapping[str, Kind]] = {"boolean": "boolean", "integer": "int64", "number": "float64", "string": "string"}
TYPES_MAX: Final = 100_000
_AVRO: Final[Mapping[str, Kind]] = {
    "boolean": "boolean",
    "int": "int32",
    "long": "int64",
    "float": "float32",
    "double": "float64",
    "string": "string",
    "bytes": "bytes",
    "fixed": "bytes",
}
_CONNECT: Final[Mapping[str, Kind]] = {
    "boolean": "boolean",
    "int8": "int32",
    "int16": "int32",
    "int32": "int32",
    "int64": "int64",
    "float": "float32",
    "double": "float64",
    "string": "string",
    "bytes": "bytes",
}


def from_json_schema(schema: object) -> Nullable:
    """A JSON Schema (2020-12 and the drafts before it). Raises SchemaError.

    Places that say no type, or more than one beside null, are anything. An object without `required` has optional members.
    """
    return _JsonSchema(schema).at(schema, "", 0)


class _JsonSchema:
    def __init__(self, root: object) -> None:
        self._root = root

    def at(self, schema: object, path: str, depth: int) -> Nullable:
        if schema is True:
            return _ANYTHING
        if not isinstance(schema, Mapping):
            raise SchemaError(f"{path or 'it'} is no JSON Schema: an object is needed")
        if depth > DEPTH_MAX:
            return _ANYTHING  # a schema of itself; readers and writers of it agree as far as this
        if isinstance(reference := schema.get("$ref"), str):
            return self.at(self._referred(reference, path), path, depth + 1)
        for word in ("anyOf", "oneOf"):
            if isinstance(choices := schema.get(word), Sequence):
                return _united([self.at(one, path, depth + 1) for one in choices])
        said = schema.get("type")
        names = [said] if isinstance(said, str) else list(said) if isinstance(said, Sequence) else []
        if not names:
            return self._listed(schema)
        kinds = [self._kind(str(name), schema, path, depth) for name in names if name != "null"]
        return Nullable(kinds[0] if len(kinds) == 1 else AnyType(), "null" in names or not kinds)

    def _kind(self, name: str, schema: Mapping[str, Any], path: str, depth: int) -> Type:
        if name == "object":
            return self._object(schema, path, depth)
        if name == "array":
            items = schema.get("items")
            return ListOf(_ANYTHING if items is None else self.at(items, f"{path}[]", depth + 1))
        if name not in _JSON:
            raise SchemaError(f"{path or 'it'} has the type {name!r:.40}, which JSON Schema does not know")
        if name == "string" and schema.get("contentEncoding") == "base64":
            return Scalar("bytes")
        symbols = schema.get("enum")
        return Scalar(_JSON[name], _symbols(symbols) if name == "string" and isinstance(symbols, list) else None)

    def _object(self, schema: Mapping[str, Any], path: str, depth: int) -> Type:
        named, rest = schema.get("properties"), schema.get("additionalProperties", True)
        if not isinstance(named, Mapping):
            return MapOf(self.at(rest, f"{path}{{}}", depth + 1)) if isinstance(rest, Mapping) else MapOf(_ANYTHING)
        required = set(schema.get("required") or ())
        members = {
            name: Member(self.at(one, f"{path}.{name}".lstrip("."), depth + 1), name not in required)
            for name, one in named.items()
        }
        return Record(members, rest is False)

    def _listed(self, schema: Mapping[str, Any]) -> Nullable:
        """No type, but perhaps the values themselves."""
        values = schema.get("enum")
        if isinstance(values, list) and values and all(one is None or isinstance(one, str) for one in values):
            return Nullable(Scalar("string", _symbols(values)), None in values)
        return Nullable(Record(), null=True) if "properties" in schema else _ANYTHING

    def _referred(self, reference: str, path: str) -> object:
        if not reference.startswith("#"):
            raise SchemaError(
                f"{path or 'it'} refers to {reference[:100]}; only references within the document are followed"
            )
        found = self._root
        for step in filter(None, reference.removeprefix("#").split("/")):
            name = step.replace("~1", "/").replace("~0", "~")
            if not isinstance(found, Mapping) or name not in found:
                raise SchemaError(f"{path or 'it'} refers to {reference[:100]}, which is not there")
            found = found[name]
        return found


def _symbols(values: Sequence[object]) -> frozenset[str]:
    return frozenset(one for one in values if isinstance(one, str))


def _united(choices: Sequence[Nullable]) -> Nullable:
    """One type of several; a choice that is null alone only allows null."""
    real = [one for one in choices if not (one.null and isinstance(one.type, AnyType))]
    null = any(one.null for one in choices)
    return Nullable(real[0].type, null) if len(real) == 1 else Nullable(AnyType(), null)


def from_avro(schema: object, references: Iterable[object] = ()) -> Nullable:
    """An Avro schema, as JSON has it; those that it refers to come before it. Raises SchemaError."""
    reader = _Avro()
    for one in references:
        reader.at(one, "")
    return reader.at(schema, "")


class _Avro:
    """Names are full ones (`namespace.name`), as Avro's specification resolves them."""

    def __init__(self) -> None:
        self._named: dict[str, Type] = {}
        """What has been read: it is referred to from many places, and read once."""
        self._within: set[str] = set()
        self._count = 0
        self._counts: dict[str, int] = {}
        """How many types there are in each, those that are shared counted again: whoever compares goes through all of them."""

    def at(self, schema: object, path: str, space: str = "") -> Nullable:
        """The type that a schema describes, within a namespace. Raises SchemaError."""
        self._counted(1, path)
        if isinstance(schema, list):
            return self._union(schema, path, space)
        if isinstance(schema, str):
            return self._by_name(schema, path, space)
        if not isinstance(schema, Mapping):
            raise SchemaError(f"{path or 'it'} is no Avro schema")
        kind = schema.get("type")
        if isinstance(kind, list | Mapping):
            return self.at(kind, path, space)
        if kind not in ("record", "enum", "fixed", "error"):
            if kind in ("array", "map") or (kind in _AVRO and kind != "null"):
                return Nullable(self._kind(kind, schema, path, space))
            return self.at(kind, path, space)
        name = full_name(str(schema.get("name")), schema.get("namespace", space))
        if name in self._within:
            return Nullable(AnyType())  # a schema of itself
        self._within.add(name)
        before = self._count
        made = self._kind(kind, schema, path, name.rpartition(".")[0])
        self._within.discard(name)
        self._named[name], self._counts[name] = made, self._count - before
        return Nullable(made)

    def _counted(self, types: int, path: str) -> None:
        self._count += types
        if self._count > TYPES_MAX:
            raise SchemaError(f"{path or 'it'}: more than {TYPES_MAX} types in one schema")

    def _kind(self, kind: object, schema: Mapping[str, Any], path: str, space: str) -> Type:
        if schema.get("logicalType") == "decimal" or schema.get("connect.name") in (DECIMAL, VARIABLE_DECIMAL):
            return Scalar("decimal")
        match kind:
            case "record" | "error":
                return self._record(schema, path, space)
            case "enum":
                return Scalar("string", _symbols(schema.get("symbols") or ()))
            case "array":
                return ListOf(self.at(schema.get("items"), f"{path}[]", space))
            case "map":
                return MapOf(self.at(schema.get("values"), f"{path}{{}}", space))
            case str() if kind in _AVRO:
                return Scalar(_AVRO[kind])
        raise SchemaError(f"{path or 'it'} has the type {kind!r:.60}, which Avro does not know")

    def _record(self, schema: Mapping[str, Any], path: str, space: str) -> Type:
        members = {}
        for one in schema.get("fields") or ():
            if not isinstance(one, Mapping) or not isinstance(one.get("name"), str):
                raise SchemaError(f"{path or 'it'} has a field without a name")
            at = f"{path}.{one['name']}".lstrip(".")
            members[one["name"]] = Member(self.at(one.get("type"), at, space), "default" in one)
        return Record(members)

    def _union(self, choices: Sequence[object], path: str, space: str) -> Nullable:
        real = [one for one in choices if one != "null"]
        null = len(real) < len(choices)
        made = [self.at(one, path, space).type for one in real]  # all: others may refer to what is defined here
        return Nullable(made[0] if len(made) == 1 else AnyType(), null)

    def _by_name(self, name: str, path: str, space: str) -> Nullable:
        if name == "null":
            return _ANYTHING
        if name in _AVRO:
            return Nullable(Scalar(_AVRO[name]))
        for full in (name if "." in name or not space else f"{space}.{name}", name):
            if full in self._within:
                return _ANYTHING
            if full in self._named:
                self._counted(self._counts[full], path)
                return Nullable(self._named[full])
        raise SchemaError(f"{path or 'it'} has the type {name!r:.60}, which was not defined before")


def full_name(name: str, space: object) -> str:
    """Of an Avro record, enum or fixed with this name that is defined within a namespace."""
    return name if "." in name or not space else f"{space}.{name}"


def from_connect(schema: object) -> Nullable:
    """A schema of Kafka Connect, as JsonConverter embeds it. Raises SchemaError."""
    return _connect(schema, "")


def _connect(schema: object, path: str) -> Nullable:
    if not isinstance(schema, Mapping):
        raise SchemaError(f"{path or 'it'} is no schema of Kafka Connect")
    return Nullable(_connect_kind(schema, path), bool(schema.get("optional")))


def _connect_kind(schema: Mapping[str, Any], path: str) -> Type:
    if schema.get("name") in (DECIMAL, VARIABLE_DECIMAL):
        return Scalar("decimal")
    match schema.get("type"):
        case "struct":
            fields = [one for one in schema.get("fields") or () if isinstance(one, Mapping)]
            named = {str(one.get("field")): one for one in fields}
            return Record(
                {
                    name: Member(
                        _connect(one, f"{path}.{name}".lstrip(".")), "default" in one or bool(one.get("optional"))
                    )
                    for name, one in named.items()
                }
            )
        case "array":
            return ListOf(_connect(schema.get("items"), f"{path}[]"))
        case "map":
            return MapOf(_connect(schema.get("values"), f"{path}{{}}"))
        case str() as kind if kind in _CONNECT:
            parameters = schema.get("parameters")
            allowed = parameters.get("allowed") if isinstance(parameters, Mapping) else None
            return Scalar(_CONNECT[kind], frozenset(allowed.split(",")) if isinstance(allowed, str) else None)
    raise SchemaError(f"{path or 'it'} has the type {schema.get('type')!r:.60}, which Kafka Connect does not know")


def row_of(envelope: Nullable) -> Nullable:
    """The type of `after` in the type of a change event; a type that has no `after` is the row's own."""
    if isinstance(envelope.type, Record) and {"before", "after", "op"} <= envelope.type.members.keys():
        return Nullable(envelope.type.members["after"].type.type)
    return envelope
