"""Guest threads: parallel, bounded, and no transformer takes them all."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pipeline.workers import InlineThread, Workers, default_worker_count


@contextmanager
def pool(count: int) -> Iterator[Workers]:
    workers = Workers(count)
    yield workers
    workers.close()


def test_work_runs_in_another_thread_and_its_result_or_error_comes_back() -> None:
    async def scenario() -> None:
        with pool(2) as workers:
            assert await workers.run("a", threading.get_ident) != threading.get_ident()
            with pytest.raises(ZeroDivisionError):
                await workers.run("a", lambda: 1 // 0)

    asyncio.run(scenario())


def test_one_transformer_holds_half_of_the_threads_at_most() -> None:
    async def scenario() -> None:
        with pool(4) as workers:
            release, entered = threading.Event(), threading.Semaphore(0)

            def block() -> None:
                entered.release()
                assert release.wait(20)

            slow = [asyncio.create_task(workers.run("slow", block)) for _ in range(3)]
            for _ in range(2):
                await asyncio.to_thread(entered.acquire, timeout=20)
            assert await workers.run("other", lambda: "passed") == "passed"
            assert not entered.acquire(blocking=False), "a third thread went to the slow transformer"
            release.set()
            await asyncio.gather(*slow)

    asyncio.run(scenario())


def test_a_cancelled_call_keeps_its_place_until_the_thread_is_free() -> None:
    async def scenario() -> None:
        with pool(2) as workers:
            release, entered, finished = threading.Event(), threading.Event(), threading.Event()

            def block() -> None:
                entered.set()
                assert release.wait(20)
                finished.set()

            first = asyncio.create_task(workers.run("a", block))
            await asyncio.to_thread(entered.wait, 20)
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            second = asyncio.create_task(workers.run("a", finished.is_set))
            await asyncio.sleep(0)
            assert not second.done()
            release.set()
            assert await second is True

    asyncio.run(scenario())


def test_a_closed_pool_takes_no_more_work_and_gives_its_place_back() -> None:
    async def scenario() -> None:
        workers = Workers(2)
        workers.close()
        for _ in range(3):
            with pytest.raises(RuntimeError):
                async with asyncio.timeout(5):
                    await workers.run("a", lambda: None)

    asyncio.run(scenario())


def test_inline_work_runs_right_here() -> None:
    assert asyncio.run(InlineThread().run("a", threading.get_ident)) == threading.get_ident()


def test_there_are_more_threads_than_cores() -> None:
    assert default_worker_count() >= 4
