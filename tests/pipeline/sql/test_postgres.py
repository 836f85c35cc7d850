"""Triggers on a real PostgreSQL: what is queued when, each event worked off once, and whose fault is whose."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator, Sequence
from typing import Any, LiteralString

import psycopg
import pytest

from pipeline.sql import Call, Event, PostgresTriggers, ProcedureExecutor, QueueWorker, postgres_worker
from schemas.errors import ConfigError
from schemas.outcome import ViolationKind
from tests.pipeline.sql.conftest import Make
from tests.services.postgres import Postgres

_numbers = itertools.count()


@pytest.fixture
def dsn(postgres_server: Postgres) -> Iterator[str]:
    """A database of its own."""
    name = f"sql_{next(_numbers)}"
    postgres_server.psql(f"CREATE DATABASE {name}")
    yield postgres_server.dsn.replace("dbname=postgres", f"dbname={name}")
    postgres_server.psql(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def db(dsn: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE orders (id bigint PRIMARY KEY, total numeric, status text, photo bytea, extra jsonb, at timestamptz)"
        )
        yield connection


@pytest.fixture
def triggers(db: psycopg.Connection[Any], executor: ProcedureExecutor) -> PostgresTriggers:
    return PostgresTriggers(db, executor, "orders")


def rows(db: psycopg.Connection[Any], sql: LiteralString) -> list[tuple[Any, ...]]:
    return db.execute(sql).fetchall()


def drain(executor: ProcedureExecutor, dsn: str, **options: Any) -> int:
    return asyncio.run(QueueWorker(executor, dsn, **options).drain())


def queued(db: psycopg.Connection[Any]) -> int:
    return int(rows(db, "SELECT count(*) FROM penstock.queue")[0][0])


def test_every_after_event_hands_over_its_rows(
    db: psycopg.Connection[Any], triggers: PostgresTriggers, executor: ProcedureExecutor, dsn: str
) -> None:
    for event in (Event.AFTER_INSERT, Event.AFTER_UPDATE, Event.AFTER_DELETE):
        triggers.register_trigger(f"on {event}", "clerk", "first", event)
    db.execute(
        """INSERT INTO orders VALUES (9007199254740993, 12.50, 'o''rder', '\\x00ff', '{"a": [1]}', '2024-01-02 03:04:05+09')"""
    )
    db.execute("UPDATE orders SET total = 100000000000000000000, at = NULL")
    db.execute("DELETE FROM orders")
    assert drain(executor, dsn) == 3
    got = [value for (value,) in rows(db, "SELECT value FROM penstock.results ORDER BY id")]
    first = {
        "id": 9007199254740993,
        "total": 12.5,
        "status": "o'rder",
        "photo": "\\x00ff",
        "extra": {"a": [1]},
        "at": "2024-01-01T18:04:05+00:00",
    }
    second = first | {"total": "100000000000000000000", "at": None}
    shared = {"schema": "public", "table": "orders"}
    assert got == [
        {"trigger": "on after-insert", "event": "after-insert", **shared, "before": None, "after": first},
        {"trigger": "on after-update", "event": "after-update", **shared, "before": first, "after": second},
        {"trigger": "on after-delete", "event": "after-delete", **shared, "before": second, "after": None},
    ]
    assert queued(db) == 0


def test_what_is_rolled_back_was_never_queued(
    db: psycopg.Connection[Any], triggers: PostgresTriggers, executor: ProcedureExecutor, dsn: str
) -> None:
    triggers.register_trigger("t", "clerk", "approve", Event.AFTER_INSERT)
    with pytest.raises(psycopg.errors.UniqueViolation):
        db.execute("INSERT INTO orders (id) VALUES (1), (2), (1)")
    with db.transaction(force_rollback=True):
        db.execute("INSERT INTO orders (id) VALUES (3)")
    assert queued(db) == drain(executor, dsn) == 0


def test_events_that_came_while_nobody_listened_are_worked_off(
    db: psycopg.Connection[Any], triggers: PostgresTriggers, executor: ProcedureExecutor, dsn: str
) -> None:
    triggers.register_trigger("t", "clerk", "approve", Event.AFTER_INSERT)
    db.execute("INSERT INTO orders (id) SELECT generate_series(1, 120)")
    assert queued(db) == 120
    assert drain(executor, dsn) == 120
    assert rows(db, "SELECT count(*) FROM penstock.results") == [(120,)]


def test_notify_wakes_the_worker(make_executor: Make, dsn: str, db: psycopg.Connection[Any]) -> None:
    executor = make_executor()
    PostgresTriggers(db, executor, "orders").register_trigger("t", "clerk", "approve", Event.AFTER_INSERT)
    asyncio.run(_woken(executor, dsn, db))
    assert rows(db, "SELECT count(*) FROM penstock.results") == [(3,)]
    assert queued(db) == 0


async def _woken(executor: ProcedureExecutor, dsn: str, db: psycopg.Connection[Any]) -> None:
    loop, heard = asyncio.get_running_loop(), asyncio.Queue[Call]()
    executor._audit = lambda call: loop.call_soon_threadsafe(heard.put_nowait, call)
    worker = QueueWorker(executor, dsn, poll_s=3600)
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        group.create_task(worker.run())
        for number in range(3):
            db.execute("INSERT INTO orders (id) VALUES (%s)", (number,))
            await heard.get()
        worker.stop()


def test_a_lost_connection_is_opened_again(make_executor: Make, dsn: str, db: psycopg.Connection[Any]) -> None:
    executor = make_executor()
    PostgresTriggers(db, executor, "orders").register_trigger("t", "clerk", "approve", Event.AFTER_INSERT)
    asyncio.run(_cut_off(executor, dsn, db))
    assert rows(db, "SELECT count(*) FROM penstock.results") == [(2,)]


async def _cut_off(executor: ProcedureExecutor, dsn: str, db: psycopg.Connection[Any]) -> None:
    loop, heard = asyncio.get_running_loop(), asyncio.Queue[Call]()
    executor._audit = lambda call: loop.call_soon_threadsafe(heard.put_nowait, call)
    worker = QueueWorker(executor, dsn, poll_s=3600)
    db.execute("INSERT INTO orders (id) VALUES (1)")
    others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        group.create_task(worker.run())
        await heard.get()
        waiting = "SELECT id FROM penstock.queue FOR UPDATE"  # until the worker has committed
        assert await asyncio.to_thread(rows, db, waiting) == []
        assert len(rows(db, others)) == 2
        db.execute("INSERT INTO orders (id) VALUES (2)")
        await heard.get()
        worker.stop()


def test_a_server_that_may_only_be_read_is_waited_for(
    db: psycopg.Connection[Any],
    triggers: PostgresTriggers,
    executor: ProcedureExecutor,
    dsn: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A primary that has become a standby; it used to end the worker."""
    triggers.register_trigger("t", "clerk", "approve", Event.AFTER_INSERT)
    db.execute("INSERT INTO orders (id) VALUES (1)")
    ((name,),) = rows(db, "SELECT current_database()::text")
    db.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")  # type: ignore[arg-type]
    pauses: list[float] = []

    async def promoted(_: QueueWorker, seconds: float) -> None:
        pauses.append(seconds)
        db.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")  # type: ignore[arg-type]
        loop = asyncio.get_running_loop()
        executor._audit = lambda call: loop.call_soon_threadsafe(worker.stop) and None

    monkeypatch.setattr(QueueWorker, "_sleep", promoted)
    worker = QueueWorker(executor, dsn)
    asyncio.run(asyncio.wait_for(worker.run(), 30))
    assert len(pauses) == 1
    assert queued(db) == 0


