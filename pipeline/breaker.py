"""The breaker of one transformer on one lane: too many misbehaving events in a window, and the lane stops trusting it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.ports import Clock
from schemas.outcome import ViolationKind
from schemas.specs import Quarantine, QuarantineAction


class Breaker:
    """Counts misbehaviour in a sliding window. Trips once; only `reset` (an operator's `penstock resume`) closes it again."""

    def __init__(self, policy: Quarantine, clock: Clock) -> None:
        self.policy = policy
        self.reason = ""
        self.kind = ViolationKind.DEADLINE
        """The last misbehaviour seen: what dead letters of a quarantined transformer say."""
        self._clock = clock
        self._strikes: deque[float] = deque(maxlen=policy.after)
        self._held = False

    @property
    def is_tripped(self) -> bool:
        """Whether the transformer is quarantined."""
        return bool(self.reason) and not self._held

    @contextmanager
    def held(self) -> Iterator[None]:
        """A quarantine that would pause the lane from now on does so at the end: what is under way must not be cut in two."""
        self._held = self.policy.action is QuarantineAction.PAUSE and not self.is_tripped
        try:
            yield
        finally:
            self._held = False

    def strike(self, kind: ViolationKind) -> None:
        """One event made the transformer misbehave in this way."""
        now = self._clock.monotonic()
        self._strikes.append(now)
        full = len(self._strikes) == self.policy.after
        if full and now - self._strikes[0] <= self.policy.window_s:
            self.trip(
                kind, f"{self.policy.after} events misbehaved within {self.policy.window_s:g} s, the last with {kind}"
            )

    def trip(self, kind: ViolationKind, reason: str) -> None:
        """Quarantine the transformer now; nothing, when it is."""
        if not self.reason:
            self.kind, self.reason = kind, reason

    def reset(self) -> None:
        """Trust it again, with a clean slate."""
        self.reason = ""
        self._strikes.clear()
