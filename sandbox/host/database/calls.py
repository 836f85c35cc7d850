"""The imports that reach databases: what is asked, under which grant, and what comes back.

Which connection: that of the first grant, in the order they are written, that covers what is touched. A guest that knows several may
name one: `connection:table` in look-ups, a third member in a statement's request.

**Exactly once does not reach this far.** What a guest writes is the database's own transaction, over when the call returns. Kafka's
transaction comes later, and may not come: then the event runs again, as it does when its batch is taken apart, and writes again. So
writes of guests happen at least once. Make them safe to repeat: `INSERT … ON CONFLICT DO NOTHING`, an upsert, or the event's topic,
partition and offset as a key. -5 (the deadline) from a write says that nobody waited for its end: it may have happened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from sandbox.host.database.budget import Budget
from sandbox.host.database.cache import LookupCache, Raw, encode_row
from sandbox.host.database.port import Admit, Database, OutOfScope
from sandbox.host.database.values import Key, Measure, Row, Value, invalid, keys_of, statement_of, statements_of
from sandbox.host.requests import HostFailure, HostRequest, request_import
from schemas.abi import ERROR_UNAVAILABLE
from schemas.capabilities import Capability, DatabaseScope, Grant
from schemas.errors import TransportError
from schemas.specs import DatabaseSpec, OnOutage

T = TypeVar("T")
SCHEMAS = ("main.", "public.")
"""Those that a table without one is in, unless the database says otherwise."""


def lookup(request: HostRequest) -> Raw:
    """`[table, key]` -> the row as a map, or nil."""
    match request.value:
        case [str(table), key]:
            return _look_up(request, table, [key])[0]
    raise invalid("wanted [table, key]")


def lookup_many(request: HostRequest) -> list[Raw]:
    """`[table, [key, …]]` -> a row or nil for each, in order."""
    match request.value:
        case [str(table), [*keys]]:
            return _look_up(request, table, keys)
    raise invalid("wanted [table, [key, …]]")


def db_query(request: HostRequest) -> list[Row]:
    """`[statement, [parameter, …]]` -> rows as maps."""
    asked, connection = _split(request.value, 2)
    statement, parameters = statement_of(asked)
    return _within(
        request,
        connection,
        lambda database, scope, budget, admit: database.query(scope, statement, parameters, budget, admit),
    )


def db_execute(request: HostRequest) -> int:
    """`[statement, [parameter, …]]` -> rows changed."""
    asked, connection = _split(request.value, 2)
    return _change(request, connection, [statement_of(asked)])[0]


def db_transaction(request: HostRequest) -> list[int]:
    """`[[statement, [parameter, …]], …]` -> rows changed by each. All happen, or none."""
    return _change(request, None, statements_of(request.value))


def _change(request: HostRequest, connection: str | None, changes: Sequence[tuple[str, list[Value]]]) -> list[int]:
    return _within(
        request,
        connection,
        lambda database, scope, budget, admit: database.change(scope, changes, budget, admit),
    )


def _split(value: object, members: int) -> tuple[object, str | None]:
    """A request, and the connection that it may name behind its own members."""
    match value:
        case [*own, str(connection)] if len(own) == members:
            return own, connection
    return value, None


def _within(
    request: HostRequest,
    connection: str | None,
    work: Callable[[Database, DatabaseScope, Budget, Admit], T],
) -> T:
    """Do it under the first scope that covers it: which one does, the database itself finds out."""
    scopes = request.gate.scopes(request.capability, DatabaseScope)
    refused: OutOfScope | None = None
    for scope in scopes:
        if connection not in (None, scope.connection):
            continue
        request.scope = scope.connection
        try:
            with _patient(request, scope):
                return work(_database(request, scope), scope, _budget(request, scope), _admitting(request, scope))
        except OutOfScope as error:
            refused = refused or error
    if refused is not None:
        raise refused
    request.admit(in_scope=lambda grant: False)  # says why there is none
    raise AssertionError("a grant that covers nothing was admitted")


def _admitting(request: HostRequest, scope: DatabaseScope) -> Admit:
    return lambda: request.admit(in_scope=lambda grant: grant.scope is scope)


def _budget(request: HostRequest, scope: DatabaseScope) -> Budget:
    return Budget.of(min(scope.time_ms, request.remaining_ms()), request.gate.clock_ns)


def _look_up(request: HostRequest, asked: str, wanted: Sequence[object]) -> list[Raw]:
    connection, _, table = asked.rpartition(":")
    plain = _plain(table)
    grant = request.admit(in_scope=lambda one: _covers(one, connection, plain))
    scope = grant.scope
    assert isinstance(scope, DatabaseScope)
    request.scope = scope.connection if scope.tables is None else f"{scope.connection}.{plain}"
    keys = keys_of(wanted, scope.rows)
    if not keys:
        return []
    rows = _cached(request, scope, table, keys) if scope.cache_ttl_ms > 0 else _fetched(request, scope, table, keys)
    Measure(scope.rows, scope.bytes_max).add(sum(len(memoryview(row)) for row in rows))
    return rows


def _covers(grant: Grant, connection: str, table: str) -> bool:
    scope = grant.scope
    if not isinstance(scope, DatabaseScope) or connection not in ("", scope.connection):
        return False
    return scope.tables is None or table in map(_plain, scope.tables)


def _plain(table: str) -> str:
    lower = table.lower()
    return next((lower.removeprefix(one) for one in SCHEMAS if lower.startswith(one)), lower)


def _cached(request: HostRequest, scope: DatabaseScope, table: str, keys: Sequence[Key]) -> list[Raw]:
    cache = request.gate.hold(
        ("lookups", id(scope)), lambda: LookupCache(scope.cache_ttl_ms, scope.cache_entries, request.gate.clock_ns)
    )
    found = cache.get_many(table, keys)
    missing = list(dict.fromkeys(key for key, row in zip(keys, found, strict=True) if row is None))
    if not missing:
        return found  # type: ignore[return-value]
    fetched = dict(zip(missing, _fetched(request, scope, table, missing), strict=True))
    cache.put_many(table, list(fetched.items()))
    return [fetched[key] if row is None else row for key, row in zip(keys, found, strict=True)]


def _fetched(request: HostRequest, scope: DatabaseScope, table: str, keys: Sequence[Key]) -> list[Raw]:
    unlike = list(dict.fromkeys(keys))
    with _patient(request, scope):
        rows = _database(request, scope).lookup(scope, table, unlike, _budget(request, scope))
    encoded = dict(zip(unlike, map(encode_row, rows), strict=True))
    return [encoded[key] for key in keys]


@contextmanager
def _patient(request: HostRequest, scope: DatabaseScope) -> Iterator[None]:
    """An outage of a database whose guests are to wait for it ends the crossing without a verdict: a TransportError."""
    try:
        yield
    except HostFailure as failure:
        spec = request.services.databases.get(scope.connection)
        if not failure.outage or spec is None or spec.outage is not OnOutage.WAIT:
            raise
        raise TransportError(f"databases.{spec.name} is out of reach: {failure.message}") from None


def _database(request: HostRequest, scope: DatabaseScope) -> Database:
    spec = request.services.databases.get(scope.connection)
    if spec is None:
        raise HostFailure(ERROR_UNAVAILABLE, f"there is no database `{scope.connection}`: declare it in `databases`")
    return request.services.hold(("database", spec), lambda: _open(spec))


def _open(spec: DatabaseSpec) -> Database:
    """Its drivers are imported here, by those who need them."""
    if spec.kind == "sqlite":
        from sandbox.host.database.sqlite import SqliteDatabase

        return SqliteDatabase(spec)
    from sandbox.host.database.postgres import PostgresDatabase

    return PostgresDatabase(spec)


IMPORTS = (
    request_import("lookup", Capability.DATABASE_READ, lookup),
    request_import("lookup_many", Capability.DATABASE_READ, lookup_many),
    request_import("db_query", Capability.DATABASE_QUERY, db_query),
    request_import("db_execute", Capability.DATABASE_WRITE, db_execute),
    request_import("db_transaction", Capability.DATABASE_TRANSACTION, db_transaction),
)