def test_a_worker_that_dies_before_its_commit_has_done_nothing(
    db: psycopg.Connection[Any], triggers: PostgresTriggers, executor: ProcedureExecutor, dsn: str
) -> None:
    class Killed(BaseException):
        pass

    def die(call: Call) -> None:
        calls.append(call)
        if len(calls) == 2:
            raise Killed

    calls: list[Call] = []
    executor._audit = die
    triggers.register_trigger("t", "clerk", "approve", Event.AFTER_INSERT)
    db.execute("INSERT INTO orders (id) SELECT generate_series(1, 3)")
    with pytest.raises(BaseException) as killed:
        drain(executor, dsn)
    assert Killed in {type(killed.value), *map(type, getattr(killed.value, "exceptions", ()))}
    assert (queued(db), rows(db, "SELECT count(*) FROM penstock.results")) == (3, [(0,)])
    assert drain(executor, dsn) == 3
    assert rows(db, "SELECT count(*) FROM penstock.results") == [(3,)]


def test_workers_share_the_queue_and_none_does_what_another_does(
    db: psycopg.Connection[Any], triggers: PostgresTriggers, executor: ProcedureExecutor, dsn: str
) -> None:
    triggers.register_trigger("t", "clerk", "first", Event.AFTER_INSERT, columns=["id"])
    db.execute("INSERT INTO orders (id) SELECT generate_series(1, 300)")

    async def together() -> list[int]:
        return await asyncio.gather(*(QueueWorker(executor, dsn, events_max=7).drain() for _ in range(3)))

    assert sum(asyncio.run(together())) == 300
    done = rows(db, "SELECT (value -> 'after' ->> 'id')::int FROM penstock.results ORDER BY 1")
    assert [number for (number,) in done] == list(range(1, 301))


