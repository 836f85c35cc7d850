"""What holds for SQLite and for PostgreSQL: values, caps, all or nothing, scopes, deadlines."""

from __future__ import annotations

import math
import threading
from dataclasses import replace

import pytest

from sandbox.host.database.budget import Budget
from sandbox.host.database.port import OutOfScope
from sandbox.host.gate import Denied
from sandbox.host.requests import HostFailure
from schemas.abi import ERROR_DEADLINE, ERROR_INVALID, ERROR_TOO_LARGE, ERROR_UNAVAILABLE
from tests.sandbox.database.conftest import EVERYTHING, SCOPE, Shop

RUNAWAY = "WITH RECURSIVE r(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM r) SELECT count(*) FROM r"


def test_a_query_brings_rows_as_maps(shop: Shop) -> None:
    rows = shop.query("SELECT id, name, score FROM customers WHERE country = ?1 OR id = ?2 ORDER BY id", "GB", 3)
    assert rows == [{"id": 1, "name": "Ada", "score": 1.5}, {"id": 3, "name": "Ada", "score": -0.25}]
    assert shop.admitted == 1


def test_rows_keep_their_order(shop: Shop) -> None:
    rows = shop.query("SELECT id FROM customers ORDER BY id DESC")
    assert [row["id"] for row in rows] == [3, 2, 1]


def test_bytes_and_null_are_themselves(shop: Shop) -> None:
    assert shop.query("SELECT photo, score FROM customers WHERE id = 2") == [{"photo": b"\x00\xff", "score": None}]


def test_what_is_written_comes_back(shop: Shop) -> None:
    values = [7, "Ümläut \U0001f980 'quoted\"", "x; DROP TABLE orders", math.inf, bytes(range(256))]
    assert shop.change(("INSERT INTO customers VALUES (?1, ?2, ?3, ?4, ?5)", values)) == [1]
    (row,) = shop.query("SELECT * FROM customers WHERE id = 7")
    assert list(row.values()) == values


def test_rows_changed_are_counted(shop: Shop) -> None:
    assert shop.change("UPDATE customers SET score = 9 WHERE name = 'Ada'") == [2]
    assert shop.change("DELETE FROM customers WHERE id = 99") == [0]
    assert shop.operator("SELECT count(*) FROM customers WHERE score = 9") == "2"


def test_a_transaction_happens_as_a_whole(shop: Shop) -> None:
    assert shop.change("DELETE FROM customers WHERE id = 3", ("INSERT INTO orders VALUES (?1, 1, ?2)", [1, "a"])) == [
        1,
        1,
    ]
    assert shop.admitted == 1
    assert shop.operator("SELECT count(*) FROM orders") == "1"


def test_a_transaction_that_fails_at_its_end_has_not_happened(shop: Shop) -> None:
    with pytest.raises(HostFailure) as caught:
        shop.change(
            "DELETE FROM customers", "INSERT INTO orders VALUES (1, 1, 'a')", "INSERT INTO orders VALUES (1, 1, 'b')"
        )
    assert caught.value.code == ERROR_INVALID
    assert shop.operator("SELECT count(*) FROM customers") == "3"
    assert shop.operator("SELECT count(*) FROM orders") == "0"


def test_a_transaction_with_one_statement_out_of_scope_does_nothing_and_counts_nothing(shop: Shop) -> None:
    with pytest.raises(OutOfScope):
        shop.change("DELETE FROM customers", "DELETE FROM secret")
    assert shop.admitted == 0
    assert shop.operator("SELECT count(*) FROM customers") == "3"


def test_what_is_not_admitted_does_not_happen(shop: Shop) -> None:
    def used_up() -> None:
        raise Denied("its 3 uses are used up")

    with pytest.raises(Denied, match="used up"):
        shop.database.change(SCOPE, [("DELETE FROM customers", [])], Budget.of(10_000), used_up)
    with pytest.raises(Denied, match="used up"):
        shop.database.query(SCOPE, "SELECT 1 AS one", [], Budget.of(10_000), used_up)
    assert shop.operator("SELECT count(*) FROM customers") == "3"


