"""What this process holds on to, as gauges: guests, tasks, threads. What only grows here was never given back."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from pipeline.observe import catalogue
from pipeline.observe.meter import Meter
from pipeline.ports import Clock

INTERVAL_S = 1.0


class Resources:
    """Sets the gauges of one process. `guests` returns how many instances are alive now."""

    def __init__(self, meter: Meter, guests: Callable[[], int], clock: Clock) -> None:
        self._meter = meter
        self._guests = guests
        self._clock = clock

    def sample(self) -> None:
        """Count now. Only on the event loop."""
        self._meter.set(catalogue.GUESTS, (), self._guests())
        self._meter.set(catalogue.TASKS, (), len(asyncio.all_tasks()))
        self._meter.set(catalogue.THREADS, (), threading.active_count())

    async def relay(self, interval_s: float = INTERVAL_S) -> None:
        """Count until cancelled."""
        while True:
            self.sample()
            await self._clock.sleep(interval_s)
