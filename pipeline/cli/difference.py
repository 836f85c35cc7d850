"""What changed between two payloads, field by field where both are JSON. Pure; knows nothing of terminals."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_DEPTH_MAX = 64
"""Deeper structures are compared as a whole."""


@dataclass(frozen=True, slots=True)
class _Number:
    """A number as it is written: 1.10 is not 1.1 here, and no digit is lost to a double."""

    text: str


@dataclass(frozen=True, slots=True)
class Change:
    """One field that is new (`before` None), gone (`after` None) or different. Both are JSON text, or a description of bytes."""

    path: str
    before: str | None
    after: str | None


def changes(before: bytes | None, after: bytes | None) -> Iterator[Change]:
    """What is different, in the order of `before` and then of what is new; nothing when equal. An empty path is the whole payload."""
    if before == after:
        return
    old, new = _parse(before), _parse(after)
    if old is None or new is None:
        yield Change("", shown(before), shown(after))
        return
    found = False
    for change in _compare("", old[0], new[0], 0):
        found = True
        yield change
    if not found:
        yield Change("", "the same JSON", "written differently")


def _parse(payload: bytes | None) -> tuple[Any] | None:
    if payload is None:
        return None
    try:
        return (json.loads(payload.decode(), parse_int=_Number, parse_float=_Number, parse_constant=_Number),)
    except (ValueError, RecursionError):
        return None


def _compare(path: str, before: Any, after: Any, depth: int) -> Iterator[Change]:
    if before == after and type(before) is type(after):
        return
    if depth < _DEPTH_MAX and isinstance(before, dict) and isinstance(after, dict):
        yield from _compare_fields(path, before, after, depth)
    elif depth < _DEPTH_MAX and isinstance(before, list) and isinstance(after, list):
        fields = [{f"[{at}]": item for at, item in enumerate(items)} for items in (before, after)]
        yield from _compare_fields(path, fields[0], fields[1], depth)
    else:
        yield Change(path, _text(before), _text(after))


def _compare_fields(path: str, before: dict[str, Any], after: dict[str, Any], depth: int) -> Iterator[Change]:
    for name, old in before.items():
        if name in after:
            yield from _compare(_join(path, name), old, after[name], depth + 1)
        else:
            yield Change(_join(path, name), _text(old), None)
    for name, new in after.items():
        if name not in before:
            yield Change(_join(path, name), None, _text(new))


def _join(path: str, name: str) -> str:
    return f"{path}{name}" if not path or name.startswith("[") else f"{path}.{name}"


def _text(value: Any) -> str:
    match value:
        case _Number(text):
            return text
        case dict():
            return (
                "{"
                + ",".join(f"{json.dumps(key, ensure_ascii=False)}:{_text(item)}" for key, item in value.items())
                + "}"
            )
        case list():
            return "[" + ",".join(_text(item) for item in value) + "]"
        case _:
            return json.dumps(value, ensure_ascii=False)


def shown(payload: bytes | None) -> str:
    """A payload for reading: its text, or how many bytes it is."""
    if payload is None:
        return "null"
    try:
        return payload.decode()
    except UnicodeDecodeError:
        return f"{len(payload)} bytes: {payload[:32].hex()}{'…' if len(payload) > 32 else ''}"
