"""The frames of guest ABI v1 as one text each, for guests that are components.

A text is one line of JSON, which has lengths in place of keys, values and header values; behind the line's end those stand one
after another, in order, unescaped. A length counts characters. A negative one says that each character is one byte (U+0000 to
U+00FF): what is no UTF-8 travels like that. The value of a change event (`encoding: event`) is JSON text, or its msgpack bytes
where JSON has no way to say it: byte strings, NaN and infinities, values that the source left out.

    text   = line "\\n" characters
    batch  = [ meta, [ [ offset, timestamp_ms, length | null, length | null, [ [ name, length | null ], … ] ], … ] ]
    result = [ null | [0] | [1, length | null] | [2, [ [ topic | null, length | null, length | null, headers | null ], … ] ]
             | [3, code, message], … ]
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

import msgspec

from schemas.abi import FrameError

TEXT_PARTS_MAX: Final = 2
"""A result's text may be so many times as long as its frame may be: numbers and brackets are shorter in msgpack."""
TEXT_SPARE_CHARACTERS: Final = 64 << 10

Length = int | None
_Headers = tuple[tuple[str, Length], ...]
_Made = str | bytes | None


class _Record(msgspec.Struct, frozen=True, gc=False, array_like=True, forbid_unknown_fields=True):
    topic: str | None
    key: Length
    value: Length
    headers: _Headers | None


class _Drop(msgspec.Struct, tag=0, frozen=True, gc=False, array_like=True, forbid_unknown_fields=True):
    pass


class _Replace(msgspec.Struct, tag=1, frozen=True, gc=False, array_like=True, forbid_unknown_fields=True):
    value: Length


class _Emit(msgspec.Struct, tag=2, frozen=True, gc=False, array_like=True, forbid_unknown_fields=True):
    records: tuple[_Record, ...]


class _Reject(msgspec.Struct, tag=3, frozen=True, gc=False, array_like=True, forbid_unknown_fields=True):
    code: str
    message: str


_Result = _Drop | _Replace | _Emit | _Reject | None

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder().decode
_line = msgspec.json.Encoder().encode
_results = msgspec.json.Decoder(list[_Result]).decode
_change = json.JSONEncoder(ensure_ascii=False, check_circular=False, allow_nan=False, separators=(",", ":")).encode


def batch_text(head: bytes, body: bytes) -> str:
    """The text of the batch frame `head + body` (see `schemas.abi.BatchEncoder`)."""
    meta = _unpack(head[1:])
    parts: list[str] = []
    events = []
    for offset, timestamp, key, value, headers in _unpack(body):
        key_length = _append(parts, key)
        value_length = _append(parts, value)
        measured = [(name, _append(parts, content)) for name, content in headers] if headers else ()
        events.append((offset, timestamp, key_length, value_length, measured))
    return "\n".join((_line((meta, events)).decode(), "".join(parts)))


def _append(parts: list[str], content: Any) -> Length:
    """Put it behind the others; its length."""
    if content is None:
        return None
    if type(content) is not bytes:
        try:
            text = _change(content)
            text.encode()  # a lone surrogate cannot cross
        except (TypeError, ValueError):
            content = _pack(content)
        else:
            parts.append(text)
            return len(text)
    try:
        text = content.decode()
    except UnicodeDecodeError:
        parts.append(content.decode("latin-1"))
        return -len(content)
    parts.append(text)
    return len(text)


def result_frame(text: str, *, changes: bool) -> bytes:
    """The result frame that a guest's text stands for. `changes`: values are change events, not bytes.

    Raises FrameError for anything that is not as the module says. What results may be is `schemas.abi`'s to judge.
    """
    end = text.find("\n")
    if end < 0:
        raise FrameError("a result text without a line of results")
    try:
        results = _results(text[:end])
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise FrameError(str(error)) from None
    reader = _Reader(text, end + 1)
    value = reader.change if changes else reader.content
    made = [_made(result, reader.content, value) for result in results]
    if reader.at != len(text):
        raise FrameError(f"{len(text) - reader.at} characters behind the last result")
    try:
        return _pack(made)
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise FrameError(str(error)) from None


def _made(result: _Result, content: Callable[[Length], _Made], value: Callable[[Length], Any]) -> Any:
    match result:
        case None:
            return None
        case _Replace():
            return (1, value(result.value))
        case _Drop():
            return (0,)
        case _Reject():
            return (3, result.code, result.message)
        case _Emit():
            return (2, [_record(record, content, value) for record in result.records])


def _record(record: _Record, content: Callable[[Length], _Made], value: Callable[[Length], Any]) -> Any:
    key = content(record.key)
    emitted = value(record.value)
    headers = record.headers
    measured = None if headers is None else [(name, content(length)) for name, length in headers]
    return (record.topic, key, emitted, measured)


class _Reader:
    """Takes contents off the text, one after another. Raises FrameError for lengths that are not there."""

    __slots__ = ("_text", "at")

    def __init__(self, text: str, at: int) -> None:
        self._text = text
        self.at = at

    def content(self, length: Length) -> bytes | None:
        """Bytes."""
        if length is None:
            return None
        try:
            return self._take(length).encode("utf-8" if length >= 0 else "latin-1")
        except UnicodeEncodeError as error:
            raise FrameError(f"characters that are no bytes: {error.reason}") from None

    def change(self, length: Length) -> Any:
        """A change event: JSON text or msgpack bytes."""
        if length is None:
            return None
        try:
            if length >= 0:
                return json.loads(self._take(length), parse_constant=_refuse)
            return _unpack(self._take(length).encode("latin-1"))
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise FrameError(f"a change event that cannot be read: {error}") from None

    def _take(self, length: int) -> str:
        begin, self.at = self.at, self.at + abs(length)
        if self.at > len(self._text):
            raise FrameError(f"a length of {length}, but {len(self._text) - begin} characters are left")
        return self._text[begin : self.at]


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
