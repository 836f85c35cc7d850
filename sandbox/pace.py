"""How many events cross together: as many as there are, until size proves to be the trouble."""

from __future__ import annotations

GROW_AFTER = 8
"""Healthy crossings in a row after which the batch size doubles again."""
UNLIMITED = 1 << 30


class Pace:
    """How many events cross together: halved by batch effects, grown back by health."""

    __slots__ = ("_healthy", "events_max")

    def __init__(self) -> None:
        self.events_max = UNLIMITED
        self._healthy = 0

    def shrink(self, events_max: int) -> None:
        """No more than this for a while."""
        self.events_max = max(1, min(self.events_max, events_max))
        self._healthy = 0

    def healthy(self, count: int, elapsed_ns: int, deadline_ns: int) -> None:
        """`count` events crossed without trouble. Slow ones shrink the next crossing before it meets the deadline."""
        if elapsed_ns > deadline_ns // 2 and count > 1:
            self.shrink(count // 2)
        elif self.events_max < UNLIMITED and elapsed_ns < deadline_ns // 4:
            self._healthy += 1
            if self._healthy >= GROW_AFTER:
                self.events_max = min(UNLIMITED, self.events_max * 2)
                self._healthy = 0
