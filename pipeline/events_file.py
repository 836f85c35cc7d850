"""Events as lines of JSON: how files of events are written and read, one event a line, never a whole file in memory.

    {"topic": "shop.public.orders", "partition": 0, "offset": 7, "timestamp": 1795353061768,
     "key": "{\\"id\\":7}", "value": "{\\"op\\":\\"c\\"}", "headers": [["trace", "abc"], ["raw", {"base64": "/w=="}], ["none", null]]}

`key` and `value` are the record's text; `key_base64` and `value_base64` stand in their place for bytes that are no text; null or
nothing is no key, or a tombstone. A JSON object or array instead of a text is taken as JSON and written compactly, its numbers as
they stand. Everything may be left out. `to` (which printed records have) is ignored, so that a record can be fed to the next
transformer.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode, b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, BinaryIO, Final

import msgspec

from schemas.errors import Fault
from schemas.event import Event, Headers, TopicPartition

LINE_BYTES_MAX: Final = 64 << 20
"""A longer line is refused, and with it the rest of the file: it is most likely no file of lines at all."""
_BOM: Final = b"\xef\xbb\xbf"
_NOT_GIVEN: Final = msgspec.Raw()
_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")

Count = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
Moment = Annotated[int, msgspec.Meta(ge=-1, le=(1 << 63) - 1)]
"""Milliseconds since the epoch; -1 is Kafka's "none"."""


class _Base64(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    base64: str


class _Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A line as it is written."""

    topic: str | None = None
    partition: Annotated[int, msgspec.Meta(ge=0, le=(1 << 31) - 1)] = 0
    offset: Count | None = None
    timestamp: Moment = 0
    key: msgspec.Raw = _NOT_GIVEN
    key_base64: str | None = None
    value: msgspec.Raw = _NOT_GIVEN
    value_base64: str | None = None
    headers: tuple[tuple[str, str | _Base64 | None], ...] = ()
    to: str | None = None


@dataclass(frozen=True, slots=True)
class EventLine:
    """One event of a file."""

    source: TopicPartition
    event: Event
    number: int
    """Of its line, from 1."""


class _LineError(ValueError):
    """What is wrong with one line."""

    def __init__(self, problem: str, remedy: str = "", path: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.remedy = remedy
        self.path = path


_decode = msgspec.json.Decoder(_Line).decode


def read_events(stream: BinaryIO, name: str, topic: str, faults: list[Fault], faults_max: int) -> Iterator[EventLine]:
    """The events in `stream`, line by line; blank lines are skipped.

    A line that is no event is left out and added to `faults`, under the file's `name`; at `faults_max` reading ends. `topic` is
    that of events which name none; an event without an offset has the number of events before it.
    """
    position = 0
    for number, line in enumerate(_lines(stream), 1):
        try:
            event_line = _event_line(line, number, topic, position)
        except _LineError as error:
            faults.append(Fault(error.problem, error.remedy, file=name, line=number, path=error.path))
            if len(faults) >= faults_max or len(line) > LINE_BYTES_MAX:
                return
            continue
        if event_line is not None:
            position += 1
            yield event_line


def event_fields(event: Event, source: TopicPartition) -> dict[str, Any]:
    """An event as the fields of a line; `read_events` makes the same event of them."""
    return {
        "topic": source.topic,
        "partition": source.partition,
        "offset": event.offset,
        "timestamp": event.timestamp,
        **_text_or_base64("key", event.key),
        **_text_or_base64("value", event.value),
        "headers": _header_fields(event.headers),
    }


def _lines(stream: BinaryIO) -> Iterator[bytes]:
    while line := stream.readline(LINE_BYTES_MAX + 1):
        yield line


def _event_line(raw: bytes, number: int, topic: str, position: int) -> EventLine | None:
    line = _parse(raw.removeprefix(_BOM) if number == 1 else raw)
    if line is None:
        return None
    event = Event(
        position if line.offset is None else line.offset,
        line.timestamp,
        _payload("key", line.key, line.key_base64),
        _payload("value", line.value, line.value_base64),
        tuple((name, _header(text, at)) for at, (name, text) in enumerate(line.headers)),
    )
    return EventLine(TopicPartition(topic if line.topic is None else line.topic, line.partition), event, number)


def _parse(raw: bytes) -> _Line | None:
    """The line's fields; None for a blank one. Raises _LineError."""
    if len(raw) > LINE_BYTES_MAX:
        raise _LineError(f"is longer than {LINE_BYTES_MAX >> 20} MiB", "write one event a line")
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        problem = f"is not UTF-8 text (byte {error.start})"
        raise _LineError(problem, "write bytes that are no text as key_base64 or value_base64") from None
    if not text.strip():
        return None
    try:
        return _decode(text)
    except msgspec.ValidationError as error:
        problem, _, rest = str(error).partition(" - at `$")
        place = rest.strip("`").removeprefix(".")
        raise _LineError(_lowered(problem), _remedy(problem, place), place) from None
    except msgspec.DecodeError as error:
        raise _LineError(_no_json(text, str(error)), "write one JSON object a line (`jq -c . FILE` does)") from None
    except RecursionError:
        raise _LineError("is nested too deeply") from None


def _no_json(text: str, problem: str) -> str:
    if "truncated" in problem and _SURROGATE.search(text):  # what the decoder calls truncated
        return "has half of a surrogate pair, which is no text"
    return f"is not JSON: {_lowered(problem.removeprefix('JSON is malformed: '))}"


def _remedy(problem: str, place: str) -> str:
    if "unknown field" in problem:
        return f"fields are {', '.join(_Line.__struct_fields__)}"
    if place.startswith("headers"):
        return 'write headers as pairs: [["name", "text"], ["bytes", {"base64": "/w=="}]]'
    return "" if place else 'write an object a line, such as {"key": "1", "value": {…}}'


def _lowered(text: str) -> str:
    return text[:1].lower() + text[1:]


def _payload(name: str, given: msgspec.Raw, in_base64: str | None) -> bytes | None:
    """Bytes of a key or value. Raises _LineError."""
    written = bytes(given)
    if in_base64 is None:
        return _bytes_of_json(name, written)
    if written not in (b"", b"null"):
        raise _LineError(f"has both {name} and {name}_base64", "keep one of them")
    return _decoded(in_base64, f"{name}_base64")


def _bytes_of_json(name: str, written: bytes) -> bytes | None:
    if written in (b"", b"null"):
        return None
    if written[:1] == b'"':
        return msgspec.json.decode(written, type=str).encode()
    if written[:1] in (b"{", b"["):
        return msgspec.json.format(written, indent=-1)
    raise _LineError("is neither text, nor an object or array, nor null", "put it in quotes", name)


def _header(text: str | _Base64 | None, at: int) -> bytes | None:
    if isinstance(text, _Base64):
        return _decoded(text.base64, f"headers[{at}][1].base64")
    return None if text is None else text.encode()


def _decoded(text: str, path: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _LineError(f"is not base64: {_lowered(str(error))}", path=path) from None


def _text(raw: bytes) -> str | None:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return None


def _text_or_base64(name: str, raw: bytes | None) -> dict[str, str | None]:
    if raw is None:
        return {name: None}
    text = _text(raw)
    return {name: text} if text is not None else {f"{name}_base64": b64encode(raw).decode()}


def _header_fields(headers: Headers) -> list[list[Any]]:
    return [[name, _header_value(value)] for name, value in headers]


def _header_value(value: bytes | None) -> str | dict[str, str] | None:
    if value is None:
        return None
    text = _text(value)
    return text if text is not None else {"base64": b64encode(value).decode()}