@pytest.mark.parametrize(
    ("function", "kind"),
    [
        ("refuse", ViolationKind.REJECTED),
        ("loop", ViolationKind.DEADLINE),
        ("hog", ViolationKind.MEMORY),
        ("crash", ViolationKind.TRAP),
        ("trailing", ViolationKind.BAD_OUTPUT),
        ("replace", ViolationKind.BAD_OUTPUT),
        ("nan", ViolationKind.BAD_OUTPUT),
        ("nul", ViolationKind.SCHEMA),
    ],
)
def test_violations_are_dead_letters_with_the_whole_event(
    db: psycopg.Connection[Any],
    triggers: PostgresTriggers,
    executor: ProcedureExecutor,
    dsn: str,
    function: str,
    kind: ViolationKind,
) -> None:
    triggers.register_trigger("bad", "clerk", function, Event.AFTER_INSERT)
    triggers.register_trigger("good", "clerk", "approve", Event.AFTER_INSERT)
    db.execute("INSERT INTO orders (id, total) VALUES (1, 1.10)")
    assert drain(executor, dsn) == 2
    sha256 = executor.call("clerk", "approve").module_sha256
    dead = "SELECT trigger, after ->> 'total', kind, module_sha256, limits, attempts FROM penstock.dead_letters"
    assert rows(db, dead) == [("bad", "1.10", kind, sha256, "memory=4MiB deadline=100ms", 1)]
    assert rows(db, "SELECT trigger FROM penstock.results") == [("good",)]
    if function == "refuse":
        assert rows(db, "SELECT code, message FROM penstock.dead_letters") == [("bad", "no\ufffd good")]
    (number,) = rows(db, "SELECT id FROM penstock.dead_letters")[0]
    triggers.register_trigger("bad", "clerk", "approve", Event.AFTER_INSERT, replace=True)
    assert triggers.requeue([number]) == 1 and drain(executor, dsn) == 1
    assert rows(db, "SELECT count(*) FROM penstock.dead_letters") == [(0,)]


