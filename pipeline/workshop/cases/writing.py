"""Events and outcomes as a case file writes them: plain data first, then YAML in blocks or JSON in flow. What is written is read back the same."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pipeline.workshop.cases.verdict import is_unchanged
from schemas.event import Event, Headers, TopicPartition
from schemas.outcome import Dropped, Emitted, Outcome, Violation, ViolationKind

_DEPTH_MAX = 30
_LINE_MAX = 100
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./]*(?:[ -][A-Za-z0-9_./]+)*", re.ASCII)
_RESERVED = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan", "inf"})


@dataclass(frozen=True, slots=True)
class Number:
    """A JSON number as it is written."""

    text: str


def outcome_data(event: Event, outcome: Outcome, *, as_text: bool) -> Any:
    """What `expect:` says of this outcome. With `as_text`, values that are JSON stay text."""
    match outcome:
        case Emitted(records):
            if is_unchanged(event, outcome):
                return "unchanged"
            written = [_record(event, record, as_text=as_text) for record in records]
            return written[0] if len(written) == 1 and written[0] else {"emitted": written}
        case Dropped():
            return "dropped"
        case Violation(kind=ViolationKind.REJECTED):
            return {"rejected": outcome.code}
        case Violation():
            return outcome.kind.value


def event_data(source: TopicPartition, event: Event, *, as_text: bool = False) -> dict[str, Any]:
    """What `event:` says; what is as the format's defaults have it is left out, but for the topic."""
    data: dict[str, Any] = {"topic": source.topic}
    numbers = {"partition": source.partition, "offset": event.offset, "timestamp": event.timestamp}
    data |= {name: Number(str(number)) for name, number in numbers.items() if number}
    if event.key is not None:
        data |= payload_data("key", event.key, as_text=as_text)
    data |= payload_data("value", event.value, as_text=as_text)
    if event.headers:
        data["headers"] = _headers(event.headers)
    return data


def payload_data(name: str, payload: bytes | None, *, as_text: bool) -> dict[str, Any]:
    """The field for a key or value: JSON objects and arrays as data where that says the same bytes, else text, else base64."""
    if payload is None:
        return {name: None}
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        return {f"{name}_base64": b64encode(payload).decode()}
    data = None if as_text else _as_data(text)
    return {name: text if data is None else data}


def flow(data: Any) -> str:
    """On one line, as JSON, which is YAML too."""
    match data:
        case Number(text):
            return text
        case dict():
            return "{" + ", ".join(f"{_quoted(name)}: {flow(value)}" for name, value in data.items()) + "}"
        case list():
            return "[" + ", ".join(flow(item) for item in data) + "]"
        case str():
            return _quoted(data)
        case _:
            return json.dumps(data)


def pretty(data: Any, indent: int) -> str:
    """As JSON over several lines, the first without indentation."""
    inner, outer = " " * (indent + 2), " " * indent
    match data:
        case dict() if data:
            members = (f"{inner}{_quoted(name)}: {pretty(value, indent + 2)}" for name, value in data.items())
            return "{\n" + ",\n".join(members) + f"\n{outer}}}"
        case list() if data:
            return "[\n" + ",\n".join(inner + pretty(item, indent + 2) for item in data) + f"\n{outer}]"
        case _:
            return flow(data)


def block(data: Any, indent: int) -> list[str]:
    """YAML lines at this indentation. What is short stands on one line."""
    pad = " " * indent
    if isinstance(data, dict) and data:
        return [line for name, value in data.items() for line in _member(pad, _key(name), value, indent)]
    if isinstance(data, list) and data:
        return [line for item in data for line in _item(pad, item, indent)]
    return [pad + inline(data)]


def inline(data: Any) -> str:
    """On one line, with quotes only where they are needed."""
    match data:
        case dict():
            return "{" + ", ".join(f"{_key(name)}: {inline(value)}" for name, value in data.items()) + "}"
        case list():
            return "[" + ", ".join(inline(item) for item in data) + "]"
        case str():
            return _word(data)
        case _:
            return flow(data)


def _member(pad: str, key: str, value: Any, indent: int) -> Iterator[str]:
    if _is_short(value, len(pad) + len(key)):
        yield f"{pad}{key}: {inline(value)}"
    else:
        yield f"{pad}{key}:"
        yield from block(value, indent + 2)


def _item(pad: str, item: Any, indent: int) -> Iterator[str]:
    if _is_short(item, len(pad)):
        yield f"{pad}- {inline(item)}"
        return
    first, *rest = block(item, indent + 2)
    yield f"{pad}- {first[indent + 2 :]}"
    yield from rest


def _is_short(data: Any, taken: int) -> bool:
    return not isinstance(data, dict | list) or not data or taken + len(inline(data)) <= _LINE_MAX


def _record(event: Event, record: Event, *, as_text: bool) -> dict[str, Any]:
    data: dict[str, Any] = {} if record.to is None else {"topic": record.to}
    if record.key != event.key:
        data |= payload_data("key", record.key, as_text=as_text)
    if record.value != event.value or not data:
        data |= payload_data("value", record.value, as_text=as_text)
    if record.headers != event.headers:
        data["headers"] = _headers(record.headers)
    return data


def _headers(headers: Headers) -> list[Any]:
    return [[name, None if value is None else _header(value)] for name, value in headers]


def _header(value: bytes) -> Any:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": b64encode(value).decode()}


def _as_data(text: str) -> Any:
    """Of a JSON object or array; None for other text, and for JSON that a mapping could not say: repeated names, great depth, NaN."""
    if text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        data = json.loads(text, parse_int=Number, parse_float=Number, parse_constant=_refuse, object_pairs_hook=_object)
    except (ValueError, RecursionError):
        return None
    return data if _depth(data) <= _DEPTH_MAX and _encodable(text) else None


def _encodable(text: str) -> bool:
    """Whether no escape in it stands for half of a surrogate pair."""
    return re.search(r"\\u[dD][89a-fA-F]", text) is None


def _object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) != len(members):
        raise ValueError("a name repeats")
    return found


def _refuse(text: str) -> None:
    raise ValueError(text)


def _depth(data: Any) -> int:
    items = data.values() if isinstance(data, dict) else data if isinstance(data, list) else ()
    return 1 + max((_depth(item) for item in items), default=0)


def _key(name: str) -> str:
    return _word(name)


def _word(text: str) -> str:
    plain = _PLAIN.fullmatch(text) and text.lower() not in _RESERVED and len(text) <= _LINE_MAX
    return text if plain else _quoted(text)


def _quoted(text: str) -> str:
    """In double quotes, as JSON and YAML both read it; what a terminal or a YAML reader might trip over as its code."""
    return '"' + "".join(_escaped(character) for character in text) + '"'


def _escaped(character: str) -> str:
    """YAML and JSON agree on escapes of four digits only, and both take every character beyond those as it is."""
    if character in '"\\' or (not character.isprintable() and ord(character) <= 0xFFFF):
        return json.dumps(character)[1:-1]
    return character
