"""How fast a grant may move bytes: so many each second on average, one second's worth at once."""

from __future__ import annotations

from collections.abc import Callable

NS = 1_000_000_000


class Pace:
    """A bucket that holds what one second brings. Not for several threads: it lives on the event loop."""

    def __init__(self, bytes_per_second: int | None, clock_ns: Callable[[], int]) -> None:
        self._rate = bytes_per_second
        self._clock_ns = clock_ns
        self._free_ns = clock_ns() - NS
        """When everything moved so far is paid for."""

    def wait_ns(self, count: int = 0) -> int:
        """How long to wait before `count` more bytes may move, or until those that moved are paid for."""
        if self._rate is None:
            return 0
        return max(0, self._begin_ns() + count * NS // self._rate - self._clock_ns())

    def moved(self, count: int) -> None:
        """Charge `count` bytes."""
        if self._rate is not None:
            self._free_ns = self._begin_ns() + count * NS // self._rate

    def _begin_ns(self) -> int:
        return max(self._free_ns, self._clock_ns() - NS)
