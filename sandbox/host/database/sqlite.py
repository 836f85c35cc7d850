"""SQLite, by the standard library's module: a connection that runs a guest's statements within a scope, a budget and a size.

Writes of a guest are SQLite's own transactions. They are not part of Kafka's: an event that runs again writes again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote

from sandbox.host.database.budget import Budget
from sandbox.host.database.port import Admit, Change, OutOfScope
from sandbox.host.database.runner import GivenUp, Job, Pool
from sandbox.host.database.sqlite_rules import TABLE_FUNCTIONS, Authorizer, Rules
from sandbox.host.database.values import (
    INT64_MAX,
    INT64_MIN,
    STATEMENT_CHARACTERS_MAX,
    Key,
    Measure,
    Row,
    Value,
    check_names,
    invalid,
    is_nan,
    row_of,
)
from sandbox.host.requests import HostFailure
from sandbox.memory import CALL_BYTES_MAX
from schemas.abi import ERROR_DEADLINE, ERROR_TOO_LARGE, ERROR_UNAVAILABLE
from schemas.capabilities import DatabaseScope
from schemas.specs import DatabaseSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

T = TypeVar("T")
OPCODES_BETWEEN_LOOKS = 1_000
"""How often a running statement looks at the clock: every few tens of microseconds."""
COLUMNS_MAX = 256
"""Of one answer."""
WIDE_ROW = 16
"""Columns, from which on each may be a part of `CALL_BYTES_MAX` only: bounds what one row takes in the host's memory."""
LIMITS = (
    (sqlite3.SQLITE_LIMIT_SQL_LENGTH, 4 * STATEMENT_CHARACTERS_MAX + 4_096),
    (sqlite3.SQLITE_LIMIT_ATTACHED, 0),
    (sqlite3.SQLITE_LIMIT_EXPR_DEPTH, 200),
    (sqlite3.SQLITE_LIMIT_COMPOUND_SELECT, 50),
    (sqlite3.SQLITE_LIMIT_VDBE_OP, 100_000),
    (sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 256),
    (sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH, 10),
    (sqlite3.SQLITE_LIMIT_WORKER_THREADS, 0),
)


OUTAGES = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR}
"""Besides a lock: a file that is not there, or a disk that does not do as it should. Not what a statement itself may use up."""


class SqliteDatabase:
    """One of the registry's connections of kind `sqlite`."""

    def __init__(self, spec: DatabaseSpec) -> None:
        if spec.path is None:
            raise HostFailure(ERROR_UNAVAILABLE, f"databases.{spec.name} has no path")
        path = spec.path
        self._readers = Pool(f"{spec.name}-read", spec.connections, lambda: SqliteConnection(path, writes=False))
        self._writers = Pool(f"{spec.name}-write", spec.connections, lambda: SqliteConnection(path, writes=True))

    def query(
        self, scope: DatabaseScope, statement: str, parameters: Sequence[Value], budget: Budget, admit: Admit
    ) -> list[Row]:
        """See Database."""
        return self._readers.run(
            lambda one, job: one.query(scope, (statement, list(parameters)), budget, admit), budget
        )

    def change(self, scope: DatabaseScope, changes: Sequence[Change], budget: Budget, admit: Admit) -> list[int]:
        """See Database."""
        return self._writers.run(lambda one, job: one.change(scope, changes, budget, admit, job), budget)

    def lookup(self, scope: DatabaseScope, table: str, keys: Sequence[Key], budget: Budget) -> list[Row | None]:
        """See Database."""
        return self._readers.run(lambda one, job: one.lookup(scope, table, keys, budget), budget)

    def close(self) -> None:
        """See Database."""
        self._readers.close()
        self._writers.close()


