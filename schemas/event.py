"""A change event as it travels: the record's own bytes, nothing decoded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

Headers = tuple[tuple[str, bytes | None], ...]


class TopicPartition(NamedTuple):
    """One partition of one topic."""

    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}"


class Event(msgspec.Struct, frozen=True, gc=False):
    """One record of a lane. Topic and partition are the lane's, so they are not repeated here."""

    offset: int
    """Offset of the source record; a record made of it keeps it."""
    timestamp: int
    """Milliseconds since the epoch, as the source record has it."""
    key: bytes | None
    value: bytes | None
    """None is a tombstone."""
    headers: Headers = ()
    to: str | None = None
    """Destination topic that a guest chose; None is the route's destination."""


class Batch(msgspec.Struct, frozen=True, gc=False):
    """Consecutive events of one lane, in offset order (offsets may have gaps: control records, compaction)."""

    source: TopicPartition
    events: Sequence[Event]
