"""What outlives a process: which lanes are stopped or have a quarantined transformer, kept in the compacted control topic."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

import msgspec

from pipeline.ports import Clock, ControlLog, LaneId, LaneState
from schemas.errors import TransportError

_log = logging.getLogger(__name__)
_FOLLOW_S = 1.0


class LaneNote(msgspec.Struct, frozen=True, kw_only=True):
    """One lane's entry in the control topic, as JSON. No entry: the lane runs."""

    route: str
    topic: str
    partition: int
    group: str
    state: LaneState
    """`stopped`, `paused`, or `running` with quarantined transformers."""
    reason: str
    since_ms: int
    quarantined: Mapping[str, str] = {}
    """Transformer to the reason, for those whose action is not to pause."""
    kinds: Mapping[str, str] = {}
    """Transformer to the last misbehaviour, for the same: what their dead letters say. A kind that another version knows is no error."""


def note_key(lane: LaneId) -> str:
    """The control topic's key for this lane; the same in every process and version."""
    return f"lane:{lane.group}:{lane.source.topic}:{lane.source.partition}"


class Control:
    """The notes as last seen, and the way to change them. One per process; `follow` tells of changes made anywhere."""

    def __init__(self, log: ControlLog, clock: Clock) -> None:
        self._log = log
        self._clock = clock
        self._notes: dict[str, LaneNote] = {}

    async def open(self) -> None:
        """Read all that is remembered. Raises TransportError."""
        remembered = await self._log.open()
        for key, document in remembered.items():
            self._apply(key, document)

    def note(self, lane: LaneId) -> LaneNote | None:
        """What is remembered of this lane."""
        return self._notes.get(note_key(lane))

    def notes(self) -> list[LaneNote]:
        """All notes, in the order of their keys."""
        return [note for _, note in sorted(self._notes.items())]

    async def remember(self, lane: LaneId, note: LaneNote) -> None:
        """Durable when it returns. Raises TransportError."""
        await self._log.put(note_key(lane), msgspec.json.encode(note))
        self._notes[note_key(lane)] = note

    async def forget(self, lane: LaneId) -> None:
        """Release the lane: every process learns of it through `follow`. Raises TransportError."""
        await self._log.put(note_key(lane), None)
        self._notes.pop(note_key(lane), None)

    async def follow(self, released: Callable[[str], None]) -> None:
        """Keep the notes current until cancelled; calls `released(key)` for every note that was taken away."""
        while True:
            for key, document in await self._changes():
                self._apply(key, document)
                if document is None:
                    released(key)

    async def _changes(self) -> Sequence[tuple[str, bytes | None]]:
        try:
            return await self._log.changes(_FOLLOW_S)
        except TransportError as error:
            if not error.retriable:
                raise
            _log.warning("the control topic cannot be followed at the moment: %s", error)
            await self._clock.sleep(_FOLLOW_S)
            return ()

    async def close(self) -> None:
        """Let go of the log."""
        await self._log.close()

    def _apply(self, key: str, document: bytes | None) -> None:
        """A document this version cannot read is left alone: another version's, or another use of the topic."""
        self._notes.pop(key, None)
        if document is None or not key.startswith("lane:"):
            return
        try:
            self._notes[key] = msgspec.json.decode(document, type=LaneNote)
        except (msgspec.DecodeError, msgspec.ValidationError):
            return