class SqliteConnection:
    """One connection; for its own thread, but for `interrupt`."""

    def __init__(self, path: Path, *, writes: bool) -> None:
        """Does not create the file."""
        mode = "rw" if writes else "ro"
        with translated():
            self._raw = sqlite3.connect(
                f"file:{quote(str(path.absolute()))}?mode={mode}",
                uri=True,
                timeout=0,
                isolation_level=None,  # transactions are ours to begin and to end
                check_same_thread=False,  # for `interrupt`
                cached_statements=0,  # a cached statement was authorized for somebody else
            )
            self._raw.text_factory = _text
            for name in (
                "trusted_schema=OFF",
                "foreign_keys=ON",
                "recursive_triggers=ON",
                f"query_only={not writes:d}",
            ):
                self._raw.execute(f"PRAGMA {name}").close()
            self._raw.execute("SELECT count(*) FROM sqlite_schema").close()  # read it before the limits hold
            for name in sorted(
                TABLE_FUNCTIONS
            ):  # SQLite makes their tables now, or asks the authorizer later whether it may
                self._raw.execute(f"SELECT value FROM {name}('[]')").close()  # noqa: S608
        for category, most in LIMITS:
            self._raw.setlimit(category, most)
        self._authorizer = Authorizer()
        self._raw.set_authorizer(self._authorizer)

    def interrupt(self) -> None:
        """See Connection."""
        self._raw.interrupt()

    def close(self) -> None:
        """See Connection."""
        self._raw.close()

    def query(self, scope: DatabaseScope, asked: Change, budget: Budget, admit: Admit) -> list[Row]:
        """See Database."""
        statement, parameters = asked
        with self._bounded(budget), translated():
            rules = self._rules(scope)
            columns = self._columns(rules, statement, _bindable(parameters))
            admit()
            self._limit(scope, columns)
            return self._rows(rules, scope, statement, _bindable(parameters))

    def change(
        self, scope: DatabaseScope, changes: Sequence[Change], budget: Budget, admit: Admit, job: Job
    ) -> list[int]:
        """See Database."""
        with self._bounded(budget), translated():
            rules = self._rules(scope, writes=True)
            for statement, parameters in changes:
                self._classify_change(rules, statement, _bindable(parameters))
            admit()
            self._limit(scope, 1)
            self._raw.execute("BEGIN IMMEDIATE")
            try:
                counts = [self._changed(rules, *one) for one in changes]
                if sum(counts) > scope.rows:
                    raise HostFailure(ERROR_TOO_LARGE, f"{sum(counts)} rows would change; {scope.rows} is the most")
                budget.remaining_ms()
                if job.given_up:
                    raise GivenUp
                self._raw.execute("COMMIT")
            except BaseException:
                if self._raw.in_transaction:
                    self._raw.set_progress_handler(None, 0)  # time is over, and rolling back must happen
                    self._raw.execute("ROLLBACK")
                raise
            return counts

    def lookup(self, scope: DatabaseScope, table: str, keys: Sequence[Key], budget: Budget) -> list[Row | None]:
        """See Database."""
        with self._bounded(budget), translated():
            rules = self._rules(scope)
            if (found := rules.tables.get(_plain(table))) is None:
                raise OutOfScope(f"the table `{table}` is not in scope")
            column = self._key(scope, table, found)
            wanted = ",".join(f"({at},?)" for at in range(len(keys)))
            statement = (
                f"SELECT v.column1, t.* FROM (VALUES {wanted}) AS v "  # noqa: S608 -- names are the schema's own, quoted
                f"CROSS JOIN main.{_quoted(found)} AS t ON t.{_quoted(column)} = v.column2"
            )
            self._limit(scope, WIDE_ROW)
            return self._matched(rules, scope, statement, keys)

    def _matched(self, rules: Rules, scope: DatabaseScope, statement: str, keys: Sequence[Key]) -> list[Row | None]:
        found: list[Row | None] = [None] * len(keys)
        measure = Measure(scope.rows, scope.bytes_max)
        with self._under(rules):
            cursor = self._raw.execute(statement, keys)
            names = [one[0] for one in cursor.description[1:]]
            for at, *values in cursor:
                if found[at] is not None:
                    raise invalid("a key has more than one row: look up by a unique column")
                found[at] = row = row_of(names, values)
                measure.add_row(row)
        return found

    def _columns(self, rules: Rules, statement: str, parameters: Sequence[Value]) -> int:
        """Compile it without running it; only what gives rows can stand in brackets. How many columns the rows have."""
        with self._under(rules):
            cursor = self._raw.execute(f"SELECT * FROM (\n{statement}\n) LIMIT 0", parameters)  # noqa: S608
            names = [one[0] for one in cursor.description]
            self._raw.execute(f"EXPLAIN {statement}", parameters).close()  # that it stands alone, too
        if len(names) > COLUMNS_MAX:
            raise HostFailure(ERROR_TOO_LARGE, f"{len(names)} columns; {COLUMNS_MAX} is the most")
        return len(names)

    def _classify_change(self, rules: Rules, statement: str, parameters: Sequence[Value]) -> None:
        rules.changed.clear()
        with self._under(rules):
            self._raw.execute(f"EXPLAIN {statement}", parameters).close()
        if not rules.changed:
            raise invalid("the statement changes nothing: reading is db_query's")

    def _changed(self, rules: Rules, statement: str, parameters: Sequence[Value]) -> int:
        with self._under(rules):
            cursor = self._raw.execute(statement, _bindable(parameters))
            if cursor.description is not None:
                raise invalid("RETURNING has nowhere to go: the answer is how many rows changed")
        # the module's own `rowcount` is -1 for what begins with WITH: SQLite itself knows
        ((count,),) = self._raw.execute("SELECT changes()").fetchall()
        return int(count)

    def _rows(self, rules: Rules, scope: DatabaseScope, statement: str, parameters: Sequence[Value]) -> list[Row]:
        measure, rows = Measure(scope.rows, scope.bytes_max), []
        with self._under(rules):
            cursor = self._raw.execute(statement, parameters)
            names = [one[0] for one in cursor.description]
            check_names(names)
            for values in cursor:
                rows.append(row_of(names, values))
                measure.add_row(rows[-1])
        return rows

    def _rules(self, scope: DatabaseScope, *, writes: bool = False) -> Rules:
        """What may be touched: of the tables and views that the schema has now, never SQLite's own."""
        rows = self._raw.execute("SELECT name FROM main.sqlite_schema WHERE type IN ('table', 'view')").fetchall()
        there = {name.lower(): name for (name,) in rows if isinstance(name, str)}
        wanted = there if scope.tables is None else {_plain(name) for name in scope.tables}
        tables = {lower: name for lower, name in there.items() if lower in wanted and not lower.startswith("sqlite_")}
        return Rules(tables, there, writes)

    def _key(self, scope: DatabaseScope, asked: str, table: str) -> str:
        named = {_plain(name): column for name, column in scope.keys.items()}
        if (column := named.get(_plain(asked))) is not None:
            return column
        info = self._raw.execute(f"PRAGMA main.table_info({_quoted(table)})").fetchall()
        primary = [name for _, name, _, _, _, place in info if place]
        if len(primary) != 1:
            raise HostFailure(ERROR_UNAVAILABLE, f"`{table}` has no primary key of one column: name one in `keys`")
        return str(primary[0])

    def _limit(self, scope: DatabaseScope, columns: int) -> None:
        """Of one text, blob or row, while a statement runs. Not below what a key or a bound value may have."""
        most = min(CALL_BYTES_MAX, max(scope.bytes_max, 4_096))
        self._raw.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, most if columns <= WIDE_ROW else most * WIDE_ROW // columns)

    @contextmanager
    def _under(self, rules: Rules) -> Iterator[None]:
        """Guests' statements only between here and there. Raises OutOfScope for what was refused meanwhile."""
        self._authorizer.rules = rules
        try:
            yield
        except (sqlite3.Error, sqlite3.Warning):
            if rules.refused:
                raise OutOfScope(f"out of scope: {rules.refused}") from None
            raise
        finally:
            self._authorizer.rules = None

    @contextmanager
    def _bounded(self, budget: Budget) -> Iterator[None]:
        """Interrupts what runs when the budget is over, and waits for others' locks no longer than that."""
        self._raw.execute(f"PRAGMA busy_timeout={int(budget.sooner().remaining_ms()) + 1}").close()
        self._raw.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, CALL_BYTES_MAX)
        self._raw.set_progress_handler(budget.sooner().is_over, OPCODES_BETWEEN_LOOKS)
        try:
            yield
        finally:
            self._raw.set_progress_handler(None, 0)


