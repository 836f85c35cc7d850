"""The part of docs/sql.md that needs a PostgreSQL server: its example is run as it stands."""

from __future__ import annotations

import ast
import asyncio
import re
from pathlib import Path
from types import CodeType
from typing import Any

import psycopg
from wasmtime import wat2wasm

from pipeline import RegistryBuilder
from pipeline.sql import Call, Event, PostgresTriggers, ProcedureExecutor, QueueWorker
from tests.services.postgres import Postgres

ROOT = Path(__file__).parents[2]


def example() -> CodeType:
    (text,) = re.findall(
        r"```text\n(triggers = PostgresTriggers.*?)```", (ROOT / "docs" / "sql.md").read_text(), re.DOTALL
    )
    return compile(text, "docs/sql.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def test_the_example_for_postgresql(postgres_server: Postgres, tmp_path: Path) -> None:
    postgres_server.psql("CREATE DATABASE docs_sql")
    dsn = postgres_server.dsn.replace("dbname=postgres", "dbname=docs_sql")
    module = tmp_path / "shop_rules.wasm"
    module.write_bytes(bytes(wat2wasm((ROOT / "docs" / "examples" / "shop_rules.wat").read_text())))
    registry = RegistryBuilder().register("order_validator", module=module, limits="untrusted").build()
    names: dict[str, Any] = {
        "PostgresTriggers": PostgresTriggers,
        "QueueWorker": QueueWorker,
        "Event": Event,
        "psycopg": psycopg,
        "dsn": dsn,
    }
    with psycopg.connect(dsn, autocommit=True) as db:
        db.execute("CREATE TABLE orders (id int, total float8, status text); CREATE TABLE orders_inbox (LIKE orders)")
        asyncio.run(_run(names, registry, db))
        names["triggers"]._connection.close()
        assert db.execute("SELECT * FROM orders").fetchall() == [(1, 20.0, "new")]
        dead = db.execute("SELECT after ->> 'id', code, message FROM penstock.dead_letters").fetchall()
        assert dead == [("2", "total", "total must be above zero")]
    postgres_server.psql("DROP DATABASE docs_sql WITH (FORCE)")


async def _run(names: dict[str, Any], registry: Any, db: psycopg.Connection[Any]) -> None:
    loop = asyncio.get_running_loop()
    calls: list[Call] = []

    def heard(call: Call) -> None:
        calls.append(call)
        if len(calls) == 2:
            loop.call_soon_threadsafe(names["worker"].stop)

    code, executor = example(), ProcedureExecutor(registry, audit=heard)
    with executor:
        running = asyncio.ensure_future(eval(code, names | {"executor": executor}, names))
        await asyncio.sleep(0)  # it runs up to its only await
        db.execute("INSERT INTO orders_inbox VALUES (1, 20, NULL), (2, 0, 'paid')")
        async with asyncio.timeout(30):
            await running
