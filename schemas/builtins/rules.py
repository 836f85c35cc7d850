"""What the configs of several built-ins are made of: patterns of tables, paths of columns."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

from schemas.fields import refuse

PATH_STEPS_MAX = 16
_TEXTS = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}


def listed(value: object) -> object:
    """One text stands for a list of one."""
    return [value] if isinstance(value, str) else value


def _path(value: object) -> object:
    if not isinstance(value, str) or not value or len(value) > 1024:
        refuse(
            "{shown} is not a column's name", "write its name; * stands for any characters, a dot leads into an object"
        )
    steps = value.split(".")
    if not all(steps) or len(steps) > PATH_STEPS_MAX:
        refuse("{shown} has an empty or too many steps", f"single dots between names, at most {PATH_STEPS_MAX} of them")
    return value


def _column(value: object) -> object:
    if not isinstance(value, str) or not value or len(value) > 256:
        refuse("{shown} is not a column's name", "write its name as text")
    return value


def _table(value: object) -> object:
    if not isinstance(value, str) or not value or len(value) > 256:
        refuse("{shown} is not a table's name", "write table or schema.table; * stands for any characters")
    return value


def _renamed(value: object) -> object:
    if not isinstance(value, str) or not value or len(value) > 256:
        refuse("{shown} is not a name", "write a name; each * stands for any characters")
    if "?" in value:
        refuse("{shown} has a ?", "only * may stand for characters here")
    return value


def stars_fit(from_: str, to: str) -> None:
    """Refuse a new name that wants more than the old one has."""
    if to.count("*") > from_.count("*"):
        refuse(
            f"`to` has more * than `from`: {to.count('*')} and {from_.count('*')}",
            "each * of `to` stands for one of `from`",
        )


def _columns(value: object) -> object:
    if not isinstance(value, str) or not value or len(value) > 256:
        refuse("{shown} is not a column's name", "write its name; * stands for any characters")
    return value


ColumnPatterns = Annotated[
    tuple[Annotated[str, BeforeValidator(_columns)], ...],
    BeforeValidator(listed),
    WithJsonSchema(_TEXTS),
]
"""Columns of the row itself: `email`, `*_json`, or a list of them."""
NamePattern = Annotated[str, BeforeValidator(_renamed)]
"""A name in which each * is kept for the new one."""
ColumnPath = Annotated[str, BeforeValidator(_path)]
"""`email`, `*_email`, `address.street`."""
ColumnPaths = Annotated[tuple[ColumnPath, ...], BeforeValidator(listed), Field(min_length=1), WithJsonSchema(_TEXTS)]
Column = Annotated[str, BeforeValidator(_column)]
"""The name of a column, as it is."""
TablePattern = Annotated[str, BeforeValidator(_table)]
Tables = Annotated[tuple[TablePattern, ...], BeforeValidator(listed), Field(min_length=1), WithJsonSchema(_TEXTS)]
"""`customers`, `public.*`, or a list of them."""
ALL: tuple[str, ...] = ("*",)


def tables_field() -> Any:
    """The key `tables` of a rule."""
    return Field(
        default=ALL,
        description="Which tables the rule is for: `table` or `schema.table` (`db.table` where there are no schemas), "
        "`*` for any characters. All of them by default.",
    )
