"""`penstock test`: golden cases in, verdicts out."""

from __future__ import annotations

import json as jsonlib
import secrets
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from pipeline.cli.case_report import Tally, as_json, junit_rows
from pipeline.cli.case_view import CaseView
from pipeline.cli.hunt_view import show_hunt
from pipeline.cli.project_names import complete_project
from pipeline.workshop.cases.junit import write_junit
from pipeline.workshop.cases.running import ISOLATION_MS, Result, run_cases
from pipeline.workshop.cases.update import file_of, update
from pipeline.workshop.fuzz.hunt import hunt
from pipeline.workshop.fuzz.keeping import keep
from pipeline.workshop.subjects import Subject, is_stale, project_subjects, registry_subjects, short
from sandbox import Sandbox
from schemas.errors import ConfigError, Fault

_EXIT_FAILED = 1


def test(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...",
            help="Projects, by name or folder (with --registry: transformers); without any, those of this folder.",
            show_default=False,
            autocompletion=complete_project,
        ),
    ] = None,
    registry: Annotated[
        Path | None,
        typer.Option(
            help="Test transformers of this registry instead of projects.", metavar="FILE", show_default=False
        ),
    ] = None,
    cases: Annotated[
        Path | None, typer.Option(help="Where the cases are: a folder, or one file.", metavar="DIR", show_default=False)
    ] = None,
    only: Annotated[
        str | None, typer.Option("--only", "-k", help="Run the cases whose name holds this text.", show_default=False)
    ] = None,
    junit: Annotated[
        Path | None, typer.Option(help="Also write a JUnit report (XML).", metavar="FILE", show_default=False)
    ] = None,
    update_: Annotated[
        bool, typer.Option("--update", help="Write what came into the cases that fail; comments and order stay.")
    ] = False,
    fuzz: Annotated[
        int | None,
        typer.Option(
            help="Then run so many mutations of the cases' events, and report what misbehaves or is slow.",
            metavar="N",
            min=1,
            max=10_000_000,
            show_default=False,
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="For --fuzz: play a run again.", metavar="S", min=0, show_default=False)
    ] = None,
    found: Annotated[
        Path | None,
        typer.Option(
            help="Where --fuzz writes what it found; else the folder `found` of the project.",
            metavar="DIR",
            show_default=False,
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show the cases that passed, too.")] = False,
) -> None:
    """Run golden cases: events in, and what must come of them. Each case alone, then a file's cases in one batch.

    They run as the registry has the transformer: its config, limits, capabilities and encoding, and the topics of its route. Values are
    compared by what their JSON says; `exact: true` compares bytes. The format is in docs/guests/testing.md.

    With --registry, cases are looked for beside the registry: cases/NAME, NAME/cases, and two folders further down.

    A case without `expect:` fails until --update writes what came. Look at the difference it makes before you keep it.

    --fuzz mutates the events: JSON, bytes, keys, headers, unicode, numbers, depth, size. Each fault is made as small as it gets and written
    as a case and as an event for `penstock try`. The same seed gives the same inputs.

    Exit code 1 when a case fails or --fuzz finds something; 2 for a bad case file, a bad registry, or a module that is not built.

    Example: penstock test mask-names --junit report.xml
    """
    began = datetime.now(UTC)
    subjects = (
        project_subjects(names or (), cases) if registry is None else registry_subjects(registry, names or (), cases)
    )
    console = Console(soft_wrap=True, highlight=False)
    view = CaseView(console, verbose=verbose)
    tally = Tally()
    with closing(Sandbox(workers=1, isolation_budget_ms=ISOLATION_MS)) as sandbox:
        for subject in subjects:
            _note_stale(subject)
            for results in run_cases(subject, sandbox, only):
                if update_:
                    tally.updated += update(file_of(subject.files, results[0].case), results)
                    results = [_accepted(result) for result in results]
                tally.results += [(subject, result) for result in results]
                if not json:
                    view.show(subject.name, results)
            if fuzz is not None:
                hunted = hunt(subject, sandbox, fuzz, random_seed() if seed is None else seed)
                kept = [keep(subject, hunted, one, found or _found_folder(subject)) for one in hunted.findings]
                tally.hunts.append((subject, hunted, kept))
                if not json:
                    show_hunt(console, subject.name, hunted, kept)
    if not tally.results:
        raise ConfigError(Fault(f"no case's name holds {only!r}", "`penstock test -v` lists the names"))
    if junit is not None:
        write_junit(junit, junit_rows(tally), began)
    if json:
        typer.echo(jsonlib.dumps(as_json(tally), indent=2, ensure_ascii=False))
    else:
        _print_sum(tally, console)
    if not tally.ok:
        raise typer.Exit(_EXIT_FAILED)


def _accepted(result: Result) -> Result:
    """The result once its outcomes are what is expected."""
    return replace(result, failures=[failure for failure in result.failures if failure.together])


def _print_sum(tally: Tally, console: Console) -> None:
    failed = sum(not result.ok for _, result in tally.results)
    if tally.updated:
        console.print(Text(f"{tally.updated} updated", "yellow"))
    elapsed_ms = sum(result.ran.elapsed_ns for _, result in tally.results) / 1e6
    passed = f"{len(tally.results) - failed} passed"
    if failed:
        console.print(Text.assemble((f"{failed} failed", "bold red"), f", {passed} in {elapsed_ms:.0f} ms"))
    else:
        console.print(Text.assemble((passed, "bold green"), f" in {elapsed_ms:.0f} ms"))


def random_seed() -> int:
    """Of a run that was not told one; it is printed."""
    return secrets.randbelow(1 << 32)


def _found_folder(subject: Subject) -> Path:
    return Path("found") if subject.project is None else short(subject.project.folder / "found")


def _note_stale(subject: Subject) -> None:
    """Cases may well fail because nobody has built since."""
    if is_stale(subject):
        remedy = f"`penstock build {subject.name}` brings them in"
        Console(stderr=True, soft_wrap=True, highlight=False).print(
            Text(f"{subject.name}: sources are newer than the module; {remedy}", "yellow")
        )
