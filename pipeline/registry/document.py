"""Plain data and where each part of it was written, so that a fault can point at its line and show the text as the file has it.

What the file says may be shown; what was put in its place from the environment may not, and neither may the places below that
hold secrets by their nature.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from schemas.errors import Fault

_SHOWN_CHARACTERS_MAX = 80

Steps = tuple[str | int, ...]
"""The way from the top of the file to a value: keys and list indexes."""

_HIDDEN = tuple(
    ("kafka", "security", key) for key in ("username", "password", "key_password", "client_secret")
) + tuple(("schema_registry", "auth", key) for key in ("username", "password", "token"))
_VALUE = "the value"


@dataclass(frozen=True, slots=True)
class Spot:
    """Where something stands in the file; both 1-based."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Document:
    """Plain data and its places. A document made in code has no places and an empty file name."""

    data: Any = field(repr=False)
    file: str = ""
    values: Mapping[Steps, Spot] = field(default_factory=dict)
    keys: Mapping[Steps, Spot] = field(default_factory=dict)
    written: Mapping[Steps, str] = field(default_factory=dict, repr=False)
    """Scalars as the file has them, before anything was taken from the environment."""

    def fault(self, steps: Steps, problem: str, remedy: str = "", *, at_key: bool = False) -> Fault:
        """A fault at this place, or at the nearest one around it that stands in the file. `{shown}` becomes the text there."""
        steps = self._whole(steps)
        spot = self.spot(steps, at_key=at_key)
        shown = quoted(str(steps[-1])) if at_key and steps else self.shown(steps)
        return Fault(
            problem=problem.replace("{shown}", shown),
            remedy=remedy,
            file=self.file,
            line=spot.line if spot else None,
            column=spot.column if spot else None,
            path=dotted(steps),
        )

    def spot(self, steps: Steps, *, at_key: bool = False) -> Spot | None:
        """Where this value (or its key) stands, or what is nearest around it."""
        order = (self.keys, self.values) if at_key else (self.values, self.keys)
        for length in range(len(steps), 0, -1):
            for places in order:
                if steps[:length] in places:
                    return places[steps[:length]]
            order = (self.keys, self.values)
        return self.values.get(())

    def _whole(self, steps: Steps) -> Steps:
        """Without the index into a text that stands for a list: `also_to: x`, `brokers: a:1,b:2`."""
        return steps[:-1] if steps and isinstance(steps[-1], int) and steps[:-1] in self.written else steps

    def shown(self, steps: Steps) -> str:
        """The value's text as the file has it, in quotes; never what came from the environment, never what may be a secret."""
        if _is_secret(steps):
            return _VALUE
        return quoted(self.written[steps]) if steps in self.written else _VALUE


def dotted(steps: Steps) -> str:
    """`routes.orders.through[1]`."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{_clean(step)}" for step in steps)
    return text.removeprefix(".")


def quoted(text: str) -> str:
    """Text for a message: one line, printable, bounded."""
    return f"'{_clean(text)}'"


def _clean(text: str) -> str:
    printable = "".join(
        character if character.isprintable() else "\ufffd" for character in text[: _SHOWN_CHARACTERS_MAX + 1]
    )
    return printable if len(text) <= _SHOWN_CHARACTERS_MAX else printable[:_SHOWN_CHARACTERS_MAX] + "…"


def encodable(text: str) -> bool:
    """Whether this is text at all: YAML escapes and foreign environments can hold halves of surrogate pairs."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_secret(steps: Steps) -> bool:
    match steps:
        case (*_, "credentials", _, "value") | ("databases", _, "postgresql" | "password"):
            return True
        case ("kafka", "client", *_) | ("transformers", _, "config", *_) | ("routes", _, "headers", "add", *_):
            return True
        case _:
            return steps in _HIDDEN
