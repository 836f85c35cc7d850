"""What can go wrong, one class per reaction of the program.

`ConfigError` refuses to start, `TransportError` is retried and then stops without committing, `DeadLetterError` stops a
lane, `ModuleFault` stops a lane because the module itself (not an event) is at fault. An event's own failure is never an
exception: it is a `schemas.outcome.Violation`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar

from schemas.event import TopicPartition


class PenstockError(Exception):
    """Base of every error penstock raises on purpose; `code` is stable and safe to match on."""

    code: ClassVar[str] = "penstock"


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with what a user wrote: where it is, what is wrong, what to do."""

    problem: str
    remedy: str = ""
    file: str = ""
    line: int | None = None
    """1-based."""
    column: int | None = None
    """1-based."""
    path: str = ""
    """Dotted path inside the file, e.g. `transformers.mask-pii.limits.memory`."""

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part)
        head = ": ".join(part for part in (place, self.path, self.problem) if part)
        return f"{head} — {self.remedy}" if self.remedy else head


class ConfigError(PenstockError):
    """The program refuses to start; carries every fault found, not just the first."""

    code = "config"

    def __init__(self, *faults: Fault) -> None:
        super().__init__("\n".join(str(fault) for fault in faults))
        self.faults = faults


class ModuleFault(PenstockError):
    """A module is at fault by itself: it cannot be compiled, linked, initialised or configured. No event is to blame."""

    code = "module"

    def __init__(self, module: str, problem: str, remedy: str = "") -> None:
        super().__init__(f"{module}: {problem}" + (f" — {remedy}" if remedy else ""))
        self.module = module
        self.problem = problem
        self.remedy = remedy


class TransportError(PenstockError):
    """The broker or the way to it failed; nothing was committed. `retriable` says whether trying again can help."""

    code = "transport"

    def __init__(self, message: str, *, retriable: bool = True, topic: str | None = None) -> None:
        super().__init__(message)
        self.retriable = retriable
        self.topic = topic
        """The topic that the broker refused something for, when it is known."""


class OffsetOutOfRangeError(TransportError):
    """The committed offset no longer exists on the broker: records are missing, and only an operator may skip them."""

    code = "out-of-range"

    def __init__(self, message: str, partitions: Collection[TopicPartition] = ()) -> None:
        super().__init__(message, retriable=False)
        self.partitions = frozenset(partitions)


class UnreadableRecordError(OffsetOutOfRangeError):
    """The client cannot take a record apart; like one that is gone, only an operator may skip it."""

    code = "unreadable"


class FencedError(TransportError):
    """Another process has taken this lane over (or the broker timed our transaction out): start the lane anew."""

    code = "fenced"


class OversizeError(PenstockError):
    """A record is larger than its destination takes; refused before anything was sent."""

    code = "oversize"

    def __init__(self, topic: str, offset: int, size_bytes: int, size_bytes_max: int) -> None:
        super().__init__(f"a record of {size_bytes} bytes does not fit {topic}, which takes {size_bytes_max}")
        self.topic = topic
        self.offset = offset
        """Offset of the source event the record came of."""
        self.size_bytes = size_bytes
        self.size_bytes_max = size_bytes_max


class KeylessError(OversizeError):
    """A record without a key is bound for a compacted topic, which takes none; refused before anything was sent."""

    code = "keyless"

    def __init__(self, topic: str, offset: int) -> None:
        PenstockError.__init__(self, f"a record without a key cannot go to {topic}, which is compacted")
        self.topic = topic
        self.offset = offset
        self.size_bytes = self.size_bytes_max = 0


class DeadLetterError(PenstockError):
    """A dead letter could not be written: the lane stops, nothing is dropped silently."""

    code = "dead-letter"