def test_more_changed_rows_than_the_scope_has_are_taken_back(shop: Shop) -> None:
    with pytest.raises(HostFailure, match="3 rows would change; 2 is the most") as caught:
        shop.change("DELETE FROM customers", scope=replace(SCOPE, rows=2))
    assert caught.value.code == ERROR_TOO_LARGE
    assert shop.operator("SELECT count(*) FROM customers") == "3"


def test_a_transaction_cannot_add_up_to_more_rows_than_the_scope_has(shop: Shop) -> None:
    with pytest.raises(HostFailure, match="3 rows would change"):
        shop.change(*(f"DELETE FROM customers WHERE id = {one}" for one in (1, 2, 3)), scope=replace(SCOPE, rows=2))
    assert shop.operator("SELECT count(*) FROM customers") == "3"


def test_changes_that_begin_with_a_common_table_expression_count_like_others(shop: Shop) -> None:
    """Python's sqlite3 says -1 of them: no number of rows would be too many, and others' would be taken off."""
    all_of_them = "WITH every AS (SELECT id FROM customers) DELETE FROM customers WHERE id IN (SELECT id FROM every)"
    with pytest.raises(HostFailure, match="3 rows would change; 2 is the most") as caught:
        shop.change(all_of_them, scope=replace(SCOPE, rows=2))
    assert caught.value.code == ERROR_TOO_LARGE
    none = "WITH nobody AS (SELECT 0 AS id) DELETE FROM customers WHERE id IN (SELECT id FROM nobody)"
    with pytest.raises(HostFailure, match="3 rows would change; 2 is the most"):
        shop.change(none, "DELETE FROM customers", scope=replace(SCOPE, rows=2))
    assert shop.operator("SELECT count(*) FROM customers") == "3"
    assert shop.change(none, all_of_them) == [0, 3]


def test_more_rows_than_the_scope_has_are_no_answer(shop: Shop) -> None:
    assert len(shop.query("SELECT id FROM customers", scope=replace(SCOPE, rows=3))) == 3
    with pytest.raises(HostFailure, match="more than 2 rows") as caught:
        shop.query("SELECT id FROM customers", scope=replace(SCOPE, rows=2))
    assert caught.value.code == ERROR_TOO_LARGE


def test_more_bytes_than_the_scope_has_are_no_answer(shop: Shop) -> None:
    small = replace(SCOPE, bytes_max=1_000)
    shop.operator(f"INSERT INTO orders VALUES (1, 1, '{'x' * 600}'), (2, 1, '{'x' * 600}')")
    assert len(shop.query("SELECT note FROM orders WHERE id = 1", scope=small)) == 1
    with pytest.raises(HostFailure, match="more than 1000 bytes") as caught:
        shop.query("SELECT note FROM orders", scope=small)
    assert caught.value.code == ERROR_TOO_LARGE


def test_a_thousand_rows_out_of_millions_are_read_and_no_more(shop: Shop) -> None:
    """Were they fetched first and counted then, this would take gigabytes."""
    many = "WITH RECURSIVE r(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM r) SELECT x FROM r"
    with pytest.raises(HostFailure, match="more than 1000 rows"):
        shop.query(many if shop.kind == "sqlite" else f"{many} LIMIT 50000")


@pytest.mark.parametrize("writes", [False, True])
def test_a_runaway_statement_ends_with_its_budget(shop: Shop, *, writes: bool) -> None:
    with pytest.raises(HostFailure) as caught:
        if writes:
            shop.change(f"INSERT INTO orders {RUNAWAY.replace('count(*)', 'count(*), 1, null')}", ms=150)
        else:
            shop.query(RUNAWAY, ms=150)
    assert caught.value.code == ERROR_DEADLINE
    assert shop.operator("SELECT count(*) FROM orders") == "0"
    assert shop.query("SELECT 1 AS one") == [{"one": 1}]


def test_no_budget_no_call(shop: Shop) -> None:
    with pytest.raises(HostFailure) as caught:
        shop.database.change(SCOPE, [("DELETE FROM customers", [])], Budget(5, lambda: 5), shop._admit)
    assert caught.value.code == ERROR_DEADLINE
    assert shop.admitted == 0
    assert shop.operator("SELECT count(*) FROM customers") == "3"


