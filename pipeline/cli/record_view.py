"""How records are shown to people: a change event as what changed, a dead letter with why it is one, anything else as its text.

Threat: keys, values and headers are strangers' text; `trial_view.plain` makes it harmless for a terminal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Final

import msgspec
from rich.console import Console
from rich.text import Text

from pipeline.cli.difference import changes, shown
from pipeline.cli.trial_view import change_text, plain
from schemas.change import OPERATIONS
from schemas.dead_letter import read_dead_letter
from schemas.event import Event, TopicPartition
from schemas.formats.debezium import DebeziumJson, encode
from schemas.formats.format import FALLS, Format

_CHANGES_MAX: Final = 40
_VALUE_CHARACTERS_MAX: Final = 2_000
_OPERATIONS: Final = {
    "c": ("created", "green"),
    "u": ("updated", "yellow"),
    "d": ("deleted", "red"),
    "r": ("read", "cyan"),
    "t": ("truncated", "bold red"),
    "m": ("message", "magenta"),
}
_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


@dataclass(frozen=True, slots=True)
class _Rows:
    """A change event's operation and rows, as JSON text: digits and names as they were written."""

    op: str
    before: bytes | None
    after: bytes | None


class RecordView:
    """Prints one record after the other."""

    def __init__(self, console: Console, source: Format | None = None) -> None:
        """`source` is how values are written; None is Debezium's JSON."""
        self._console = console
        self._format = source or DebeziumJson()

    def show(self, source: TopicPartition, event: Event) -> None:
        """Where it stands, what it is, and what it says."""
        parts = self._parts(source, event)
        if len(parts) > 1:
            for part in parts:
                self.show(source, part)
            return
        rows = _rows(self._json(source, event))
        word, style = _OPERATIONS[rows.op] if rows else ("tombstone", "red") if event.value is None else ("record", "")
        key = "" if event.key is None else f"  key {plain(shown(event.key))}"
        place = f"  {plain(str(source))} offset {event.offset}  {_moment(event.timestamp)}"
        self._console.print(Text.assemble((word, style), (place, "dim"), key))
        self._reason(event)
        if rows is not None:
            self._changes(rows)
        elif event.value is not None:
            self._line(plain(shown(event.value), _VALUE_CHARACTERS_MAX))

    def _parts(self, source: TopicPartition, event: Event) -> Sequence[Event]:
        """One record for every row."""
        if event.value is None or not self._format.splits:
            return (event,)
        try:
            return self._format.split(event)
        except FALLS:
            return (event,)

    def _json(self, source: TopicPartition, event: Event) -> bytes | None:
        """The value as Debezium's JSON, where it can be told."""
        if event.value is None or self._format.name == DebeziumJson.name:
            return event.value
        try:
            return encode(self._format.decode(event, source.topic).packed)
        except FALLS:
            return None

    def _reason(self, event: Event) -> None:
        letter = read_dead_letter(event.headers)
        if letter is not None:
            violation = letter.violation
            self._line(
                f"{violation.kind} in {plain(violation.transformer)}: {plain(violation.message, 500)}", "bold red"
            )

    def _changes(self, rows: _Rows) -> None:
        found = list(islice(changes(rows.before or b"{}", rows.after or b"{}"), _CHANGES_MAX + 1))
        for change in found[:_CHANGES_MAX]:
            self._console.print(Text("  ") + change_text(change))
        if len(found) > _CHANGES_MAX:
            self._line("… and more", "dim")

    def _line(self, text: str, style: str = "") -> None:
        self._console.print(Text("  " + text, style))


def _rows(value: bytes | None) -> _Rows | None:
    """Of a Debezium envelope, with and without an embedded schema; None for anything else."""
    if value is None:
        return None
    try:
        members = _members(value)
        if "payload" in members and "op" not in members:
            members = _members(members["payload"])
        op = msgspec.json.decode(members["op"]) if "op" in members else None
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    if not isinstance(op, str) or op not in OPERATIONS:
        return None
    return _Rows(op, _row(members.get("before")), _row(members.get("after")))


def _row(raw: msgspec.Raw | None) -> bytes | None:
    return None if raw is None or bytes(raw) == b"null" else bytes(raw)


def _moment(timestamp_ms: int) -> str:
    try:
        moment = datetime.fromtimestamp(timestamp_ms / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return f"timestamp {timestamp_ms}"
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
