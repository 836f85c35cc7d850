"""A contract: a schema that somebody declared, and what it is good for: holding rows to it, and comparing a writer's schema with it."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

from pipeline.schema_registry.missing import INSTALL, missing_extra
from schemas.contracts.reading import SchemaError, from_avro, from_json_schema, row_of
from schemas.contracts.rows import RowCheck, json_schema_check, python_check, type_check
from schemas.contracts.types import Nullable
from schemas.formats.schemas import RegisteredSchema, SchemaKind, UnreadableSchema


@dataclass(frozen=True, slots=True)
class Contract:
    """See the module."""

    row: Nullable
    """The type of a row."""
    check: RowCheck


def read_contract(source: str, base: Path) -> Contract:
    """The contract in a file (JSON Schema in `.json`, Avro in `.avsc`, Protobuf in `.proto`), or of a Python type
    (`package.module:Name`). Raises SchemaError with what is wrong; the caller knows where it was named.
    """
    if _is_type(source):
        return _of_type(source)
    path = base / source
    if path.suffix == ".json":
        return _of_json_schema(_json(path))
    row = read_type(path)
    return Contract(row, type_check(row))


known_contract = lru_cache(maxsize=256)(read_contract)
"""The same, read once in a process: lanes come and go, and compiling takes a while."""


def read_type(path: Path) -> Nullable:
    """The type in a schema file, of the row where it is a change event's. Raises SchemaError."""
    match path.suffix:
        case ".json":
            return row_of(from_json_schema(_json(path)))
        case ".avsc":
            return row_of(from_avro(_json(path)))
        case ".proto":
            return _of_protobuf(_text(path))
    raise SchemaError(f"{path} is neither JSON Schema (.json) nor Avro (.avsc) nor Protobuf (.proto)")


def _of_protobuf(text: str) -> Nullable:
    """Of the file's first message."""
    if missing := missing_extra():
        raise SchemaError(f"Protobuf needs {missing}: {INSTALL}")
    from pipeline.schema_registry.compiler import descriptor_set
    from schemas.formats.protobuf import ProtobufCodec

    schema = RegisteredSchema(0, SchemaKind.PROTOBUF, text)
    try:
        return ProtobufCodec(schema, descriptor_set(schema)).row()
    except (UnreadableSchema, IndexError) as error:
        raise SchemaError(f"it is no Protobuf schema: {error}") from None


def _json(path: Path) -> Any:
    text = _text(path)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SchemaError(f"{path} is not JSON: {error}") from None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise SchemaError(f"{path} cannot be read: {error.strerror or error}") from None
    except ValueError:
        raise SchemaError(f"{path} is not UTF-8") from None


def _of_json_schema(document: object) -> Contract:
    row = row_of(from_json_schema(document))
    if not isinstance(document, Mapping):
        raise SchemaError("it is no JSON Schema: an object is needed")
    try:
        return Contract(row, json_schema_check(document))
    except ValueError as error:
        why, *_ = str(error).splitlines()  # behind it, the schema of schemas, at length
        raise SchemaError(f"it is no JSON Schema: {why[:300]}") from None


def _is_type(source: str) -> bool:
    module, colon, name = source.partition(":")
    return bool(colon) and all(part.isidentifier() for part in (*module.split("."), *name.split(".")))


def _of_type(source: str) -> Contract:
    module, _, name = source.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except Exception as error:  # an import runs whatever is in the module
        raise SchemaError(f"{source} cannot be imported: {type(error).__name__}: {error}") from None
    try:
        schema = msgspec.json.schema(found)
    except TypeError as error:
        why, *_ = str(error).splitlines()
        raise SchemaError(f"{source} is no type that msgspec knows: {why}") from None
    return Contract(from_json_schema(schema), python_check(found))
