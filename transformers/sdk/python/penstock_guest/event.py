"""What a transformer gets: a record, or the change event in it."""

import json
from collections.abc import Iterable, Iterator, MutableMapping
from dataclasses import dataclass
from typing import Any

from penstock_guest import jsontext, packed
from penstock_guest.outcome import (
    DROP,
    UNCHANGED,
    Drop,
    Emit,
    EmitMany,
    Headers,
    Record,
    Reject,
    Unchanged,
    Value,
)

OPERATIONS = {"c": "Create", "u": "Update", "d": "Delete", "r": "Read", "t": "Truncate", "m": "Message"}
"""Debezium's letters for what happened: a row inserted, updated, deleted, or read by a snapshot; a table truncated; a message."""
ROW_OPERATIONS = frozenset("cur")
_REPEATABLE = frozenset(("op", "before", "after", "schema", "payload"))


@dataclass(frozen=True, slots=True)
class Source:
    """Where a batch comes from."""

    topic: str
    partition: int
    encoding: str


class Event:
    """A record as it lies in the topic. `key` and `value` are its bytes; None is none, and a None value a tombstone."""

    __slots__ = ("_fields", "_frame", "_key_at", "_value_at", "offset", "source", "timestamp_ms")

    def __init__(self, source: Source, frame: str, fields: list[Any], key: int, value: int) -> None:
        self.source = source
        self._frame = frame
        self.offset, self.timestamp_ms = fields[0], fields[1]
        """Milliseconds since 1970."""
        self._fields, self._key_at, self._value_at = fields, key, value

    @property
    def topic(self) -> str:
        """The source topic."""
        return self.source.topic

    @property
    def partition(self) -> int:
        """The source partition."""
        return self.source.partition

    @property
    def key(self) -> bytes | None:
        """The record's key."""
        return _bytes(self._frame, self._key_at, self._fields[2])

    @property
    def value(self) -> bytes | None:
        """The record's value. With `encoding: event`, that of a change event is its JSON text, or its msgpack."""
        return _bytes(self._frame, self._value_at, self._fields[3])

    @property
    def text(self) -> str | None:
        """The value as text. Raises Reject `not-text` when it is no UTF-8."""
        at, length = self._value_at, self._fields[3]
        if length is None:
            return None
        if length < 0:
            raise Reject("not-text", "the value is no UTF-8 text")
        return self._frame[at : at + length]

    @property
    def headers(self) -> tuple[tuple[str, bytes | None], ...]:
        """Names and contents, in order."""
        at = self._value_at + abs(self._fields[3] or 0)
        found = []
        for name, length in self._fields[4]:
            found.append((name, _bytes(self._frame, at, length)))
            at += abs(length or 0)
        return tuple(found)

    def unchanged(self) -> Unchanged:
        """It goes on as it came."""
        return UNCHANGED

    def drop(self) -> Drop:
        """It ends here."""
        return DROP

    def emit(self, value: Value) -> Emit:
        """It goes on with this value; None makes it a tombstone."""
        return Emit(value)

    def emit_many(self, records: Iterable[Record]) -> EmitMany:
        """These go on instead of it."""
        return EmitMany(records)

    def record(self, value: Value, *, topic: str | None = None, headers: Headers | None = None) -> Record:
        """A record with this value and the event's own key, for `emit_many`."""
        return Record(value, self.key, topic, headers)

    def reject(self, code: str, message: str) -> Reject:
        """It is unfit: to the dead letters, with these words."""
        return Reject(code, message)


def _bytes(frame: str, at: int, length: int | None) -> bytes | None:
    if length is None:
        return None
    if length >= 0:
        return frame[at : at + length].encode()
    return frame[at : at - length].encode("latin-1")


class Row(MutableMapping[str, Any]):
    """One side of a change. What is set or deleted is edited in the text that came; all else keeps its every character.

    From JSON, numbers are `int`, or `Decimal` when they have a point or an exponent.
    """

    __slots__ = ("_changed", "_end", "_start", "_text", "_touched", "_values")

    def __init__(self, values: dict[str, Any], text: str = "", start: int = 0, end: int = 0) -> None:
        self._values = values
        self._text, self._start, self._end = text, start, end
        self._changed: dict[str, str | None] = {}
        """JSON by name; None where it was deleted."""
        self._touched = False
        """Columns that came are among the changed ones."""

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def get(self, name: str, default: Any = None) -> Any:
        """The column's value; the default when there is none."""
        return self._values.get(name, default)

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __setitem__(self, name: str, value: Any) -> None:
        if self._text:
            self._touched = self._touched or name in self._values
            self._changed[name] = jsontext.dumps(value)
        self._values[name] = value

    def __delitem__(self, name: str) -> None:
        del self._values[name]
        if self._text:
            self._changed[name], self._touched = None, True

    def __repr__(self) -> str:
        return repr(self._values)

    def shown(self, name: str) -> str:
        """The column as it stands in the event, for messages: at most 80 characters of it."""
        text = ""
        if self._text:
            for member, start, end, _ in jsontext.members(self._text, self._start)[0]:
                text = self._text[start:end] if member == name else text
        text = text or _json(self._values.get(name))
        return text if len(text) <= 80 else text[:80] + "…"

    def edits(self) -> list[tuple[int, int, str]]:
        """What to put in place of which characters of the text, in order."""
        if not self._changed:
            return []
        changed = dict(self._changed)
        found = jsontext.members(self._text, self._start)[0] if self._touched else []
        last = {name: at for at, (name, *_) in enumerate(found)}
        if any(changed.get(name, "") is None for name in last):
            return [(self._start, self._end, self._rewritten(found))]
        edits = sorted((found[at][1], found[at][2], changed.pop(name)) for name, at in last.items() if name in changed)
        added = [(name, text) for name, text in changed.items() if text is not None]
        if added:
            edits.append(self._appended(added))
        return edits

    def _appended(self, added: list[tuple[str, str]]) -> tuple[int, int, str]:
        at = self._end - 1
        while self._text[at - 1] in " \t\n\r":
            at -= 1
        pieces = ",".join(f"{jsontext.dumps(name)}:{text}" for name, text in added)
        return (at, at, pieces if self._text[at - 1] == "{" else f",{pieces}")

    def _rewritten(self, found: list[jsontext.Member]) -> str:
        texts = {name: self._text[start:end] for name, start, end, _ in found}
        texts |= self._changed
        return (
            "{" + ",".join(f"{jsontext.dumps(name)}:{text}" for name, text in texts.items() if text is not None) + "}"
        )

    @property
    def values_changed(self) -> dict[str, Any]:
        """All columns, as they are now."""
        return self._values


