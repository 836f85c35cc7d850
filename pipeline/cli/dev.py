"""`penstock dev`: a project under work, built and tested again whenever something of it changes."""

from __future__ import annotations

import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing
from io import TextIOWrapper
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from pipeline.cli.case_view import CaseView
from pipeline.cli.difference import changes
from pipeline.cli.project_names import complete_project
from pipeline.cli.trial_view import Trial, TrialView, change_text, plain
from pipeline.workshop.cases.running import ISOLATION_MS
from pipeline.workshop.dev import Sent, Turn, Workbench
from pipeline.workshop.errors import BuildError, MissingToolchainError
from pipeline.workshop.languages import language
from pipeline.workshop.project import find_projects
from pipeline.workshop.watching import Watch
from sandbox import Sandbox
from schemas.errors import ConfigError, Fault
from schemas.outcome import Emitted

_CHANGED_MAX = 8
_CHANGES_MAX = 40


def dev(
    name: Annotated[
        str | None,
        typer.Argument(
            help="A project, by name or folder; without it, the project of this folder.",
            show_default=False,
            autocompletion=complete_project,
        ),
    ] = None,
    event: Annotated[
        str | None,
        typer.Option(
            "--event",
            "-e",
            help="The event to show: a file of events (the first, or that of a line), or a case's name; else the first case.",
            metavar="FILE[:LINE]|CASE",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Build and test a project again whenever its sources, cases or registry change, and show what it makes of one event.

    After each change: what the compiler says, the cases that fail, the chosen event before and after, what is different since the last
    time, and how long each step took. It goes on after an error. Ctrl-C ends it.

    Nothing is written into the project: what is built here may be less optimized, so `penstock build` makes the module that runs. A pin in
    the project's registry is not looked at.

    Example: penstock dev mask-names --event "adds the full name"
    """
    projects = find_projects([name] if name is not None else [])
    if len(projects) > 1:
        raise ConfigError(Fault("which one?", f"name one of: {', '.join(project.name for project in projects)}"))
    (project,) = projects
    missing = language(project.language).missing()
    if missing:
        raise MissingToolchainError(project.language, missing)
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # whoever reads along through a pipe sees each line as it comes
    console = Console(soft_wrap=True, highlight=False)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        with (
            tempfile.TemporaryDirectory(prefix="penstock-dev-") as scratch,
            closing(Sandbox(workers=1, isolation_budget_ms=ISOLATION_MS)) as sandbox,
        ):
            module = Path(scratch) / project.module.name
            _work(Workbench(project, module, sandbox, event), DevView(project.name, console))
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        typer.echo("\nended")  # past the console, which may have been interrupted in the middle of a line


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _work(workbench: Workbench, view: DevView) -> None:
    """Until interrupted."""
    watch = Watch(workbench.paths)
    changed: Sequence[Path] = ()
    while True:
        view.show(workbench.turn(changed))
        view.waiting(watch.files)
        changed = watch.next()
        view.changed([_short(path, workbench.folder) for path in changed])


def _short(path: Path, folder: Path) -> str:
    return str(path.relative_to(folder) if path.is_relative_to(folder) else path)


class DevView:
    """Prints turns, line by line: it works the same in a pipe."""

    def __init__(self, name: str, console: Console) -> None:
        self._name = name
        self._console = console
        self._cases = CaseView(console)
        self._trials = TrialView(console)

    def show(self, turn: Turn) -> None:
        """Everything that came of a turn."""
        if turn.built is not None:
            said = Text.assemble(("built", "green"), f" {turn.built.size_bytes:,} bytes")
            self._console.print(said + Text("" if turn.built.changed else ", as it was", "dim"))
            if turn.built.said:
                self._console.out(turn.built.said, highlight=False)
        for results in turn.files:
            self._cases.show(self._name, results)
        if turn.sent is not None:
            self._sent(turn.sent, turn.before)
        for error in turn.errors:
            self._error(error)
        self._steps(turn)

    def waiting(self, files: int) -> None:
        """Nothing to do."""
        self._console.print(Text(f"watching {files} files of {self._name}; Ctrl-C ends", "dim"))

    def changed(self, names: Sequence[str]) -> None:
        """Something to do."""
        more = f" and {len(names) - _CHANGED_MAX} more" if len(names) > _CHANGED_MAX else ""
        shown = ", ".join(plain(name, 500) for name in names[:_CHANGED_MAX])
        self._console.print(Text.assemble("\n", ("changed ", "bold"), shown + more))

    def _sent(self, sent: Sent, before: Sent | None) -> None:
        self._trials.show(Trial(sent.line, sent.outcome, sent.report, sent.to))
        if before is None or before.line.event != sent.line.event:
            return
        lines = since(before, sent)
        if lines:
            self._console.print(Text("  since the last time:", "bold"))
        for line in lines[:_CHANGES_MAX]:
            self._console.print(Text("    ") + line)

    def _error(self, error: Exception) -> None:
        if isinstance(error, BuildError):
            self._console.print(Text.assemble(("error: ", "bold red"), error.problem))
            if error.text:
                self._console.out(error.text, highlight=False)
        elif isinstance(error, ConfigError):
            for fault in error.faults:
                self._console.print(Text.assemble(("error: ", "bold red"), str(fault)))
        else:
            self._console.print(Text.assemble(("error: ", "bold red"), str(error)))

    def _steps(self, turn: Turn) -> None:
        steps = "  ".join(f"{step} {seconds:.2f} s" for step, seconds in turn.steps.items())
        self._console.print(Text(f"{steps}  total {sum(turn.steps.values()):.2f} s", "dim"))


def since(before: Sent, now: Sent) -> list[Text]:
    """What is different about the outcome of the same event."""
    one, other = before.outcome, now.outcome
    if isinstance(one, Emitted) and isinstance(other, Emitted) and len(one.events) == len(other.events):
        pairs = zip(one.events, other.events, strict=True)
        return [change_text(change) for old, new in pairs for change in changes(old.value, new.value)]
    words = _words(one), _words(other)
    return [] if words[0] == words[1] else [Text.assemble("~ ", (words[0], "red"), " → ", (words[1], "green"))]


def _words(outcome: object) -> str:
    kind = getattr(outcome, "kind", None)
    if isinstance(outcome, Emitted):
        return f"emitted {len(outcome.events)} records"
    return f"{kind}: {plain(getattr(outcome, 'message', ''), 300)}" if kind else "dropped"
