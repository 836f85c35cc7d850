"""`penstock builtins`: the transformers that come with penstock, and what is to be known of each."""

from __future__ import annotations

import json as jsonlib
from typing import Annotated

import typer
from rich.console import Console
from rich.markdown import Markdown

from pipeline.cli.builtin_page import as_data, document, markdown
from pipeline.registry.shape import did_you_mean
from schemas.builtins import NAMES, builtin
from schemas.errors import ConfigError, Fault


def _complete(incomplete: str) -> list[tuple[str, str]]:
    return [(name, builtin(name).summary) for name in NAMES if name.startswith(incomplete)]


def builtins(
    name: Annotated[
        str | None,
        typer.Argument(help="Only this one, in full.", show_default=False, autocompletion=_complete),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print as JSON, with the config's JSON Schema.")] = False,
    markdown_: Annotated[bool, typer.Option("--markdown", help="Print as Markdown: docs/builtins.md.")] = False,
) -> None:
    """List the built-in transformers, or show one: the keys of its config, a registry entry, and an event before and after.

    Example: penstock builtins mask
    """
    if name is not None and name not in NAMES:
        raise ConfigError(Fault(f"there is no built-in transformer {name!r}", did_you_mean(name, NAMES)))
    if json:
        found = [as_data(builtin(one)) for one in NAMES] if name is None else as_data(builtin(name))
        typer.echo(jsonlib.dumps(found, indent=2, ensure_ascii=False))
    elif markdown_:
        typer.echo(document() if name is None else markdown(builtin(name)), nl=False)
    elif name is None:
        width = max(map(len, NAMES))
        for one in NAMES:
            typer.echo(f"{one:<{width}}  {builtin(one).summary}")
    else:
        Console().print(Markdown(markdown(builtin(name), "#")))
