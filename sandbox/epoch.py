"""Deadlines for running guests: one thread turns wall-clock time into engine epochs.

A guest that loops is stopped by its engine's epoch reaching the number the guest was armed with. The epoch follows a grid of
`period_ms`; a tick that comes late (a busy interpreter lock) is made good by several at once, so deadlines do not drift.
A deadline is never early, and late by at most one period plus what the ticking thread waited for the interpreter lock
(`sys.getswitchinterval()`, 5 ms unless changed, per busy thread).
Epochs interrupt wasm only: a host call is not cut short.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

IDLE_TICKS_MAX = 100
"""Ticks without a running guest after which the thread sleeps until one runs: half a second at 5 ms."""


class EpochTicker:
    """Bumps the epoch of every registered engine, but only while guests run.

    With `auto` off there is no thread and time moves by `advance` alone, for tests and replay.
    """

    def __init__(
        self, *, period_ms: int = 5, clock_ns: Callable[[], int] = time.monotonic_ns, auto: bool = True
    ) -> None:
        self._period_ns = period_ms * 1_000_000
        self._clock_ns = clock_ns if auto else lambda: 0
        self._auto = auto
        self._lock = threading.Lock()
        self._wake = threading.Condition(self._lock)
        self._engines: list[Callable[[], None]] = []
        self._active = 0
        self._asleep = True
        self._closed = False
        self._count = 0
        self._origin_ns = 0
        """When tick 0 was, on the grid that the epoch follows."""
        self._thread: threading.Thread | None = None

    def add(self, increment: Callable[[], None]) -> None:
        """Tick this engine too; `increment` bumps its epoch by one and never raises."""
        with self._lock:
            self._engines.append(increment)

    @property
    def is_real(self) -> bool:
        """Time passes by itself."""
        return self._auto

    def enter(self) -> None:
        """A guest is about to run. Raises RuntimeError after `close`: nothing would stop it."""
        with self._lock:
            if self._closed:
                raise RuntimeError("the sandbox is closed")
            self._active += 1
            if self._asleep:
                self._wake_up()

    def leave(self) -> None:
        """A guest is done."""
        with self._lock:
            self._active -= 1

    def end(self, deadline_ms: int) -> int:
        """The epoch by which at least `deadline_ms` from now have passed. Call between enter and leave, as `ticks` and `until`."""
        return -((self._origin_ns - self._clock_ns() - deadline_ms * 1_000_000) // self._period_ns)

    def until(self, epoch: int) -> int:
        """How far beyond the current epoch that is: what a guest is armed with. At least one."""
        ticks = epoch - self._count
        return ticks if ticks > 1 else 1

    def ticks(self, deadline_ms: int) -> int:
        """How far beyond the current epoch a guest must be armed to get at least `deadline_ms`."""
        return self.until(self.end(deadline_ms))

    def advance(self, milliseconds: int) -> None:
        """Let this much time pass for every guest at once. Needs no real time."""
        with self._lock:
            self._origin_ns -= milliseconds * 1_000_000
            self._catch_up()

    def close(self) -> None:
        """No guest may start from now on. The thread ends with the last one that runs; if none does, before this returns."""
        with self._lock:
            self._closed = True
            self._wake.notify_all()
            thread, idle = self._thread, self._active == 0
        if thread is not None and idle:
            thread.join()

    def _wake_up(self) -> None:
        self._asleep = False
        self._origin_ns = self._clock_ns() - self._count * self._period_ns
        if not self._auto:
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="penstock-epochs", daemon=True)
            self._thread.start()
        else:
            self._wake.notify_all()

    def _run(self) -> None:
        idle = 0
        with self._lock:
            while self._active or not self._closed:
                idle = 0 if self._active else idle + 1
                if idle > IDLE_TICKS_MAX:
                    self._asleep = True
                    self._wake.wait_for(lambda: self._closed or not self._asleep)
                    idle = 0
                self._wake.wait(self._catch_up() / 1e9)

    def _catch_up(self) -> int:
        """Tick as often as time has passed; nanoseconds until the next tick is due.

        Engines first, then the count: a guest armed in between gets a tick too much rather than one too few.
        """
        elapsed_ns = self._clock_ns() - self._origin_ns
        due = max(0, elapsed_ns // self._period_ns - self._count)
        for increment in self._engines:
            for _ in range(due):
                increment()
        self._count += due
        return self._period_ns - elapsed_ns % self._period_ns
