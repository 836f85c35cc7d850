"""Triggers in real SQLite: all six events, what refuses and what rewrites, transactions, and names that are attacks."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.sql import Call, Event, GuestFailed, GuestRejected, ProcedureExecutor, SqliteTriggers, connect
from pipeline.sql import sqlite as door
from pipeline.sql.sqlite import WasmConnection
from sandbox.host import known_imports
from schemas.errors import ConfigError, ModuleFault, PenstockError
from schemas.outcome import ViolationKind
from tests.pipeline.sql.conftest import Make
from tests.sandbox.guests import wat

ORDERS = "CREATE TABLE orders (id INTEGER PRIMARY KEY, total REAL, status TEXT, photo BLOB)"


@pytest.fixture
def db(executor: ProcedureExecutor) -> Iterator[WasmConnection]:
    connection = connect(":memory:", executor)
    connection.execute(ORDERS)
    yield connection
    connection.close()


@pytest.fixture
def triggers(db: WasmConnection) -> SqliteTriggers:
    return SqliteTriggers(db, "orders")


def rows(db: WasmConnection, sql: str = "SELECT id, total, status FROM orders ORDER BY id") -> list[tuple[object, ...]]:
    return db.execute(sql).fetchall()


def change(db: WasmConnection, event: Event) -> None:
    """Make this event happen to order 1."""
    if event in (Event.BEFORE_INSERT, Event.AFTER_INSERT):
        db.execute("INSERT INTO orders VALUES (2, 20.5, 'new', x'00ff')")
    elif event in (Event.BEFORE_UPDATE, Event.AFTER_UPDATE):
        db.execute("UPDATE orders SET total = 11, status = NULL")
    else:
        db.execute("DELETE FROM orders")


OLD = {"id": 1, "total": 10.5, "status": "o'ld\0", "photo": None}


def with_one(db: WasmConnection) -> None:
    db.execute("INSERT INTO orders VALUES (1, 10.5, 'o''ld' || char(0), NULL)")


@pytest.mark.parametrize("event", Event)
def test_every_event_hands_over_the_row_with_its_very_values(
    make_executor: Make, event: Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor = make_executor()
    seen: list[object] = []
    call = executor.call

    def listening(*arguments: object, **named: object) -> Call:
        seen.append(arguments[2])
        return call(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(executor, "call", listening)
    db = connect(":memory:", executor)
    db.execute(ORDERS)
    with_one(db)
    SqliteTriggers(db, "orders").register_trigger("look", "clerk", "approve", event)
    change(db, event)
    before, after = {
        "insert": (None, {"id": 2, "total": 20.5, "status": "new", "photo": b"\0\xff"}),
        "update": (OLD, OLD | {"total": 11.0, "status": None}),
        "delete": (OLD, None),
    }[event.value.partition("-")[2]]
    assert seen == [
        [
            {
                "trigger": "look",
                "event": event.value,
                "schema": "main",
                "table": "orders",
                "before": before,
                "after": after,
            }
        ]
    ]
    db.close()


@pytest.mark.parametrize("event", Event)
def test_a_refusal_aborts_the_statement_with_the_guests_words(
    db: WasmConnection, triggers: SqliteTriggers, event: Event
) -> None:
    with_one(db)
    before = rows(db)
    triggers.register_trigger("no", "clerk", "refuse", event)
    with pytest.raises(GuestRejected, match=r"^no\ufffd good$"):
        change(db, event)
    assert rows(db) == before
    triggers.drop_trigger("no")
    change(db, event)
    assert rows(db) != before


def test_a_trigger_written_by_hand(make_executor: Make) -> None:
    db = connect(":memory:", make_executor(validate_order={"function": "refuse"}))
    db.execute(ORDERS)
    db.execute(
        "CREATE TRIGGER validate_order BEFORE INSERT ON orders BEGIN "
        "SELECT wasm_call('validate_order', json_object('id', NEW.id, 'total', NEW.total)); END"
    )
    with pytest.raises(GuestRejected, match="good"):
        db.execute("INSERT INTO orders (id, total) VALUES (1, 5)")
    assert rows(db) == []
    db.close()


def test_a_statement_that_is_refused_at_its_last_row_leaves_none(db: WasmConnection, triggers: SqliteTriggers) -> None:
    db.execute("BEGIN")
    with_one(db)
    db.execute(
        "CREATE TRIGGER bad BEFORE INSERT ON orders WHEN NEW.id = 4 BEGIN SELECT wasm_function('clerk', 'refuse'); END"
    )
    with pytest.raises(GuestRejected):
        db.execute("INSERT INTO orders (id) VALUES (2), (3), (4)")
    with pytest.raises(GuestRejected):
        db.executemany("INSERT INTO orders (id) VALUES (?)", [(5,), (4,)])
    db.execute("COMMIT")
    assert [one[0] for one in rows(db)] == [1, 5]  # executemany is a statement each


def test_a_rewriting_guest_changes_the_row_within_its_statement(db: WasmConnection, triggers: SqliteTriggers) -> None:
    triggers.register_trigger("check", "clerk", "check", Event.AFTER_INSERT, rewrites=["status"])
    db.execute("INSERT INTO orders (id, total, status) VALUES (1, 1, 'new'), (2, 2, NULL)")
    assert rows(db) == [(1, 1.0, "checked"), (2, 2.0, "checked")]
    triggers.register_trigger("reprice", "clerk", "reprice", Event.AFTER_UPDATE, rewrites=["total", "status"])
    db.execute("UPDATE orders SET status = 'again' WHERE id = 2")
    assert rows(db) == [(1, 1.0, "checked"), (2, 42.0, "again")]


def test_a_rolled_back_statement_takes_the_rewriting_with_it(db: WasmConnection, triggers: SqliteTriggers) -> None:
    with_one(db)
    triggers.register_trigger("check", "clerk", "check", Event.AFTER_UPDATE, rewrites=["status"])
    before = rows(db)
    db.commit()
    db.execute("UPDATE orders SET total = 12")
    assert rows(db) == [(1, 12.0, "checked")]
    db.rollback()
    assert rows(db) == before
    db.execute(
        "CREATE TRIGGER z AFTER UPDATE ON orders WHEN NEW.status = 'checked' BEGIN SELECT RAISE(ABORT, 'late'); END"
    )
    with pytest.raises(sqlite3.IntegrityError, match="late"):
        db.execute("UPDATE orders SET total = 13")
    assert rows(db) == before


@pytest.mark.parametrize(
    ("ddl", "rewrites"),
    [
        ("CREATE TABLE t (k TEXT, n INTEGER, status TEXT, PRIMARY KEY (n, k)) WITHOUT ROWID", ["status"]),
        ("CREATE TABLE t (rowid TEXT, _rowid_ TEXT, status TEXT)", ["status"]),
        ("CREATE TABLE t (k TEXT, status TEXT, big AS (status || '!'))", ["status"]),
        ("CREATE TABLE t (k INTEGER PRIMARY KEY, status TEXT UNIQUE)", ["status"]),
    ],
    ids=["without rowid", "rowid is a column", "generated", "primary key"],
)
def test_the_row_is_found_again_in_tables_of_all_kinds(
    db: WasmConnection, triggers: SqliteTriggers, ddl: str, rewrites: list[str]
) -> None:
    db.execute(ddl)
    first, *_ = [row[1] for row in db.execute("PRAGMA table_info(t)")]
    triggers.register_trigger("check", "clerk", "check", Event.AFTER_INSERT, table="t", rewrites=rewrites)
    extra = ", n" if "WITHOUT" in ddl else ""
    db.execute(f"INSERT INTO t ({first}{extra}) VALUES (7{', 8' if extra else ''})")
    assert db.execute("SELECT status FROM t").fetchall() == [("checked",)]


def test_a_guest_changes_only_what_it_may(db: WasmConnection, triggers: SqliteTriggers) -> None:
    for function, rewrites, says in (
        ("check", [], "wants to change 'status'; it may change: none"),
        ("reprice", ["status"], "wants to change 'total'; it may change: status"),
        ("invent", ["total"], "wants to change 'missing'"),
        ("first", ["total"], "wants to change 'trigger', 'event', 'schema', 'table', 'before', 'after'"),
        ("least", ["total"], "answered with a int"),
    ):
        triggers.register_trigger("t", "clerk", function, Event.AFTER_INSERT, rewrites=rewrites, replace=True)
        with pytest.raises(GuestFailed, match=f"bad-output: {says}"):
            db.execute("INSERT INTO orders (id) VALUES (1)")
    assert rows(db) == []


def test_every_sql_value_can_be_written(db: WasmConnection, triggers: SqliteTriggers) -> None:
    triggers.register_trigger("t", "clerk", "replace", Event.AFTER_INSERT, rewrites=["total", "status"])
    db.execute("INSERT INTO orders (id) VALUES (1)")
    assert rows(db) == [(1, 42.0, b"\0\xff")]
    triggers.register_trigger("t", "clerk", "listed", Event.AFTER_INSERT, rewrites=["status", "total"], replace=True)
    db.execute("INSERT INTO orders (id) VALUES (2)")
    assert rows(db)[1] == (2, "[1,2]", None)  # SQLite keeps a text in a REAL column


def test_before_cannot_rewrite_in_sqlite(triggers: SqliteTriggers) -> None:
    for event in (Event.BEFORE_INSERT, Event.BEFORE_UPDATE, Event.BEFORE_DELETE, Event.AFTER_DELETE):
        with pytest.raises(ConfigError, match="register it for after-insert or after-update"):
            triggers.register_trigger("t", "clerk", "check", event, rewrites=["status"])
    assert triggers.triggers() == []


def test_a_rewriting_trigger_that_fires_itself_ends(
    db: WasmConnection, triggers: SqliteTriggers, calls_made: list[Call]
) -> None:
    triggers.register_trigger("check", "clerk", "check", Event.AFTER_UPDATE, rewrites=["status"])
    with_one(db)
    db.execute("UPDATE orders SET total = 1")
    assert len(calls_made) == 1  # SQLite does not let a trigger fire itself
    db.commit()
    db.execute("PRAGMA recursive_triggers = ON")
    with pytest.raises(sqlite3.OperationalError, match="too many levels of trigger recursion"):
        db.execute("UPDATE orders SET total = 2")
    assert rows(db)[0][1] == 1.0
    assert len(calls_made) < 50


@pytest.mark.parametrize(
    ("function", "kind"),
    [("loop", ViolationKind.DEADLINE), ("hog", ViolationKind.MEMORY), ("deep", ViolationKind.STACK)],
)
def test_a_guest_that_misbehaves_refuses_the_row_and_nothing_else(
    db: WasmConnection, triggers: SqliteTriggers, calls_made: list[Call], function: str, kind: ViolationKind
) -> None:
    triggers.register_trigger("t", "clerk", function, Event.BEFORE_INSERT)
    with pytest.raises(GuestFailed, match=f"{kind}"):
        db.execute("INSERT INTO orders (id) VALUES (1)")
    assert rows(db) == []
    assert calls_made[-1].violation is not None and calls_made[-1].violation.kind is kind


HOSTILE = [
    "plain",
    'quo"te',
    "apo'strophe",
    "orders; DROP TABLE orders; --",
    '"); DROP TABLE orders; --',
    "') ; END; DROP TABLE orders; --",
    "select",
    "naïve ünïcode 表",
    "a b",
    "[x]",
    "`x`",
    "*/ x /*",
    "?1",
    ":name",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_names_whatever_is_in_them(db: WasmConnection, triggers: SqliteTriggers, name: str) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    db.execute(f"CREATE TABLE {quoted} ({quoted} TEXT)")
    made = triggers.register_trigger(name, "clerk", "echo", Event.BEFORE_INSERT, table=name)
    assert triggers.triggers() == [made] and (made.table, made.columns) == (name, (name,))
    with pytest.raises(GuestFailed, match="answered with a list"):
        db.execute(f"INSERT INTO {quoted} VALUES ('x')")
    triggers.register_trigger(name, "clerk", "approve", Event.AFTER_INSERT, table=name, rewrites=[name], replace=True)
    db.execute(f"INSERT INTO {quoted} VALUES ('x')")
    assert db.execute(f"SELECT * FROM {quoted}").fetchall() == [("x",)]
    triggers.drop_trigger(name)
    assert triggers.triggers() == []
    assert db.execute("SELECT count(*) FROM orders").fetchone() == (0,)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"name": ""}, "is no name for a trigger"),
        ({"name": "a\0b"}, "is no name for a trigger"),
        ({"name": "x" * 64}, "take 1 to 63 printable characters"),
        ({"table": "nowhere"}, "there is no table 'nowhere'"),
        ({"table": "orders\0"}, "there is no table"),
        ({"table": "a_view"}, "there is no table 'a_view'"),
        ({"table": "sqlite_master"}, "cannot be installed|there is no table"),
        ({"columns": ["id", "secret"]}, "has no column 'secret' — it has id, total, status, photo"),
        ({"columns": ["id", "id"]}, "named twice"),
        ({"columns": []}, "no column is named"),
        ({"event": "before-truncate"}, "'before-truncate' is no event — one of: before-insert, "),
        ({"module": "no-such"}, "the registry has no transformer 'no-such'"),
        ({"function": "no_such"}, "does not export `no_such`"),
        ({"profile": "no-such"}, "is no profile"),
        ({"name": "taken"}, "already exists — choose another name"),
    ],
    ids=str,
)
def test_what_cannot_be_installed_changes_nothing(
    db: WasmConnection, triggers: SqliteTriggers, changes: dict[str, object], says: str
) -> None:
    db.execute("CREATE VIEW a_view AS SELECT * FROM orders")
    db.execute("CREATE TRIGGER taken AFTER INSERT ON orders BEGIN SELECT 1; END")
    before = db.execute("SELECT * FROM sqlite_master").fetchall()
    asked = {"name": "t", "module": "clerk", "function": "approve", "event": Event.BEFORE_INSERT} | changes
    with pytest.raises((PenstockError, ValueError), match=says):
        triggers.register_trigger(**asked)  # type: ignore[arg-type]
    assert db.execute("SELECT * FROM sqlite_master").fetchall() == before
    with pytest.raises(ConfigError, match="there is no trigger 'taken' of penstock's"):
        triggers.drop_trigger("taken")


def test_a_table_that_is_too_wide_says_so(db: WasmConnection, triggers: SqliteTriggers) -> None:
    db.execute(f"CREATE TABLE wide ({', '.join(f'c{n}' for n in range(200))})")
    with pytest.raises(ConfigError, match="401 values for each row are more than the 127"):
        triggers.register_trigger("t", "clerk", "approve", Event.BEFORE_UPDATE, table="wide")
    triggers.register_trigger("t", "clerk", "approve", Event.BEFORE_UPDATE, table="wide", columns=["c0", "c199"])
    db.execute("INSERT INTO wide (c0) VALUES (1)")
    db.execute("UPDATE wide SET c0 = 2")


def test_registering_is_part_of_the_open_transaction(db: WasmConnection, triggers: SqliteTriggers) -> None:
    db.execute("BEGIN")
    triggers.register_trigger("t", "clerk", "refuse", Event.BEFORE_INSERT)
    db.rollback()
    assert triggers.triggers() == []
    db.execute("INSERT INTO orders (id) VALUES (1)")


def test_triggers_last_and_a_connection_without_an_executor_cannot_get_around_them(
    executor: ProcedureExecutor, tmp_path: Path
) -> None:
    path = tmp_path / "shop.db"
    db = connect(path, executor)
    db.execute(ORDERS)
    made = SqliteTriggers(db).register_trigger("t", "clerk", "refuse", Event.BEFORE_INSERT, table="orders")
    db.close()
    bare = sqlite3.connect(path)
    with pytest.raises(sqlite3.OperationalError, match="no such function: wasm_trigger"):
        bare.execute("INSERT INTO orders (id) VALUES (1)")
    bare.close()
    again = connect(path, executor)
    assert SqliteTriggers(again).triggers() == [made]
    with pytest.raises(GuestRejected):
        again.execute("INSERT INTO orders (id) VALUES (1)")
    again.close()


WRITES = {
    "kv_put": "key-value",
    "kv_delete": "key-value",
    "db_execute": "database-write",
    "db_transaction": "database-transaction",
    "file_write": "filesystem-write",
    "http_request": "network-client",
}


@pytest.mark.parametrize("name", [one for one in WRITES if ("penstock", one) in known_imports()])
def test_a_guest_that_could_write_elsewhere_is_called_by_no_statement(make_executor: Make, name: str) -> None:
    """What it wrote would stay when the statement is rolled back."""
    wasm = wat(
        f"""(module (import "penstock" "{name}" (func $ask (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1) (data (i32.const 8) "\\92\\00\\c0")
        (func (export "penstock_v1_alloc") (param i32) (result i32) (i32.const 1024))
        (func (export "keep") (param i32 i32) (result i64)
          (drop (call $ask (i32.const 8) (i32.const 3) (i32.const 64) (i32.const 8))) (i64.const 0x800000003)))"""
    )
    executor = make_executor(keeper={"wasm": wasm, "capabilities": [WRITES[name]]})
    assert executor.call("keeper", "keep").violation is None  # from Python it may try
    db = connect(":memory:", executor)
    db.execute(ORDERS)
    for profile in (None, "standard", "elevated"):
        with pytest.raises(ModuleFault, match=f"needs the capability `{WRITES[name]}`"):
            SqliteTriggers(db, "orders").register_trigger("t", "keeper", "keep", Event.AFTER_INSERT, profile=profile)
    with pytest.raises(GuestFailed, match=f"needs the capability `{WRITES[name]}`"):
        db.execute("INSERT INTO orders (id) SELECT wasm_function('keeper', 'keep')")
    assert rows(db) == []
    db.close()


def test_the_writes_are_all_there() -> None:
    assert {name for name in WRITES if ("penstock", name) in known_imports()} >= {"kv_put", "kv_delete", "db_execute"}


def test_a_table_that_hides_its_rowid_cannot_be_rewritten_and_says_so(
    db: WasmConnection, triggers: SqliteTriggers
) -> None:
    db.execute("CREATE TABLE hidden (rowid TEXT, _rowid_ TEXT, oid TEXT, status TEXT)")
    says = "rewrites: 'hidden' has columns that hide its rowid, .* — rename one of rowid, _rowid_, oid"
    with pytest.raises(ConfigError, match=says):
        triggers.register_trigger("t", "clerk", "check", Event.AFTER_INSERT, table="hidden", rewrites=["status"])
    triggers.register_trigger("t", "clerk", "refuse", Event.AFTER_INSERT, table="hidden")
    with pytest.raises(GuestRejected):
        db.execute("INSERT INTO hidden VALUES (1, 2, 3, 'x')")


def test_names_that_sql_makes_up_are_not_kept_for_ever(db: WasmConnection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "DECODED_MAX", 10)
    definition = """'{"name":"' || value || '","module":"clerk","function":"check","event":"after-insert","table":"t",
      "columns":["status"],"rewrites":["status"]}'"""
    numbers = "WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < 50)"
    assert rows(db, f"{numbers} SELECT sum(wasm_trigger({definition}, 'x')) FROM n") == [(50,)]
    assert len(db.door._changes) <= 10 and len(db.door._triggers) <= 10


def test_replacing_a_row_fires_no_delete_trigger_unless_triggers_are_recursive(
    db: WasmConnection, triggers: SqliteTriggers
) -> None:
    """What docs/sql.md warns of is SQLite's own doing."""
    triggers.register_trigger("guard", "clerk", "refuse", Event.BEFORE_DELETE)
    db.execute("INSERT INTO orders (id, total) VALUES (1, 1)")
    db.execute("INSERT OR REPLACE INTO orders (id, total) VALUES (1, 2)")
    assert rows(db) == [(1, 2.0, None)]
    db.execute("PRAGMA recursive_triggers = ON")
    with pytest.raises(GuestRejected):
        db.execute("INSERT OR REPLACE INTO orders (id, total) VALUES (1, 3)")
    assert rows(db) == [(1, 2.0, None)]
