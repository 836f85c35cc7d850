"""One turn of `penstock dev`: build what changed, run the cases, send the chosen event. What goes wrong in it is part of its result."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.events_file import EventLine
from pipeline.registry.shape import did_you_mean
from pipeline.workshop.build import Built, build
from pipeline.workshop.cases.model import Settings
from pipeline.workshop.cases.running import Bench, Result, run_cases
from pipeline.workshop.errors import BuildError
from pipeline.workshop.events import events_of_file
from pipeline.workshop.guest_file import FILE_NAME
from pipeline.workshop.languages import language
from pipeline.workshop.project import Project, read_project
from pipeline.workshop.subjects import Subject, of_project
from sandbox import Sandbox
from schemas.errors import ConfigError, Fault, ModuleFault
from schemas.event import Batch
from schemas.outcome import Outcome, Report


@dataclass(frozen=True, slots=True)
class Sent:
    """The chosen event, and what became of it."""

    line: EventLine
    outcome: Outcome
    report: Report
    to: str | None
    """The route's destination."""


@dataclass(slots=True)
class Turn:
    """What came of one turn."""

    changed: Sequence[Path]
    built: Built | None = None
    """None when no source changed, or when it does not build."""
    files: list[list[Result]] = field(default_factory=list)
    sent: Sent | None = None
    before: Sent | None = None
    """What became of the event in the turn before."""
    errors: list[BuildError | ConfigError | ModuleFault] = field(default_factory=list)
    steps: dict[str, float] = field(default_factory=dict)
    """Seconds by step, in order."""


class Workbench:
    """A project under work. What is built goes to the file `module`, and nothing into the project.

    `chosen` is a file of events, with or without `:LINE`, a case's name, or None for the first case.
    """

    def __init__(
        self,
        project: Project,
        module: Path,
        sandbox: Sandbox,
        chosen: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder = project.folder
        self._module = module
        self._project = project
        self._sandbox = sandbox
        self._chosen = chosen
        self._clock = clock
        self._stale = True
        self._last: Sent | None = None

    def paths(self) -> Sequence[Path]:
        """What to watch: sources, guest.toml, cases, the registry, the file of the chosen event."""
        own = [self.folder / FILE_NAME, self.folder / "cases", self.folder / "registry.yaml"]
        file = self._event_file()
        return [*own, *self._sources(), *([file[0]] if file else [])]

    def turn(self, changed: Sequence[Path]) -> Turn:
        """Build if a source changed (or the last build failed), run the cases, send the event."""
        turn = Turn(changed, before=self._last)
        self._stale = self._stale or any(self._is_source(path) for path in changed)
        try:
            self._project = read_project(self.folder)
            if self._stale:
                with self._timed(turn, "build"):
                    turn.built = build(self._project, self._module, quickly=True)
                self._stale = False
            self._test(turn, self._project)
        except (BuildError, ConfigError, ModuleFault) as error:
            turn.errors.append(error)
        return turn

    def _test(self, turn: Turn, project: Project) -> None:
        with self._timed(turn, "load"):
            subject = of_project(project, module=self._module)
            subject.load(self._sandbox)
        with self._timed(turn, "test"):
            turn.files += run_cases(subject, self._sandbox)
        with self._timed(turn, "event"):
            self._last = turn.sent = self._send(subject)

    def _send(self, subject: Subject) -> Sent:
        line, settings = self._choice(subject)
        with closing(Bench(subject, self._sandbox).session(settings)) as session:
            report = session.run(Batch(line.source, [line.event]))
        (outcome,) = report.outcomes
        return Sent(line, outcome, report, subject.route.to if subject.route else None)

    def _choice(self, subject: Subject) -> tuple[EventLine, Settings]:
        file = self._event_file()
        if file is not None:
            return _line(*file, subject.topic), Settings()
        cases = {case.name: case for file in subject.files for case in file.cases}
        name = next(iter(cases)) if self._chosen is None else self._chosen
        if name not in cases:
            problem = f"there is no file and no case {name!r}"
            raise ConfigError(Fault(problem, did_you_mean(name, cases), path="--event"))
        step = cases[name].steps[0]
        return EventLine(step.source, step.event, cases[name].line), cases[name].settings

    def _event_file(self) -> tuple[Path, int | None] | None:
        """The file that was chosen, and the line in it; None for a case."""
        if self._chosen is None:
            return None
        if Path(self._chosen).is_file():
            return Path(self._chosen), None
        path, _, line = self._chosen.rpartition(":")
        return (Path(path), int(line)) if line.isdecimal() and path and Path(path).is_file() else None

    def _sources(self) -> Sequence[Path]:
        try:
            return language(self._project.language).sources(self._project)
        except (BuildError, ConfigError):  # no source at all: whatever comes is one
            return [self.folder]

    def _is_source(self, path: Path) -> bool:
        if path.name == FILE_NAME:
            return True
        if path == self.folder / "registry.yaml" or path.is_relative_to(self.folder / "cases"):
            return False
        file = self._event_file()
        return file is None or path != file[0]

    @contextmanager
    def _timed(self, turn: Turn, step: str) -> Iterator[None]:
        began = self._clock()
        try:
            yield
        finally:
            turn.steps[step] = self._clock() - began


def _line(path: Path, number: int | None, topic: str) -> EventLine:
    lines = events_of_file(path, topic)
    found = next((line for line in lines if number is None or line.number == number), None)
    if found is None:
        raise ConfigError(Fault(f"has no event on line {number}", f"it has {len(lines)} events", str(path)))
    return found
