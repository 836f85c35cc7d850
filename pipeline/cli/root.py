"""The root of the command line: subcommands, and the one place where an error becomes a message and an exit code."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from pipeline.cli.acls import acls
from pipeline.cli.check import check, registry_app
from pipeline.cli.demo import demo
from pipeline.cli.resume import resume
from pipeline.cli.run import run
from pipeline.cli.try_ import try_
from schemas.dead_letter import VERSION
from schemas.errors import ConfigError, PenstockError

EXIT_FAILURE = 1
EXIT_USAGE = 2

app = typer.Typer(
    name="penstock",
    help="Change events through sandboxed WebAssembly transformers, exactly once.\n\nStart with: penstock demo",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
app.command()(demo)
app.command()(check)
app.command()(run)
app.command("try")(try_)
app.command()(resume)
app.command()(acls)
app.add_typer(registry_app, name="registry")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"penstock {VERSION}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Change events through sandboxed WebAssembly transformers, exactly once."""


def main() -> None:
    """Entry point of the `penstock` command. A user's mistake is one message and exit code 2, a failure one and 1; our bugs keep their traceback."""
    try:
        app()
    except ConfigError as error:
        _complain([str(fault) for fault in error.faults])
        sys.exit(EXIT_USAGE)
    except PenstockError as error:
        _complain([f"{error}"])
        sys.exit(EXIT_FAILURE)


def _complain(messages: list[str]) -> None:
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    for message in messages:
        console.print(Text.assemble(("error: ", "bold red"), message))
