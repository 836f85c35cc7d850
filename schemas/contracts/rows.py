"""Rows held to a contract: what is wrong with one, with the place in it."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import msgspec

from schemas.change import UNAVAILABLE
from schemas.contracts.types import AnyType, Kind, ListOf, MapOf, Nullable, Record, Scalar

_NOT_FINITE: Final = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
"""Texts in JSON, as Debezium writes them."""
PROBLEMS_MAX: Final = 5
"""As many are told of one row."""
RowCheck = Callable[[Mapping[str, Any]], list[str]]
"""The problems of a row, as `path: what is wrong`; empty for a good one. Members that were not sent (a large value that did not change)
are not judged."""


def json_schema_check(schema: Mapping[str, Any]) -> RowCheck:
    """By every keyword of the JSON Schema. Raises ValueError for one that cannot be compiled."""
    import jsonschema_rs  # only where a contract is declared

    validator = jsonschema_rs.validator_for(dict(schema))

    def check(row: Mapping[str, Any]) -> list[str]:
        plain, unsent = _as_json(row)
        if not unsent and validator.is_valid(plain):
            return []
        problems = []
        for error in validator.iter_errors(plain):
            if error.kind.name == "required" and getattr(error.kind, "property", None) in unsent:
                continue
            problems.append(_told(_dotted(error.instance_path), error.message))
            if len(problems) == PROBLEMS_MAX:
                break
        return problems

    return check


def type_check(kind: Nullable) -> RowCheck:
    """By types alone: members that must be there, and what they are."""

    def check(row: Mapping[str, Any]) -> list[str]:
        found = _problems("", row, kind)
        return [problem for problem, _ in zip(found, range(PROBLEMS_MAX), strict=False)]

    return check


def python_check(kind: type) -> RowCheck:
    """By a type that msgspec can convert to: a `msgspec.Struct`, a dataclass, a TypedDict."""

    def check(row: Mapping[str, Any]) -> list[str]:
        sent = {name: value for name, value in row.items() if value != UNAVAILABLE}
        try:
            msgspec.convert(sent, kind, builtin_types=(bytes,))
        except msgspec.ValidationError as error:
            if len(sent) < len(row) and "missing required field" in str(error):
                return []
            return [_told("", str(error))]
        return []

    return check


def _told(path: str, message: str) -> str:
    return f"{path[:200]}: {message[:300]}" if path else message[:400]


def _dotted(path: list[str | int]) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".")


def _as_json(row: Mapping[str, Any]) -> tuple[dict[str, Any], set[str]]:
    """The row as JSON could say it, and the names of members at its top that were not sent."""
    unsent = {name for name, value in row.items() if value == UNAVAILABLE}
    return {name: _plain(value) for name, value in row.items() if name not in unsent}, unsent


def _plain(value: Any) -> Any:
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else _NOT_FINITE[str(value)]
        case bytes():
            return base64.b64encode(value).decode()
        case dict():
            return {str(name): _plain(one) for name, one in value.items()}
        case list():
            return [_plain(one) for one in value]
    return None


_PYTHON: Final[Mapping[Kind, tuple[type, ...]]] = {
    "boolean": (bool,),
    "int32": (int,),
    "int64": (int,),
    "float32": (float, int),
    "float64": (float, int),
    "decimal": (str, int),
    "string": (str,),
    "bytes": (bytes,),
}
_BITS: Final[Mapping[str, int]] = {"int32": 31, "int64": 63}


def _problems(path: str, value: Any, kind: Nullable) -> Iterator[str]:
    if value == UNAVAILABLE or isinstance(kind.type, AnyType):
        return
    if value is None:
        if not kind.null:
            yield _told(path or "the row", f"is null, and {kind} is needed")
        return
    match kind.type, value:
        case Record(), dict():
            yield from _member_problems(path, value, kind.type)
        case ListOf(items), list():
            for index, one in enumerate(value):
                yield from _problems(f"{path}[{index}]", one, items)
        case MapOf(values), dict():
            for name, one in value.items():
                yield from _problems(f"{path}.{name}".lstrip("."), one, values)
        case Scalar(), _ if _fits(value, kind.type):
            return
        case _:
            yield _told(path or "the row", f"is {_shown(value)}, and {kind} is needed")


def _member_problems(path: str, value: Mapping[str, Any], kind: Record) -> Iterator[str]:
    for name, member in kind.members.items():
        at = f"{path}.{name}".lstrip(".")
        if name in value:
            yield from _problems(at, value[name], member.type)
        elif not member.optional:
            yield _told(at, "is missing")
    if kind.closed and (foreign := value.keys() - kind.members.keys()):
        yield _told(path or "the row", f"has {sorted(foreign)[0]!r:.100}, which the contract does not know")


def _fits(value: Any, kind: Scalar) -> bool:
    if type(value) is bool and kind.kind != "boolean":
        return False
    if not isinstance(value, _PYTHON[kind.kind]) or (kind.symbols is not None and value not in kind.symbols):
        return False
    bits = _BITS.get(kind.kind)
    return bits is None or (isinstance(value, int) and -(1 << bits) <= value < 1 << bits)


def _shown(value: Any) -> str:
    return type(value).__name__ if isinstance(value, dict | list | bytes) else f"{value!r:.60}"
