"""JSON that keeps what it does not touch: numbers as exact decimals, and edits within a text instead of a text anew.

`json`'s scanner, which is C, does the reading; these functions only walk over the members of single objects around it.
"""

import json
import re
from decimal import Decimal
from json.decoder import scanstring
from json.encoder import encode_basestring as _quoted
from typing import Any

DEPTH_MAX = 512
"""Objects and arrays within each other."""
Member = tuple[str, int, int, Any]
"""A member of an object: its name, where its value begins and ends, and the value."""


class JsonError(ValueError):
    """A text is no JSON; the message says what is wrong and at which character."""


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_exact = json.JSONDecoder(parse_float=Decimal, parse_constant=_no_constant)
_scan = _exact.scan_once
_scan_long = json.JSONDecoder(parse_float=Decimal, parse_int=Decimal, parse_constant=_no_constant).scan_once
"""For integers of more digits than `int` takes: 4300."""
_space = re.compile(r"[ \t\n\r]*").match
_brackets = re.compile(r'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', re.DOTALL).finditer


def loads(text: str) -> Any:
    """The value of a JSON text; numbers with a point or an exponent are `Decimal`, so that no digit is lost. Raises JsonError."""
    check_depth(text)
    start = _space(text, 0).end()
    value, end = scan(text, start)
    end_of(text, end)
    return value


def scan(text: str, at: int) -> tuple[Any, int]:
    """The value that begins at `at`, and where it ends. Raises JsonError."""
    try:
        return _scan(text, at)
    except StopIteration as error:
        raise JsonError(f"a value was expected at character {error.value}") from None
    except RecursionError:
        raise JsonError("nested too deeply") from None
    except json.JSONDecodeError as error:
        raise JsonError(f"{error.msg} at character {error.pos}") from None
    except ValueError as error:
        if "4300" in str(error) or "digits" in str(error):
            return _scan_digits(text, at)
        raise JsonError(str(error)) from None


def _scan_digits(text: str, at: int) -> tuple[Any, int]:
    try:
        return _scan_long(text, at)
    except (StopIteration, ValueError) as error:
        raise JsonError(str(error)) from None


def members(text: str, at: int) -> tuple[list[Member], int]:
    """The members of the object that begins at `at`, in order, repeated names included; and where the object ends. Raises JsonError."""
    found: list[Member] = []
    if text[at : at + 1] != "{":
        raise JsonError(f"an object was expected at character {at}")
    at += 1
    if text[at : at + 1] != '"':
        at = _space(text, at).end()
        if text[at : at + 1] == "}":
            return found, at + 1
    while True:
        if text[at : at + 1] != '"':
            raise JsonError(f"a name in quotes was expected at character {at}")
        try:
            name, at = scanstring(text, at + 1)
        except json.JSONDecodeError as error:
            raise JsonError(f"{error.msg} at character {error.pos}") from None
        if text[at : at + 1] != ":":
            at = _space(text, at).end()
            if text[at : at + 1] != ":":
                raise JsonError(f"a colon was expected at character {at}")
        at += 1
        if text[at : at + 1] in _WHITE:
            at = _space(text, at).end()
        value, end = scan(text, at)
        found.append((name, at, end, value))
        at = end
        follows = text[at : at + 1]
        if follows in _WHITE:
            at = _space(text, at).end()
            follows = text[at : at + 1]
        if follows == "}":
            return found, at + 1
        if follows != ",":
            raise JsonError(f"a comma or a closing brace was expected at character {at}")
        at += 1
        if text[at : at + 1] in _WHITE:
            at = _space(text, at).end()


_WHITE = frozenset((" ", "\t", "\n", "\r"))


def end_of(text: str, at: int) -> None:
    """Raises JsonError unless nothing but white space follows."""
    if at < len(text) and (at := _space(text, at).end()) < len(text):
        raise JsonError(f"text behind the value, at character {at}")


def check_depth(text: str) -> None:
    """Raises JsonError for more than 512 objects and arrays within each other. Counting brackets settles it for nearly all texts."""
    if text.count("{") + text.count("[") <= DEPTH_MAX:
        return
    depth = 0
    for found in _brackets(text):
        mark = found[0]
        depth += (mark in "{[") - (mark in "}]")
        if depth > DEPTH_MAX:
            raise JsonError(f"nested more than {DEPTH_MAX} levels deep")


_plain = json.JSONEncoder(ensure_ascii=False, check_circular=False, allow_nan=False, separators=(",", ":")).encode
_escaped = json.JSONEncoder(check_circular=False, allow_nan=False, separators=(",", ":")).encode


def dumps(value: Any) -> str:
    """Compact JSON. A `Decimal` is written with its own digits. Raises TypeError, ValueError for what JSON cannot say."""
    kind = type(value)
    if kind is str:
        return _quoted(value) if value.isascii() else _string(value)
    if kind is int:
        return int.__repr__(value)
    if value is None:
        return "null"
    if kind is Decimal:
        return _decimal(value)
    try:
        text = _plain(value)
    except TypeError:
        return "".join(_written(value))
    return text if _is_text(text) else _escaped(value)


def _string(value: str) -> str:
    return _quoted(value) if _is_text(value) else _escaped(value)


def _is_text(text: str) -> bool:
    """False for lone surrogates, which `\\ud800` in a JSON text gives and which no UTF-8 can carry."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _decimal(value: Decimal) -> str:
    if not value.is_finite():
        raise ValueError(f"{value} is not JSON")
    return str(value)


def _written(value: Any) -> list[str]:
    """Piece by piece, in Python: for values with decimals in them."""
    parts: list[str] = []
    match value:
        case dict():
            for name, item in value.items():
                parts += (",", _string(_name(name)), ":", *_written(item))
            return ["{", *parts[1:], "}"]
        case list() | tuple():
            for item in value:
                parts += (",", *_written(item))
            return ["[", *parts[1:], "]"]
        case Decimal():
            return [_decimal(value)]
    return [dumps(value)] if isinstance(value, str | int | float | None) else [_refused(value)]


def _name(name: Any) -> str:
    if not isinstance(name, str):
        raise TypeError(f"{name!r} is no name for a member: only texts are")
    return name


def _refused(value: Any) -> str:
    raise TypeError(f"{type(value).__name__} has no form in JSON")
