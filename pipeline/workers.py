"""The threads guests run in. A guest's C call releases the GIL, so threads run guests in parallel and the loop stays free."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from typing import Protocol, TypeVar

T = TypeVar("T")
_LONG_S = 0.01
"""A healthy batch takes about a millisecond; what takes so long may take until its deadline, again and again."""
_WORKERS_MAX = 256
"""As many as the sandbox has instances for."""


def default_worker_count() -> int:
    """Many more threads than cores: those whose guests run to their deadlines must leave some for the healthy lanes beside them."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 2
    return min(_WORKERS_MAX, max(16, 8 * cores))


class GuestThreads(Protocol):
    """Where a transformer's work is run."""

    async def run(self, transformer: str, work: Callable[[], T]) -> T:
        """The result of `work()`."""
        ...


class InlineThread:
    """Runs guests right where they are asked for, one at a time: for `PipelineDriver` and `penstock try`."""

    async def run(self, transformer: str, work: Callable[[], T]) -> T:
        """See the protocol."""
        return work()


class _Gate:
    """One transformer's share of the threads: half of them in all, an eighth of them for calls that are not known to be long."""

    def __init__(self, threads: int) -> None:
        self.whole = asyncio.Semaphore(max(1, threads // 2))
        self.brief = asyncio.Semaphore(max(1, threads // 8))


class Workers:
    """A bounded pool of threads, of which no single transformer may hold more than half.

    About as many of a transformer's calls run at a time as there are cores: more would only take turns. A call that takes long no
    longer counts as one of them, so that events that run to their deadlines do not hold up the other lanes of their transformer.
    """

    def __init__(self, count: int | None = None) -> None:
        self.count = count or default_worker_count()
        self._threads = ThreadPoolExecutor(self.count, thread_name_prefix="penstock-guest")
        self._gates: dict[str, _Gate] = {}

    async def run(self, transformer: str, work: Callable[[], T]) -> T:
        """`work()` in a thread, waiting for one when the pool or the transformer's share of it is taken.

        A cancelled call lets go of the result, not of the thread: that one is busy until the guest's deadline at most, and
        the gate stays taken so long.
        """
        gate = self._gates.setdefault(transformer, _Gate(self.count))
        async with AsyncExitStack() as waiting:
            for part in (gate.whole, gate.brief):
                await part.acquire()
                waiting.callback(part.release)
            loop = asyncio.get_running_loop()
            job = loop.run_in_executor(self._threads, work)
            waiting.pop_all()
        counted = [gate.brief]

        def no_longer_brief() -> None:
            if counted:
                counted.pop().release()

        timer = loop.call_later(_LONG_S, no_longer_brief)

        def done(_: asyncio.Future[T]) -> None:
            timer.cancel()
            no_longer_brief()
            gate.whole.release()

        job.add_done_callback(done)
        return await asyncio.shield(job)

    def close(self) -> None:
        """Start no more work. Running guests end at their deadline; they are not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)
