"""What a trigger is: which function judges which rows, and what of its answer may be done."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any

import msgspec

from schemas.errors import ConfigError, Fault

NAME_CHARACTERS_MAX = 63
"""PostgreSQL cuts longer ones; SQLite has them and nobody needs them."""
VALUES_MAX = 2_000

Row = Mapping[str, Any]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=1_000)]


class Event(StrEnum):
    """When a trigger fires: for each row, before or after it is changed."""

    BEFORE_INSERT = "before-insert"
    AFTER_INSERT = "after-insert"
    BEFORE_UPDATE = "before-update"
    AFTER_UPDATE = "after-update"
    BEFORE_DELETE = "before-delete"
    AFTER_DELETE = "after-delete"

    @property
    def is_before(self) -> bool:
        """The row has not been changed yet."""
        return self.value.startswith("before")

    @property
    def clause(self) -> str:
        """`BEFORE INSERT`."""
        return self.value.replace("-", " ").upper()

    @property
    def has_before(self) -> bool:
        """There is a row as it was."""
        return not self.value.endswith("insert")

    @property
    def has_after(self) -> bool:
        """There is a row as it will be, or is."""
        return not self.value.endswith("delete")


class Trigger(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One trigger, as it is installed."""

    name: Name
    module: Name
    """The registry's transformer."""
    function: Name
    event: Event
    table: Name
    schema: Name = "main"
    columns: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=VALUES_MAX)]
    """Those that the function gets to see."""
    rewrites: tuple[str, ...] = ()
    """Those that its answer may change."""
    into: str | None = None
    """PostgreSQL: the table for the rows that pass."""
    profile: str | None = None
    """The capability profile it is narrowed to."""

    def argument(self, before: Row | None, after: Row | None) -> dict[str, object]:
        """What the function is called with."""
        return {
            "trigger": self.name,
            "event": self.event.value,
            "schema": self.schema,
            "table": self.table,
            "before": before,
            "after": after,
        }

    def changes(self, value: object) -> dict[str, Any]:
        """The columns to change, of an answer `[0, value]`. Raises ValueError for what this trigger may not change."""
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise ValueError(f"answered with a {type(value).__name__}; a trigger's answer is nil or a map of columns")
        foreign = [name for name in value if name not in self.rewrites]
        if foreign:
            allowed = ", ".join(self.rewrites) or "none"
            shown = ", ".join(repr(name[:100]) for name in foreign[:10])
            raise ValueError(f"wants to change {shown}; it may change: {allowed}")
        return value


def check_name(name: str) -> None:
    """Raises ConfigError for a trigger's name that cannot be had everywhere."""
    if not name or len(name.encode("utf-8", "surrogatepass")) > NAME_CHARACTERS_MAX or not name.isprintable():
        remedy = f"take 1 to {NAME_CHARACTERS_MAX} printable characters"
        raise ConfigError(Fault(f"{name[:100]!r} is no name for a trigger", remedy, path="name"))


def event_of(event: Event | str) -> Event:
    """Raises ConfigError for what is none."""
    try:
        return Event(event)
    except ValueError:
        remedy = f"one of: {', '.join(Event)}"
        raise ConfigError(Fault(f"{str(event)[:100]!r} is no event", remedy, path="event")) from None


def check_columns(given: Sequence[str], known: Collection[str], what: str, table: str) -> None:
    """Raises ConfigError for a column that the table has not, or that is named twice."""
    unknown = [one for one in given if one not in known]
    if unknown:
        remedy = f"it has {', '.join(known)}"
        raise ConfigError(Fault(f"{table!r} has no column {unknown[0][:100]!r}", remedy, path=what))
    if len({*given}) < len(given):
        raise ConfigError(Fault("a column is named twice", "name each once", path=what))


def identifier(name: str) -> str:
    """Quoted, as SQL has it: whatever is in it is a name and nothing else. Raises ConfigError for a NUL."""
    if "\0" in name:
        raise ConfigError(Fault("a name has a NUL character", "take it out", path="name"))
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A quoted text, as SQL has it. The text has no NUL and (PostgreSQL) `standard_conforming_strings` is on."""
    return "'" + text.replace("'", "''") + "'"
