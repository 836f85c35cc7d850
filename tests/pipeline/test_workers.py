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


def test_calls_that_take_long_do_not_hold_up_the_others_of_their_transformer() -> None:
    async def scenario() -> None:
        with pool(8) as workers:  # one brief call of a transformer at a time, four in all
            release = threading.Event()
            slow = [asyncio.create_task(workers.run("same", lambda: release.wait(20))) for _ in range(3)]
            async with asyncio.timeout(10):
                assert await workers.run("same", lambda: "passed") == "passed"
            assert not any(each.done() for each in slow)
            release.set()
            assert await asyncio.gather(*slow) == [True] * 3

    asyncio.run(scenario())


def test_brief_calls_take_turns_and_give_back_every_place_however_they_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.workers._LONG_S", 60.0)  # on a busy machine a brief call may take a while

    async def scenario() -> None:
        with pool(8) as workers:
            running = threading.Semaphore(0)
            most = 0

            def brief(number: int) -> None:
                nonlocal most
                running.release()
                most = max(most, running._value)
                running.acquire()
                if number % 3 == 0:
                    raise ZeroDivisionError

            calls = [asyncio.create_task(workers.run("same", lambda n=number: brief(n))) for number in range(200)]
            for call in calls[::7]:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
            gate = workers._gates["same"]
            async with asyncio.timeout(5):
                for part, free in ((gate.whole, 4), (gate.brief, 1)):
                    for _ in range(free):
                        await part.acquire()
                    assert part.locked(), "a place was given back twice"
            assert most == 1

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
