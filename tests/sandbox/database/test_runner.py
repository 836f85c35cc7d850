"""Threads that wait for databases: budgets, room in the pool, connections that break, and the rows that are remembered."""

from __future__ import annotations

import threading

import pytest

from sandbox.host.database.budget import Budget
from sandbox.host.database.cache import ENTRY_BYTES, LookupCache, encode_row
from sandbox.host.database.runner import Pool
from sandbox.host.requests import HostFailure
from schemas.abi import ERROR_DEADLINE, ERROR_UNAVAILABLE


class Connection:
    """Hangs until it is let go, however often it is interrupted."""

    def __init__(self) -> None:
        self.let_go = threading.Event()
        self.interrupted = threading.Event()
        self.closed = threading.Event()

    def interrupt(self) -> None:
        self.interrupted.set()

    def close(self) -> None:
        self.closed.set()


def _pool(size: int) -> tuple[Pool[Connection], list[Connection]]:
    made: list[Connection] = []

    def connect() -> Connection:
        made.append(Connection())
        return made[-1]

    return Pool("test", size, connect), made


def _hang(one: Connection, job: object) -> None:
    assert one.let_go.wait(30)


def test_a_connection_is_used_again() -> None:
    pool, made = _pool(2)
    assert {id(pool.run(lambda one, job: one, Budget.of(10_000))) for _ in range(5)} == {id(made[0])}
    assert len(made) == 1
    pool.close()
    assert made[0].closed.wait(10)


def test_a_call_that_hangs_is_given_up_and_its_connection_broken_off() -> None:
    pool, made = _pool(2)
    with pytest.raises(HostFailure) as caught:
        pool.run(_hang, Budget.of(20))
    assert caught.value.code == ERROR_DEADLINE
    assert made[0].interrupted.is_set() and not made[0].closed.is_set()
    assert pool.run(lambda one, job: one, Budget.of(10_000)) is made[1]
    made[0].let_go.set()
    assert made[0].closed.wait(10)
    pool.close()


def test_hanging_calls_keep_their_places() -> None:
    """Two hang: the third gets no thread of its own, until one of them is over."""
    pool, made = _pool(2)
    for _ in range(2):
        with pytest.raises(HostFailure):
            pool.run(_hang, Budget.of(20))
    with pytest.raises(HostFailure, match="all 2 connections of test are busy"):
        pool.run(lambda one, job: None, Budget.of(20))
    assert len(made) == 2
    made[0].let_go.set()
    assert made[0].closed.wait(10)
    assert pool.run(lambda one, job: "again", Budget.of(10_000)) == "again"
    made[1].let_go.set()
    pool.close()


def test_what_cannot_connect_leaves_its_place() -> None:
    def connect() -> Connection:
        raise HostFailure(ERROR_UNAVAILABLE, "no")

    pool = Pool("test", 1, connect)
    for _ in range(3):
        with pytest.raises(HostFailure, match="no"):
            pool.run(lambda one, job: None, Budget.of(10_000))
    pool.close()


def test_errors_of_ours_keep_the_connection() -> None:
    pool, made = _pool(1)

    def fail(one: Connection, job: object) -> None:
        raise ValueError("ours")

    for _ in range(3):
        with pytest.raises(ValueError, match="ours"):
            pool.run(fail, Budget.of(10_000))
    assert len(made) == 1
    pool.close()


def test_a_closed_pool_has_no_connection() -> None:
    pool, _ = _pool(1)
    pool.close()
    with pytest.raises(HostFailure) as caught:
        pool.run(lambda one, job: None, Budget.of(10_000))
    assert caught.value.code == ERROR_UNAVAILABLE


def test_the_oldest_rows_go_when_there_are_too_many() -> None:
    cache = LookupCache(1_000, 2, lambda: 0)
    row = encode_row({"a": 1})
    for key in (1, 2, 3):
        cache.put_many("t", [(key, row)])
    assert cache.get_many("t", [1, 2, 3]) == [None, row, row]
    assert len(cache) == 2


def test_large_rows_are_bounded_by_their_bytes() -> None:
    cache = LookupCache(1_000, 1_000, lambda: 0, bytes_max=3 * (ENTRY_BYTES + 1_010))
    row = encode_row({"a": "x" * 1_000})
    cache.put_many("t", [(key, row) for key in range(100)])
    assert len(cache) == 3
    assert cache.get_many("t", [96, 97]) == [None, row]


def test_putting_again_takes_no_more_room() -> None:
    cache = LookupCache(1_000, 10, lambda: 0)
    for _ in range(100):
        cache.put_many("t", [("k", encode_row(None))])
    assert len(cache) == 1 and cache._bytes == ENTRY_BYTES + 1


def test_tables_and_types_of_keys_are_told_apart() -> None:
    cache = LookupCache(1_000, 10, lambda: 0)
    cache.put_many("t", [(1, encode_row({"a": 1}))])
    assert cache.get_many("u", [1]) == [None]
    assert cache.get_many("t", ["1", b"1"]) == [None, None]
