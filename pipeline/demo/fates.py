"""What must become of each event of the demo, known when it is made."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

import msgspec

from schemas.event import Headers
from schemas.outcome import ViolationKind

NUMBER_HEADER: Final = "demo-number"
"""Carries an event's number through the pipeline: transformers keep headers, so what comes out can be told apart."""


class Fate(IntEnum):
    """Where an event must end, and how it may have changed on the way. One byte, because a ledger keeps one for each event."""

    UNCHANGED = 0
    MASKED = 1
    """Emitted without any e-mail address in it."""
    ENRICHED = 2
    """As MASKED, with an amount in cents."""
    FLAGGED = 3
    """As ENRICHED, and copied to the topic for expensive orders."""
    DROPPED = 4
    DEADLINE = 5
    MEMORY = 6
    STACK = 7
    TRAP = 8
    BAD_OUTPUT = 9
    REJECTED = 10

    @property
    def violation(self) -> ViolationKind | None:
        """What the dead letter must say; None when there must be none."""
        return _VIOLATIONS.get(self)


_VIOLATIONS = {
    Fate.DEADLINE: ViolationKind.DEADLINE,
    Fate.MEMORY: ViolationKind.MEMORY,
    Fate.STACK: ViolationKind.STACK,
    Fate.TRAP: ViolationKind.TRAP,
    Fate.BAD_OUTPUT: ViolationKind.BAD_OUTPUT,
    Fate.REJECTED: ViolationKind.REJECTED,
}

MISDEEDS: Final = {
    "loop": Fate.DEADLINE,
    "memory": Fate.MEMORY,
    "stack": Fate.STACK,
    "trap": Fate.TRAP,
    "bad-output": Fate.BAD_OUTPUT,
    "reject": Fate.REJECTED,
    "drop": Fate.DROPPED,
}
"""What the saboteur does when a row's `penstock_demo` column says so, and where that ends."""


class ShopEvent(msgspec.Struct, frozen=True, gc=False):
    """One event of the shop's stream."""

    number: int
    """Counts from 0 over all topics, in the order of production."""
    topic: str
    key: bytes
    value: bytes | None
    headers: Headers
    fate: Fate


def number_of(headers: Headers) -> int | None:
    """The event that a record is, or came of; None when it is not of this demo."""
    for name, value in headers:
        if name == NUMBER_HEADER and value is not None and value.isdigit():
            return int(value)
    return None