def test_a_json_bomb_in_a_row_is_a_dead_letter_of_its_own(
    db: psycopg.Connection[Any], triggers: PostgresTriggers, executor: ProcedureExecutor, dsn: str
) -> None:
    triggers.register_trigger("t", "clerk", "approve", Event.AFTER_INSERT)
    db.execute("INSERT INTO orders (id, extra) VALUES (1, %s::jsonb), (2, '1')", ("[" * 500 + "]" * 500,))
    db.execute("INSERT INTO orders (id, status) VALUES (3, repeat('x', 3000000))")
    assert drain(executor, dsn) == 3
    dead = rows(db, "SELECT (after ->> 'id')::int, kind FROM penstock.dead_letters ORDER BY id")
    assert dead == [(1, ViolationKind.DECODE), (3, ViolationKind.MEMORY)]
    assert rows(db, "SELECT count(*) FROM penstock.results") == [(1,)]


def test_a_module_that_cannot_be_called_is_tried_again_and_then_a_dead_letter(
    make_executor: Make, db: psycopg.Connection[Any], dsn: str
) -> None:
    good, other = make_executor(clerk={}, gone={}), make_executor(clerk={})
    PostgresTriggers(db, good, "orders").register_trigger("t", "gone", "approve", Event.AFTER_INSERT)
    db.execute("INSERT INTO orders (id) VALUES (1)")
    for attempt in (1, 2):
        assert drain(other, dsn, backoff_s=3600, retries_max=2) == 1
        assert drain(other, dsn, backoff_s=3600, retries_max=2) == 0  # not due
        waits = "SELECT attempts, last_error, due_at > clock_timestamp() + '59 min' FROM penstock.queue"
        assert rows(db, waits) == [
            (attempt, "transformers: the registry has no transformer 'gone' — (it has: clerk)", True)
        ]
        db.execute("UPDATE penstock.queue SET due_at = '-infinity'")
    assert drain(other, dsn, retries_max=2) == 1
    assert rows(db, "SELECT kind, attempts FROM penstock.dead_letters") == [("module", 3)]


def test_rows_reach_the_real_table_only_if_they_pass(
    db: psycopg.Connection[Any], executor: ProcedureExecutor, dsn: str
) -> None:
    """The nearest to BEFORE: who may only write the inbox cannot get anything past the guest."""
    db.execute("CREATE TABLE inbox (LIKE orders)")
    triggers = PostgresTriggers(db, executor, "inbox")
    triggers.register_trigger("check", "clerk", "check", Event.AFTER_INSERT, into="orders", rewrites=["status"])
    db.execute("INSERT INTO inbox (id, total, photo) VALUES (1, 0.12345678901234567890123, '\\x0102'), (1, 2, NULL)")
    assert drain(executor, dsn) == 2
    exact = "SELECT id, total::text, status, photo FROM orders"
    assert rows(db, exact) == [(1, "0.12345678901234567890123", "checked", b"\x01\x02")]
    assert rows(db, "SELECT kind, code FROM penstock.dead_letters") == [(ViolationKind.SCHEMA, "23505")]
    assert rows(db, "SELECT count(*) FROM penstock.results") == [(1,)]  # of the other nothing is left
    triggers.register_trigger("check", "clerk", "refuse", Event.AFTER_INSERT, into="orders", replace=True)
    db.execute("INSERT INTO inbox (id) VALUES (5)")
    triggers.register_trigger(
        "check", "clerk", "reprice", Event.AFTER_INSERT, into="orders", rewrites=["status"], replace=True
    )
    db.execute("INSERT INTO inbox (id) VALUES (6)")
    assert drain(executor, dsn) == 2  # judged by what is installed when it is worked off
    assert rows(db, "SELECT id FROM orders") == [(1,)]
    assert rows(db, "SELECT kind FROM penstock.dead_letters ORDER BY id OFFSET 1") == [(ViolationKind.BAD_OUTPUT,)] * 2