def test_time_that_runs_out_between_two_statements_takes_the_first_back(shop: Shop) -> None:
    """The clock stands still until the use is counted, which is when everything is known to be in scope; then all time is over."""
    now_ns = 0

    def admit() -> None:
        nonlocal now_ns
        now_ns = 10**12

    with pytest.raises(HostFailure) as caught:
        shop.database.change(SCOPE, [("DELETE FROM customers", [])] * 2, Budget(10**10, lambda: now_ns), admit)
    assert caught.value.code == ERROR_DEADLINE
    assert shop.operator("SELECT count(*) FROM customers") == "3"


def test_lookups_answer_in_the_order_of_the_keys(shop: Shop) -> None:
    rows = shop.lookup("customers", [3, 99, 1])
    assert [row and row["country"] for row in rows] == ["FR", None, "GB"]
    assert rows[1] is None
    assert list(rows[0] or {}) == ["id", "name", "country", "score", "photo"]


def test_a_key_is_compared_as_the_column_has_it(shop: Shop) -> None:
    (row,) = shop.lookup("customers", ["2"])
    assert row is not None and row["id"] == 2


def test_lookups_by_another_column(shop: Shop) -> None:
    by_country = replace(SCOPE, keys={"customers": "country"})
    rows = shop.lookup("customers", ["FR", "XX", 'F"R\\', "{}", ""], by_country)
    assert [row and row["id"] for row in rows] == [3, None, None, None, None]


def test_a_key_with_two_rows_is_no_key(shop: Shop) -> None:
    with pytest.raises(HostFailure, match="more than one row"):
        shop.lookup("customers", ["Ada"], replace(SCOPE, keys={"customers": "name"}))


def test_a_key_column_that_is_not_there_is_the_operators_mistake(shop: Shop) -> None:
    with pytest.raises(HostFailure) as caught:
        shop.lookup("customers", [1], replace(SCOPE, keys={"customers": "nope"}))
    assert caught.value.code in (ERROR_UNAVAILABLE, ERROR_INVALID)


def test_a_table_without_a_primary_key_wants_one_named(shop: Shop) -> None:
    shop.operator("CREATE TABLE pairs (a INTEGER, b INTEGER, PRIMARY KEY (a, b)); INSERT INTO pairs VALUES (1, 2)")
    if shop.kind == "postgresql":
        shop.operator("GRANT ALL ON pairs TO PUBLIC")
    with pytest.raises(HostFailure, match="no primary key of one column"):
        shop.lookup("pairs", [1], EVERYTHING)
    assert shop.lookup("pairs", [1], replace(EVERYTHING, keys={"pairs": "a"})) == [{"a": 1, "b": 2}]


@pytest.mark.parametrize(
    "table", ["secret", "leak", "nope", "sqlite_schema", "pg_class", 'customers" --', "customers; x", ""]
)
def test_a_table_out_of_scope_is_not_looked_up(shop: Shop, table: str) -> None:
    with pytest.raises((OutOfScope, HostFailure)):
        shop.lookup(table, [1])
    if table in ("secret", "leak"):
        with pytest.raises(OutOfScope):
            shop.lookup(table, [1])


def test_several_at_once_and_no_more_than_there_are_connections(shop: Shop) -> None:
    found: list[object] = []

    def ask(number: int) -> None:
        found.append(shop.query("SELECT name FROM customers WHERE id = ?1", number % 3 + 1))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(24)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(found) == 24 and all(found)
    serving = [one for one in threading.enumerate() if one.name.startswith("penstock-shop")]
    assert 1 <= len(serving) <= shop.spec.connections


def test_after_closing_there_is_no_answer(shop: Shop) -> None:
    shop.database.close()
    with pytest.raises(HostFailure) as caught:
        shop.query("SELECT 1 AS one")
    assert caught.value.code == ERROR_UNAVAILABLE


@pytest.mark.parametrize(
    "statement", ["SELECT id FROM customers;", " SELECT id FROM customers ; ;\n", "SELECT id FROM customers -- all"]
)
def test_ends_of_statements_do_not_matter(shop: Shop, statement: str) -> None:
    from sandbox.host.database.values import statement_of

    text, _ = statement_of([statement, []])
    assert len(shop.query(text)) == 3


def test_two_columns_of_one_name_are_no_map(shop: Shop) -> None:
    with pytest.raises(HostFailure, match="two columns are called `id`"):
        shop.query("SELECT a.id, b.id FROM customers a JOIN customers b ON a.id = b.id")
