"""Attacks with statements: on real SQLite and real PostgreSQL. None may read what is not granted, change what is not granted, or last.

Each attack is followed by a look at the whole database: it must be as it was.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from schemas.capabilities import DatabaseScope
from schemas.specs import DatabaseSpec
from tests.hostile.conftest import MakeWorld
from tests.hostile.rig import DEADLINE, DENIED, INVALID, TOO_LARGE, UNAVAILABLE, Answer, Tenant, grant
from tests.services.postgres import Postgres

SECRET = "TOP-SECRET-42"
TABLES = ("customers", "orders")
SCHEMA = f"""
CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT, tier TEXT);
CREATE TABLE orders (id INTEGER PRIMARY KEY, customer INTEGER, total INTEGER CHECK (total >= 0));
CREATE TABLE secrets (id INTEGER PRIMARY KEY, secret TEXT);
CREATE TABLE audit (id INTEGER PRIMARY KEY, what TEXT);
CREATE VIEW leak AS SELECT secret FROM secrets;
INSERT INTO customers VALUES (1, 'Ada', 'gold'), (2, 'Bo', 'basic');
INSERT INTO orders VALUES (10, 1, 500), (11, 2, 20);
INSERT INTO secrets VALUES (1, '{SECRET}');
"""
NAMES = ("customers", "orders", "secrets", "audit")
_NUMBERS = itertools.count(1)


@dataclass
class Shop:
    """One database with something to steal."""

    spec: DatabaseSpec
    run: Callable[[str], Any]
    """As its owner."""
    dump: Callable[[], Any]

    @property
    def kind(self) -> str:
        return self.spec.kind


@pytest.fixture
def sqlite_shop(tmp_path: Path) -> Shop:
    path = tmp_path / "shop.db"

    def run(script: str) -> None:
        with sqlite3.connect(path) as raw:
            raw.executescript(script)

    def dump() -> list[str]:
        with sqlite3.connect(path) as raw:
            return list(raw.iterdump())

    run(SCHEMA)
    return Shop(DatabaseSpec("shop", "sqlite", path), run, dump)


@pytest.fixture
def postgres_shop(postgres_server: Postgres) -> Iterator[Shop]:
    name = f"hostile_{os.getpid()}_{next(_NUMBERS)}"
    postgres_server.psql("DO $$ BEGIN CREATE ROLE keeper LOGIN; EXCEPTION WHEN duplicate_object THEN END $$")
    postgres_server.psql(f"CREATE DATABASE {name} OWNER keeper")
    selects = "; ".join(f"SELECT * FROM {one} ORDER BY 1" for one in NAMES)
    listed = "SELECT relname, relkind FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 1"
    postgres_server.psql(SCHEMA, user="keeper", database=name)
    yield Shop(
        DatabaseSpec("shop", "postgresql", dsn=postgres_server.dsn_of("keeper", name)),
        lambda script: postgres_server.psql(script, database=name),
        lambda: postgres_server.psql(f"{selects}; {listed}", database=name),
    )
    with contextlib.suppress(
        RuntimeError
    ):  # a statement that was given up may still be at work; the server goes with the session
        postgres_server.psql(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", "postgresql"])
def shop(request: pytest.FixtureRequest) -> Shop:
    found: Shop = request.getfixturevalue("sqlite_shop" if request.param == "sqlite" else "postgres_shop")
    return found


Enter = Callable[..., Tenant]
ALL = ("database-read", "database-query", "database-write", "database-transaction")
NEEDS = {
    "lookup": "database-read",
    "lookup_many": "database-read",
    "db_query": "database-query",
    "db_execute": "database-write",
    "db_transaction": "database-transaction",
}


@pytest.fixture
def enter(make_fast_world: MakeWorld, shop: Shop) -> Enter:
    """A tenant of this shop that may do everything with two of its tables."""

    def make(*capabilities: str, strict: bool = False, reading_ns: int = 0, **scope: Any) -> Tenant:
        world = make_fast_world(databases={"shop": shop.spec}, reading_ns=reading_ns)
        granted = capabilities or ALL
        names = [name for name, needed in NEEDS.items() if needed in granted]
        wanted = DatabaseScope(**{"connection": "shop", "tables": TABLES} | scope)
        return world.tenant(*names, strict=strict, grants=[grant(*granted, scope=wanted)])

    return make


def refused(answer: Answer, *codes: int) -> None:
    assert answer.status in (codes or (DENIED, INVALID)), answer
    assert SECRET not in repr(answer.value)


def query(tenant: Tenant, statement: str, *parameters: object) -> Answer:
    return tenant.ask("db_query", [statement, list(parameters)])


READS = {
    "another table": "SELECT * FROM secrets",
    "another table in capitals": "SELECT * FROM SECRETS",
    "another table by its schema": "SELECT * FROM {schema}.secrets",
    "another table behind a comment": "SELECT/**/*/**/FROM/**/secrets",
    "another table in a join": "SELECT c.name, s.secret FROM customers c JOIN secrets s ON s.id = c.id",
    "another table in a union": "SELECT name FROM customers UNION ALL SELECT secret FROM secrets",
    "another table in a sub-select": "SELECT (SELECT secret FROM secrets LIMIT 1) AS x FROM customers",
    "another table in a condition": "SELECT name FROM customers WHERE EXISTS (SELECT 1 FROM secrets WHERE secret LIKE 'T%')",
    "another table in an order": "SELECT name FROM customers ORDER BY (SELECT secret FROM secrets)",
    "another table in a limit": "SELECT name FROM customers LIMIT (SELECT count(*) FROM secrets)",
    "another table in a common table expression": "WITH x AS (SELECT secret FROM secrets) SELECT * FROM x",
    "another table under the name of one in scope": "WITH customers AS (SELECT secret AS name FROM secrets) SELECT * FROM customers",
    "another table of which only rows are counted": "SELECT count(*) AS n FROM secrets",
    "another table in a window": "SELECT name, sum((SELECT count(*) FROM secrets)) OVER () AS n FROM customers",
    "another table in VALUES": "VALUES ((SELECT secret FROM secrets))",
    "another table in a case": "SELECT CASE WHEN (SELECT secret FROM secrets) > 'A' THEN 1 ELSE 0 END AS x",
    "a view over another table": "SELECT * FROM leak",
    "a view over another table under a common name": "WITH leak AS (SELECT secret FROM secrets) SELECT * FROM leak",
    "a bracket that closes the host's": "SELECT 1) AS a, (SELECT secret FROM secrets",
    "a bracket and a comment": "SELECT name FROM customers) --",
    "a second statement": "SELECT 1 AS x; SELECT secret FROM secrets",
    "a second statement that drops": "SELECT 1 AS x; DROP TABLE customers",
    "a statement behind a NUL": "SELECT 1 AS x\0; DROP TABLE customers",
    "nothing": "",
    "a comment only": "-- nothing",
    "a semicolon only": ";",
    "an unfinished comment": "/* SELECT 1",
    "an unfinished text": "SELECT 'abc",
    "inserting instead of reading": "INSERT INTO customers VALUES (9, 'x', 'y')",
    "inserting with an answer": "INSERT INTO customers VALUES (9, 'x', 'y') RETURNING id",
    "updating instead of reading": "UPDATE customers SET tier = 'gold'",
    "updating with an answer": "UPDATE customers SET tier = 'gold' RETURNING id",
    "deleting with an answer": "DELETE FROM customers RETURNING id",
    "creating a table": "CREATE TABLE mine (x INTEGER)",
    "creating a table from another": "CREATE TABLE mine AS SELECT * FROM secrets",
    "creating a temporary view": "CREATE TEMP VIEW customers2 AS SELECT * FROM secrets",
    "dropping a table": "DROP TABLE customers",
    "altering a table": "ALTER TABLE customers ADD COLUMN owned TEXT",
    "creating an index": "CREATE INDEX i ON customers (name)",
    "beginning a transaction": "BEGIN",
    "committing": "COMMIT",
    "rolling back": "ROLLBACK",
    "a savepoint": "SAVEPOINT s",
    "explaining a change": "EXPLAIN DELETE FROM customers",
    "vacuum": "VACUUM",
    "analyze": "ANALYZE",
    "reindex": "REINDEX",
}
ONLY_SQLITE = {
    "the schema": "SELECT sql FROM sqlite_master",
    "the schema under its new name": "SELECT sql FROM sqlite_schema",
    "the schema of temporary tables": "SELECT sql FROM sqlite_temp_master",
    "another database of the connection": "SELECT * FROM temp.secrets",
    "attaching a file": "ATTACH '/tmp/x.db' AS x",
    "attaching a file by a parameter": "ATTACH ? AS x",
    "detaching the database": "DETACH main",
    "writing the database elsewhere": "VACUUM INTO '/tmp/stolen.db'",
    "a pragma that reads": "PRAGMA table_info(secrets)",
    "a pragma that writes": "PRAGMA writable_schema = ON",
    "a pragma that lifts the read-only mode": "PRAGMA query_only = OFF",
    "a pragma as a table": "SELECT * FROM pragma_table_info('secrets')",
    "the list of databases": "SELECT * FROM pragma_database_list",
    "the pages of the file": "SELECT * FROM sqlite_dbpage",
    "statistics of the file": "SELECT * FROM dbstat",
    "the compiled program": "SELECT * FROM bytecode('SELECT * FROM secrets')",
    "loading an extension": "SELECT load_extension('/tmp/evil.so') AS x",
    "reading a file": "SELECT readfile('/etc/passwd') AS x",
    "writing a file": "SELECT writefile('/tmp/x', 'y') AS x",
    "an editor": "SELECT edit('x', 'vi') AS x",
    "a tokenizer's address": "SELECT fts3_tokenizer('simple') AS x",
    "chance": "SELECT random() AS x",
    "a million bytes of chance": "SELECT randomblob(1000000) AS x",
    "the version": "SELECT sqlite_version() AS x",
    "compile options": "SELECT sqlite_compileoption_get(1) AS x",
    "a virtual table": "CREATE VIRTUAL TABLE v USING fts5(x)",
    "a trigger of one's own": "CREATE TEMP TRIGGER t AFTER INSERT ON orders BEGIN DELETE FROM audit; END",
    "explaining as reading": "EXPLAIN SELECT * FROM customers",
    "the query plan": "EXPLAIN QUERY PLAN SELECT * FROM customers",
}
ONLY_POSTGRES = {
    "the catalog": "SELECT relname FROM pg_class",
    "the catalog without a schema": "SELECT rolpassword FROM pg_authid",
    "the information schema": "SELECT table_name FROM information_schema.tables",
    "settings": "SELECT current_setting('data_directory') AS x",
    "setting a parameter": "SELECT set_config('role', 'postgres', false) AS x",
    "a parameter by statement": "SET ROLE postgres",
    "resetting the role": "RESET ROLE",
    "reading a file": "SELECT pg_read_file('/etc/passwd') AS x",
    "listing a folder": "SELECT pg_ls_dir('/') AS x",
    "a large object from a file": "SELECT lo_import('/etc/passwd') AS x",
    "running a program": "COPY customers FROM PROGRAM 'id'",
    "copying out": "COPY secrets TO STDOUT",
    "text run as a statement": "SELECT query_to_xml('SELECT * FROM secrets', true, true, '') AS x",
    "a table as xml": "SELECT table_to_xml('secrets', true, true, '') AS x",
    "a table by number": "SELECT 'secrets'::regclass::oid AS x",
    "sleeping": "SELECT pg_sleep(60) AS x",
    "ending others' sessions": "SELECT pg_terminate_backend(1) AS x",
    "an advisory lock": "SELECT pg_advisory_lock(1) AS x",
    "notifying": "NOTIFY everybody, 'x'",
    "listening": "LISTEN everybody",
    "notifying by a function": "SELECT pg_notify('x', 'y') AS x",
    "a block of code": "DO $$ BEGIN DELETE FROM customers; END $$",
    "calling a procedure": "CALL nothing()",
    "locking a table": "LOCK TABLE customers",
    "locking rows": "SELECT * FROM customers FOR UPDATE",
    "a change within a common table expression": "WITH d AS (DELETE FROM customers RETURNING *) SELECT * FROM d",
    "select into a table": "SELECT * INTO mine FROM customers",
    "truncating": "TRUNCATE customers",
    "granting oneself": "GRANT ALL ON secrets TO PUBLIC",
    "preparing a statement": "PREPARE p AS SELECT * FROM secrets",
    "executing what is prepared": "EXECUTE p",
    "a cursor": "DECLARE c CURSOR FOR SELECT * FROM secrets",
    "the statement's other form of a table": "TABLE secrets",
    "who one is": "SELECT current_user AS x",
    "who one was": "SELECT session_user AS x",
    "where one is": "SELECT current_catalog AS x",
    "where names are looked for": "SELECT current_schema AS x",
    "the server's address": "SELECT inet_server_addr() AS x",
    "another database": "SELECT * FROM otherdb.public.secrets",
    "a search path": "SET search_path TO pg_catalog",
    "random": "SELECT random() AS x",
    "dblink": "SELECT * FROM dblink('host=127.0.0.1', 'select 1') AS t(x int)",
    "a check of rights that tells names": "SELECT has_table_privilege('secrets', 'select') AS x",
    "a sequence": "SELECT nextval('customers_id_seq') AS x",
    "explaining with execution": "EXPLAIN ANALYZE DELETE FROM customers",
    "text of a function": "SELECT prosrc FROM pg_proc",
    "the statement of a view": "SELECT pg_get_viewdef('leak') AS x",
    "a sampled table": "SELECT * FROM secrets TABLESAMPLE SYSTEM (100)",
    "an unlisted relation by a join of all": "SELECT * FROM customers NATURAL JOIN secrets",
}


@pytest.mark.parametrize("attack", READS)
def test_a_query_reads_what_is_in_scope_and_does_nothing_else(enter: Enter, shop: Shop, attack: str) -> None:
    before = shop.dump()
    schema = "main" if shop.kind == "sqlite" else "public"
    tenant = enter("database-query")
    refused(query(tenant, READS[attack].replace("{schema}", schema)))
    assert shop.dump() == before
    assert query(tenant, "SELECT name FROM customers ORDER BY id").value == [{"name": "Ada"}, {"name": "Bo"}]


@pytest.mark.parametrize("attack", ONLY_SQLITE)
def test_what_sqlite_could_do_besides_is_refused(make_fast_world: MakeWorld, sqlite_shop: Shop, attack: str) -> None:
    before = sqlite_shop.dump()
    world = make_fast_world(databases={"shop": sqlite_shop.spec})
    tenant = world.tenant("db_query", "db_execute", grants=[grant(*ALL, scope=DatabaseScope("shop"))])
    parameters = ["/tmp/x.db"] if "?" in ONLY_SQLITE[attack] else []
    refused(query(tenant, ONLY_SQLITE[attack], *parameters))
    refused(tenant.ask("db_execute", [ONLY_SQLITE[attack], parameters]))
    assert sqlite_shop.dump() == before
    assert not Path("/tmp/stolen.db").exists()


@pytest.mark.parametrize("attack", ONLY_POSTGRES)
def test_what_postgresql_could_do_besides_is_refused(
    make_fast_world: MakeWorld, postgres_shop: Shop, attack: str
) -> None:
    """The connection's user owns the whole database here: nothing but the host's rules stands in between."""
    before = postgres_shop.dump()
    world = make_fast_world(databases={"shop": postgres_shop.spec})
    scope = DatabaseScope("shop", TABLES)
    tenant = world.tenant("db_query", "db_execute", grants=[grant(*ALL, scope=scope)])
    refused(query(tenant, ONLY_POSTGRES[attack]))
    refused(tenant.ask("db_execute", [ONLY_POSTGRES[attack], []]))
    assert postgres_shop.dump() == before


WRITES = {
    "into another table": "INSERT INTO audit VALUES (1, 'x')",
    "another table's rows into one's own": "INSERT INTO orders SELECT id, 1, length(secret) FROM secrets",
    "another table read in an update": "UPDATE customers SET name = (SELECT secret FROM secrets)",
    "another table read in a condition": "DELETE FROM orders WHERE id IN (SELECT id FROM secrets)",
    "updating another table": "UPDATE secrets SET secret = 'x'",
    "deleting from another table": "DELETE FROM secrets",
    "through a view": "INSERT INTO leak VALUES ('x')",
    "only reading": "SELECT * FROM customers",
    "two statements": "DELETE FROM orders; DELETE FROM customers",
    "with an answer": "UPDATE customers SET tier = 'x' RETURNING name",
    "with another table's answer": "UPDATE customers SET tier = 'x' RETURNING (SELECT secret FROM secrets)",
    "dropping": "DROP TABLE orders",
    "creating": "CREATE TABLE mine (x INTEGER)",
    "altering": "ALTER TABLE orders RENAME TO mine",
    "a transaction of one's own": "BEGIN",
    "committing early": "COMMIT",
    "an upsert that reads another table": "INSERT INTO customers VALUES (1, 'x', 'y') ON CONFLICT (id) DO UPDATE SET name = (SELECT secret FROM secrets)",
}  # fmt: skip


@pytest.mark.parametrize("attack", WRITES)
@pytest.mark.parametrize("name", ["db_execute", "db_transaction"])
def test_a_statement_changes_what_is_in_scope_and_does_nothing_else(
    enter: Enter, shop: Shop, attack: str, name: str
) -> None:
    before = shop.dump()
    tenant = enter("database-write", "database-transaction")
    request: list[Any] = [WRITES[attack], []]
    refused(tenant.ask(name, request if name == "db_execute" else [["DELETE FROM orders", []], request]))
    assert shop.dump() == before


@pytest.mark.parametrize(
    "statements",
    [
        pytest.param([["DELETE FROM orders", []], ["INSERT INTO orders VALUES (1, 1, -5)", []]], id="the-second-violates-a-check"),
        pytest.param([["DELETE FROM orders", []], ["INSERT INTO customers VALUES (1, 'x', 'y')", []]], id="the-second-is-a-duplicate"),
        pytest.param([["DELETE FROM orders", []], ["nonsense", []]], id="the-second-is-nonsense"),
        pytest.param([["DELETE FROM orders", []], ["SELECT 1", []]], id="the-second-only-reads"),
        pytest.param([["DELETE FROM orders", []], ["COMMIT", []], ["nonsense", []]], id="a-commit-in-between"),
        pytest.param([["DELETE FROM orders", []], ["DELETE FROM secrets", []]], id="the-second-is-out-of-scope"),
        pytest.param([], id="no-statement"),
        pytest.param([["DELETE FROM orders", []]] * 257, id="257-statements"),
    ],
)  # fmt: skip
def test_a_transaction_happens_as_a_whole_or_not_at_all(enter: Enter, shop: Shop, statements: list[Any]) -> None:
    before = shop.dump()
    refused(enter().ask("db_transaction", statements))
    assert shop.dump() == before


INJECTIONS = [
    "1; DROP TABLE customers",
    "' OR '1'='1",
    '" OR 1=1 --',
    "Ada'--",
    "\\'; DELETE FROM orders; --",
    "$1",
    "?1",
]


@pytest.mark.parametrize("text", INJECTIONS)
def test_a_parameter_is_a_value_whatever_it_says(enter: Enter, shop: Shop, text: str) -> None:
    before = shop.dump()
    mark = "?" if shop.kind == "sqlite" else "$1"
    assert query(enter(), f"SELECT id FROM customers WHERE name = {mark}", text).value == []
    assert shop.dump() == before


@pytest.mark.parametrize("text", INJECTIONS)
@pytest.mark.parametrize("place", ["table", "key"])
def test_a_look_up_takes_names_as_names_and_keys_as_values(enter: Enter, shop: Shop, text: str, place: str) -> None:
    before = shop.dump()
    tenant = enter()
    asked = [text, 1] if place == "table" else ["customers", text]
    answer = tenant.ask("lookup", asked)
    assert answer.value is None or answer.status < 0
    assert shop.dump() == before


@pytest.mark.parametrize(
    "table", ["secrets", "SECRETS", "main.secrets", "public.secrets", "leak", "sqlite_master", "sqlite_schema", "pg_catalog.pg_class",
              "customers, secrets", "customers AS c JOIN secrets", 'customers" JOIN "secrets', "shop:secrets", "other:customers", ":secrets", "", "*"]
)  # fmt: skip
def test_a_look_up_elsewhere_is_denied(enter: Enter, table: str) -> None:
    tenant = enter()
    refused(tenant.ask("lookup", [table, 1]), DENIED)
    refused(tenant.ask("lookup_many", [table, [1]]), DENIED)
    assert tenant.used("database-read") == (0, 1)


@pytest.mark.parametrize("key", [None, True, 1.0, [1], {"id": 1}, 1 << 63, float("nan"), "a\0b"], ids=repr)
def test_a_key_of_another_kind_is_no_key(enter: Enter, key: object) -> None:
    refused(enter().ask("lookup", ["customers", key]), INVALID)


@pytest.mark.parametrize("parameter", [[1], {"a": 1}, "a\0b", float("nan")], ids=repr)
def test_a_parameter_of_another_kind_is_no_parameter(enter: Enter, shop: Shop, parameter: object) -> None:
    if shop.kind == "postgresql" and isinstance(parameter, float):
        pytest.skip("PostgreSQL has NaN")
    mark = "?" if shop.kind == "sqlite" else "$1"
    refused(query(enter(), f"SELECT id FROM customers WHERE name = {mark}", parameter), INVALID)


FORMS: dict[str, object] = {
    "a text": "SELECT 1",
    "a statement without parameters": ["SELECT 1"],
    "parameters that are no list": ["SELECT 1", {"a": 1}],
    "three members, the third no text": ["SELECT 1", [], 5],
    "a connection that is not granted": ["SELECT 1", [], "other"],
    "a statement as bytes": [b"SELECT 1", []],
    "a statement of 17,000 characters": ["SELECT " + "1+" * 8_500 + "1", []],
    "1,001 parameters": ["SELECT 1", [1] * 1_001],
}


@pytest.mark.parametrize("form", FORMS)
def test_a_request_of_another_form_is_no_request(enter: Enter, form: str) -> None:
    refused(enter().ask("db_query", FORMS[form]))


@pytest.mark.parametrize("name", NEEDS)
@pytest.mark.parametrize("granted", NEEDS)
def test_no_database_capability_stands_for_another(enter: Enter, name: str, granted: str) -> None:
    """At load already: each import needs its own."""
    from schemas.errors import ModuleFault

    tenant = enter(NEEDS[granted])
    if NEEDS[name] == NEEDS[granted]:
        return
    with pytest.raises(ModuleFault, match=NEEDS[name]):
        tenant.world.tenant(name, name="other", grants=[grant(NEEDS[granted], scope=DatabaseScope("shop"))])


def test_more_rows_than_granted_are_too_large(enter: Enter) -> None:
    numbers = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 100) SELECT x FROM n"
    refused(query(enter(rows=99), numbers), TOO_LARGE)
    assert len(query(enter(rows=100), numbers).value) == 100


def test_more_bytes_than_granted_are_too_large(enter: Enter) -> None:
    refused(
        query(
            enter(bytes_max=1_000), "SELECT replace('xxxxxxxxxx', 'x', replace('xxxxxxxxxx', 'x', 'yyyyyyyyyyyy')) AS t"
        ),
        TOO_LARGE,
    )


def test_a_value_of_a_gigabyte_is_not_made(enter: Enter, shop: Shop) -> None:
    statement = "SELECT zeroblob(1000000000) AS x" if shop.kind == "sqlite" else "SELECT repeat('x', 1000000000) AS x"
    refused(query(enter(reading_ns=1_000_000), statement), TOO_LARGE, DEADLINE, DENIED, INVALID, UNAVAILABLE)


def test_more_changes_than_granted_change_nothing(enter: Enter, shop: Shop) -> None:
    before = shop.dump()
    refused(enter(rows=1).ask("db_execute", ["UPDATE customers SET tier = 'gold'", []]), TOO_LARGE)
    refused(enter(rows=1).ask("db_execute", ["DELETE FROM orders", []]), TOO_LARGE)
    assert shop.dump() == before


def test_a_thousand_keys_and_one_more_are_too_many(enter: Enter) -> None:
    refused(enter(rows=1_000).ask("lookup_many", ["customers", list(range(1_001))]), TOO_LARGE)


ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) AS c FROM n"


def test_a_query_without_end_ends_with_its_time(make_fast_world: MakeWorld, sqlite_shop: Shop) -> None:
    """SQLite looks at the host's clock while it works; each look takes a millisecond here."""
    world = make_fast_world(databases={"shop": sqlite_shop.spec}, reading_ns=1_000_000)
    scope = DatabaseScope("shop", TABLES, time_ms=500)
    tenant = world.tenant("db_query", grants=[grant("database-query", scope=scope)])
    refused(query(tenant, ENDLESS), DEADLINE)
    assert query(tenant, "SELECT 1 AS x").value == [{"x": 1}]


