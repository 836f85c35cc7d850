"""What is an outage, worth waiting for, and what would be no better later."""

from __future__ import annotations

import socket
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from sandbox.host import Denied
from sandbox.host.database.budget import Budget
from sandbox.host.database.postgres import PostgresDatabase
from sandbox.host.requests import HostFailure
from schemas.abi import ERROR_DEADLINE, ERROR_UNAVAILABLE
from schemas.specs import DatabaseSpec
from tests.sandbox.database.conftest import EVERYTHING, SCOPE, Shop


def _failure(work: Callable[[], object]) -> HostFailure:
    with pytest.raises(HostFailure) as caught:
        work()
    return caught.value


def _of_dsn(dsn: str, ms: float = 20_000) -> HostFailure:
    database = PostgresDatabase(DatabaseSpec("shop", "postgresql", dsn=dsn))
    try:
        return _failure(lambda: database.lookup(SCOPE, "customers", [1], Budget.of(ms)))
    finally:
        database.close()


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    failure = _of_dsn(f"postgresql://ada@127.0.0.1:{port}/shop")
    assert (failure.code, failure.outage) == (ERROR_UNAVAILABLE, True)


def test_somebody_listens_and_does_not_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        failure = _of_dsn(f"postgresql://ada@127.0.0.1:{port}/shop", ms=300)
    assert (failure.code, failure.outage) == (ERROR_DEADLINE, True)


def test_the_server_ends_the_connection(postgres_shop: Shop) -> None:
    """In the middle of a statement, and between two: that one is mended."""
    others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    assert postgres_shop.lookup("customers", [1])
    postgres_shop.operator(others)
    assert postgres_shop.lookup("customers", [1])

    stop = threading.Event()

    def terminate() -> None:
        while not stop.wait(0.2):
            with suppress(RuntimeError):
                postgres_shop.operator(others)

    killer = threading.Thread(target=terminate)
    killer.start()
    slow = "SELECT count(*) FROM generate_series(1, 1000000000)"
    try:
        failure = _failure(lambda: postgres_shop.query(slow, scope=replace(EVERYTHING, time_ms=60_000), ms=60_000))
    finally:
        stop.set()
        killer.join()
    assert (failure.code, failure.outage) == (ERROR_UNAVAILABLE, True)


def test_a_statement_that_is_too_slow_is_no_outage(shop: Shop) -> None:
    endless = (
        "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 1000000000) SELECT max(n) FROM s"
    )
    shop.lookup("customers", [1])  # connected
    began = time.monotonic()
    failure = _failure(lambda: shop.query(endless, scope=replace(EVERYTHING, time_ms=300), ms=300))
    assert (failure.code, failure.outage) == (ERROR_DEADLINE, False)
    assert time.monotonic() - began < 60


@pytest.mark.parametrize(
    "statement", ["SELECT nothing FROM customers", "SELECT", "SELECT id FROM no_such_table", "SELECT 1 / 'a'::int"]
)
def test_a_wrong_statement_is_no_outage(postgres_shop: Shop, statement: str) -> None:
    with pytest.raises((HostFailure, Denied)) as caught:
        postgres_shop.query(statement)
    assert not getattr(caught.value, "outage", False)


def test_a_locked_file_is_one(sqlite_shop: Shop) -> None:
    assert isinstance(sqlite_shop.spec.path, Path)
    with closing(sqlite3.connect(sqlite_shop.spec.path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        failure = _failure(lambda: sqlite_shop.query("SELECT id FROM customers", ms=300))
    assert (failure.code, failure.outage) == (ERROR_DEADLINE, True)


def test_what_a_statement_itself_uses_up_is_no_outage(postgres_shop: Shop) -> None:
    """Else the event that asks for it would keep its lane waiting for ever."""
    name = postgres_shop.operator("SELECT current_database()").strip()
    postgres_shop.operator(f"ALTER ROLE {name} SET temp_file_limit = '64kB'")
    large = "SELECT count(*) FROM (SELECT g FROM generate_series(1, 2000000) AS g ORDER BY g DESC OFFSET 1) AS s"
    failure = _failure(lambda: postgres_shop.query(large, scope=replace(EVERYTHING, time_ms=60_000), ms=60_000))
    assert (failure.outage, "53400" in failure.message) == (False, True), failure.message


def test_a_guest_that_leaves_no_time_to_connect_makes_no_outage() -> None:
    """Else one that burns its deadline before it asks would keep its lane waiting for ever."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        failure = _of_dsn(f"postgresql://ada@127.0.0.1:{silent.getsockname()[1]}/shop", ms=20)
    assert (failure.code, failure.outage) == (ERROR_DEADLINE, False)