def test_a_target_that_is_gone_holds_up_nothing_else(
    db: psycopg.Connection[Any], executor: ProcedureExecutor, dsn: str
) -> None:
    db.execute("CREATE TABLE inbox (LIKE orders)")
    db.execute("CREATE TABLE target (LIKE orders)")
    triggers = PostgresTriggers(db, executor, "inbox")
    triggers.register_trigger("a", "clerk", "approve", Event.AFTER_INSERT, into="target")
    triggers.register_trigger("b", "clerk", "approve", Event.AFTER_INSERT, into="orders")
    db.execute("DROP TABLE target")
    db.execute("INSERT INTO inbox (id) VALUES (1)")
    assert drain(executor, dsn, backoff_s=3600) == 2
    assert rows(db, "SELECT id FROM orders") == [(1,)]
    ((trigger, why),) = rows(db, "SELECT trigger, last_error FROM penstock.queue")
    assert trigger == "a" and 'relation "public.target" does not exist' in why
    db.execute("CREATE TABLE target (LIKE orders); UPDATE penstock.queue SET due_at = '-infinity'")
    assert drain(executor, dsn) == 1
    assert rows(db, "SELECT id FROM target") == [(1,)]


def test_a_row_that_cannot_be_read_is_a_dead_letter_and_not_the_end_of_the_worker(
    db: psycopg.Connection[Any], triggers: PostgresTriggers, executor: ProcedureExecutor, dsn: str
) -> None:
    """PostgreSQL nests JSON deeper than Python reads it."""
    triggers.register_trigger("t", "clerk", "approve", Event.AFTER_INSERT)
    db.execute("INSERT INTO orders (id, extra) VALUES (1, %s::jsonb), (2, '1')", ("[" * 3000 + "]" * 3000,))
    assert drain(executor, dsn) == 2
    assert rows(db, "SELECT (after ->> 'id')::int, kind FROM penstock.dead_letters") == [(1, ViolationKind.DECODE)]
    assert rows(db, "SELECT count(*) FROM penstock.results") == [(1,)]


