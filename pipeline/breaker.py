"""The breaker of one transformer on one lane: too many misbehaving events in a window, and the lane stops trusting it."""

from __future__ import annotations

from collections import deque

from pipeline.ports import Clock
from schemas.outcome import ViolationKind
from schemas.specs import Quarantine


class Breaker:
    """Counts misbehaviour in a sliding window. Trips once; only `reset` (an operator's `penstock resume`) closes it again."""

    def __init__(self, policy: Quarantine, clock: Clock) -> None:
        self.policy = policy
        self.reason = ""
        self.kind = ViolationKind.DEADLINE
        """The last misbehaviour seen: what dead letters of a quarantined transformer say."""
        self._clock = clock
        self._strikes: deque[float] = deque(maxlen=policy.after)

    @property
    def is_tripped(self) -> bool:
        """Whether the transformer is quarantined."""
        return bool(self.reason)

    def strike(self, kind: ViolationKind) -> None:
        """One event made the transformer misbehave in this way."""
        now = self._clock.monotonic()
        self._strikes.append(now)
        full = len(self._strikes) == self.policy.after
        if full and now - self._strikes[0] <= self.policy.window_s and not self.is_tripped:
            self.trip(
                kind, f"{self.policy.after} events misbehaved within {self.policy.window_s:g} s, the last with {kind}"
            )

    def trip(self, kind: ViolationKind, reason: str) -> None:
        """Quarantine the transformer now."""
        self.kind = kind
        self.reason = reason

    def reset(self) -> None:
        """Trust it again, with a clean slate."""
        self.reason = ""
        self._strikes.clear()
