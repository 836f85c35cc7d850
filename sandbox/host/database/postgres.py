"""PostgreSQL, by psycopg's own layer over libpq: guests' statements within a scope, a budget and a size.

Every call is one transaction of its own: read only when it only reads, under the connection's role, with the server's own timeouts. The
server ends a statement a little before the caller gives up; when it does not answer at all, the socket is shut down.

Writes of a guest are PostgreSQL's transactions. They are not part of Kafka's: an event that runs again writes again.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sandbox.host.database.budget import Budget
from sandbox.host.database.port import Admit, Change
from sandbox.host.database.postgres_classes import Classes, Kind
from sandbox.host.database.postgres_errors import failure
from sandbox.host.database.postgres_values import bound, decoder, key_array
from sandbox.host.database.runner import GivenUp, Job, Pool
from sandbox.host.database.values import Key, Measure, Row, Value, check_names, invalid, row_of
from sandbox.host.requests import HostFailure
from schemas.abi import ERROR_TOO_LARGE, ERROR_UNAVAILABLE
from schemas.capabilities import DatabaseScope
from schemas.sealed import opened
from schemas.specs import DatabaseSpec

if TYPE_CHECKING:
    from psycopg.pq.abc import PGconn, PGresult

CONNECT_TIMEOUT_S = 10
VERSION_MIN = 140_000
COLUMNS_MAX = 256
"""Of one answer."""
SETTINGS = (
    "SET client_encoding = 'UTF8'; SET DateStyle = 'ISO'; SET IntervalStyle = 'postgres'; SET TimeZone = 'UTC'; SET bytea_output = 'hex'; "
    "SET extra_float_digits = 1; SET standard_conforming_strings = on; SET jit = off; SET client_connection_check_interval = '100ms'"
)


class PostgresDatabase:
    """One of the registry's connections of kind `postgresql`."""

    def __init__(self, spec: DatabaseSpec) -> None:
        """Raises HostFailure when the driver is missing or the connection string is none."""
        _conninfo(spec)
        classes = Classes()
        self._pool = Pool(spec.name, spec.connections, lambda: PostgresConnection(spec, classes))

    def query(
        self, scope: DatabaseScope, statement: str, parameters: Sequence[Value], budget: Budget, admit: Admit
    ) -> list[Row]:
        """See Database."""
        return self._pool.run(lambda one, job: one.query(scope, statement, parameters, budget, admit), budget)

    def change(self, scope: DatabaseScope, changes: Sequence[Change], budget: Budget, admit: Admit) -> list[int]:
        """See Database."""
        return self._pool.run(lambda one, job: one.change(scope, changes, budget, admit, job), budget)

    def lookup(self, scope: DatabaseScope, table: str, keys: Sequence[Key], budget: Budget) -> list[Row | None]:
        """See Database."""
        return self._pool.run(lambda one, job: one.lookup(scope, table, keys, budget), budget)

    def close(self) -> None:
        """See Database."""
        self._pool.close()


