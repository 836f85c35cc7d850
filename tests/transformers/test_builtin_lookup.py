"""`builtin: lookup` against real databases: one question for a batch, and what becomes of keys that a database refuses."""

from __future__ import annotations

import asyncio
import itertools
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pipeline import Pipeline, RegistryBuilder
from pipeline.memory.broker import MemoryBroker
from pipeline.memory.transport import MemoryTransport
from pipeline.ports import LaneState
from sandbox import Sandbox
from schemas.builtins import builtin
from schemas.errors import TransportError
from schemas.event import TopicPartition
from schemas.outcome import Emitted
from schemas.specs import IsolationLevel
from tests.services.postgres import Postgres
from tests.transformers.builtin_sessions import batch, created, opened, verdict

TABLE = "CREATE TABLE customers (id BIGINT PRIMARY KEY, name TEXT, credit NUMERIC(10, 2), since TIMESTAMP)"
ROWS = 700
NAMES = itertools.count(1)
CONFIG = {"table": "customers", "key": "customer", "columns": {"name": "customer_name", "credit": "credit"}}


def inserts(kind: str) -> str:
    numbers = (
        "generate_series(1, 700) AS n"
        if kind == "postgresql"
        else "(WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 700) SELECT n FROM s) AS s"
    )
    return f"INSERT INTO customers SELECT n, 'name ' || n, 1.50, '2026-01-31 12:00:00' FROM {numbers}"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(workers=1) as opened_:
        yield opened_


