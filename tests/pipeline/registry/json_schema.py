"""A small JSON Schema checker: the keywords that the registry's schema uses, and an error for any other."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_ANNOTATIONS = {"title", "description", "default", "examples", "$defs", "$schema"}
_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,), "array": (list,), "string": (str,), "integer": (int,), "boolean": (bool,), "null": (type(None),),
}  # fmt: skip


def accepts(schema: Mapping[str, Any], value: Any, root: Mapping[str, Any] | None = None) -> bool:
    """Whether the value is valid. Raises AssertionError for a keyword that it does not know."""
    root = root if root is not None else schema
    return all(_keyword(key, schema, value, root) for key in schema if key not in _ANNOTATIONS)


def _keyword(key: str, schema: Mapping[str, Any], value: Any, root: Mapping[str, Any]) -> bool:
    expected = schema[key]
    match key:
        case "$ref":
            return accepts(root["$defs"][expected.rpartition("/")[2]], value, root)
        case "anyOf":
            return any(accepts(branch, value, root) for branch in expected)
        case "type":
            return isinstance(value, _TYPES[expected]) and not (expected == "integer" and isinstance(value, bool))
        case "enum":
            return value in expected
        case "const":
            return bool(value == expected)
        case "pattern":
            return isinstance(value, str) and re.search(expected, value) is not None
        case "minLength" | "maxLength":
            return not isinstance(value, str) or (
                len(value) >= expected if key == "minLength" else len(value) <= expected
            )
        case "minimum" | "maximum":
            return not isinstance(value, int) or (value >= expected if key == "minimum" else value <= expected)
        case "minItems" | "minProperties":
            return not isinstance(value, list | dict) or len(value) >= expected
        case "items":
            return not isinstance(value, list) or all(accepts(expected, item, root) for item in value)
        case "required":
            return not isinstance(value, dict) or all(name in value for name in expected)
        case "properties" | "patternProperties" | "additionalProperties":
            return not isinstance(value, dict) or _properties(schema, value, root)
        case "propertyNames":
            return not isinstance(value, dict) or all(accepts(expected, name, root) for name in value)
        case _:
            raise AssertionError(f"unknown keyword {key}")


def _properties(schema: Mapping[str, Any], value: Mapping[str, Any], root: Mapping[str, Any]) -> bool:
    return all(_property(schema, name, item, root) for name, item in value.items())


def _property(schema: Mapping[str, Any], name: str, item: Any, root: Mapping[str, Any]) -> bool:
    if name in schema.get("properties", {}):
        return accepts(schema["properties"][name], item, root)
    for pattern, branch in schema.get("patternProperties", {}).items():
        if re.search(pattern, name):
            return accepts(branch, item, root)
    rest = schema.get("additionalProperties", True)
    return rest if isinstance(rest, bool) else accepts(rest, item, root)