class PostgresConnection:
    """One connection; for its own thread, but for `interrupt`."""

    def __init__(self, spec: DatabaseSpec, classes: Classes) -> None:
        self._spec = spec
        self._classes = classes
        self._told: list[str] | None = None
        """What the server understood of a statement, while it is asked to tell."""
        self._raw = self._connect()

    def interrupt(self) -> None:
        """See Connection."""
        with socket.socket(fileno=_duplicate(self._raw.socket)) as one:
            one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """See Connection."""
        self._raw.finish()

    def query(
        self, scope: DatabaseScope, statement: str, parameters: Sequence[Value], budget: Budget, admit: Admit
    ) -> list[Row]:
        """See Database."""
        types, texts = _bound(parameters)
        with _translated(), self._transaction(budget, read_only=True):
            names = self._prepared(statement, types)
            check_names(names)
            bounded = _bounded(statement, len(names), scope)
            self._classify(scope, Kind.READ, bounded, types, budget)
            admit()
            return [row_of(names, values) for values in self._rows(scope, bounded, types, texts)]

    def change(
        self, scope: DatabaseScope, changes: Sequence[Change], budget: Budget, admit: Admit, job: Job
    ) -> list[int]:
        """See Database."""
        asked = [(statement, *_bound(parameters)) for statement, parameters in changes]
        with _translated(), self._transaction(budget, read_only=False):
            for statement, types, _ in asked:
                self._classify(scope, Kind.CHANGE, statement, types, budget)
            admit()
            counts = [self._changed(*one) for one in asked]
            if sum(counts) > scope.rows:
                raise HostFailure(ERROR_TOO_LARGE, f"{sum(counts)} rows would change; {scope.rows} is the most")
            budget.remaining_ms()
            if job.given_up:
                raise GivenUp
            return counts

    def lookup(self, scope: DatabaseScope, table: str, keys: Sequence[Key], budget: Budget) -> list[Row | None]:
        """See Database."""
        found: list[Row | None] = [None] * len(keys)
        with _translated(), self._transaction(budget, read_only=True):
            statement = self._classes.lookup(self._ask, scope, table, budget)
            names = self._prepared(statement, (0,))
            for at, *values in self._rows(scope, _bounded(statement, len(names), scope), (0,), (key_array(keys),)):
                if found[at - 1] is not None:
                    raise invalid("a key has more than one row: look up by a unique column")
                found[at - 1] = row_of(names[1:], values)
        return found

    def _classify(self, scope: DatabaseScope, kind: Kind, statement: str, types: Sequence[int], budget: Budget) -> None:
        """Raises OutOfScope and HostFailure for what must not run."""
        self._classes.check(self._ask, lambda: self._tree(statement, types), scope, kind, (statement, *types), budget)

    def _tree(self, statement: str, types: Sequence[int]) -> str:
        """What the server understands the statement to be. Runs nothing of it."""
        if not statement.strip():
            raise invalid("an empty statement")
        self._told = []
        try:
            self._ask(
                "SET LOCAL debug_pretty_print = off; SET LOCAL debug_print_parse = on; SET LOCAL client_min_messages = log"
            )
            self._check(self._raw.prepare(b"", statement.encode(), types))
            told = self._told
        finally:
            self._told = None
        self._ask("SET LOCAL debug_print_parse = off; SET LOCAL client_min_messages = warning")
        trees = [one for one in told if one.startswith("{QUERY ")]
        if len(trees) != 1:
            raise HostFailure(ERROR_UNAVAILABLE, "the server does not tell what it understood of a statement")
        return trees[0]

    def _prepared(self, statement: str, types: Sequence[int]) -> list[str]:
        """The columns of its rows. Runs nothing of it."""
        self._check(self._raw.prepare(b"", statement.encode(), types))
        described = self._check(self._raw.describe_prepared(b""))
        names = [(described.fname(at) or b"").decode("utf-8", "replace") for at in range(described.nfields)]
        if not names:
            raise invalid("the statement has no rows: changing is db_execute's")
        if len(names) > COLUMNS_MAX:
            raise HostFailure(ERROR_TOO_LARGE, f"{len(names)} columns; {COLUMNS_MAX} is the most")
        return names

    def _rows(
        self, scope: DatabaseScope, bounded: str, types: Sequence[int], texts: Sequence[bytes | None]
    ) -> Iterator[list[Any]]:
        result = self._check(self._raw.exec_params(bounded.encode(), texts, types))
        measure = Measure(scope.rows, scope.bytes_max)
        decoders = [decoder(result.ftype(at)) for at in range(1, result.nfields)]
        for at in range(result.ntuples):
            if int(result.get_value(at, 0) or b"0") > measure.bytes_max:
                raise HostFailure(ERROR_TOO_LARGE, f"more than {measure.bytes_max} bytes")
            texts_of = (result.get_value(at, column) for column in range(1, result.nfields))
            values = [None if one is None else decode(one) for decode, one in zip(decoders, texts_of, strict=True)]
            measure.add_row(row_of([str(column) for column in range(len(values))], values))
            yield values

    def _changed(self, statement: str, types: Sequence[int], texts: Sequence[bytes | None]) -> int:
        return self._check(self._raw.exec_params(statement.encode(), texts, types)).command_tuples or 0

    @contextmanager
    def _transaction(self, budget: Budget, *, read_only: bool) -> Iterator[None]:
        self._begin(budget, read_only=read_only)
        try:
            yield
            self._ask("COMMIT")
        except BaseException:
            if self._is_open():
                self._raw.exec_(b"ROLLBACK")
            raise

    def _begin(self, budget: Budget, *, read_only: bool) -> None:
        timeout_ms = max(1, int(budget.sooner().remaining_ms()))
        role = "" if self._spec.role is None else f"; SET LOCAL ROLE {_quoted(self._spec.role)}"
        words = (
            f"BEGIN ISOLATION LEVEL READ COMMITTED {'READ ONLY' if read_only else 'READ WRITE'}; "
            f"SET LOCAL statement_timeout = {timeout_ms}; SET LOCAL lock_timeout = {timeout_ms}; "
            f"SET LOCAL idle_in_transaction_session_timeout = {timeout_ms + 1_000}{role}"
        )
        try:
            self._ask(words)
        except HostFailure:
            if self._is_open():
                self._raw.exec_(b"ROLLBACK")
                raise
            self._raw.finish()  # the server was restarted since: nothing has begun, so it may begin anew
            self._raw = self._connect()
            self._ask(words)
        if self._raw.parameter_status(b"is_superuser") == b"on":
            self._raw.exec_(b"ROLLBACK")
            raise HostFailure(ERROR_UNAVAILABLE, "guests do not work as a superuser: name another user, or a `role`")

    def _ask(self, words: str, *texts: bytes | None) -> list[list[str | None]]:
        """Words of ours, and the rows they bring. Raises HostFailure."""
        raw = self._raw.exec_params(words.encode(), texts) if texts else self._raw.exec_(words.encode())
        result = self._check(raw)
        return [
            [
                None if (one := result.get_value(at, column)) is None else one.decode("utf-8", "replace")
                for column in range(result.nfields)
            ]
            for at in range(result.ntuples)
        ]

    def _check(self, result: PGresult) -> PGresult:
        error = failure(result)
        if error is not None:
            raise error
        return result

    def _is_open(self) -> bool:
        from psycopg.pq import ConnStatus

        return self._raw.status == ConnStatus.OK

    def _connect(self) -> PGconn:
        from psycopg import pq

        raw = _connected(_conninfo(self._spec))  # with the password: made for this call only
        if raw.status != pq.ConnStatus.OK:
            said = raw.get_error_message().strip().splitlines()
            why = said[-1] if said else "no reason given"
            raise HostFailure(ERROR_UNAVAILABLE, f"cannot connect: {why}", outage=True)
        if raw.server_version < VERSION_MIN:
            raise HostFailure(ERROR_UNAVAILABLE, f"PostgreSQL 14 or later is wanted, not {raw.server_version}")
        raw.notice_handler = self._notice
        error = failure(raw.exec_(SETTINGS.encode()))
        if error is not None:
            raise error
        return raw

    def _notice(self, result: PGresult) -> None:
        from psycopg.pq import DiagnosticField

        if self._told is not None:
            self._told.append((result.error_field(DiagnosticField.MESSAGE_DETAIL) or b"").decode("utf-8", "replace"))


