"""Commands that are imported when they are asked for: `penstock --help` needs no Kafka client and no sandbox."""

from __future__ import annotations

import gc
import importlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group


@dataclass(frozen=True, slots=True)
class Lazy:
    """Where a command is, and what the list of commands says about it."""

    module: str
    attribute: str
    help: str
    """The first line of its docstring (of a group: its help)."""

    def load(self, name: str) -> Any:
        """Import it and make it a command of this name."""
        with _uncollected():
            found = getattr(importlib.import_module(self.module), self.attribute)
        if isinstance(found, typer.Typer):
            return get_group(found)
        alone = typer.Typer(add_completion=False, rich_markup_mode="markdown", pretty_exceptions_enable=False)
        alone.command(name)(found)
        return get_command(alone)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Importing makes a hundred thousand objects and hardly any garbage: looking for it meanwhile takes a tenth of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def lazy_group(commands: Mapping[str, Lazy]) -> type[TyperGroup]:
    """A group class with these commands, in this order."""

    class LazyGroup(TyperGroup):
        def __init__(self, **attributes: Any) -> None:
            super().__init__(**attributes)
            self._listing = False
            for name, lazy in commands.items():  # stand-ins: lists and suggestions need no more
                self.add_command(TyperCommand(name, help=lazy.help))

        def get_command(self, ctx: Any, cmd_name: str) -> Any:
            if self._listing or cmd_name not in commands:
                return super().get_command(ctx, cmd_name)
            return commands[cmd_name].load(cmd_name)

        def format_help(self, ctx: Any, formatter: Any) -> None:
            self._listing = True
            super().format_help(ctx, formatter)

        def shell_complete(self, ctx: Any, incomplete: str) -> Any:
            self._listing = True
            return super().shell_complete(ctx, incomplete)

    return LazyGroup
