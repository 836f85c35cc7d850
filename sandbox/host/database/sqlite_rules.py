"""What a guest's statement may do in SQLite, asked by SQLite itself while it compiles the statement (`sqlite3_set_authorizer`).

Threat: the statement is the guest's. Nothing here looks at its text: SQLite tells every table and column that is read or changed, every
function and every other action of the program it has made, and what is not listed here is refused. The last argument of the
callback, the view or trigger on whose behalf something is read, is ignored: a guest can give a common table expression the name of
a view. So a view or trigger does not widen a scope; what it touches must be in scope, too.

Functions are a list of their own (everything that is a function of its arguments alone, and the time of day): no `load_extension`, no
`readfile`, no chance, and nothing that an application or extension has registered.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

_FUNCTIONS = """
abs acos acosh asin asinh atan atan2 atanh avg ceil ceiling char coalesce concat concat_ws cos cosh count
cume_dist current_date current_time current_timestamp date datetime degrees dense_rank exp first_value floor format
glob group_concat hex ifnull iif instr json json_array json_array_length json_each json_error_position json_extract
json_group_array json_group_object json_insert json_object json_patch json_quote json_remove json_replace json_set
json_tree json_type json_valid jsonb jsonb_array jsonb_extract jsonb_group_array jsonb_group_object jsonb_insert
jsonb_object jsonb_patch jsonb_remove jsonb_replace jsonb_set julianday lag last_value lead length like likelihood
likely ln log log10 log2 lower ltrim max min mod nth_value ntile nullif octet_length percent_rank pi pow power printf
quote radians rank replace round row_number rtrim sign sin sinh soundex sqrt string_agg strftime substr substring sum
tan tanh time timediff total trim trunc typeof unhex unicode unixepoch unlikely upper zeroblob -> ->>
"""
FUNCTIONS = frozenset(_FUNCTIONS.split())
TABLE_FUNCTIONS = frozenset({"json_each", "json_tree"})
"""Tables that are functions of their arguments."""
OWN = ("sqlite_", "pragma_", "dbstat", "bytecode", "tables_used", "fts", "rtree")
"""How names of tables begin that SQLite itself brings along."""
CHANGES = {sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE}


@dataclass(slots=True)
class Rules:
    """What one statement may touch, and what it turned out to."""

    tables: Mapping[str, str]
    """In scope: the schema's own name, by lower case."""
    known: Collection[str] = ()
    """All that the schema has, lower case."""
    writes: bool = False
    refused: str = ""
    """The first thing refused, for the operator."""
    changed: set[str] = field(default_factory=set)

    def allows(self, action: int, first: str | None, second: str | None, schema: str | None) -> bool:
        """SQLite's question, without the view or trigger."""
        if action == sqlite3.SQLITE_SELECT or action == sqlite3.SQLITE_RECURSIVE:
            return True
        if action == sqlite3.SQLITE_FUNCTION:
            return (second or "").lower() in FUNCTIONS or self._refuse(f"the function `{second}`")
        name = (first or "").lower()
        if action == sqlite3.SQLITE_READ:
            return self._reads(name, second, schema) or self._refuse(f"to read `{_place(schema, first)}`")
        if action in CHANGES:
            return self._changes(name, schema) or self._refuse(f"to change `{_place(schema, first)}`")
        return self._refuse(f"anything but to read and change rows (action {action})")

    def _reads(self, table: str, column: str | None, schema: str | None) -> bool:
        if table in TABLE_FUNCTIONS:
            return True
        if not column and schema is None and table not in self.known and not table.startswith(OWN):
            return True  # a common table expression of which no column is used: SQLite asks for it by its name
        return schema in ("main", None) and table in self.tables

    def _changes(self, table: str, schema: str | None) -> bool:
        if not self.writes or schema != "main" or table not in self.tables:
            return False
        self.changed.add(table)
        return True

    def _refuse(self, what: str) -> bool:
        self.refused = self.refused or what
        return False


def _place(schema: str | None, table: str | None) -> str:
    return f"{schema}.{table}" if schema not in (None, "main") else table or ""


class Authorizer:
    """The callback of one connection. Between a guest's statements it lets the host do its own (`rules` is None)."""

    def __init__(self) -> None:
        self.rules: Rules | None = None

    def __call__(
        self, action: int, first: str | None, second: str | None, schema: str | None, _context: str | None
    ) -> int:
        """SQLite's own signature; the view or trigger is not looked at."""
        if self.rules is None or self.rules.allows(action, first, second, schema):
            return sqlite3.SQLITE_OK
        return sqlite3.SQLITE_DENY