def test_a_change_without_end_changes_nothing(make_fast_world: MakeWorld, sqlite_shop: Shop) -> None:
    before = sqlite_shop.dump()
    world = make_fast_world(databases={"shop": sqlite_shop.spec}, reading_ns=1_000_000)
    tenant = world.tenant(
        "db_execute", grants=[grant("database-write", scope=DatabaseScope("shop", TABLES, time_ms=500))]
    )
    statement = f"DELETE FROM orders WHERE id < ({ENDLESS.replace(' AS c', '')})"
    refused(tenant.ask("db_execute", [statement, []]), DEADLINE)
    assert sqlite_shop.dump() == before


def test_a_database_that_somebody_locks_is_waited_for_no_longer_than_granted(
    make_fast_world: MakeWorld, sqlite_shop: Shop
) -> None:
    world = make_fast_world(databases={"shop": sqlite_shop.spec})
    tenant = world.tenant(
        "db_execute", grants=[grant("database-write", scope=DatabaseScope("shop", TABLES, time_ms=50))]
    )
    held = sqlite3.connect(sqlite_shop.spec.path or "", isolation_level=None)
    held.execute("BEGIN EXCLUSIVE")
    refused(tenant.ask("db_execute", ["DELETE FROM orders", []]), DEADLINE)
    held.execute("ROLLBACK")
    held.close()
    assert tenant.ask("db_execute", ["DELETE FROM orders", []]).value == 2


