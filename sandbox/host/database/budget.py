"""How long one call may take, by a clock from outside."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from sandbox.host.requests import HostFailure
from schemas.abi import ERROR_DEADLINE

SOONER_NS_MAX = 20_000_000


@dataclass(frozen=True, slots=True)
class Budget:
    """Ends at one moment, whatever was done until then."""

    ends_ns: int
    clock_ns: Callable[[], int] = time.monotonic_ns

    @classmethod
    def of(cls, milliseconds: float, clock_ns: Callable[[], int] = time.monotonic_ns) -> Budget:
        """From now on."""
        return cls(clock_ns() + int(milliseconds * 1e6), clock_ns)

    def sooner(self) -> Budget:
        """For the database's own interrupts: a little before the caller gives up, so that the connection is kept."""
        left_ns = self.ends_ns - self.clock_ns()
        return Budget(self.ends_ns - min(left_ns // 10, SOONER_NS_MAX), self.clock_ns)

    def is_over(self) -> bool:
        """Nothing is left."""
        return self.clock_ns() >= self.ends_ns

    def remaining_ms(self) -> float:
        """What is left. Raises HostFailure when nothing is."""
        left = (self.ends_ns - self.clock_ns()) / 1e6
        if left <= 0:
            raise HostFailure(ERROR_DEADLINE, "the call's time is over")
        return left
