"""How many instances an engine's pool still holds. The pool itself refuses one too many with an error: here it is waited for."""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue


class Slots:
    """A counting semaphore of tokens. `threading.Semaphore` would do; written in Python, it costs four times as much per guest."""

    __slots__ = ("acquire", "release")

    def __init__(self, count: int) -> None:
        free: SimpleQueue[None] = SimpleQueue()
        for _ in range(count):
            free.put(None)
        self.acquire: Callable[[], None] = free.get
        """Take a slot, once there is one."""
        self.release: Callable[[None], None] = free.put
        """Give back what `acquire` gave: once each, or the pool would be overrun."""
