"""Which timestamps a topic takes. One that it would refuse must not stop a lane: producers with a wrong clock are nobody's fault here.

Such a record is stamped with the present time instead. Nothing of the event itself is lost: change events carry their own
time in the value, and a dead letter keeps the original timestamp in a header.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_FOREVER_MS = (1 << 63) - 1
_SKEW_MS_MAX = 60_000
"""How far our clock may be ahead of the broker's before a record at the border is refused all the same."""


@dataclass(frozen=True, slots=True)
class Window:
    """How far a record's timestamp may be behind and ahead of the broker's clock, in milliseconds."""

    before_ms: int = _FOREVER_MS
    after_ms: int = 3_600_000
    """Kafka's default since version 4."""

    def bounds(self, now_ms: int) -> tuple[int, int]:
        """The earliest and the latest timestamp to send now. A negative one means "none" to Kafka and is never within them."""
        ahead_ms = self.after_ms - min(_SKEW_MS_MAX, self.after_ms // 10)
        behind_ms = self.before_ms - min(_SKEW_MS_MAX, self.before_ms // 10)
        return max(0, now_ms - behind_ms), now_ms + ahead_ms


def window_of(settings: Mapping[str, str]) -> Window:
    """What a topic's settings say; brokers before version 3.6 know one limit for both directions."""
    both = int(settings.get("message.timestamp.difference.max.ms", _FOREVER_MS))
    return Window(
        int(settings.get("message.timestamp.before.max.ms", both)),
        int(settings.get("message.timestamp.after.max.ms", both)),
    )
