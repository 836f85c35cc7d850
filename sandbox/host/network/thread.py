"""One thread with an event loop, for all requests of a sandbox. Started when first needed, stopped with the sandbox."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as WaitedTooLong
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
STOP_S = 5.0
"""Until a loop that does not stop is left behind; its thread is a daemon."""


class Stopped(RuntimeError):
    """The thread was stopped, before or meanwhile."""


class Guest(Protocol):
    """Something that lives on the loop."""

    async def stop(self) -> None:
        """Close what is open."""
        ...


class LoopThread:
    """Runs coroutines for other threads. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._guests: set[Guest] = set()
        self._stopped = False

    @property
    def is_running(self) -> bool:
        """It was needed, and was not stopped."""
        return self._thread is not None and not self._stopped

    def run(self, work: Coroutine[Any, Any, T], timeout_s: float) -> T:
        """What `work` returns or raises. Raises TimeoutError after `timeout_s`: the work is then cancelled, and not waited for."""
        future = self._submit(work)
        try:
            return future.result(timeout_s)
        except WaitedTooLong:
            if future.done():  # the work itself raised it
                raise
            raise TimeoutError from None
        except CancelledError:
            raise Stopped("the host's network thread was stopped") from None
        finally:
            future.cancel()

    def attach(self, guest: Guest) -> None:
        """Stop `guest` before the loop stops."""
        with self._lock:
            self._guests.add(guest)

    def detach(self, guest: Guest) -> None:
        """Stop it now, if there is anything to stop."""
        with self._lock:
            known = guest in self._guests
            self._guests.discard(guest)
        if known and self.is_running:
            with contextlib.suppress(Stopped, TimeoutError):
                self.run(guest.stop(), STOP_S)

    def close(self) -> None:
        """Cancel what runs, stop and end the thread. Safe to repeat."""
        with self._lock:
            if self._stopped:
                return
            self._stopped = True
            loop, thread = self._loop, self._thread
        if loop is None or thread is None:
            return
        stopping = asyncio.run_coroutine_threadsafe(self._stop(), loop)
        with contextlib.suppress(WaitedTooLong):
            stopping.result(STOP_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(STOP_S)

    def _submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        with self._lock:
            if self._stopped:
                work.close()
                raise Stopped("the host's network thread was stopped")
            if self._loop is None:
                self._loop = asyncio.SelectorEventLoop()  # whose sockets are ours: others would read past `connections`
                self._thread = threading.Thread(target=_live, args=(self._loop,), name="penstock network", daemon=True)
                self._thread.start()
            return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def _stop(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with self._lock:
            guests, self._guests = list(self._guests), set()
        for guest in guests:
            await guest.stop()


def _live(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        loop.close()