class ChangeEvent(Event):
    """A change event of Debezium's, decoded. A record that is none is rejected before the transformer sees it.

    A tombstone (also one in a schema) never comes to the transformer either: it goes on unchanged.
    """

    __slots__ = ("_change", "after", "before", "op")

    op: str
    """`c` inserted, `u` updated, `d` deleted, `r` read by a snapshot, `t` truncated, `m` a message."""
    before: Row | None
    after: Row | None
    """None when the event has none. Edit it, then return `event.emit()`."""

    def read(self) -> bool:
        """Decode the value; False for a tombstone. Raises Reject."""
        at, length = self._value_at, self._fields[3]
        if length is None:
            return False
        if self.source.encoding == "event":
            return self._take(_decoded(self._frame, at, length))
        if length < 0:
            raise Reject("bad-json", "the value is no JSON change event: it is not UTF-8")
        try:
            return self._parse(self._frame[at : at + length])
        except jsontext.JsonError as error:
            raise Reject("bad-json", f"the value is no JSON change event: {error}") from None

    def __getitem__(self, name: str) -> Any:
        """Another member of the change event: `source`, `ts_ms`, `transaction`. None when there is none."""
        return self._change.get(name)

    def emit(self, value: Value = ...) -> Emit:  # type: ignore[assignment]
        """It goes on with the edits that were made, or with this value."""
        return Emit(self.changed() if value is ... else value)

    def record(self, value: Value = ..., *, topic: str | None = None, headers: Headers | None = None) -> Record:  # type: ignore[assignment]
        """A record with the edits that were made (or this value) and the event's own key, for `emit_many`."""
        return Record(self.changed() if value is ... else value, self.key, topic, headers)

    def changed(self) -> Value:
        """The value with the edits that were made so far."""
        if self.source.encoding == "event":
            return self._change | {"before": _plain(self.before), "after": _plain(self.after)}
        at = self._value_at
        text = self._frame[at : at + self._fields[3]]
        edits = [] if self.after is None else self.after.edits()
        if self.before is not None:
            edits = sorted(edits + self.before.edits())
        for start, end, new in reversed(edits):
            text = f"{text[:start]}{new}{text[end:]}"
        return text

    def _take(self, change: dict[str, Any]) -> bool:
        self._change = change
        self.op = change["op"]
        before, after = change.get("before"), change.get("after")
        self.before = None if before is None else Row(before)
        self.after = None if after is None else Row(after)
        return True

    def _parse(self, text: str) -> bool:
        jsontext.check_depth(text)
        start = 0
        if text[:1] != "{":
            if text.strip(" \t\n\r") == "null":
                return False
            start = len(text) - len(text.lstrip(" \t\n\r"))
        found, end = jsontext.members(text, start)
        jsontext.end_of(text, end)
        parts = _parts(found)
        if "schema" in parts and "payload" in parts:
            _, at, _, payload = parts["payload"]
            if payload is None:
                return False
            parts = _parts(jsontext.members(text, at)[0])
        operation = parts["op"][3] if "op" in parts else None
        if not isinstance(operation, str) or operation not in OPERATIONS:
            message = "the value has no `op` of c, u, r, d, t or m: it is no Debezium change event"
            raise Reject("no-envelope", message)
        self.op = operation
        self.before = _row(text, parts.get("before"))
        self.after = _row(text, parts.get("after"))
        self._change = {name: member[3] for name, member in parts.items()}
        return True


def _parts(found: list[jsontext.Member]) -> dict[str, jsontext.Member]:
    parts = {member[0]: member for member in found}
    if len(parts) < len(found):
        names = [member[0] for member in found]
        repeated = [name for name in _REPEATABLE if names.count(name) > 1]
        if repeated:  # readers differ in which one they take
            raise jsontext.JsonError(f"the envelope's `{repeated[0]}` repeats")
    return parts


def _row(text: str, member: jsontext.Member | None) -> Row | None:
    if member is None or member[3] is None:
        return None
    name, start, end, values = member
    if not isinstance(values, dict):
        raise jsontext.JsonError(f"`{name}` is no object, at character {start}")
    return Row(values, text, start, end)


def _plain(row: Row | None) -> dict[str, Any] | None:
    return None if row is None else row.values_changed


def _decoded(frame: str, at: int, length: int) -> Any:
    """A change event as the host wrote it: JSON, or msgpack where JSON cannot say it."""
    if length >= 0:
        return json.loads(frame[at : at + length])
    return packed.unpackb(frame[at : at - length].encode("latin-1"))


def _json(value: Any) -> str:
    try:
        return jsontext.dumps(value)
    except (TypeError, ValueError):
        return repr(value)
