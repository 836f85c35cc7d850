"""A clock that moves when it is told to."""

from __future__ import annotations

import asyncio
import heapq
import itertools


class ManualClock:
    """Implements `pipeline.ports.Clock`; `advance` moves it and wakes whoever slept until then."""

    def __init__(self, time_ms: int = 1_700_000_000_000) -> None:
        self._now_s = 0.0
        self._epoch_ms = time_ms
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def monotonic(self) -> float:
        """Seconds since the clock was made."""
        return self._now_s

    def time_ms(self) -> int:
        """Milliseconds since the epoch."""
        return self._epoch_ms + int(self._now_s * 1e3)

    async def sleep(self, seconds: float) -> None:
        """Until the clock was advanced by `seconds`."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now_s + seconds, next(self._order), waiter))
        await waiter

    def advance(self, seconds: float) -> None:
        """Move the clock forward."""
        self._now_s += seconds
        while self._sleepers and self._sleepers[0][0] <= self._now_s:
            _, _, waiter = heapq.heappop(self._sleepers)
            if not waiter.done():
                waiter.set_result(None)