def _connected(conninfo: bytes) -> PGconn:
    """Waits here and not in libpq: psycopg's `connect` keeps all threads of the process waiting with it."""
    from psycopg import pq

    raw: PGconn = pq.PGconn.connect_start(conninfo)
    ends_s = time.monotonic() + CONNECT_TIMEOUT_S
    while raw.status != pq.ConnStatus.BAD:
        state = raw.connect_poll()
        if state in (pq.PollingStatus.OK, pq.PollingStatus.FAILED):
            break
        ready = select.poll()
        ready.register(raw.socket, select.POLLIN if state == pq.PollingStatus.READING else select.POLLOUT)
        if not ready.poll(max(0.0, ends_s - time.monotonic()) * 1000):
            raw.finish()
            raise HostFailure(ERROR_UNAVAILABLE, "cannot connect: the server does not answer", outage=True)
    return raw


@contextmanager
def _translated() -> Iterator[None]:
    """What psycopg raises when a connection breaks while it is used, as ours; libpq without an answer is a MemoryError there."""
    from psycopg import Error

    try:
        yield
    except (Error, MemoryError):
        raise HostFailure(ERROR_UNAVAILABLE, "the connection broke", outage=True) from None


def _bounded(statement: str, columns: int, scope: DatabaseScope) -> str:
    """The same rows with, before each, the bytes so far as text; those beyond the caps come without their values.

    So no row can be larger in the host's memory than the scope allows. OFFSET 0 keeps the statement a query of its own, evaluated once.
    """
    most = Measure(scope.rows, scope.bytes_max).bytes_max
    names = [f"c{at}" for at in range(columns)]
    values = ", ".join(f"CASE WHEN z.total <= {most} THEN z.{name} END AS {name}" for name in names)
    return (
        f"SELECT z.total, {values} FROM (SELECT q.*, pg_catalog.sum(pg_catalog.octet_length(q::pg_catalog.text)) "  # noqa: S608
        f"OVER (ROWS UNBOUNDED PRECEDING) AS total FROM (SELECT * FROM (\n{statement}\n) AS s OFFSET 0) "
        f"AS q({', '.join(names)})) AS z LIMIT {scope.rows + 1}"
    )


def _bound(parameters: Sequence[Value]) -> tuple[tuple[int, ...], tuple[bytes | None, ...]]:
    pairs = [bound(one) for one in parameters]
    return tuple(oid for oid, _ in pairs), tuple(text for _, text in pairs)


def _conninfo(spec: DatabaseSpec) -> bytes:
    try:
        from psycopg import Error
        from psycopg.conninfo import make_conninfo
    except ImportError:
        raise HostFailure(
            ERROR_UNAVAILABLE, f"databases.{spec.name}: the driver is missing; pip install 'penstock[postgresql]'"
        ) from None
    secret = {} if spec.password is None else {"password": opened(spec.password, spec.owner)}
    try:
        made = make_conninfo(
            opened(spec.dsn or "", spec.owner),
            connect_timeout=CONNECT_TIMEOUT_S,
            application_name="penstock",
            keepalives_idle=30,
            **secret,
        )
    except Error:  # its words repeat the string, which may hold a password
        raise HostFailure(ERROR_UNAVAILABLE, f"databases.{spec.name}: the connection string is none") from None
    return made.encode()


def _duplicate(descriptor: int) -> int:
    import os

    return os.dup(descriptor)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
