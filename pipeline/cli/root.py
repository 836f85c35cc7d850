"""The root of the command line: subcommands, and the one place where an error becomes a message and an exit code."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from pipeline.cli.lazy import Lazy, lazy_group
from schemas.errors import ConfigError, PenstockError

EXIT_FAILURE = 1
EXIT_USAGE = 2

COMMANDS = {
    "demo": Lazy(
        "pipeline.cli.demo",
        "demo",
        "Run a shop's change events through the real pipeline and account for every one of them.",
    ),
    "check": Lazy(
        "pipeline.cli.check", "check", "Check a registry exactly as `run` loads it, and print every fault at once."
    ),
    "run": Lazy("pipeline.cli.run", "run", "Run the registry's routes until SIGTERM or Ctrl-C."),
    "try": Lazy(
        "pipeline.cli.try_",
        "try_",
        "Run events through one transformer, offline: outcome, what changed, time and memory. No Kafka is asked.",
    ),
    "builtins": Lazy(
        "pipeline.cli.builtins",
        "builtins",
        "List the built-in transformers, or show one: the keys of its config, a registry entry, and an event before and after.",
    ),
    "capabilities": Lazy(
        "pipeline.cli.capabilities",
        "capabilities",
        "Show what each transformer asks for, is granted and uses, and what least privilege would take away.",
    ),
    "resume": Lazy(
        "pipeline.cli.resume",
        "resume",
        "Show lanes that are stopped or paused, or whose transformer is quarantined, and release them.",
    ),
    "offsets": Lazy(
        "pipeline.cli.offsets",
        "offsets",
        "Show a route's committed offsets, or set them; a running service must be stopped for that.",
    ),
    "produce": Lazy(
        "pipeline.cli.produce",
        "produce",
        "Write change events in a route's format to its source topics. The topics must exist.",
    ),
    "tail": Lazy(
        "pipeline.cli.tail",
        "tail_command",
        "Print a topic's records: change events with their changes, dead letters with their reason. Commits nothing.",
    ),
    "acls": Lazy(
        "pipeline.cli.acls",
        "acls",
        "Print the access rules (ACLs) that this registry needs, and no more, as kafka-acls.sh commands.",
    ),
    "new": Lazy(
        "pipeline.cli.new",
        "new",
        "Make a guest project: a folder NAME with a transformer, its cases and a registry, which builds and passes as it stands.",
    ),
    "build": Lazy(
        "pipeline.cli.build",
        "build_command",
        "Build guest projects: compile, append the section that says who the guest is, load it to see that it is one, write it.",
    ),
    "test": Lazy(
        "pipeline.cli.test_",
        "test",
        "Run golden cases: events in, and what must come of them. Each case alone, then a file's cases in one batch.",
    ),
    "dev": Lazy(
        "pipeline.cli.dev",
        "dev",
        "Build and test a project again whenever its sources, cases or registry change, and show what it makes of one event.",
    ),
    "bench": Lazy(
        "pipeline.cli.bench",
        "bench",
        "Measure a transformer: events/s and µs per event by batch size, memory, and how long compiling and starting take.",
    ),
    "conformance": Lazy(
        "pipeline.cli.conformance",
        "conformance",
        "Examine a guest: does it keep to the ABI, whatever it is sent, and does it last?",
    ),
    "inspect": Lazy(
        "pipeline.cli.inspect_",
        "inspect",
        "Show what a module is: exports, imports, memory, metadata, hash and size; and why penstock would refuse it.",
    ),
    "schema": Lazy("pipeline.cli.schema", "schema_app", "What rows look like, and what a change of that breaks."),
    "registry": Lazy("pipeline.cli.check", "registry_app", "About the registry file."),
}

app = typer.Typer(
    name="penstock",
    cls=lazy_group(COMMANDS),
    help="Change events through sandboxed WebAssembly transformers, exactly once.\n\nStart with: penstock demo",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


def _version(wanted: bool) -> None:
    if wanted:
        from schemas.dead_letter import VERSION

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
