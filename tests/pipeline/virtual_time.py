"""An event loop in which waiting takes no time: when nothing is ready, the clock jumps to what is due next."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
_TOO_LONG_S = 20_000


class _Jump(selectors.SelectSelector):
    """Waits for nothing; the loop's time moves instead."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        assert timeout is not None, "deadlock: every task waits, and nothing is due"
        assert self.now < _TOO_LONG_S, "it never came to an end"
        ready = super().select(0)
        if not ready and timeout > 0:
            self.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """Single-threaded simulations only: a thread's answer would come too late."""

    def __init__(self) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)

    def time(self) -> float:
        return self._jump.now


def run(main: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run` in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


class LoopClock:
    """`pipeline.ports.Clock` on the running loop's time."""

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    def time_ms(self) -> int:
        return 1_700_000_000_000 + int(self.monotonic() * 1e3)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


async def until(condition: Callable[[], object], seconds: float = 600) -> None:
    """Let the others work until this holds. Fails after so many (virtual) seconds."""
    clock = LoopClock()
    end = clock.monotonic() + seconds
    while not condition():
        assert clock.monotonic() < end, "it never came to that"
        await asyncio.sleep(0.01)
