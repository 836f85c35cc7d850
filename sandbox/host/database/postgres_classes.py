"""Which statements may run under which scope: asked of the server once, remembered for a minute."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

from sandbox.host.database.budget import Budget
from sandbox.host.database.port import OutOfScope
from sandbox.host.database.postgres_rules import (
    BUILT_IN_BELOW,
    CATALOG_TYPES,
    DELETE,
    INSERT,
    SELECT,
    UPDATE,
    Parsed,
    is_allowed_function,
    parsed,
)
from sandbox.host.database.values import invalid
from sandbox.host.requests import HostFailure
from schemas.abi import ERROR_UNAVAILABLE
from schemas.capabilities import DatabaseScope

Ask: TypeAlias = "Callable[..., list[list[str | None]]]"
"""Words and parameters to the server, rows back; within the call's transaction."""
REMEMBERED_NS = 60_000_000_000
REMEMBERED_MAX = 4_096
ASKED_PER_MINUTE_MAX = 120
"""Statements of one scope that are new: the server logs what it tells, and a guest should not be able to fill its disk."""
SYSTEM = ("pg_catalog", "information_schema", "pg_toast")
TABLE_KINDS = frozenset("rpvm")
"""Tables, partitioned ones, views and materialized views. Foreign tables reach further: they must be named."""

RELATIONS = """SELECT c.oid, c.relkind, n.nspname, c.relname FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = ANY ($1::pg_catalog.oid[])"""
FUNCTIONS = """SELECT p.oid, p.proname, n.nspname, p.provolatile FROM pg_catalog.pg_proc p
  JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace WHERE p.oid = ANY ($1::pg_catalog.oid[])"""
TYPES = """WITH RECURSIVE t (oid) AS (SELECT pg_catalog.unnest($1::pg_catalog.oid[]) UNION
  SELECT v.oid FROM t JOIN pg_catalog.pg_type y ON y.oid = t.oid, LATERAL (VALUES (y.typelem), (y.typbasetype)) AS v (oid) WHERE v.oid <> 0)
  SELECT t.oid, c.oid, c.relkind, n.nspname, c.relname FROM t JOIN pg_catalog.pg_type y ON y.oid = t.oid
  LEFT JOIN pg_catalog.pg_class c ON c.oid = y.typrelid LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"""
"""With what arrays and domains are of, and the relation whose rows a type is."""
ROWS_ALONE = "c"
"""The kind of a type of rows that no table has: the operator's own word."""
RESOLVED = "SELECT pg_catalog.to_regclass($1)::pg_catalog.oid"
KEY = """SELECT pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname), pg_catalog.quote_ident(a.attname),
  pg_catalog.format_type(a.atttypid, -1) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped WHERE c.oid = $1::pg_catalog.oid AND CASE
  WHEN $2::pg_catalog.text IS NOT NULL THEN a.attname = $2 ELSE a.attnum = (SELECT i.indkey[0] FROM pg_catalog.pg_index i
  WHERE i.indrelid = c.oid AND i.indisprimary AND i.indnkeyatts = 1) END"""


class Kind(Enum):
    """What an import does with a statement."""

    READ = "reads"
    CHANGE = "changes rows"


@dataclass(slots=True)
class Classes:
    """Of one connection of the registry. Safe from any thread.

    For a minute an answer stands, whatever becomes of the schema meanwhile; what a role may do is asked by the server every time.
    """

    _remembered: OrderedDict[Hashable, tuple[int, object]] = field(default_factory=OrderedDict, init=False)
    _asked: dict[int, tuple[int, int]] = field(default_factory=dict, init=False)
    """By scope: when this minute began, and how many statements were new in it."""
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def check(
        self, ask: Ask, tree: Callable[[], str], scope: DatabaseScope, kind: Kind, statement: Hashable, budget: Budget
    ) -> None:
        """Raises OutOfScope and HostFailure."""
        key = ("statement", scope.tables, kind, statement)

        def ask_once() -> str | _Invalid:
            self._count(scope, budget.clock_ns())
            return _verdict(ask, parsed(tree()), scope, kind)

        verdict = self._once(key, budget, ask_once)
        if isinstance(verdict, _Invalid):
            raise invalid(verdict.why)
        if verdict:
            raise OutOfScope(f"out of scope: {verdict}")

    def lookup(self, ask: Ask, scope: DatabaseScope, table: str, budget: Budget) -> str:
        """The statement that looks keys up. Raises OutOfScope and HostFailure."""
        key = ("lookup", scope.tables, tuple(sorted(scope.keys.items())), table)
        found = self._once(key, budget, lambda: _lookup(ask, scope, table))
        assert isinstance(found, str)
        return found

    def _count(self, scope: DatabaseScope, now_ns: int) -> None:
        with self._lock:
            began_ns, asked = self._asked.get(id(scope), (now_ns, 0))
            if not 0 <= now_ns - began_ns < REMEMBERED_NS:
                began_ns, asked = now_ns, 0
            self._asked[id(scope)] = (began_ns, asked + 1)
        if asked >= ASKED_PER_MINUTE_MAX:
            raise HostFailure(
                ERROR_UNAVAILABLE, f"{asked} different statements within a minute: keep the text, bind what differs"
            )

    def _once(self, key: Hashable, budget: Budget, find: Callable[[], object]) -> object:
        now_ns = budget.clock_ns()
        with self._lock:
            held = self._remembered.get(key)
        if held is not None and now_ns < held[0]:
            return held[1]
        found = find()
        with self._lock:
            self._remembered[key] = (now_ns + REMEMBERED_NS, found)
            self._remembered.move_to_end(key)
            while len(self._remembered) > REMEMBERED_MAX:
                self._remembered.popitem(last=False)
        return found


