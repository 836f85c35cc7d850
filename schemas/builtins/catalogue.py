"""Which built-ins there are. Each is looked up when somebody names it: a registry without any imports none."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Final

from schemas.builtins.builtin import Builtin

NAMES: Final = (
    "cast",
    "explode",
    "filter",
    "flatten",
    "lookup",
    "mask",
    "outbox",
    "rename",
    "route",
    "unwrap",
    "validate",
)
"""In alphabetical order; each is the module of its name beside this one."""


@cache
def builtin(name: str) -> Builtin:
    """The built-in of this name, which is one of `NAMES`."""
    found = import_module(f"schemas.builtins.{name}").BUILTIN
    assert isinstance(found, Builtin)
    return found
