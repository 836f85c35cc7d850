"""`wasm_call` in real SQLite: what goes in and out, what a failing guest does to its statement, and what SQL may not reach."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest

from pipeline.sql import GuestFailed, GuestRejected, ProcedureExecutor, connect
from pipeline.sql.grants import WITHOUT_EFFECT
from pipeline.sql.sqlite import WasmConnection
from schemas.capabilities import Capability
from schemas.outcome import ViolationKind
from tests.pipeline.sql.conftest import Make
from tests.sandbox.guests import wat


@pytest.fixture
def db(executor: ProcedureExecutor) -> Iterator[WasmConnection]:
    connection = connect(":memory:", executor)
    yield connection
    connection.close()


def one(db: WasmConnection, sql: str, *values: object) -> object:
    row = db.execute(sql, values).fetchone()
    assert len(row) == 1
    return row[0]


@pytest.mark.parametrize(
    "value", [None, 0, -1, (1 << 63) - 1, -(1 << 63), 1.5, float("inf"), b"", b"\0\xff", b"x" * 100_000], ids=repr
)
def test_values_other_than_texts_go_in_and_come_out_as_they_are(db: WasmConnection, value: object) -> None:
    got = one(db, "SELECT wasm_function('clerk', 'first', ?)", value)
    assert got == value and type(got) is type(value)


@pytest.mark.parametrize(
    ("json", "value"),
    [
        ('"a text"', "a text"),
        ('"nul \\u0000 here"', "nul \0 here"),
        ("12", 12),
        ("1.5", 1.5),
        ("true", 1),
        ("null", None),
        ('{"id":7,"tags":["a","b"]}', '{"id":7,"tags":["a","b"]}'),
        ("[]", "[]"),
    ],
)
def test_texts_are_json_and_come_out_as_sql(db: WasmConnection, json: str, value: object) -> None:
    assert one(db, "SELECT wasm_function('clerk', 'first', ?)", json) == value


def test_sqlites_own_json_functions_make_the_arguments(db: WasmConnection) -> None:
    db.execute("CREATE TABLE orders (id INTEGER, note TEXT)")
    db.execute("INSERT INTO orders VALUES (1, 'null'), (2, '{\"admin\": true}')")
    rows = db.execute("SELECT wasm_function('clerk', 'first', json_quote(note)) FROM orders ORDER BY id").fetchall()
    assert rows == [("null",), ('{"admin": true}',)]  # texts, whatever they look like


def test_wasm_call_takes_the_registrys_function(make_executor: Make) -> None:
    db = connect(":memory:", make_executor(sum={"function": "echo"}))
    assert one(db, "SELECT wasm_call('sum', '1', 2, NULL, 1.5)") == "[1,2,null,1.5]"
    db.close()


def test_a_column_of_text_that_is_no_json_is_refused_with_advice(db: WasmConnection) -> None:
    with pytest.raises(GuestFailed, match=r"argument 3 is no JSON: .* wrap a text in json_quote\(\)"):
        one(db, "SELECT wasm_function('clerk', 'first', 'Ann')")


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("SELECT wasm_call()", r"wasm_call\(module, json, …\): too few arguments"),
        ("SELECT wasm_function('clerk')", "too few arguments"),
        ("SELECT wasm_call(NULL)", "names are texts"),
        ("SELECT wasm_call(x'00')", "names are texts"),
        ("SELECT wasm_call('clerk')", r"name a function, or set transformers\.clerk\.function"),
        ("SELECT wasm_call('/etc/passwd')", "the registry has no transformer '/etc/passwd'"),
        ("SELECT wasm_call('../clerk.wasm')", r"the registry has no transformer '\.\./clerk\.wasm'"),
        ("SELECT wasm_call('clerk' || char(0) || '.wasm')", "the registry has no transformer"),
        (
            "SELECT wasm_function('clerk', 'penstock_v1_alloc', '1')",
            "`penstock_v1_alloc` is the ABI's own, and takes no frame",
        ),
        ("SELECT wasm_function('clerk', 'memory')", "not a function"),
        ("SELECT wasm_function('clerk', 'no' || char(0) || 'ne')", "does not export"),
        ("SELECT wasm_function('clerk', 'huge')", "18446744073709551615, which is no 64-bit signed integer"),
        ("SELECT wasm_function('clerk', 'nan')", "is no number"),
        ("SELECT wasm_function('clerk', 'replace')", "cannot be JSON: it holds bytes"),
        ("SELECT wasm_trigger('{}')", "is no trigger"),
        ("SELECT wasm_trigger('no json')", "is no trigger"),
    ],
)
def test_what_cannot_be_called_says_why(db: WasmConnection, sql: str, says: str) -> None:
    with pytest.raises(GuestFailed, match=says):
        one(db, sql)
    assert one(db, "SELECT 1") == 1


@pytest.mark.parametrize(
    "bomb",
    ["[" * 100_000, "[" * 1_000 + "]" * 1_000, '{"a":' * 70 + "1" + "}" * 70, " " * (1 << 20) + "1", '"\\ud800"'],
    ids=["unclosed", "deep", "deep map", "padded", "half a character"],
)
def test_json_bombs_are_refused_before_a_guest_starts(
    db: WasmConnection, executor: ProcedureExecutor, bomb: str
) -> None:
    with pytest.raises(GuestFailed, match=r"argument \d"):
        one(db, "SELECT wasm_function('clerk', 'first', ?)", bomb)
    assert one(db, "SELECT wasm_function('clerk', 'first', 5)") == 5


def test_huge_arguments_are_a_violation(db: WasmConnection) -> None:
    with pytest.raises(GuestFailed, match="the largest allocation is 2MiB") as failed:
        one(db, "SELECT wasm_function('clerk', 'weigh', zeroblob(3000000))")
    assert failed.value.violation is not None and failed.value.violation.kind is ViolationKind.MEMORY


@pytest.mark.parametrize(
    ("function", "kind"),
    [
        ("loop", ViolationKind.DEADLINE),
        ("hog", ViolationKind.MEMORY),
        ("crash", ViolationKind.TRAP),
        ("trailing", ViolationKind.BAD_OUTPUT),
    ],
)
def test_a_guest_that_misbehaves_aborts_its_statement_only(
    db: WasmConnection, function: str, kind: ViolationKind
) -> None:
    db.execute("CREATE TABLE t (v)")
    db.execute("BEGIN")
    db.execute("INSERT INTO t VALUES ('before')")
    with pytest.raises(GuestFailed, match=rf"clerk\.{function}: {kind}") as failed:
        db.execute(f"INSERT INTO t SELECT column1 FROM (VALUES ('a'), (wasm_function('clerk', '{function}')))")
    assert failed.value.violation is not None and failed.value.violation.kind is kind
    db.execute("COMMIT")
    assert db.execute("SELECT v FROM t").fetchall() == [("before",)]


def test_a_refusal_is_an_integrity_error_with_the_guests_words(db: WasmConnection) -> None:
    for run in (db.execute, db.executescript):
        with pytest.raises(sqlite3.IntegrityError, match=r"^no\ufffd good$") as refused:
            run("SELECT wasm_function('clerk', 'refuse')").fetchall()
        assert isinstance(refused.value, GuestRejected) and refused.value.violation.code == "bad"


def test_a_refusal_while_rows_are_fetched(db: WasmConnection) -> None:
    sql = (
        "SELECT CASE column1 WHEN 3 THEN wasm_function('clerk', 'refuse') ELSE column1 END FROM (VALUES (1), (2), (3))"
    )
    with pytest.raises(GuestRejected):
        list(db.execute(sql))
    with pytest.raises(GuestRejected):
        db.execute(sql).fetchmany(5)
    cursor = db.execute(sql)
    assert cursor.fetchone() == (1,)
    with pytest.raises(GuestRejected):
        cursor.fetchall()


def test_sqlites_own_errors_stay_its_own(db: WasmConnection) -> None:
    with pytest.raises(GuestRejected):
        one(db, "SELECT wasm_function('clerk', 'refuse')")
    with pytest.raises(sqlite3.OperationalError, match="no such table") as error:
        db.execute("SELECT * FROM nowhere")
    assert not isinstance(error.value, GuestFailed)


def test_it_is_in_no_index_and_no_generated_column(db: WasmConnection) -> None:
    db.execute("CREATE TABLE t (v)")
    for sql in (
        "CREATE INDEX i ON t (wasm_function('clerk', 'first', v))",
        "CREATE TABLE g (v, w AS (wasm_function('clerk', 'first', v)))",
    ):
        with pytest.raises(sqlite3.OperationalError, match="non-deterministic"):
            db.execute(sql)


def test_sql_calls_only_what_the_connection_was_opened_with(make_executor: Make) -> None:
    executor = make_executor(clerk={}, payroll={})
    db = connect(":memory:", executor, modules={"clerk"})
    assert one(db, "SELECT wasm_function('clerk', 'first', 1)") == 1
    for text in ("payroll", "no-such"):  # one that exists and one that does not look alike
        with pytest.raises(GuestFailed, match=f"SQL may not call '{text}' on this connection — it may call: clerk"):
            one(db, f"SELECT wasm_function('{text}', 'first', 1)")
    db.close()


WRITER = wat(
    """(module (import "penstock" "random" (func $random (param i32 i32) (result i32))) (memory (export "memory") 1)
    (data (i32.const 8) "\\92\\00\\c0")
    (func (export "penstock_v1_alloc") (param i32) (result i32) (i32.const 1024))
    (func (export "roll") (param i32 i32) (result i64) (drop (call $random (i32.const 64) (i32.const 8))) (i64.const 0x800000003)))"""
)


def test_what_a_statement_may_do_is_what_a_rollback_takes_back(make_executor: Make) -> None:
    lasting = {
        Capability.DATABASE_WRITE,
        Capability.DATABASE_TRANSACTION,
        Capability.KEY_VALUE,
        Capability.NETWORK_CLIENT,
        Capability.NETWORK_SERVER,
        Capability.FILESYSTEM_WRITE,
        Capability.FILESYSTEM_CREATE,
        Capability.FILESYSTEM_DELETE,
    }
    assert {*Capability} - WITHOUT_EFFECT == lasting
    db = connect(":memory:", make_executor(dice={"wasm": WRITER, "capabilities": ["random"]}))
    assert one(db, "SELECT wasm_function('dice', 'roll')") is None
    db.close()


def test_without_the_executor_the_function_is_not_there() -> None:
    with pytest.raises(sqlite3.OperationalError, match="no such function: wasm_call"):
        sqlite3.connect(":memory:").execute("SELECT wasm_call('clerk')")


def test_calls_within_calls_are_one_after_the_other(db: WasmConnection) -> None:
    nested = "wasm_function('clerk', 'first', wasm_function('clerk', 'first', wasm_function('clerk', 'first', 7)))"
    assert one(db, f"SELECT {nested}") == 7