@dataclass(frozen=True, slots=True)
class _Invalid:
    why: str


def _verdict(ask: Ask, found: Parsed, scope: DatabaseScope, kind: Kind) -> str | _Invalid:
    """Why it must not run: what is out of scope, or what the import is not for; empty when it may."""
    if found.unreadable:
        raise HostFailure(ERROR_UNAVAILABLE, "the server describes statements in a form that is not known here")
    return _wrong(found, kind) or _out_of_scope(ask, found, scope)


def _wrong(found: Parsed, kind: Kind) -> str | _Invalid:
    wanted = {SELECT} if kind is Kind.READ else {INSERT, UPDATE, DELETE}
    if found.command not in wanted:
        return _Invalid(f"this is no statement that {kind.value}")
    if found.changes_within or (kind is Kind.READ and found.locks):
        return "rows changed or locked within the statement"
    if found.returning:
        return _Invalid("RETURNING has nowhere to go: the answer is how many rows changed")
    return ""


def _out_of_scope(ask: Ask, found: Parsed, scope: DatabaseScope) -> str:
    if found.session_names:
        return "who is connected, and to what"
    if any(oid >= BUILT_IN_BELOW for oid in found.operators):
        return "an operator that is not PostgreSQL's own"
    return (
        _types_beyond(ask, found.types, scope)
        or _functions_beyond(ask, found.functions)
        or _relations_beyond(ask, found.relations, scope)
    )


def _types_beyond(ask: Ask, types: Collection[int], scope: DatabaseScope) -> str:
    if not types:
        return ""
    rows = ask(TYPES, _oids(types))
    if any(int(oid or 0) in CATALOG_TYPES for oid, *_ in rows):
        return "a type that looks names up in the catalog"
    rows = [row for row in rows if row[1] is not None and row[2] != ROWS_ALONE]
    named = _named(ask, scope) if rows else None
    for _, relation, kind, schema, name in rows:
        if not _covers(named, int(relation or 0), kind or "", schema or ""):
            return f"the rows of `{schema}.{name}`"
    return ""


def _functions_beyond(ask: Ask, functions: Collection[int]) -> str:
    if not functions:
        return ""
    rows = ask(FUNCTIONS, _oids(functions))
    for oid, name, schema, volatility in rows:
        if not is_allowed_function(int(oid or 0), name or "", schema or "", volatility or ""):
            return f"the function `{schema}.{name}`"
    return "" if len(rows) == len(functions) else "a function that the catalog does not have"


def _relations_beyond(ask: Ask, relations: Collection[int], scope: DatabaseScope) -> str:
    if not relations:
        return ""
    named = _named(ask, scope)
    rows = ask(RELATIONS, _oids(relations))
    for oid, kind, schema, name in rows:
        if not _covers(named, int(oid or 0), kind or "", schema or ""):
            return f"`{schema}.{name}`"
    return "" if len(rows) == len(relations) else "a relation that the catalog does not have"


def _covers(named: Collection[int] | None, oid: int, kind: str, schema: str) -> bool:
    if named is not None:
        return oid in named
    return kind in TABLE_KINDS and not schema.startswith(SYSTEM)


def _named(ask: Ask, scope: DatabaseScope) -> frozenset[int] | None:
    """The scope's tables as numbers of the catalog; those that are not there are none."""
    if scope.tables is None:
        return None
    return frozenset(oid for table in scope.tables if (oid := _resolved(ask, table)))


def _resolved(ask: Ask, table: str) -> int:
    ((found,),) = ask(RESOLVED, table.encode())
    return int(found or 0)


def _lookup(ask: Ask, scope: DatabaseScope, table: str) -> str:
    oid = _resolved(ask, table)
    if not oid:
        raise OutOfScope(f"there is no table `{table}`")
    if beyond := _relations_beyond(ask, {oid}, scope):
        raise OutOfScope(f"out of scope: {beyond}")
    columns = [column for name, column in scope.keys.items() if _resolved(ask, name) == oid]
    found = ask(KEY, str(oid).encode(), columns[0].encode() if columns else None)
    if len(found) != 1:
        wanted = f"no column `{columns[0]}`" if columns else "no primary key of one column: name one in `keys`"
        raise HostFailure(ERROR_UNAVAILABLE, f"`{table}` has {wanted}")
    ((name, column, kind),) = found
    return (
        f"SELECT v.at, t.* FROM pg_catalog.unnest($1::{kind}[]) WITH ORDINALITY AS v(key, at) "  # noqa: S608 -- quoted by the server
        f"JOIN {name} AS t ON t.{column} = v.key"
    )


def _oids(numbers: Collection[int]) -> bytes:
    return ("{" + ",".join(map(str, sorted(numbers))) + "}").encode()
