"""How many instances an engine's pool still holds. The pool itself refuses one too many with an error: here it is waited for."""

from __future__ import annotations

from queue import SimpleQueue


class Slots:
    """A counting semaphore of tokens. `threading.Semaphore` would do; written in Python, it costs four times as much per guest."""

    __slots__ = ("_free",)

    def __init__(self, count: int) -> None:
        self._free: SimpleQueue[None] = SimpleQueue()
        for _ in range(count):
            self._free.put(None)

    def acquire(self) -> None:
        """Take a slot, once there is one."""
        self._free.get()

    def release(self) -> None:
        """Give back a slot that was taken: once each, or the pool would be overrun."""
        self._free.put(None)
