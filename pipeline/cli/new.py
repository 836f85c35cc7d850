"""`penstock new`: a guest project that builds and passes as it stands."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from pipeline.cli.project_names import complete_language, complete_template
from pipeline.workshop import scaffold
from pipeline.workshop.languages import language
from pipeline.workshop.project import Project


def new(
    language: Annotated[
        str,
        typer.Argument(
            help="rust, c, zig, typescript, javascript, go or python.",
            show_default=False,
            autocompletion=complete_language,
        ),
    ],
    name: Annotated[str, typer.Argument(help="The guest's name, and its folder's.", show_default=False)],
    into: Annotated[Path, typer.Option(help="The folder to make it in.", metavar="DIR")] = Path(),
    template: Annotated[
        str | None,
        typer.Option(
            help="Another template of the language: rust has `secure`.",
            metavar="TEMPLATE",
            autocompletion=complete_template,
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print what was made as JSON.")] = False,
) -> None:
    """Make a guest project: a folder NAME with a transformer, its cases and a registry, which builds and passes as it stands.

    The SDK's files come along, so the project needs no checkout, and an upgrade of penstock does not change it. An existing folder is
    left alone unless it is empty. A name is 1 to 63 of a-z, 0-9, single hyphens and underscores, and begins with a letter.

    Example: penstock new rust mask-names && penstock build mask-names && penstock test mask-names
    """
    project = scaffold.create(language, name, into, template)
    files = sorted(path.relative_to(project.folder).as_posix() for path in project.folder.rglob("*") if path.is_file())
    if json:
        typer.echo(jsonlib.dumps({"name": name, "language": language, "folder": str(project.folder), "files": files}))
    else:
        _print(project, into / name, files)


def _print(project: Project, folder: Path, files: list[str]) -> None:
    console = Console(soft_wrap=True, highlight=False)
    console.print(f"[bold green]made[/] {escape(str(folder))} ({project.language}, {len(files)} files)")
    missing = language(project.language).missing()
    if missing:
        console.print("first, the toolchain:")
        for command in missing:
            console.print(f"  {escape(command)}")
    console.print("then:")
    console.print(f"  cd {escape(str(folder))}")
    for command in ("penstock build", "penstock test"):
        console.print(f"  {command}")
