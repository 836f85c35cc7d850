"""What crosses between a guest and a database, and how much of it.

A value is None, a truth value, an integer, a float, a text or bytes. Nothing else is bound, and nothing is turned into another
type on the way: decimals, timestamps, UUIDs and JSON travel as texts, in the database's own form.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

from sandbox.host.requests import HostFailure
from sandbox.memory import CALL_BYTES_MAX
from schemas.abi import ERROR_INVALID, ERROR_TOO_LARGE

Value: TypeAlias = "bool | int | float | str | bytes | None"
Key: TypeAlias = "int | str | bytes"
Row: TypeAlias = "dict[str, Value]"

STATEMENT_CHARACTERS_MAX = 16 << 10
PARAMETERS_MAX = 1_000
STATEMENTS_MAX = 256
"""Of one transaction."""
INT64_MIN, INT64_MAX = -(1 << 63), (1 << 63) - 1
VALUE_BYTES = 9
"""What a value of fixed size counts: msgpack's largest."""


def invalid(message: str) -> HostFailure:
    """The request is not what the table says."""
    return HostFailure(ERROR_INVALID, message)


def statement_of(request: object) -> tuple[str, list[Value]]:
    """`[statement, [parameter, …]]`, checked. Raises HostFailure."""
    match request:
        case [str(statement), [*parameters]] if len(statement) <= STATEMENT_CHARACTERS_MAX:
            return _statement(statement), parameters_of(parameters)
    raise invalid(f"wanted [statement of {STATEMENT_CHARACTERS_MAX} characters at most, [parameter, …]]")


def statements_of(request: object) -> list[tuple[str, list[Value]]]:
    """`[[statement, [parameter, …]], …]`, checked. Raises HostFailure."""
    if not isinstance(request, list) or not 1 <= len(request) <= STATEMENTS_MAX:
        raise invalid(f"wanted 1 to {STATEMENTS_MAX} statements")
    return [statement_of(one) for one in request]


def _statement(text: str) -> str:
    if "\0" in text:
        raise invalid("the statement has a NUL: databases would see a part of it only")
    return text.strip().rstrip("; \t\r\n")


def parameters_of(found: Sequence[Any]) -> list[Value]:
    """Values that may be bound. Raises HostFailure."""
    if len(found) > PARAMETERS_MAX:
        raise invalid(f"{len(found)} parameters; {PARAMETERS_MAX} is the most")
    for at, one in enumerate(found):
        if one is not None and not isinstance(one, bool | int | float | str | bytes):
            raise invalid(f"parameter {at} is a {type(one).__name__}: lists and maps travel as text, as JSON")
        if isinstance(one, str) and "\0" in one:
            raise invalid(f"parameter {at} is a text with a NUL")
    return list(found)


def keys_of(found: Sequence[Any], most: int) -> list[Key]:
    """Keys to look up. Truth values and floats are none: they would equal integers. Raises HostFailure."""
    if len(found) > most:
        raise HostFailure(ERROR_TOO_LARGE, f"{len(found)} keys; {most} is the most")
    for one in found:
        if (type(one) is int and INT64_MIN <= one <= INT64_MAX) or type(one) is bytes:
            continue
        if type(one) is str and "\0" not in one:
            continue
        raise invalid("a key is an integer of 64 bits, a text without NUL, or bytes")
    return list(found)


def is_nan(value: Value) -> bool:
    """Not a number."""
    return isinstance(value, float) and math.isnan(value)


class Measure:
    """Counts an answer while it is read. Raises HostFailure as soon as it is too large."""

    def __init__(self, rows_max: int, bytes_max: int) -> None:
        self.bytes_max = min(bytes_max, CALL_BYTES_MAX)
        self._rows_max = rows_max
        self._rows = 0
        self._bytes = 0

    def add_row(self, row: Row) -> None:
        """One row more."""
        self._rows += 1
        if self._rows > self._rows_max:
            raise HostFailure(ERROR_TOO_LARGE, f"more than {self._rows_max} rows")
        for name, value in row.items():
            self.add(len(name) + (len(value) if isinstance(value, str | bytes) else VALUE_BYTES))

    def add(self, count: int) -> None:
        """So many bytes more; a text counts its characters at least."""
        self._bytes += count
        if self._bytes > self.bytes_max:
            raise HostFailure(ERROR_TOO_LARGE, f"more than {self.bytes_max} bytes")


def row_of(names: Sequence[str], values: Sequence[Any]) -> Row:
    """A row as a map."""
    return dict(zip(names, values, strict=True))


def check_names(names: Sequence[str]) -> None:
    """A map has each name once. Raises HostFailure."""
    twice = {name for name in names if names.count(name) > 1} if len(set(names)) < len(names) else None
    if twice:
        raise invalid(f"two columns are called `{min(twice)}`: name them with AS")
