"""What the imports want of a database, whichever it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

from sandbox.host.database.budget import Budget
from sandbox.host.database.values import Key, Row, Value
from sandbox.host.gate import Denied
from schemas.capabilities import DatabaseScope

Admit: TypeAlias = "Callable[[], object]"
"""Counts the use, once the statements are known to be in scope and before any of them does something. Raises Denied."""
Change: TypeAlias = "tuple[str, list[Value]]"
"""A statement and its parameters."""


class OutOfScope(Denied):
    """This scope does not cover what a statement touches; another grant's may."""


class Database(Protocol):
    """One of the registry's connections. Safe from any thread; no call outlives its budget. All raise Denied, HostFailure."""

    def query(
        self, scope: DatabaseScope, statement: str, parameters: Sequence[Value], budget: Budget, admit: Admit
    ) -> list[Row]:
        """The rows of one statement that only reads."""
        ...

    def change(self, scope: DatabaseScope, changes: Sequence[Change], budget: Budget, admit: Admit) -> list[int]:
        """Rows changed by each; all of them happen, or none."""
        ...

    def lookup(self, scope: DatabaseScope, table: str, keys: Sequence[Key], budget: Budget) -> list[Row | None]:
        """The one row of each key, in order."""
        ...

    def close(self) -> None:
        """Close every connection."""
        ...
