"""Batches in, results out, as the texts of docs/guest-abi.md (`A component's frames`)."""

import json
from collections.abc import Iterator
from typing import Any

from penstock_guest import packed
from penstock_guest.event import Event, Source
from penstock_guest.outcome import Drop, Emit, EmitMany, Headers, Outcome, Record, Reject, Unchanged, Value

Length = int | None
_line = json.JSONEncoder(ensure_ascii=False, check_circular=False, allow_nan=False, separators=(",", ":")).encode
_escaped_line = json.JSONEncoder(check_circular=False, allow_nan=False, separators=(",", ":")).encode
_change = _line


def read_batch(text: str, kind: type[Event]) -> tuple[Source, Iterator[Event]]:
    """The events of a batch, each made when it is asked for: none of them need stay while the others are at work."""
    end = text.index("\n")
    meta, listed = json.loads(text[:end])
    source = Source(meta["topic"], meta["partition"], meta["encoding"])
    return source, _events(source, text, listed, end + 1, kind)


def _events(source: Source, text: str, listed: list[list[Any]], at: int, kind: type[Event]) -> Iterator[Event]:
    for fields in listed:
        key, value = fields[2], fields[3]
        value_at = at + abs(key) if key else at
        yield kind(source, text, fields, at, value_at)
        at = value_at + abs(value) if value else value_at
        for _, length in fields[4]:
            at += abs(length or 0)


class Results:
    """Collects outcomes and writes them down."""

    __slots__ = ("_decoded", "_listed", "_parts")

    def __init__(self, source: Source) -> None:
        self._decoded = source.encoding == "event"
        self._listed: list[Any] = []
        self._parts: list[str] = []

    def add(self, outcome: Outcome) -> None:
        """One more. Raises TypeError, ValueError for what cannot be emitted; nothing is added then."""
        kind = type(outcome)
        if kind is Emit:
            written: Any = (1, self._value(outcome.value))  # type: ignore[attr-defined]
        elif kind is Unchanged:
            written = None
        elif kind is Drop:
            written = (0,)
        elif isinstance(outcome, EmitMany):
            written = (2, [self._record(record) for record in outcome.records])
        elif isinstance(outcome, Reject):
            written = (3, str(outcome.code), str(outcome.message))
        else:
            raise TypeError(f"a transformer returns an outcome, such as event.unchanged(), not {outcome!r:.80}")
        self._listed.append(written)

    def text(self) -> str:
        """All of them."""
        line = _line(self._listed)
        if not line.isascii():
            line = _escaped_line(self._listed)  # a message may hold lone surrogates
        return f"{line}\n{''.join(self._parts)}"

    def _record(self, record: Record) -> Any:
        if not isinstance(record, Record):
            raise TypeError(f"emit_many takes records, made with event.record(…), not {record!r:.80}")
        return (record.topic, self._content(record.key), self._value(record.value), self._headers(record.headers))

    def _headers(self, headers: Headers | None) -> Any:
        return None if headers is None else [(name, self._content(content)) for name, content in headers]

    def _value(self, value: Value) -> Length:
        if value is None:
            return None
        if not self._decoded:
            return self._content(value)
        if isinstance(value, str | bytes):
            raise TypeError("with `encoding: event` a value is a change event, as a mapping")
        return self._put(_written(value))

    def _content(self, content: Any) -> Length:
        if type(content) is str:
            return self._put(content)
        if content is None:
            return None
        if not isinstance(content, bytes | bytearray):
            raise TypeError(f"text or bytes can be emitted, not {type(content).__name__}: use penstock_guest.dumps")
        return self._put(bytes(content))

    def _put(self, content: str | bytes) -> int:
        """Behind the others; its length."""
        if isinstance(content, str):
            if not content.isascii():
                content.encode()  # raises for lone surrogates, which cannot cross
            self._parts.append(content)
            return len(content)
        try:
            return self._put(content.decode())
        except UnicodeDecodeError:
            self._parts.append(content.decode("latin-1"))
            return -len(content)


def _written(value: Any) -> str | bytes:
    """A change event as JSON, or as msgpack where JSON cannot say it."""
    try:
        text = _change(value)
        if not text.isascii():
            text.encode()
    except (TypeError, ValueError):
        return packed.packb(value)
    return text
