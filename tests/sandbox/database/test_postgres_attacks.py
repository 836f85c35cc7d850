"""Attacks through a statement on PostgreSQL. Each has a name, and what must come of it; after each one the rows are as they were."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from sandbox.host.database.budget import Budget
from sandbox.host.database.port import OutOfScope
from sandbox.host.database.postgres import PostgresDatabase
from sandbox.host.database.postgres_classes import ASKED_PER_MINUTE_MAX
from sandbox.host.gate import Denied
from sandbox.host.requests import HostFailure
from schemas.abi import ERROR_DEADLINE, ERROR_INVALID, ERROR_TOO_LARGE, ERROR_UNAVAILABLE
from schemas.capabilities import DatabaseScope
from tests.sandbox.database.conftest import EVERYTHING, GIVEN_UP_S, SCOPE, Shop
from tests.services.postgres import Postgres

READS_A_SECRET = {
    "plainly": "SELECT * FROM secret",
    "by TABLE": "TABLE secret",
    "quoted": 'SELECT * FROM "secret"',
    "with its schema": "SELECT * FROM public.secret",
    "by a Unicode escape": 'SELECT * FROM U&"\\0073ecret"',
    "counting it": "SELECT count(*) FROM secret",
    "asking whether it has rows": "SELECT 1 AS one WHERE EXISTS (SELECT FROM secret)",
    "in a sub-select": "SELECT (SELECT word FROM secret) AS word",
    "in a common table expression": "WITH x AS (SELECT word FROM secret) SELECT * FROM x",
    "in one with the name of a table in scope": "WITH customers AS (SELECT word FROM secret) SELECT * FROM customers",
    "in a lateral join": "SELECT s.word FROM customers c, LATERAL (SELECT word FROM secret WHERE id = c.id) s",
    "in a union": "SELECT name FROM customers UNION ALL SELECT word FROM secret",
    "as a whole row": "SELECT s::text AS x FROM secret s",
    "through a view": "SELECT * FROM leak",
    "in an ORDER BY": "SELECT id FROM customers ORDER BY (SELECT word FROM secret)",
    "in a LIMIT": "SELECT id FROM customers LIMIT (SELECT id FROM secret)",
    "in a FILTER": "SELECT count(*) FILTER (WHERE EXISTS (SELECT FROM secret)) AS n FROM customers",
    "in a WINDOW": "SELECT rank() OVER (ORDER BY (SELECT word FROM secret)) AS r FROM customers",
    "behind a comment": "SELECT/**/word/**/FROM/**/secret",
    "in an array": "SELECT ARRAY(SELECT word FROM secret) AS words",
    "in a branch that is never taken": "SELECT CASE WHEN false THEN (SELECT word FROM secret) END AS x",
    "as text that a function runs": "SELECT query_to_xml('SELECT * FROM secret', true, true, '') AS x",
    "as a table that a function reads": "SELECT table_to_xml('secret', true, true, '') AS x",
    "as a schema that a function reads": "SELECT schema_to_xml('public', true, true, '') AS x",
    "as a database that a function reads": "SELECT database_to_xml(true, true, '') AS x",
    "through text search's own query": "SELECT ts_rewrite('a'::tsquery, 'SELECT ''a''::tsquery, word::tsquery FROM secret') AS x",
    "through a cursor": "SELECT cursor_to_xml('c', 1, true, true, '') AS x",
    "through a function of the operator's": "SELECT peek() AS x",
    "through one that says it is immutable": "SELECT peek_immutable() AS x",
    "through an operator": "SELECT 1 <<<>>> 2 AS x",
    "through an aggregate": "SELECT peek_all(id) AS x FROM customers",
    "out of the brackets": "SELECT 1) AS s, LATERAL (SELECT word FROM secret",
    "with a name like a label": 'SELECT word AS ":relid 1}" FROM secret',
    "with a long name like labels": 'SELECT word AS "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx :relid 16384 :re" FROM secret',
    "with names that brackets close": 'SELECT x."})" FROM (SELECT word AS "})" FROM secret) x',
}

REFUSED_READING = {
    "two statements": "SELECT 1; SELECT 2",
    "COPY … PROGRAM": "COPY customers TO PROGRAM 'id'",
    "COPY TO": "COPY customers TO STDOUT",
    "COPY FROM": "COPY customers FROM '/etc/passwd'",
    "DO": "DO $$ BEGIN DELETE FROM customers; END $$",
    "CALL": "CALL nothing()",
    "SET ROLE": "SET ROLE postgres",
    "RESET ROLE": "RESET ROLE",
    "SET SESSION AUTHORIZATION": "SET SESSION AUTHORIZATION postgres",
    "SET statement_timeout": "SET statement_timeout = 0",
    "SET LOCAL search_path": "SET LOCAL search_path = evil",
    "set_config": "SELECT set_config('statement_timeout', '0', false)",
    "current_setting": "SELECT current_setting('data_directory')",
    "SHOW": "SHOW data_directory",
    "a CTE that deletes": "WITH x AS (DELETE FROM customers RETURNING *) SELECT * FROM x",
    "a CTE that inserts": "WITH x AS (INSERT INTO orders VALUES (1) RETURNING *) SELECT * FROM x",
    "SELECT INTO": "SELECT * INTO mine FROM customers",
    "CREATE TABLE AS": "CREATE TABLE mine AS SELECT 1",
    "FOR UPDATE": "SELECT * FROM customers FOR UPDATE",
    "FOR SHARE in a sub-select": "SELECT * FROM (SELECT * FROM customers FOR SHARE) x",
    "an INSERT that returns": "INSERT INTO customers (id) VALUES (77) RETURNING id",
    "a DELETE": "DELETE FROM customers",
    "pg_sleep": "SELECT pg_sleep(100)",
    "an advisory lock": "SELECT pg_advisory_lock(1)",
    "pg_read_file": "SELECT pg_read_file('/etc/passwd')",
    "pg_ls_dir": "SELECT pg_ls_dir('/')",
    "lo_import": "SELECT lo_import('/etc/passwd')",
    "lo_get": "SELECT lo_get(1)",
    "pg_terminate_backend": "SELECT pg_terminate_backend(1)",
    "pg_cancel_backend": "SELECT pg_cancel_backend(1)",
    "pg_notify": "SELECT pg_notify('x', 'y')",
    "NOTIFY": "NOTIFY x",
    "LISTEN": "LISTEN x",
    "LOCK": "LOCK TABLE customers",
    "nextval": "SELECT nextval('numbers')",
    "setval": "SELECT setval('numbers', 99)",
    "a sequence as a table": "SELECT last_value FROM numbers",
    "a catalog": "SELECT * FROM pg_catalog.pg_authid",
    "a catalog without its schema": "SELECT * FROM pg_class",
    "the information schema": "SELECT * FROM information_schema.tables",
    "others' sessions": "SELECT * FROM pg_stat_activity",
    "others' sessions by function": "SELECT * FROM pg_stat_get_activity(NULL)",
    "a view's text": "SELECT pg_get_viewdef(1)",
    "a privilege": "SELECT has_table_privilege('customers', 'select')",
    "a name looked up in the catalog": "SELECT 'secret'::regclass",
    "a role looked up in the catalog": "SELECT 'postgres'::regrole",
    "a name looked up at run time": "SELECT name::regclass FROM customers",
    "names looked up in an array": "SELECT '{secret}'::regclass[] AS x",
    "schemas looked up in an array": "SELECT '{public}'::regnamespace[] AS x",
    "a name looked up by a column of JSON": 'SELECT a::text FROM json_to_recordset(\'[{"a": "1260"}]\') AS x (a regclass)',
    "names looked up by a column of JSON": "SELECT a::text FROM json_to_record('{\"a\": [1260]}') AS x (a regclass[])",
    "a name looked up by a column of XML": "SELECT a::text FROM XMLTABLE('/r' PASSING '<r>1260</r>' COLUMNS a regclass PATH '.')",
    "a name looked up beneath a domain": "SELECT 'secret'::named AS x",
    "a name looked up in a row of the catalog's": 'SELECT json_populate_record(NULL::pg_aggregate, \'{"aggfnoid": "2100"}\')::text AS x',
    "a role's name by its number": "SELECT makeaclitem(10, 10, 'SELECT', false)::text AS x",
    "a role's name by its number, kept in an array": "SELECT ARRAY[makeaclitem(10, 10, 'SELECT', false)] AS x",
    "a role looked up in a privilege": "SELECT '=r/postgres'::aclitem AS x",
    "a sample": "SELECT * FROM customers TABLESAMPLE system (10)",
    "PREPARE": "PREPARE p AS SELECT 1",
    "EXECUTE": "EXECUTE p",
    "DECLARE": "DECLARE c CURSOR FOR SELECT 1",
    "EXPLAIN": "EXPLAIN SELECT 1",
    "BEGIN": "BEGIN",
    "COMMIT": "COMMIT",
    "ROLLBACK": "ROLLBACK",
    "COMMIT AND CHAIN": "COMMIT AND CHAIN",
    "SAVEPOINT": "SAVEPOINT one",
    "VACUUM": "VACUUM",
    "nothing": "",
    "no columns": "SELECT",
}

REFUSED_CHANGING = {
    "a table out of scope": "DELETE FROM secret",
    "reading a table out of scope": "INSERT INTO orders SELECT id, id, word FROM secret",
    "reading one in USING": "DELETE FROM orders USING secret",
    "reading one in a WHERE": "UPDATE customers SET name = 'x' WHERE EXISTS (SELECT FROM secret WHERE word LIKE 't%')",
    "reading one in an upsert": "INSERT INTO orders VALUES (1, 1, '') ON CONFLICT (id) DO UPDATE SET note = (SELECT word FROM secret)",
    "a CTE that deletes elsewhere": "WITH x AS (DELETE FROM secret RETURNING *) INSERT INTO orders SELECT id, id, word FROM x",
    "a CTE that nobody counts": "WITH x AS (DELETE FROM customers RETURNING *) DELETE FROM orders WHERE id = 99",
    "MERGE": "MERGE INTO orders o USING (VALUES (1)) v (i) ON o.id = v.i WHEN NOT MATCHED THEN INSERT VALUES (1)",
    "rows that it returns": "DELETE FROM customers RETURNING name",
    "TRUNCATE": "TRUNCATE customers",
    "DROP": "DROP TABLE customers",
    "ALTER": "ALTER TABLE customers ADD COLUMN x INTEGER",
    "a trigger": "CREATE TRIGGER t BEFORE INSERT ON customers EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "GRANT": "GRANT ALL ON customers TO PUBLIC",
    "COPY FROM PROGRAM": "COPY customers FROM PROGRAM 'id'",
    "DO": "DO $$ BEGIN DELETE FROM customers; END $$",
    "SET ROLE": "SET ROLE postgres",
    "COMMIT": "COMMIT",
    "two statements": "DELETE FROM orders; DELETE FROM customers",
    "a question": "SELECT 1",
    "nextval": "INSERT INTO orders VALUES (nextval('numbers'), 1, '')",
    "a function of the operator's": "INSERT INTO orders VALUES (peek(), 1, '')",
    "set_config": "UPDATE customers SET name = set_config('role', 'postgres', false)",
    "nothing": "",
}

OPERATORS = """
CREATE FUNCTION peek() RETURNS integer LANGUAGE sql AS 'SELECT id FROM secret';
CREATE FUNCTION peek_immutable() RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT id FROM secret';
CREATE FUNCTION peek_two(integer, integer) RETURNS integer LANGUAGE sql AS 'SELECT id FROM secret';
CREATE OPERATOR <<<>>> (LEFTARG = integer, RIGHTARG = integer, FUNCTION = peek_two);
CREATE AGGREGATE peek_all(integer) (SFUNC = peek_two, STYPE = integer);
CREATE DOMAIN named AS regclass;
CREATE PROCEDURE nothing() LANGUAGE sql AS '';
CREATE SEQUENCE numbers;
GRANT ALL ON SEQUENCE numbers TO PUBLIC;
"""
STATE = """SELECT (SELECT string_agg(c::text, ',' ORDER BY id) FROM customers c), (SELECT count(*) FROM orders),
  (SELECT string_agg(s::text, ',') FROM secret s), (SELECT last_value::text || is_called FROM numbers), (SELECT count(*) FROM pg_class),
  (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory')"""


@pytest.fixture
def untouched(postgres_attacked: Shop) -> Iterator[Shop]:
    """Rows, sequence, catalog and locks are the same before and after, and the connection is as it was."""
    if postgres_attacked.operator("SELECT to_regclass('numbers')") == "":
        postgres_attacked.operator(OPERATORS)
    before = postgres_attacked.operator(STATE)
    yield postgres_attacked
    assert postgres_attacked.operator(STATE) == before
    assert postgres_attacked.query("SELECT count(*) AS n FROM customers") == [{"n": 3}]


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


TELLS_COLUMNS = {
    "an empty row of it": "SELECT json_populate_record(NULL::secret, '{}') AS x",
    "all columns of an empty row": "SELECT (NULL::secret).* ",
    "rows made of JSON": "SELECT * FROM json_populate_recordset(NULL::secret, '[{}]')",
    "a cast of a row": "SELECT to_json(ROW(1, 'x')::secret) AS x",
    "an array of rows": "SELECT '{}'::secret[] AS x",
}


@pytest.mark.parametrize("attack", TELLS_COLUMNS)
def test_the_columns_of_a_table_out_of_scope_are_not_told(untouched: Shop, attack: str) -> None:
    with pytest.raises(OutOfScope, match=r"the rows of `public\.secret`"):
        untouched.query(TELLS_COLUMNS[attack])


def test_rows_of_a_table_in_scope_are_types_like_others(untouched: Shop) -> None:
    asked = 'SELECT id, name FROM json_populate_record(NULL::customers, \'{"id": 7, "name": "Ada"}\')'
    assert untouched.query(asked) == [{"id": 7, "name": "Ada"}]
    assert untouched.query(
        "SELECT count(c) AS n, array_agg(c.name)::text AS names FROM customers c GROUP BY c.country LIMIT 1"
    )


@pytest.mark.parametrize("attack", REFUSED_CHANGING)
def test_changing_rows_in_scope_is_all_that_a_change_does(untouched: Shop, attack: str) -> None:
    with pytest.raises((Denied, HostFailure)) as caught:
        untouched.change(REFUSED_CHANGING[attack])
    assert isinstance(caught.value, Denied) or caught.value.code == ERROR_INVALID


def test_a_view_in_scope_shows_what_the_operator_lets_it_show(postgres_shop: Shop) -> None:
    assert postgres_shop.query("SELECT word FROM leak", scope=DatabaseScope("shop", tables=("leak",))) == [
        {"word": "tulip"}
    ]


def test_a_table_of_another_schema_is_another_table(postgres_shop: Shop) -> None:
    postgres_shop.operator(
        "CREATE SCHEMA other; CREATE TABLE other.customers (id integer); GRANT ALL ON SCHEMA other TO PUBLIC"
    )
    with pytest.raises(OutOfScope):
        postgres_shop.query("SELECT * FROM other.customers")
    with pytest.raises(OutOfScope):
        postgres_shop.lookup("other.customers", [1])


def test_the_same_statement_is_judged_anew_for_another_tenant(postgres_shop: Shop) -> None:
    allowed = DatabaseScope("shop", tables=("secret",))
    for _ in range(5):
        assert postgres_shop.query("SELECT word FROM secret", scope=allowed) == [{"word": "tulip"}]
        with pytest.raises(OutOfScope):
            postgres_shop.query("SELECT word FROM secret")


def test_a_superuser_does_not_work_for_guests(postgres_server: Postgres, postgres_shop: Shop) -> None:
    spec = replace(postgres_shop.spec, dsn=postgres_server.dsn)
    database = PostgresDatabase(spec)
    with pytest.raises(HostFailure, match="superuser") as caught:
        database.query(EVERYTHING, "SELECT 1 AS one", [], Budget.of(10_000), postgres_shop._admit)
    assert caught.value.code == ERROR_UNAVAILABLE
    database.close()


def test_a_role_is_taken_on_by_every_transaction(postgres_server: Postgres, postgres_shop: Shop) -> None:
    """Scope or not, what the role may not do is denied by the server."""
    postgres_shop.operator("DROP ROLE IF EXISTS narrow; CREATE ROLE narrow; GRANT SELECT ON customers TO narrow")
    assert postgres_shop.spec.dsn is not None
    spec = replace(
        postgres_shop.spec, dsn=postgres_shop.spec.dsn.rpartition("user=")[0] + "user=postgres", role="narrow"
    )
    shop = Shop("postgresql", spec, PostgresDatabase(spec))
    assert shop.query("SELECT count(*) AS n FROM customers") == [{"n": 3}]
    for ask in (lambda: shop.query("SELECT * FROM orders"), lambda: shop.change("DELETE FROM customers")):
        with pytest.raises(Denied, match="permission denied"):
            ask()
    shop.database.close()
    postgres_shop.operator("DROP OWNED BY narrow; DROP ROLE narrow")


def test_a_server_that_stands_still_is_given_up(postgres_server: Postgres, postgres_shop: Shop) -> None:
    postgres_shop.query("SELECT 1 AS one")
    postgres_server.stand_still(still=True)
    try:
        began = time.monotonic()
        with pytest.raises(HostFailure) as caught:
            postgres_shop.query("SELECT 1 AS one", ms=150)
        assert caught.value.code == ERROR_DEADLINE
        assert time.monotonic() - began < GIVEN_UP_S
    finally:
        postgres_server.stand_still(still=False)
    assert postgres_shop.query("SELECT 1 AS one") == [{"one": 1}]


def test_a_server_that_never_answers_a_connection_holds_no_other_thread(postgres_shop: Shop) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        dsn = f"host=127.0.0.1 port={silent.getsockname()[1]}"
        database = PostgresDatabase(replace(postgres_shop.spec, dsn=dsn))
        began = time.monotonic()
        with pytest.raises(HostFailure) as caught:
            database.query(EVERYTHING, "SELECT 1 AS one", [], Budget.of(200), postgres_shop._admit)
        assert caught.value.code == ERROR_DEADLINE
        assert time.monotonic() - began < GIVEN_UP_S
    database.close()


def test_a_lock_of_somebody_elses_is_waited_for_no_longer_than_the_budget(postgres_shop: Shop) -> None:
    import psycopg

    assert postgres_shop.spec.dsn is not None
    with psycopg.connect(postgres_shop.spec.dsn) as other:
        other.execute("UPDATE customers SET score = 1")
        began = time.monotonic()
        with pytest.raises(HostFailure) as caught:
            postgres_shop.change("UPDATE customers SET score = 2", ms=200)
        assert caught.value.code == ERROR_DEADLINE
        assert time.monotonic() - began < GIVEN_UP_S
        other.rollback()
    assert postgres_shop.change("UPDATE customers SET score = 2") == [3]


def test_connections_that_the_server_ended_are_made_anew(postgres_shop: Shop) -> None:
    assert postgres_shop.query("SELECT 1 AS one") == [{"one": 1}]
    postgres_shop.operator(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'penstock'"
    )
    assert postgres_shop.query("SELECT 1 AS one") == [{"one": 1}]


def test_neither_a_password_nor_the_string_it_stood_in_is_told(postgres_shop: Shop) -> None:
    for dsn in ("hush-hush", "postgresql://u:hush@[bad/x", "host=127.0.0.1 port=1 user=u"):
        spec = replace(postgres_shop.spec, dsn=dsn, password="hush")
        with pytest.raises(HostFailure) as caught:
            PostgresDatabase(spec).query(EVERYTHING, "SELECT 1 AS one", [], Budget.of(10_000), postgres_shop._admit)
        assert caught.value.code == ERROR_UNAVAILABLE
        assert "hush" not in str(caught.value) and "hush" not in repr(spec)


def test_one_row_of_a_hundred_megabytes_stays_in_the_server(postgres_shop: Shop) -> None:
    with pytest.raises(HostFailure, match="more than 1048576 bytes") as caught:
        postgres_shop.query("SELECT repeat('x', 100000000) AS x")
    assert caught.value.code == ERROR_TOO_LARGE


def test_statements_that_are_all_different_do_not_fill_the_servers_log(postgres_shop: Shop) -> None:
    with pytest.raises(HostFailure, match="different statements within a minute") as caught:
        for number in range(ASKED_PER_MINUTE_MAX + 1):
            postgres_shop.query(f"SELECT {number} AS one")
    assert caught.value.code == ERROR_UNAVAILABLE
    assert postgres_shop.query("SELECT 0 AS one") == [{"one": 0}]
    assert postgres_shop.query("SELECT 2 AS two", scope=EVERYTHING) == [{"two": 2}]


TYPED = [
    ("bigint", "9223372036854775807", 9223372036854775807),
    ("bigint", "-9223372036854775808", -9223372036854775808),
    ("numeric(30, 10)", "12345678901234567890.1000000000", "12345678901234567890.1000000000"),
    ("numeric", "NaN", "NaN"),
    ("double precision", "0.1", 0.1),
    ("double precision", "Infinity", math.inf),
    ("double precision", "5e-324", 5e-324),
    ("boolean", "true", True),
    ("bytea", "\\x00ff", b"\x00\xff"),
    ("uuid", "00000000-0000-0000-0000-0000000000aB", "00000000-0000-0000-0000-0000000000ab"),
    ("jsonb", '{"a": 1.10, "b": 12345678901234567890}', '{"a": 1.10, "b": 12345678901234567890}'),
    ("json", '{"a":1.10,"a":2}', '{"a":1.10,"a":2}'),
    ("timestamptz", "2024-02-29 23:59:59.999999+09", "2024-02-29 14:59:59.999999+00"),
    ("timestamp", "2024-02-29 23:59:59.999999", "2024-02-29 23:59:59.999999"),
    ("date", "0044-03-15 BC", "0044-03-15 BC"),
    ("interval", "1 day 02:03:04", "1 day 02:03:04"),
    ("integer[]", "{1,NULL,3}", "{1,NULL,3}"),
    ("text", "tab\there", "tab\there"),
]


@pytest.mark.parametrize(("kind", "text", "value"), TYPED)
def test_types_come_without_loss(postgres_shop: Shop, kind: str, text: str, value: object) -> None:
    assert postgres_shop.query(f"SELECT $1::text::{kind} AS x", text) == [{"x": value}]


def test_nan_is_a_float(postgres_shop: Shop) -> None:
    (row,) = postgres_shop.query("SELECT ?1 AS x", math.nan)
    assert isinstance(row["x"], float) and math.isnan(row["x"])


@pytest.mark.parametrize(
    "value", [None, True, False, 0, -1, 1 << 31, (1 << 63) - 1, 0.1, -math.inf, "", "it's \\x", b"", b"\x00\xff"]
)
def test_parameters_are_bound_as_what_they_are(postgres_shop: Shop, value: object) -> None:
    assert postgres_shop.query("SELECT ?1 AS x", value) == [{"x": value}]


def test_an_unsigned_integer_of_64_bits_is_a_numeric(postgres_shop: Shop) -> None:
    assert postgres_shop.query("SELECT ?1 AS x", (1 << 64) - 1) == [{"x": "18446744073709551615"}]


@pytest.mark.parametrize("kind", ["text", "varchar(3)", "char(3)", "uuid", "bigint", "smallint", "bytea"])
def test_keys_of_any_type(postgres_shop: Shop, kind: str) -> None:
    key = {"uuid": "00000000-0000-0000-0000-00000000000a", "bigint": 7, "smallint": 7, "bytea": b'\x00\\"'}.get(
        kind, "abc"
    )
    literal = "'\\x005c22'" if kind == "bytea" else f"'{key}'"
    postgres_shop.operator(
        f"CREATE TABLE keyed (k {kind} PRIMARY KEY, v text); INSERT INTO keyed VALUES ({literal}, 'v')"
    )
    postgres_shop.operator("GRANT ALL ON keyed TO PUBLIC")
    (row,) = postgres_shop.lookup("keyed", [key], EVERYTHING)
    assert row is not None and row["v"] == "v"


def test_a_connection_that_breaks_within_a_call_is_unavailable_and_made_anew(postgres_shop: Shop) -> None:
    """The server ends the session after the statement was found in scope, and before it runs."""

    def end_it() -> None:
        postgres_shop.operator(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'penstock' AND state <> 'idle'"
        )

    for ask in (
        lambda: postgres_shop.database.query(SCOPE, "SELECT 1 AS one", [], Budget.of(10_000), end_it),
        lambda: postgres_shop.database.change(SCOPE, [("DELETE FROM customers", [])], Budget.of(10_000), end_it),
    ):
        with pytest.raises(HostFailure) as caught:
            ask()
        assert caught.value.code == ERROR_UNAVAILABLE
    assert postgres_shop.query("SELECT count(*) AS n FROM customers") == [{"n": 3}]


def test_a_text_that_is_no_utf8_does_not_leave_the_server(postgres_server: Postgres, postgres_shop: Shop) -> None:
    """Only a database without an encoding can have one."""
    postgres_server.psql("CREATE DATABASE bare ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0")
    user = str(postgres_shop.spec.dsn).rpartition("user=")[2]
    database = PostgresDatabase(replace(postgres_shop.spec, dsn=postgres_server.dsn_of(user, "bare")))
    asked = "SELECT convert_from('\\xff41'::bytea, 'SQL_ASCII') AS x"
    with pytest.raises(HostFailure) as caught:
        database.query(EVERYTHING, asked, [], Budget.of(10_000), postgres_shop._admit)
    assert caught.value.code == ERROR_INVALID
    database.close()
    postgres_server.psql("DROP DATABASE bare WITH (FORCE)")