def test_large_rows_are_taken_a_few_at_a_time_and_too_large_ones_not_at_all(
    db: psycopg.Connection[Any],
    triggers: PostgresTriggers,
    executor: ProcedureExecutor,
    dsn: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(postgres_worker, "BYTES_MAX", 1_000)
    taken: list[int] = []
    judge = QueueWorker._judge

    async def noting(worker: QueueWorker, entries: Sequence[postgres_worker.Entry]) -> Any:
        taken.append(len(entries))
        return await judge(worker, entries)

    monkeypatch.setattr(QueueWorker, "_judge", noting)
    triggers.register_trigger("t", "clerk", "approve", Event.AFTER_INSERT, columns=["id", "status"])
    for number, length in enumerate((300, 400, 500, 900, 2_000, 100, 200)):
        db.execute("INSERT INTO orders (id, status) VALUES (%s, repeat('x', %s))", (number, length))
    assert drain(executor, dsn) == 7
    assert taken == [2, 1, 1, 1, 2, 0]
    dead = rows(db, "SELECT (after ->> 'id')::int, kind, message FROM penstock.dead_letters")
    assert dead == [(4, ViolationKind.MEMORY, "its row has 2023 bytes as JSON; 1000 is the most")]
    assert rows(db, "SELECT count(*) FROM penstock.results") == [(6,)]


@pytest.mark.parametrize(
    ("hurdle", "code"),
    [
        ("CREATE INDEX ON orders (status)", "54000"),
        (
            """CREATE TABLE states (status text PRIMARY KEY);
            ALTER TABLE orders ADD FOREIGN KEY (status) REFERENCES states DEFERRABLE INITIALLY DEFERRED""",
            "23503",
        ),
    ],
    ids=["an index that cannot hold it", "a constraint that is deferred"],
)
def test_a_row_that_its_table_refuses_late_costs_only_itself(
    db: psycopg.Connection[Any], executor: ProcedureExecutor, dsn: str, hurdle: LiteralString, code: str
) -> None:
    inbox_before(db, executor)
    db.execute(hurdle)
    db.execute("INSERT INTO inbox (id, status) SELECT 1, string_agg(md5(i::text), '') FROM generate_series(1, 500) i")
    db.execute("INSERT INTO inbox (id) VALUES (2)")
    assert drain(executor, dsn) == 2
    assert rows(db, "SELECT kind, code FROM penstock.dead_letters") == [(ViolationKind.SCHEMA, code)]
    assert rows(db, "SELECT id FROM orders") == [(2,)]


def test_a_row_whose_insert_takes_too_long_holds_up_nothing_else(
    db: psycopg.Connection[Any], executor: ProcedureExecutor, dsn: str
) -> None:
    inbox_before(db, executor)
    db.execute(
        """CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN IF NEW.id = 1 THEN PERFORM pg_sleep(60); END IF; RETURN NEW; END $$;
        CREATE TRIGGER dawdle BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION dawdle()"""
    )
    db.execute("INSERT INTO inbox (id) VALUES (1), (2)")
    assert drain(executor, dsn + " options='-c statement_timeout=1s'", backoff_s=3600) == 2
    assert rows(db, "SELECT id FROM orders") == [(2,)]
    ((attempts, why),) = rows(db, "SELECT attempts, last_error FROM penstock.queue")
    assert attempts == 1 and "statement timeout" in why


def test_columns_that_are_gone_are_said_and_hold_up_nothing(
    db: psycopg.Connection[Any], executor: ProcedureExecutor, dsn: str
) -> None:
    inbox_before(db, executor, columns=["total"])
    db.execute("ALTER TABLE inbox RENAME total TO amount")
    db.execute("INSERT INTO inbox (id) VALUES (1)")
    assert drain(executor, dsn, backoff_s=3600) == 1
    ((why,),) = rows(db, "SELECT last_error FROM penstock.queue")
    assert "'inbox' had none of the trigger's columns — register it again" in why
    assert rows(db, "SELECT count(*) FROM orders") == [(0,)]


def inbox_before(db: psycopg.Connection[Any], executor: ProcedureExecutor, **options: Any) -> None:
    """Whose rows reach `orders` when the guest has approved of them."""
    db.execute("CREATE TABLE inbox (LIKE orders)")
    triggers = PostgresTriggers(db, executor, "inbox")
    triggers.register_trigger("t", "clerk", "approve", Event.AFTER_INSERT, into="orders", **options)


def test_who_writes_the_table_has_no_way_to_the_queue(
    db: psycopg.Connection[Any], triggers: PostgresTriggers, postgres_server: Postgres, dsn: str
) -> None:
    triggers.register_trigger("t", "clerk", "approve", Event.AFTER_INSERT)
    user = f"app_{next(_numbers)}"
    db.execute(f"CREATE ROLE {user} LOGIN")  # type: ignore[arg-type]  # a name of this test's
    db.execute(f"GRANT INSERT ON orders TO {user}; GRANT CREATE ON SCHEMA public TO {user}")  # type: ignore[arg-type]
    with psycopg.connect(dsn.replace("user=postgres", f"user={user}"), autocommit=True) as app:
        app.execute("INSERT INTO orders (id) VALUES (1)")
        forged: list[LiteralString] = [
            "INSERT INTO penstock.queue (trigger) VALUES ('t')",
            "SELECT * FROM penstock.queue",
            "DELETE FROM penstock.triggers",
            "SELECT penstock.enqueue()",
            """CREATE TABLE mine (id int); CREATE TRIGGER forged AFTER INSERT ON mine
               FOR EACH ROW EXECUTE FUNCTION penstock.enqueue('t', '["id"]')""",
        ]
        for attack in forged:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                app.execute(attack)
    assert queued(db) == 1
    db.execute(f"DROP OWNED BY {user}; DROP ROLE {user}")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name",
    [
        'quo"te',
        "apo'strophe",
        "orders; DROP TABLE orders; --",
        "'); DROP TABLE orders; --",
        "back\\slash",
        "表",
        "%s",
        "{}",
    ],
)
def test_names_are_names_whatever_is_in_them(
    db: psycopg.Connection[Any], triggers: PostgresTriggers, executor: ProcedureExecutor, dsn: str, name: str
) -> None:
    from psycopg import sql

    quoted = sql.Identifier(name)
    db.execute(sql.SQL("CREATE TABLE {} ({} text)").format(quoted, quoted))
    db.execute(sql.SQL("CREATE TABLE target ({} text)").format(quoted))
    made = triggers.register_trigger(name, "clerk", "approve", Event.AFTER_INSERT, table=name, into="target")
    assert triggers.triggers() == [made] and made.columns == (name,)
    db.execute(sql.SQL("INSERT INTO {} VALUES ('x')").format(quoted))
    assert drain(executor, dsn) == 1
    assert rows(db, "SELECT * FROM target") == [("x",)]
    triggers.drop_trigger(name)
    assert triggers.triggers() == []
    db.execute(sql.SQL("INSERT INTO {} VALUES ('x')").format(quoted))
    assert queued(db) == 0 and rows(db, "SELECT count(*) FROM orders") == [(0,)]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"event": Event.BEFORE_INSERT}, "cannot wait for a guest, so before-insert is not to be had"),
        ({"event": Event.BEFORE_UPDATE}, "take after-insert with into="),
        ({"name": "x" * 64}, "is no name for a trigger"),
        ({"table": "nowhere"}, "there is no table 'nowhere'"),
        ({"table": "or\0ders"}, "NUL"),
        ({"columns": ["secret"]}, "has no column 'secret'"),
        ({"rewrites": ["status"]}, "there is no row to change any more"),
        ({"into": "nowhere"}, "there is no table 'nowhere'"),
        ({"into": "orders"}, "would come to 'orders' again"),
        ({"into": "narrow"}, "'narrow' has no column 'total'"),
        ({"event": Event.AFTER_DELETE, "into": "narrow"}, "after-delete has no new row"),
        ({"module": "gone"}, "the registry has no transformer"),
        ({"function": "gone"}, "does not export"),
        ({"name": "taken"}, "this one is not penstock's"),
        ({"name": "ours"}, "there is a trigger 'ours' already"),
    ],
    ids=str,
)
def test_what_cannot_be_installed_changes_nothing(
    db: psycopg.Connection[Any], triggers: PostgresTriggers, changes: dict[str, Any], says: str
) -> None:
    db.execute("CREATE TABLE narrow (id bigint)")
    db.execute(
        "CREATE TRIGGER taken BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()"
    )
    triggers.register_trigger("ours", "clerk", "approve", Event.AFTER_INSERT)
    asked = {"name": "t", "module": "clerk", "function": "approve", "event": Event.AFTER_INSERT} | changes
    with pytest.raises(Exception, match=says):
        triggers.register_trigger(**asked)
    assert [one.name for one in triggers.triggers()] == ["ours"]
    assert rows(db, "SELECT tgname FROM pg_trigger ORDER BY 1") == [("ours",), ("taken",)]


def test_a_schema_that_somebody_else_laid_out_is_not_used(
    db: psycopg.Connection[Any], triggers: PostgresTriggers, executor: ProcedureExecutor
) -> None:
    """Who owns the schema may replace what is in it, and would be handed every row."""
    user = f"mallory_{next(_numbers)}"
    db.execute(f"CREATE ROLE {user}; CREATE SCHEMA penstock AUTHORIZATION {user}")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="the schema `penstock` belongs to another role — install as that role"):
        triggers.register_trigger("t", "clerk", "approve", Event.AFTER_INSERT)
    assert rows(db, "SELECT tgname FROM pg_trigger") == []
    db.execute(f"DROP SCHEMA penstock; DROP ROLE {user}")  # type: ignore[arg-type]
    triggers.register_trigger("t", "clerk", "approve", Event.AFTER_INSERT)


def test_nothing_to_drop(triggers: PostgresTriggers) -> None:
    assert triggers.triggers() == []
    with pytest.raises(ConfigError, match="there are: none"):
        triggers.drop_trigger("t")