def _text(raw: bytes) -> str | bytes:
    """Of a column of type TEXT. What is no UTF-8 stays bytes: nothing is lost."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return bytes(raw)


def _bindable(parameters: Sequence[Value]) -> list[Value]:
    for at, one in enumerate(parameters):
        if is_nan(one):
            raise invalid(f"parameter {at} is NaN: SQLite would store null")
        if isinstance(one, int) and not INT64_MIN <= one <= INT64_MAX:
            raise invalid(f"parameter {at} is beyond 64 bits")
    return list(parameters)


def _plain(table: str) -> str:
    return table.lower().removeprefix("main.")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@contextmanager
def translated() -> Iterator[None]:
    """SQLite's errors as ours. Its words may hold the statement's names, never a parameter or a row."""
    try:
        yield
    except (sqlite3.Error, sqlite3.Warning) as error:
        raise _failure(error) from None
    except (OverflowError, UnicodeError) as error:
        raise invalid(str(error)) from None


def _failure(error: sqlite3.Error | sqlite3.Warning) -> HostFailure:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    match code:
        case sqlite3.SQLITE_INTERRUPT:
            return HostFailure(ERROR_DEADLINE, "the statement took too long")
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return HostFailure(ERROR_DEADLINE, "the database was locked by somebody else all the while", outage=True)
        case sqlite3.SQLITE_TOOBIG:
            return HostFailure(ERROR_TOO_LARGE, f"a value or the statement is too large: {error}")
        case sqlite3.SQLITE_ERROR | sqlite3.SQLITE_CONSTRAINT | sqlite3.SQLITE_MISMATCH | sqlite3.SQLITE_RANGE:
            return invalid(str(error))
        case 0:  # raised by the module itself: several statements, too few parameters
            return invalid(str(error))
        case _:
            return HostFailure(ERROR_UNAVAILABLE, f"SQLite: {error}", outage=code in OUTAGES)
