"""How `penstock test` and `penstock dev` show golden cases to people. What a guest said is a stranger's text: see `trial_view`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

from rich.console import Console
from rich.text import Text

from pipeline.cli.difference import Change, changes
from pipeline.cli.trial_view import change_text, folded, format_memory, plain
from pipeline.workshop.cases.canonical import same_json
from pipeline.workshop.cases.running import Failure, Result
from pipeline.workshop.cases.verdict import Difference, Unlike
from schemas.outcome import Violation

_CHANGES_MAX: Final = 40
_LOGS_MAX: Final = 20


class CaseView:
    """Prints results as they come."""

    def __init__(self, console: Console, *, verbose: bool = False) -> None:
        self._console = console
        self._verbose = verbose

    def show(self, name: str, results: Sequence[Result]) -> None:
        """One file's results: a line, and each case that failed."""
        path = results[0].case.path
        failed = sum(not result.ok for result in results)
        style, count = ("red", f"{failed} of {len(results)} failed") if failed else ("green", f"{len(results)} passed")
        self._console.print(Text.assemble((name, "bold"), f"  {plain(str(path), 500)}  ", (count, style)))
        for result in results:
            if not result.ok:
                self.show_failed(result)
            elif self._verbose:
                self._line(Text.assemble(("ok  ", "green"), plain(result.case.name), ("  " + cost(result), "dim")))

    def show_failed(self, result: Result) -> None:
        """What is not as expected, part by part."""
        case = result.case
        self._line(Text.assemble(("FAILED ", "bold red"), (plain(case.name), "bold"), f"  {plain(case.place, 500)}"))
        if result.error:
            self._line(Text(plain(result.error, 2_000), "red"), 4)
        for failure in result.failures:
            self._failure(result, failure)
        for entry in result.ran.logs[:_LOGS_MAX]:
            self._line(Text(f"log: {plain(entry.text)}", "dim"), 4)

    def _failure(self, result: Result, failure: Failure) -> None:
        found = failure.difference
        event = f"event {failure.number + 1}: " if result.case.is_list else ""
        batch = "in one batch with the file's other cases (alone it is as expected): " if failure.together else ""
        if found.expected != found.got:
            self._line(Text.assemble(event, batch, "expected ", (plain(found.expected, 2_000), "red")), 4)
            self._line(Text.assemble("     got ", (plain(found.got, 2_000), "green")), 4)
        else:
            self._line(Text.assemble(event, batch, ("expected", "red"), " → ", ("got", "green")), 4)
        self._parts(found, exact=result.case.exact)
        outcome = None if failure.together else result.ran.outcomes[failure.number]
        if isinstance(outcome, Violation):
            for frame in folded(outcome.backtrace.splitlines()):
                self._line(Text(plain(frame), "dim"), 6)

    def _parts(self, found: Difference, *, exact: bool) -> None:
        shown = list(islice(unlike_changes(found, exact=exact), _CHANGES_MAX + 1))
        for change in shown[:_CHANGES_MAX]:
            self._line(change_text(change), 6)
        if len(shown) > _CHANGES_MAX:
            self._line(Text("… and more", "dim"), 6)

    def _line(self, text: Text, indent: int = 2) -> None:
        self._console.print(Text(" " * indent) + text)


def unlike_changes(found: Difference, *, exact: bool) -> Iterator[Change]:
    """The parts that differ, field by field where they are JSON; numbers that are only written differently count only when `exact`."""
    for part in found.parts:
        for change in changes(part.expected, part.got):
            if exact or not _only_written_differently(change):
                yield Change(_place(part, change), change.before, change.after)


def _only_written_differently(change: Change) -> bool:
    return change.before is not None and change.after is not None and same_json(change.before, change.after)


def _place(part: Unlike, change: Change) -> str:
    joint = "" if not change.path or change.path.startswith("[") else "."
    return f"{part.part}{joint}{change.path}"


def cost(result: Result) -> str:
    """`0.31 ms, 128 KiB`."""
    return f"{result.ran.elapsed_ns / 1e6:.2f} ms, {format_memory(result.ran.memory_bytes_peak)}"


def in_words(result: Result) -> str:
    """Everything that is not as expected, as plain text of several lines: for reports."""
    lines = [plain(result.error, 2_000)] if result.error else []
    for failure in result.failures:
        found = failure.difference
        event = f"event {failure.number + 1}: " if result.case.is_list else ""
        batch = "in one batch with the file's other cases: " if failure.together else ""
        lines.append(f"{event}{batch}expected {plain(found.expected, 2_000)}, got {plain(found.got, 2_000)}")
        lines += [change_text(change).plain for change in unlike_changes(found, exact=result.case.exact)]
    return "\n".join(lines)