def test_a_database_that_is_not_there_is_not_created(make_fast_world: MakeWorld, tmp_path: Path) -> None:
    path = tmp_path / "nowhere.db"
    world = make_fast_world(databases={"shop": DatabaseSpec("shop", "sqlite", path)})
    tenant = world.tenant("db_execute", grants=[grant("database-write", scope=DatabaseScope("shop"))])
    refused(tenant.ask("db_execute", ["CREATE TABLE x (y)", []]), UNAVAILABLE)
    assert not path.exists()


def test_a_trigger_does_not_carry_a_guest_out_of_its_scope(make_fast_world: MakeWorld, sqlite_shop: Shop) -> None:
    sqlite_shop.run(
        "CREATE TRIGGER t AFTER INSERT ON orders BEGIN INSERT INTO audit(what) SELECT secret FROM secrets; END;"
    )
    before = sqlite_shop.dump()
    world = make_fast_world(databases={"shop": sqlite_shop.spec})
    tenant = world.tenant("db_execute", grants=[grant("database-write", scope=DatabaseScope("shop", TABLES))])
    refused(tenant.ask("db_execute", ["INSERT INTO orders VALUES (99, 1, 1)", []]), DENIED)
    assert sqlite_shop.dump() == before


def test_what_one_statement_was_allowed_the_next_is_not(enter: Enter) -> None:
    """No statement is remembered with its authorisation."""
    tenant = enter("database-query")
    for _ in range(3):
        assert query(tenant, "SELECT name FROM customers WHERE id = 1").value == [{"name": "Ada"}]
        refused(query(tenant, "SELECT secret FROM secrets"))


