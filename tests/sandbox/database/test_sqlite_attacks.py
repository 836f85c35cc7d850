"""Attacks through a statement on SQLite. Each has a name, and what must come of it; after each one the file is as it was."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import pytest

from sandbox.host.database.port import OutOfScope
from sandbox.host.gate import Denied
from sandbox.host.requests import HostFailure
from schemas.abi import ERROR_DEADLINE, ERROR_INVALID, ERROR_TOO_LARGE
from schemas.capabilities import DatabaseScope
from tests.sandbox.database.conftest import EVERYTHING, GIVEN_UP_S, SCOPE, Shop

READS_A_SECRET = {
    "plainly": "SELECT * FROM secret",
    "quoted": 'SELECT * FROM "secret"',
    "in brackets": "SELECT * FROM [SECRET]",
    "with its schema": "SELECT * FROM main.secret",
    "counting it": "SELECT count(*) FROM secret",
    "asking whether it has rows": "SELECT 1 AS one WHERE EXISTS (SELECT 1 FROM secret)",
    "in a sub-select": "SELECT (SELECT word FROM secret) AS word",
    "in a join": "SELECT s.word FROM customers c JOIN secret s ON s.id = c.id",
    "in a common table expression": "WITH x AS (SELECT word FROM secret) SELECT * FROM x",
    "in one with the name of a table in scope": "WITH customers AS (SELECT word FROM secret) SELECT * FROM customers",
    "in one with the name of a view": "WITH leak AS (SELECT word FROM secret) SELECT * FROM leak",
    "in a union": "SELECT name FROM customers UNION ALL SELECT word FROM secret",
    "through a view": "SELECT * FROM leak",
    "in an ORDER BY": "SELECT id FROM customers ORDER BY (SELECT word FROM secret)",
    "in a LIMIT": "SELECT id FROM customers LIMIT (SELECT id FROM secret)",
    "behind a comment": "SELECT/**/word/**/FROM/**/secret",
    "in a table-valued function": "SELECT value FROM json_each((SELECT json_group_array(word) FROM secret))",
    "in a window": "SELECT first_value((SELECT word FROM secret)) OVER () AS x FROM customers",
    "by row number": "SELECT rowid FROM secret",
    "out of the brackets": "SELECT 1 AS x) UNION SELECT word FROM (secret",
}

REFUSED_READING = {
    "two statements": "SELECT 1; SELECT 2",
    "a second statement that changes": "SELECT 1; DELETE FROM customers",
    "an ATTACH": "ATTACH ':memory:' AS other",
    "a DETACH": "DETACH main",
    "a PRAGMA": "PRAGMA writable_schema = ON",
    "a PRAGMA as a function": "SELECT * FROM pragma_database_list",
    "counting a PRAGMA": "SELECT count(*) FROM pragma_database_list",
    "the schema": "SELECT * FROM sqlite_schema",
    "the schema by its old name": "SELECT * FROM sqlite_master",
    "the temporary schema": "SELECT * FROM sqlite_temp_schema",
    "load_extension": "SELECT load_extension('/lib/evil.so')",
    "readfile": "SELECT readfile('/etc/passwd')",
    "writefile": "SELECT writefile('/tmp/x', 'x')",
    "edit": "SELECT edit('x')",
    "fts3_tokenizer": "SELECT fts3_tokenizer('simple')",
    "chance": "SELECT random()",
    "random bytes": "SELECT randomblob(16)",
    "what SQLite was compiled with": "SELECT sqlite_compileoption_get(0)",
    "SQLite's version": "SELECT sqlite_version()",
    "pages of the file": "SELECT * FROM sqlite_dbpage",
    "statistics of the file": "SELECT * FROM dbstat",
    "prepared statements": "SELECT * FROM sqlite_stmt",
    "an INSERT": "INSERT INTO customers (id) VALUES (77)",
    "an INSERT that returns": "INSERT INTO customers (id) VALUES (77) RETURNING id",
    "a DELETE": "DELETE FROM customers",
    "a REPLACE": "REPLACE INTO customers (id) VALUES (1)",
    "a CREATE": "CREATE TABLE mine (x)",
    "a temporary trigger": "CREATE TEMP TRIGGER t AFTER INSERT ON customers BEGIN DELETE FROM secret; END",
    "a temporary view": "CREATE TEMP VIEW customers AS SELECT * FROM secret",
    "a BEGIN": "BEGIN",
    "a COMMIT": "COMMIT",
    "a SAVEPOINT": "SAVEPOINT one",
    "a VACUUM INTO": "VACUUM INTO '/tmp/copy.db'",
    "an EXPLAIN": "EXPLAIN SELECT 1",
    "an EXPLAIN QUERY PLAN": "EXPLAIN QUERY PLAN SELECT 1",
    "nothing": "",
    "a comment": "-- nothing",
    "unbalanced brackets": "SELECT 1) --",
    "an open comment": "SELECT 1 /*",
}

REFUSED_CHANGING = {
    "a table out of scope": "DELETE FROM secret",
    "a view": "UPDATE leak SET word = 'x'",
    "reading a table out of scope": "INSERT INTO orders SELECT id, id, word FROM secret",
    "reading one in a WHERE": "UPDATE customers SET name = 'x' WHERE EXISTS (SELECT 1 FROM secret WHERE word LIKE 't%')",
    "reading one in an upsert": "INSERT INTO orders VALUES (1, 1, '') ON CONFLICT DO UPDATE SET note = (SELECT word FROM secret)",
    "UPDATE FROM": "UPDATE orders SET note = word FROM secret",
    "the schema": "UPDATE sqlite_schema SET sql = ''",
    "deleting from the schema": "DELETE FROM sqlite_master",
    "a CREATE": "CREATE TABLE mine (x)",
    "a CREATE INDEX": "CREATE INDEX i ON customers (name)",
    "a trigger": "CREATE TRIGGER t AFTER INSERT ON customers BEGIN DELETE FROM secret; END",
    "a virtual table": "CREATE VIRTUAL TABLE v USING fts5(x)",
    "a DROP": "DROP TABLE customers",
    "an ALTER": "ALTER TABLE customers ADD COLUMN x",
    "a REINDEX": "REINDEX",
    "an ANALYZE": "ANALYZE",
    "a VACUUM": "VACUUM",
    "an ATTACH": "ATTACH '/tmp/other.db' AS other",
    "a PRAGMA": "PRAGMA foreign_keys = OFF",
    "a COMMIT": "COMMIT",
    "a ROLLBACK": "ROLLBACK",
    "two statements": "DELETE FROM orders; DELETE FROM customers",
    "a question": "SELECT 1",
    "rows that it returns": "DELETE FROM customers RETURNING name",
    "load_extension": "INSERT INTO orders VALUES (1, 1, load_extension('x'))",
    "EXPLAIN of a change": "EXPLAIN DELETE FROM customers",
}


@pytest.fixture
def untouched(sqlite_shop: Shop):  # type: ignore[no-untyped-def]
    """The whole file says the same before and after."""
    before = _dump(sqlite_shop)
    yield sqlite_shop
    assert _dump(sqlite_shop) == before


def _dump(shop: Shop) -> str:
    assert shop.spec.path is not None
    raw = sqlite3.connect(shop.spec.path)
    try:
        return "\n".join(raw.iterdump())
    finally:
        raw.close()


@pytest.mark.parametrize("attack", READS_A_SECRET)
def test_a_table_out_of_scope_is_not_read(untouched: Shop, attack: str) -> None:
    with pytest.raises((OutOfScope, HostFailure)) as caught:
        untouched.query(READS_A_SECRET[attack])
    assert isinstance(caught.value, OutOfScope) or caught.value.code == ERROR_INVALID
    assert "tulip" not in str(caught.value)
    assert untouched.admitted == 0


@pytest.mark.parametrize("attack", REFUSED_READING)
@pytest.mark.parametrize("scope", [SCOPE, EVERYTHING], ids=["some tables", "all tables"])
def test_reading_is_all_that_a_query_does(untouched: Shop, attack: str, scope: DatabaseScope) -> None:
    with pytest.raises((Denied, HostFailure)) as caught:
        untouched.query(REFUSED_READING[attack], scope=scope)
    assert isinstance(caught.value, Denied) or caught.value.code == ERROR_INVALID
    assert untouched.admitted == 0


@pytest.mark.parametrize("attack", REFUSED_CHANGING)
def test_changing_rows_in_scope_is_all_that_a_change_does(untouched: Shop, attack: str) -> None:
    with pytest.raises((Denied, HostFailure)) as caught:
        untouched.change(REFUSED_CHANGING[attack])
    assert isinstance(caught.value, Denied) or caught.value.code == ERROR_INVALID


@pytest.mark.parametrize(
    "attack", ["a CREATE", "a DROP", "a trigger", "the schema", "an ATTACH", "a PRAGMA", "a COMMIT"]
)
def test_all_tables_are_rows_of_tables_only(untouched: Shop, attack: str) -> None:
    with pytest.raises((Denied, HostFailure)):
        untouched.change(REFUSED_CHANGING[attack], scope=EVERYTHING)


def test_a_trigger_of_the_operators_does_not_widen_a_scope(sqlite_shop: Shop) -> None:
    sqlite_shop.operator(
        "CREATE TRIGGER t AFTER INSERT ON orders BEGIN INSERT INTO secret VALUES (new.id, new.note); END"
    )
    with pytest.raises(OutOfScope, match="secret"):
        sqlite_shop.change("INSERT INTO orders VALUES (5, 1, 'x')")
    named = DatabaseScope("shop", tables=("orders", "secret"))
    assert sqlite_shop.change("INSERT INTO orders VALUES (5, 1, 'x')", scope=named) == [1]


def test_a_view_needs_what_it_reads_in_scope(sqlite_shop: Shop) -> None:
    with pytest.raises(OutOfScope, match="secret"):
        sqlite_shop.query("SELECT * FROM leak", scope=DatabaseScope("shop", tables=("leak",)))
    named = DatabaseScope("shop", tables=("leak", "secret"))
    assert sqlite_shop.query("SELECT word FROM leak", scope=named) == [{"word": "tulip"}]


def test_the_same_statement_is_judged_anew_for_another_tenant(sqlite_shop: Shop) -> None:
    """One connection serves both: nothing that was compiled for the one is there for the other."""
    asked = "SELECT word FROM secret"
    allowed = DatabaseScope("shop", tables=("secret",))
    for _ in range(5):
        assert sqlite_shop.query(asked, scope=allowed) == [{"word": "tulip"}]
        with pytest.raises(OutOfScope):
            sqlite_shop.query(asked)


def test_common_table_expressions_are_fine(sqlite_shop: Shop) -> None:
    asked = "WITH x AS (SELECT id FROM customers) SELECT count(*) AS many FROM x"
    assert sqlite_shop.query(asked) == [{"many": 3}]
    assert sqlite_shop.query("SELECT value FROM json_each('[1,2]')") == [{"value": 1}, {"value": 2}]


BOMBS = {
    "zeroblob": "SELECT zeroblob(1000000000) AS x",
    "hex of hex": "SELECT hex(hex(hex(hex(hex(zeroblob(100000)))))) AS x",
    "replace": "SELECT replace(hex(zeroblob(100000)), '00', hex(zeroblob(1000))) AS x",
    "many wide columns": "SELECT " + ", ".join(f"zeroblob(1000000) AS c{n}" for n in range(200)),
    "group_concat": "WITH RECURSIVE r(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM r) SELECT group_concat(hex(zeroblob(100000))) AS x FROM r",
    "columns without end": "SELECT " + ", ".join(f"{n} AS c{n}" for n in range(1500)),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_large_values_are_not_made(sqlite_shop: Shop, bomb: str) -> None:
    with pytest.raises(HostFailure) as caught:
        sqlite_shop.query(BOMBS[bomb])
    assert caught.value.code in (ERROR_TOO_LARGE, ERROR_DEADLINE)


def test_printf_stops_where_values_end(sqlite_shop: Shop) -> None:
    (row,) = sqlite_shop.query("SELECT length(printf('%.*c', 1000000000, 'x')) AS x", ms=60_000)
    assert (row["x"] or 0) <= 1 << 20  # type: ignore[operator]


def test_a_function_that_nothing_interrupts_is_given_up(sqlite_shop: Shop) -> None:
    """`instr` over megabytes takes seconds within one step of the program: no progress handler is asked meanwhile."""
    slow = "SELECT instr(replace(hex(zeroblob(500000)), '00', 'aa'), replace(hex(zeroblob(200000)), '00', 'aa') || 'b') AS x"
    began = time.monotonic()
    with pytest.raises(HostFailure) as caught:
        sqlite_shop.query(slow, ms=100)
    assert caught.value.code == ERROR_DEADLINE
    assert time.monotonic() - began < GIVEN_UP_S
    assert sqlite_shop.query("SELECT 1 AS one") == [{"one": 1}]


def test_stuck_functions_do_not_pile_up_threads(sqlite_shop: Shop) -> None:
    slow = "SELECT instr(replace(hex(zeroblob(500000)), '00', 'aa'), replace(hex(zeroblob(200000)), '00', 'aa') || 'b') AS x"
    for _ in range(3 * sqlite_shop.spec.connections):
        with pytest.raises(HostFailure):
            sqlite_shop.query(slow, ms=20)
    assert sqlite_shop.database._readers._places <= sqlite_shop.spec.connections  # type: ignore[attr-defined]


def test_somebody_elses_lock_is_waited_for_no_longer_than_the_budget(sqlite_shop: Shop) -> None:
    assert sqlite_shop.spec.path is not None
    other = sqlite3.connect(sqlite_shop.spec.path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    began = time.monotonic()
    with pytest.raises(HostFailure) as caught:
        sqlite_shop.change("DELETE FROM orders", ms=150)
    assert caught.value.code == ERROR_DEADLINE
    assert time.monotonic() - began < GIVEN_UP_S
    other.execute("ROLLBACK")
    other.close()
    assert sqlite_shop.change("DELETE FROM orders") == [0]


def test_a_file_that_is_not_there_is_not_made(sqlite_shop: Shop, tmp_path: Path) -> None:
    from sandbox.host.database.sqlite import SqliteDatabase
    from schemas.specs import DatabaseSpec

    path = tmp_path / "none.db"
    database = SqliteDatabase(DatabaseSpec("none", "sqlite", path=path))
    for ask in (Shop("sqlite", sqlite_shop.spec, database).query, Shop("sqlite", sqlite_shop.spec, database).change):
        with pytest.raises(HostFailure):
            ask("DELETE FROM x" if ask.__name__ == "change" else "SELECT 1 AS x", scope=EVERYTHING)
    database.close()
    assert not path.exists()


def test_a_path_cannot_carry_options(tmp_path: Path) -> None:
    from sandbox.host.database.sqlite import SqliteDatabase
    from schemas.specs import DatabaseSpec

    path = tmp_path / "a?mode=rwc#%41.db"
    raw = sqlite3.connect(path)
    raw.execute("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    raw.close()
    database = SqliteDatabase(DatabaseSpec("odd", "sqlite", path=path))
    assert Shop("sqlite", database=database, spec=DatabaseSpec("odd", "sqlite")).query(
        "SELECT count(*) AS n FROM t", scope=EVERYTHING
    ) == [{"n": 0}]
    database.close()
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


def test_text_that_is_no_utf8_stays_bytes(sqlite_shop: Shop) -> None:
    sqlite_shop.operator("INSERT INTO orders VALUES (1, 1, CAST(x'ff41' AS TEXT))")
    assert sqlite_shop.query("SELECT note FROM orders") == [{"note": b"\xffA"}]


@pytest.mark.parametrize("value", [float("nan"), 1 << 63, -(1 << 63) - 1])
def test_what_sqlite_cannot_keep_is_refused(untouched: Shop, value: object) -> None:
    with pytest.raises(HostFailure) as caught:
        untouched.change(("INSERT INTO customers (id, score) VALUES (9, ?1)", [value]))
    assert caught.value.code == ERROR_INVALID


@pytest.mark.parametrize("value", [(1 << 63) - 1, -(1 << 63)])
def test_integers_of_64_bits_are_themselves(sqlite_shop: Shop, value: int) -> None:
    assert sqlite_shop.query("SELECT ?1 AS x", value) == [{"x": value}]
