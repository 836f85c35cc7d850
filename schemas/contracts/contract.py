"""A contract: a schema that somebody declared, and what it is good for: holding rows to it, and comparing a writer's schema with it."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from schemas.contracts.reading import SchemaError, from_avro, from_json_schema, row_of
from schemas.contracts.rows import RowCheck, json_schema_check, python_check, type_check
from schemas.contracts.types import Nullable


@dataclass(frozen=True, slots=True)
class Contract:
    """See the module."""

    row: Nullable
    """The type of a row."""
    check: RowCheck


def read_contract(source: str, base: Path) -> Contract:
    """The contract in a file (JSON Schema in `.json`, Avro in `.avsc`), or of a Python type (`package.module:Name`).

    Raises SchemaError with what is wrong; the caller knows where it was named.
    """
    if _is_type(source):
        return _of_type(source)
    path = base / source
    document = read_schema_file(path)
    if path.suffix == ".avsc":
        row = row_of(from_avro(document))
        return Contract(row, type_check(row))
    return _of_json_schema(document)


def read_type(path: Path) -> Nullable:
    """The type in a schema file, of the row where it is a change event's. Raises SchemaError."""
    document = read_schema_file(path)
    return row_of(from_avro(document) if path.suffix == ".avsc" else from_json_schema(document))


def read_schema_file(path: Path) -> Any:
    """The JSON of a schema file. Raises SchemaError."""
    if path.suffix not in (".json", ".avsc"):
        raise SchemaError(f"{path} is neither JSON Schema (.json) nor Avro (.avsc)")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SchemaError(f"{path} cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise SchemaError(f"{path} is not JSON: {error}") from None


def _of_json_schema(document: object) -> Contract:
    row = row_of(from_json_schema(document))
    if not isinstance(document, Mapping):
        raise SchemaError("it is no JSON Schema: an object is needed")
    try:
        return Contract(row, json_schema_check(document))
    except ValueError as error:
        raise SchemaError(f"it is no JSON Schema: {str(error)[:300]}") from None


def _is_type(source: str) -> bool:
    module, colon, name = source.partition(":")
    return bool(colon) and all(part.isidentifier() for part in (*module.split("."), *name.split(".")))


def _of_type(source: str) -> Contract:
    module, _, name = source.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
        schema = msgspec.json.schema(found)
    except (ImportError, AttributeError) as error:
        raise SchemaError(f"{source} cannot be imported: {error}") from None
    except TypeError as error:
        raise SchemaError(f"{source} is no type that msgspec knows: {error}") from None
    return Contract(from_json_schema(schema), python_check(found))
