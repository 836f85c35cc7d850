"""JSON by what it says: members without order, numbers as exact decimals, texts without their escapes.

Two members of one name are not one, so they are told apart from the one that a parser would keep.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any


@dataclass(frozen=True, slots=True)
class _Number:
    """A number's value; one that no decimal can hold stands for its own text."""

    value: Decimal | str


@dataclass(frozen=True, slots=True)
class _Repeating:
    """An object in which a name repeats."""

    members: tuple[tuple[str, Any], ...]


def same_payload(one: bytes | None, other: bytes | None) -> bool:
    """Whether two keys or values say the same: the same bytes, or both JSON objects or arrays with equal content."""
    if one == other:
        return True
    if one is None or other is None or one.lstrip()[:1] not in (b"{", b"[") or other.lstrip()[:1] not in (b"{", b"["):
        return False
    return same_json(one, other)


def same_json(one: bytes | str, other: bytes | str) -> bool:
    """Whether both are JSON and say the same."""
    try:
        return bool(_parse(one) == _parse(other))
    except (ValueError, RecursionError):
        return False


def _parse(text: bytes | str) -> Any:
    written = text.decode() if isinstance(text, bytes) else text
    return json.loads(
        written, parse_int=_number, parse_float=_number, parse_constant=_Number, object_pairs_hook=_object
    )


def _number(text: str) -> _Number:
    try:
        return _Number(Decimal(text))
    except InvalidOperation:
        return _Number(text)


def _object(members: list[tuple[str, Any]]) -> Any:
    found = dict(members)
    return found if len(found) == len(members) else _Repeating(tuple(members))
