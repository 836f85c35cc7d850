"""The threads guests run in. A guest's C call releases the GIL, so threads run guests in parallel and the loop stays free."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

T = TypeVar("T")


def default_worker_count() -> int:
    """More threads than cores, so that guests that wait for their deadline leave room for healthy ones."""
    return max(4, 2 * len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2 * (os.cpu_count() or 2))


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


class Workers:
    """A bounded pool of threads, of which no single transformer may hold more than half."""

    def __init__(self, count: int | None = None) -> None:
        self.count = count or default_worker_count()
        self._threads = ThreadPoolExecutor(self.count, thread_name_prefix="penstock-guest")
        self._gates: dict[str, asyncio.Semaphore] = {}

    async def run(self, transformer: str, work: Callable[[], T]) -> T:
        """`work()` in a thread, waiting for one when the pool or the transformer's half of it is taken.

        A cancelled call lets go of the result, not of the thread: that one is busy until the guest's deadline at most, and
        the gate stays taken so long.
        """
        gate = self._gates.setdefault(transformer, asyncio.Semaphore(max(1, self.count // 2)))
        await gate.acquire()
        try:
            job = asyncio.get_running_loop().run_in_executor(self._threads, work)
        except BaseException:
            gate.release()
            raise
        job.add_done_callback(lambda _: gate.release())
        return await asyncio.shield(job)

    def close(self) -> None:
        """Start no more work. Running guests end at their deadline; they are not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)
