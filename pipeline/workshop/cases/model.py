"""What a file of golden cases amounts to. `reading` makes it of the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from pipeline.registry.document import Document, Spot
from schemas.event import Event, TopicPartition
from schemas.outcome import ViolationKind


class Fate(StrEnum):
    """What a case may expect of an event."""

    UNCHANGED = "unchanged"
    DROPPED = "dropped"
    EMITTED = "emitted"
    REJECTED = "rejected"
    VIOLATION = "violation"
    WELL_BEHAVED = "well-behaved"
    """Anything but misbehaviour: what a fuzzed input asks for."""
    OPEN = "open"
    """Nothing is written yet; `--update` writes what came."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What must come of one event."""

    fate: Fate
    records: tuple[Event, ...] | None = None
    """For `emitted`; None is any. What the file leaves out (key, headers) is the source event's."""
    code: str | None = None
    """For `rejected`; None is any."""
    kind: ViolationKind | None = None
    """For `violation`."""
    message_has: tuple[str, ...] = ()
    """For `rejected` and `violation`."""


@dataclass(frozen=True, slots=True)
class Step:
    """One event of a case."""

    source: TopicPartition
    event: Event
    expected: Expected
    as_text: bool
    """Whether the file has the event's value as text; an updated expectation is then written as text, too."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a case says of how it is run; None is what the registry says."""

    config: Mapping[str, Any] | None = field(default=None, repr=False)
    deadline_ms: int | None = None
    memory_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """One golden case."""

    name: str
    path: Path
    number: int
    """In its file, from 0."""
    line: int
    steps: tuple[Step, ...]
    settings: Settings
    exact: bool
    """Compare values byte by byte, not by what their JSON says."""
    is_list: bool
    """Whether the file has `events`, and so a list of expectations."""

    @property
    def place(self) -> str:
        """`cases/orders.yaml:12`."""
        return f"{self.path}:{self.line}"


@dataclass(frozen=True, slots=True)
class CaseFile:
    """One file of cases."""

    path: Path
    text: str = field(repr=False)
    """As it is read: of JSON with tabs as spaces."""
    cases: Sequence[Case]
    document: Document = field(repr=False)

    def spot(self, *steps: str | int) -> Spot | None:
        """Where this stands in the file, or what is nearest around it."""
        return self.document.spot(steps)
