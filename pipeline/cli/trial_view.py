"""How `penstock try` shows its trials to people.

Threat: payloads, messages and backtraces are a stranger's text. What a terminal might obey (escapes, carriage returns, changes
of direction) is shown as its code, and nothing of it is read as markup.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Final, assert_never

from rich.console import Console
from rich.text import Text

from pipeline.cli.difference import Change, changes
from pipeline.events_file import EventLine
from schemas.event import Event
from schemas.limits import KIB, MIB
from schemas.outcome import Dropped, Emitted, Outcome, Report, Violation

_CHANGES_MAX: Final = 40
_RECORDS_MAX: Final = 20
_CHARACTERS_MAX: Final = 120
_ALIKE_MAX: Final = 2
_LEVELS: Final = ("trace", "debug", "info", "warning", "error")


@dataclass(frozen=True, slots=True)
class Trial:
    """One event that was run, and what became of it."""

    line: EventLine
    outcome: Outcome
    report: Report
    to: str | None
    """The route's destination: where records go that name no topic."""


class TrialView:
    """Prints one trial after the other."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def show(self, trial: Trial) -> None:
        """Outcome, time and memory; then what is different, or what went wrong."""
        match trial.outcome:
            case Emitted(events):
                self._head(trial, "emitted", "green")
                self._records(trial, events)
            case Dropped():
                self._head(trial, "dropped", "yellow")
            case Violation() as violation:
                self._head(trial, f"violation: {violation.kind}", "bold red")
                self._violation(violation)
            case outcome:
                assert_never(outcome)
        for entry in trial.report.logs:
            self._line(f"log {_LEVELS[entry.level]}: {plain(entry.text)}", "dim")

    def _head(self, trial: Trial, outcome: str, style: str) -> None:
        report, event, source = trial.report, trial.line.event, trial.line.source
        cost = f"{report.elapsed_ns / 1e6:.2f} ms, {format_memory(report.memory_bytes_peak)}"
        place = plain(f"{source} offset {event.offset}")
        self._console.print(Text.assemble((outcome, style), f"  {place}  ", (cost, "dim")))

    def _records(self, trial: Trial, events: tuple[Event, ...]) -> None:
        before = trial.line.event
        if not events:
            self._line("no records: as if dropped", "dim")
        for number, event in enumerate(events[:_RECORDS_MAX], 1):
            if len(events) > 1 or event.to is not None:
                self._line(
                    plain(f"record {number} of {len(events)} to {event.to or trial.to or 'the destination'}"), "bold"
                )
            self._difference(before, event)
        if len(events) > _RECORDS_MAX:
            self._line(f"… and {len(events) - _RECORDS_MAX} more records", "dim")

    def _difference(self, before: Event, after: Event) -> None:
        found = [
            *_named("key", before.key, after.key),
            *islice(changes(before.value, after.value), _CHANGES_MAX + 1),
            *_header_changes(before, after),
        ]
        if not found:
            self._line("unchanged", "dim")
        for change in found[:_CHANGES_MAX]:
            self._change(change)
        if len(found) > _CHANGES_MAX:
            self._line("… and more", "dim")

    def _change(self, change: Change) -> None:
        self._console.print(Text("  ") + change_text(change))

    def _violation(self, violation: Violation) -> None:
        code = f"{violation.code}: " if violation.code and not violation.message.startswith(violation.code) else ""
        self._line(plain(f"{code}{violation.message}", 2_000))
        self._line(plain(f"limits {violation.limits}"), "dim")
        for frame in folded(violation.backtrace.splitlines()):
            self._line(f"  {plain(frame)}", "dim")

    def _line(self, text: str, style: str = "") -> None:
        self._console.print(Text("  " + text, style))


def change_text(change: Change) -> Text:
    """One line: `+ new: 1`, `- gone: 2`, `~ different: 3 → 4`."""
    name = f"{plain(change.path)}: " if change.path else ""
    if change.before is None:
        return Text(f"+ {name}{plain(change.after or '')}", "green")
    if change.after is None:
        return Text(f"- {name}{plain(change.before)}", "red")
    return Text.assemble((f"~ {name}", "yellow"), (plain(change.before), "red"), " → ", (plain(change.after), "green"))


def outcome_name(outcome: Outcome) -> str:
    """The outcome in one word."""
    match outcome:
        case Emitted():
            return "emitted"
        case Dropped():
            return "dropped"
        case Violation():
            return "violation"
        case _:
            assert_never(outcome)


def plain(text: str, characters_max: int = _CHARACTERS_MAX) -> str:
    """The text cut to a bound, on one line, with everything a terminal might obey shown as its code."""
    cut = text if len(text) <= characters_max else text[: characters_max - 1] + "…"
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in cut)


def folded(frames: Sequence[str]) -> Iterator[str]:
    """The frames, but of a recursion that repeats one of them only the first two and how many more there are."""
    for _, alike in groupby(frames, key=lambda frame: frame.partition(": ")[2] or frame):
        run = list(alike)
        yield from run[:_ALIKE_MAX]
        if len(run) > _ALIKE_MAX:
            yield f"     … {len(run) - _ALIKE_MAX} more of the same"


def format_memory(size_bytes: int) -> str:
    """`64 KiB`, `3.06 MiB`."""
    return f"{size_bytes / KIB:.0f} KiB" if size_bytes < MIB else f"{size_bytes / MIB:.2f} MiB"


def _named(name: str, before: bytes | None, after: bytes | None) -> list[Change]:
    """Changes of a part of the record that is not its value."""
    return [Change(f"({name})" + (f".{c.path}" if c.path else ""), c.before, c.after) for c in changes(before, after)]


def _header_changes(before: Event, after: Event) -> list[Change]:
    if before.headers == after.headers:
        return []
    gone = [h for h in before.headers if h not in after.headers]
    new = [h for h in after.headers if h not in before.headers]
    if not gone and not new:
        return [Change("(headers)", "the same headers", "in another order or number")]
    return [Change(f"(header {name})", _shown(value), None) for name, value in gone] + [
        Change(f"(header {name})", None, _shown(value)) for name, value in new
    ]


def _shown(value: bytes | None) -> str:
    return "null" if value is None else value.decode("utf-8", "backslashreplace")