@pytest.fixture(params=["sqlite", "postgresql"])
def databases(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """`databases:` with a shop of 700 customers."""
    if request.param == "sqlite":
        with closing(sqlite3.connect(tmp_path / "shop.db")) as raw, raw:
            raw.execute(TABLE)
            raw.execute(inserts("sqlite"))
        return {"shop": {"sqlite": str(tmp_path / "shop.db")}}
    server: Postgres = request.getfixturevalue("postgres_server")
    name = f"lookup_{next(NAMES)}"
    server.psql(f"CREATE ROLE {name} LOGIN")
    server.psql(f"CREATE DATABASE {name} OWNER {name}")
    server.psql(f"{TABLE}; {inserts('postgresql')}", user=name, database=name)
    return {"shop": {"postgresql": server.dsn_of(name, name)}}


def grant(**scope: Any) -> list[dict[str, Any]]:
    return [{"database": {"connection": "shop", "tables": ["customers"], **scope}}]


def test_a_batch_is_one_question(sandbox: Sandbox, databases: dict[str, Any]) -> None:
    events = batch([created({"customer": 1 + n % 5}) for n in range(200)])
    with opened(sandbox, "lookup", CONFIG, databases, capabilities=grant()) as session:
        report = session.run(events)
    assert (report.host_calls, [one.allowed for one in report.uses]) == (1, [1])
    rows = [json.loads(one.events[0].value or b"")["after"] for one in report.outcomes if isinstance(one, Emitted)]
    assert [row["customer_name"] for row in rows] == [f"name {1 + n % 5}" for n in range(200)]
    credit = "1.50" if "postgresql" in databases["shop"] else 1.5
    assert rows[0]["credit"] == credit


def test_more_keys_than_the_grant_has_rows_are_asked_in_halves(sandbox: Sandbox, databases: dict[str, Any]) -> None:
    events = batch([created({"customer": 1 + n}) for n in range(600)])
    with opened(sandbox, "lookup", CONFIG, databases, capabilities=grant(rows=200)) as session:
        report = session.run(events)
    assert [verdict(one) for one in report.outcomes] == ["passed"] * 600
    assert [one.allowed for one in report.uses] == [7]  # 600, then twice 300, then four times 150


def test_a_key_that_the_database_refuses_fails_alone(sandbox: Sandbox, databases: dict[str, Any]) -> None:
    refused = [created({"customer": "a\0b"})]
    if "postgresql" in databases["shop"]:
        refused.append(created({"customer": "no number"}))
    changes = [created({"customer": 1 + n}) for n in range(20)]
    changes[7:7] = refused
    with opened(sandbox, "lookup", CONFIG | {"missing": "reject"}, databases, capabilities=grant()) as session:
        verdicts = [verdict(one) for one in session.run(batch(changes)).outcomes]
    of_refused = verdicts[7 : 7 + len(refused)]
    assert all(one.startswith("lookup-") and not one.startswith("lookup-unavailable") for one in of_refused), of_refused
    assert set(verdicts[:7] + verdicts[7 + len(refused) :]) == {"passed"}


def test_rows_are_remembered_between_batches_by_the_grant(sandbox: Sandbox, databases: dict[str, Any]) -> None:
    with opened(sandbox, "lookup", CONFIG, databases, capabilities=grant(cache="1h")) as session:
        session.run(batch([created({"customer": 1})]))
        if "sqlite" in databases["shop"]:
            with closing(sqlite3.connect(databases["shop"]["sqlite"])) as raw, raw:
                raw.execute("UPDATE customers SET name = 'new'")
        (outcome,) = session.run(batch([created({"customer": 1})])).outcomes
    assert isinstance(outcome, Emitted)
    assert json.loads(outcome.events[0].value or b"")["after"]["customer_name"] == "name 1"


def test_a_database_that_is_away_is_said_so(sandbox: Sandbox, tmp_path: Path) -> None:
    away = {"shop": {"sqlite": str(tmp_path / "nothing.db")}}
    with opened(sandbox, "lookup", CONFIG, away, capabilities=grant()) as session:
        (said,) = map(verdict, session.run(batch([created({"customer": 1})])).outcomes)
    assert said == "lookup-unavailable: `customers` could not be asked: unavailable"


@pytest.mark.parametrize("level", list(IsolationLevel))
def test_a_lane_may_wait_for_a_database_that_is_away(sandbox: Sandbox, tmp_path: Path, level: IsolationLevel) -> None:
    """No event is judged: the batch comes again, and all of it passes once the database is back."""
    away = {"shop": {"sqlite": str(tmp_path / "shop.db"), "outage": "wait"}}
    changes = batch([created({"customer": 1 + n}) for n in range(5)])
    options = {"capabilities": grant(cache="1h"), "isolation": level.value}
    with opened(sandbox, "lookup", CONFIG | {"missing": "reject"}, away, **options) as session:
        for _ in range(2):
            with pytest.raises(
                TransportError, match=r"databases\.shop is out of reach: SQLite: unable to open"
            ) as caught:
                session.run(changes)
            assert caught.value.retriable
        with closing(sqlite3.connect(tmp_path / "shop.db")) as raw, raw:
            raw.execute(TABLE)
            raw.execute(inserts("sqlite"))
        assert [verdict(one) for one in session.run(changes).outcomes] == ["passed"] * 5


def test_a_lane_that_waits_for_a_lookup_loses_and_judges_nothing(tmp_path: Path) -> None:
    broker = MemoryBroker()
    for topic in ("in", "out", "dead"):
        broker.create_topic(topic, 1)
    for number in range(300):
        broker.produce("in", json.dumps(created({"customer": 1 + number % 5})).encode(), key=b"%d" % number)
    made = RegistryBuilder(databases={"shop": {"sqlite": str(tmp_path / "shop.db"), "outage": "wait"}})
    made.register("names", builtin="lookup", config=CONFIG, capabilities=grant())
    made.route("r", sources="in", through="names", to="out", dead_letter="dead")
    registry = made.build()

    async def scenario() -> None:
        pipeline = Pipeline(registry, transport=MemoryTransport(registry, broker), worker_count=1)
        running = asyncio.create_task(pipeline.run())
        async with asyncio.timeout(60):
            while not any(one.state is LaneState.RETRYING for one in pipeline.status()):  # noqa: ASYNC110  # nobody tells
                await asyncio.sleep(0.01)
            (waiting,) = pipeline.status()
            assert "databases.shop is out of reach" in waiting.reason
            assert not broker.records("out") and not broker.records("dead")
            with closing(sqlite3.connect(tmp_path / "shop.db")) as raw, raw:
                raw.execute(TABLE)
                raw.execute(inserts("sqlite"))
            broker.listen(changed := asyncio.Event())
            while broker.committed.get(("penstock-r", TopicPartition("in", 0)), 0) < 300:
                changed.clear()
                await changed.wait()
        pipeline.stop()
        await running

    asyncio.run(scenario())
    rows = [json.loads(event.value or b"")["after"] for _, event in broker.records("out")]
    assert [row["customer_name"] for row in rows] == [f"name {1 + number % 5}" for number in range(300)]
    assert not broker.records("dead")


def test_null_need_not_be_in_quotes() -> None:
    assert builtin("lookup").completed(CONFIG | {"missing": None})["missing"] == "null"
