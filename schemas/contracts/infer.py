"""What rows look like, from rows: a JSON Schema that all that were seen hold to, and that is as narrow as types can say."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from schemas.change import UNAVAILABLE

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


class Inference:
    """Takes rows one by one; `schema` is what is known of them so far. Its size is bounded by the names that rows have."""

    def __init__(self) -> None:
        self.rows = 0
        self._seen = _Object()

    def add(self, row: Mapping[str, Any]) -> None:
        """One more row, as a transformer sees it."""
        self.rows += 1
        self._seen.add(row)

    def schema(self, title: str) -> dict[str, Any]:
        """The JSON Schema (2020-12). Members that every row had are required."""
        return {"$schema": DIALECT, "title": title, **self._seen.schema()}


class _Values:
    """What one place held."""

    def __init__(self) -> None:
        self._types: set[str] = set()
        self._object: _Object | None = None
        self._items: _Values | None = None

    def add(self, value: Any) -> None:
        match value:
            case None:
                self._types.add("null")
            case bool():
                self._types.add("boolean")
            case int():
                self._types.add("integer")
            case float():
                self._types.add("number" if math.isfinite(value) else "string")  # NaN is a text in JSON
            case str():
                self._types.add("string")
            case bytes():
                self._types.add("bytes")
            case list():
                self._types.add("array")
                self._items = self._items or _Values()
                for one in value:
                    self._items.add(one)
            case dict():
                self._types.add("object")
                self._object = self._object or _Object()
                self._object.add(value)

    def schema(self) -> dict[str, Any]:
        types = self._types - {"integer"} if "number" in self._types else set(self._types)
        told: dict[str, Any] = {}
        if "bytes" in types:
            types = (types - {"bytes"}) | {"string"}
            told["contentEncoding"] = "base64"
        if not types:
            return {}  # never sent
        names = [*sorted(types - {"null"}), *sorted(types & {"null"})]
        told = {"type": names[0] if len(names) == 1 else names, **told}
        if self._object is not None:
            told |= {name: one for name, one in self._object.schema().items() if name != "type"}
        if self._items is not None:
            told["items"] = self._items.schema() or True
        return told


class _Object:
    def __init__(self) -> None:
        self._members: dict[str, _Values] = {}
        self._times: dict[str, int] = {}
        self._count = 0

    def add(self, row: Mapping[str, Any]) -> None:
        self._count += 1
        for name, value in row.items():
            member = self._members.setdefault(name, _Values())
            if value != UNAVAILABLE:
                member.add(value)
            self._times[name] = self._times.get(name, 0) + 1

    def schema(self) -> dict[str, Any]:
        told: dict[str, Any] = {
            "type": "object",
            "properties": {name: member.schema() or True for name, member in self._members.items()},
        }
        if required := [name for name, times in self._times.items() if times == self._count]:
            told["required"] = required
        return told
