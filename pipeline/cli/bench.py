"""`penstock bench`: what a transformer costs on this machine."""

from __future__ import annotations

import json as jsonlib
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.cli.project_names import complete_project
from pipeline.cli.trial_view import format_memory
from pipeline.service import tune_process
from pipeline.workshop.bench import Measured, measure, plot
from pipeline.workshop.events import events_of_file
from pipeline.workshop.subjects import project_subjects, registry_subjects
from schemas.errors import ConfigError, Fault


def bench(
    name: Annotated[
        str | None,
        typer.Argument(
            help="A project, by name or folder (with --registry: a transformer); without it, the project of this folder.",
            show_default=False,
            autocompletion=complete_project,
        ),
    ] = None,
    registry: Annotated[
        Path | None,
        typer.Option(help="Measure a transformer of this registry.", metavar="FILE", show_default=False),
    ] = None,
    event: Annotated[
        Path | None,
        typer.Option(
            "--event",
            "-e",
            help="Events, one JSON object a line, instead of those of the cases.",
            metavar="FILE",
            show_default=False,
        ),
    ] = None,
    plot_: Annotated[
        Path | None, typer.Option("--plot", help="Also draw the figures.", metavar="FILE.svg", show_default=False)
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Measure a transformer: events/s and µs per event by batch size, memory, and how long compiling and starting take.

    The events are those of its cases that pass, in turn, under the registry's config and limits. µs are CPU of one thread, the median
    of rounds that take turns; Kafka is not in them. A plot is SVG: a PNG would need a renderer that penstock does not bring.

    Example: penstock bench mask-names --plot bench.svg
    """
    if plot_ is not None and plot_.suffix.lower() != ".svg":
        raise ConfigError(Fault(f"{plot_.suffix or 'no ending'}: a plot is SVG", f"--plot {plot_.with_suffix('.svg')}"))
    names = [name] if name is not None else []
    needs_cases = event is None
    subjects = (
        project_subjects(names, needs_cases=needs_cases)
        if registry is None
        else registry_subjects(registry, names, needs_cases=needs_cases)
    )
    if len(subjects) > 1:
        listed = ", ".join(subject.name for subject in subjects)
        raise ConfigError(Fault("which one?", f"name one of: {listed}"))
    (subject,) = subjects
    lines = None if event is None else events_of_file(event, subject.topic)
    tune_process()
    measured = measure(subject, None if lines is None else [(line.source, line.event) for line in lines])
    if plot_ is not None:
        _write(plot_, plot(measured))
    if json:
        typer.echo(jsonlib.dumps(as_json(measured), indent=2))
    else:
        _print(measured, Console(soft_wrap=True, highlight=False))


def as_json(measured: Measured) -> dict[str, Any]:
    """The figures as plain data."""
    data = asdict(measured)
    for figure, row in zip(measured.figures, data["figures"], strict=True):
        row["events_per_s"] = figure.events_per_s
    return data


def _print(measured: Measured, console: Console) -> None:
    console.print(
        Text.assemble((measured.name, "bold"), f"  {measured.module_bytes:,} bytes, sha256 {measured.sha256}")
    )
    left_out = f"; {measured.left_out} that violate are left out" if measured.left_out else ""
    console.print(f"{measured.events} events of {measured.bytes_per_event:,.0f} bytes on average, in turn{left_out}")
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("batch", "µs/event", "(from – to)", "events/s", "memory"):
        table.add_column(heading, justify="right", no_wrap=True)
    for figure in measured.figures:
        table.add_row(
            f"{figure.size:,}",
            f"{figure.us_per_event:.2f}",
            f"{figure.us_per_event_low:.2f} – {figure.us_per_event_high:.2f}",
            f"{figure.events_per_s:,.0f}",
            format_memory(figure.memory_bytes_peak) if figure.memory_bytes_peak else "–",
        )
    console.print(table)
    console.print(f"compiling {measured.compile_ms:,.0f} ms, starting {measured.start_us:,.0f} µs")


def _write(path: Path, picture: str) -> None:
    try:
        path.write_text(picture, encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            Fault(f"cannot be written: {error.strerror}", "name another --plot file", str(path))
        ) from None