def test_a_superusers_connection_serves_no_guest(make_fast_world: MakeWorld, postgres_server: Postgres) -> None:
    spec = DatabaseSpec("shop", "postgresql", dsn=postgres_server.dsn)
    tenant = make_fast_world(databases={"shop": spec}).tenant(
        "db_query", grants=[grant("database-query", scope=DatabaseScope("shop"))]
    )
    refused(query(tenant, "SELECT 1 AS x"), UNAVAILABLE)


def test_errors_tell_the_guest_a_code_and_no_words(enter: Enter) -> None:
    tenant = enter()
    refused(query(tenant, "SELECT no_such_column FROM customers"), INVALID)
    refused(query(tenant, "SELECT * FROM no_such_table"), INVALID, DENIED)


def test_with_strict_a_denied_statement_is_a_violation_and_says_what(enter: Enter) -> None:
    from tests.hostile.rig import Stopped

    tenant = enter("database-query", strict=True)
    with pytest.raises(Stopped) as caught:
        query(tenant, "SELECT secret FROM secrets")
    assert caught.value.kind == "capability"
    assert SECRET not in caught.value.message
    assert tenant.used("database-query") == (0, 1)


def test_a_grant_of_uses_counts_statements_that_were_refused_for_nothing(
    make_fast_world: MakeWorld, sqlite_shop: Shop
) -> None:
    """What is out of scope uses nothing up; what is in scope does."""
    world = make_fast_world(databases={"shop": sqlite_shop.spec})
    granted = replace(grant("database-query", scope=DatabaseScope("shop", TABLES)), uses=1)
    tenant = world.tenant("db_query", grants=[granted])
    refused(query(tenant, "SELECT * FROM secrets"), DENIED)
    assert query(tenant, "SELECT 1 AS x").status > 0
    refused(query(tenant, "SELECT 1 AS x"), DENIED)


def test_a_password_is_in_no_message(make_fast_world: MakeWorld) -> None:
    spec = DatabaseSpec("shop", "postgresql", dsn="host=127.0.0.1 port=1 user=u dbname=d", password="hunter2")
    world = make_fast_world(databases={"shop": spec})
    tenant = world.tenant("db_query", grants=[grant("database-query", scope=DatabaseScope("shop"))])
    refused(query(tenant, "SELECT 1"), UNAVAILABLE, DEADLINE)
    assert "hunter2" not in repr((spec, tenant.report, world.sandbox))
