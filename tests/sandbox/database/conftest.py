"""One SQLite file and one PostgreSQL database with the same tables, behind the same few words."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sandbox.host.database.budget import Budget
from sandbox.host.database.port import Change, Database
from sandbox.host.database.values import Row
from schemas.capabilities import DatabaseScope
from schemas.specs import DatabaseSpec
from tests.services.postgres import Postgres

TABLES = """
CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT, country TEXT, score DOUBLE PRECISION, photo {bytes});
CREATE TABLE orders (id INTEGER PRIMARY KEY, customer INTEGER, note TEXT);
CREATE TABLE secret (id INTEGER PRIMARY KEY, word TEXT);
CREATE VIEW leak AS SELECT id, word FROM secret;
INSERT INTO customers VALUES (1, 'Ada', 'GB', 1.5, NULL), (2, 'Grace', 'US', NULL, {photo}), (3, 'Ada', 'FR', -0.25, NULL);
INSERT INTO secret VALUES (1, 'tulip');
"""
SCOPE = DatabaseScope("shop", tables=("customers", "orders"))
EVERYTHING = DatabaseScope("shop")
GIVEN_UP_S = 5.0
"""Nobody who was given a fraction of a second waits as long, however busy the machine."""


@dataclass
class Shop:
    """A database, and how guests reach it."""

    kind: str
    spec: DatabaseSpec
    database: Database
    admitted: int = 0
    operator: Callable[[str], str] = field(default=lambda text: text, repr=False)
    """Runs a script as the operator; `|` between the columns of what comes out."""

    def query(self, statement: str, *parameters: Any, scope: DatabaseScope = SCOPE, ms: float = 10_000) -> list[Row]:
        return self.database.query(scope, self._marks(statement), list(parameters), Budget.of(ms), self._admit)

    def change(self, *changes: str | Change, scope: DatabaseScope = SCOPE, ms: float = 10_000) -> list[int]:
        asked = [(one, []) if isinstance(one, str) else (self._marks(one[0]), list(one[1])) for one in changes]
        return self.database.change(scope, asked, Budget.of(ms), self._admit)

    def lookup(self, table: str, keys: Sequence[Any], scope: DatabaseScope = SCOPE) -> list[Row | None]:
        return self.database.lookup(scope, table, keys, Budget.of(10_000))

    def _marks(self, statement: str) -> str:
        """`?1` for either."""
        return statement.replace("?", "$") if self.kind == "postgresql" else statement

    def _admit(self) -> None:
        self.admitted += 1


@pytest.fixture
def sqlite_shop(tmp_path: Path) -> Iterator[Shop]:
    from sandbox.host.database.sqlite import SqliteDatabase

    path = tmp_path / "shop.db"

    def operator(script: str) -> str:
        raw = sqlite3.connect(path, isolation_level=None)
        try:
            if script.lstrip().upper().startswith("SELECT"):
                rows = raw.execute(script).fetchall()
                return "\n".join("|".join("" if one is None else str(one) for one in row) for row in rows)
            raw.executescript(script)
            return ""
        finally:
            raw.close()

    operator(TABLES.format(bytes="BLOB", photo="x'00ff'"))
    spec = DatabaseSpec("shop", "sqlite", path=path)
    database = SqliteDatabase(spec)
    yield Shop("sqlite", spec, database, operator=operator)
    database.close()


_NUMBER = itertools.count(1)


@pytest.fixture
def postgres_shop(postgres_server: Postgres) -> Iterator[Shop]:
    """A database of its own."""
    name = f"shop_{next(_NUMBER)}"
    with _postgres_shop(postgres_server, name, postgres_server.dsn_of(name, name), made=False) as shop:
        yield shop


@pytest.fixture(scope="module")
def postgres_target(postgres_server: Postgres) -> str:
    """The name of one database that all attacks of a file are made on: they leave it as it was."""
    name = f"target_{next(_NUMBER)}"
    with _postgres_shop(postgres_server, name, postgres_server.dsn_of(name, name), made=False):
        return name


@pytest.fixture
def postgres_attacked(postgres_server: Postgres, postgres_target: str) -> Iterator[Shop]:
    """The same, with connections of its own."""
    dsn = postgres_server.dsn_of(postgres_target, postgres_target)
    with _postgres_shop(postgres_server, postgres_target, dsn, made=True) as shop:
        yield shop


@contextmanager
def _postgres_shop(server: Postgres, name: str, dsn: str, *, made: bool) -> Iterator[Shop]:
    from sandbox.host.database.postgres import PostgresDatabase

    def operator(script: str) -> str:
        return server.psql(script, database=name)

    if not made:
        server.psql(f"CREATE ROLE {name} LOGIN PASSWORD 'hush'")
        server.psql(f"CREATE DATABASE {name}")
        operator(TABLES.format(bytes="BYTEA", photo="'\\x00ff'"))
        operator(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {name}")
    spec = DatabaseSpec("shop", "postgresql", dsn=dsn)
    database = PostgresDatabase(spec)
    yield Shop("postgresql", spec, database, operator=operator)
    database.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def shop(request: pytest.FixtureRequest) -> Shop:
    """Both, one after the other: what holds for either."""
    found: Shop = request.getfixturevalue("sqlite_shop" if request.param == "sqlite" else "postgres_shop")
    return found
