"""A bounded run: every partition up to the end that was seen at the start. Watches from outside of the lanes.

What counts is what the group has committed, wherever it was done: so several processes, hosts and members may share the
work, and die. A partition is through when its commit has reached the end, or when no event is left before it (control
records, aborted transactions and compaction leave the last commit short of the end for good).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol

from pipeline.control import Control
from pipeline.ports import Clock, LaneId, LaneState
from schemas.errors import TransportError
from schemas.event import TopicPartition
from schemas.specs import RouteSpec

_log = logging.getLogger(__name__)
_LOOK_EVERY_S = 0.25


class Extent(Protocol):
    """The oldest offset of a partition, and the one after the last that may be read."""

    @property
    def earliest(self) -> int:
        """First."""
        ...

    @property
    def latest(self) -> int:
        """After the last."""
        ...


class Ledger(Protocol):
    """What groups have committed and what partitions hold; `pipeline.kafka.offsets.Offsets`. Calls raise TransportError."""

    async def partitions(self, route: RouteSpec) -> Sequence[TopicPartition]:
        """What the route reads now."""
        ...

    async def extents(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, Extent]:
        """What each holds."""
        ...

    async def at_time(
        self, partitions: Collection[TopicPartition], time_ms: int
    ) -> Mapping[TopicPartition, int | None]:
        """The first offset that is not older."""
        ...

    async def committed(self, group: str, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Without those that have no commit."""
        ...

    async def next_event(self, partition: TopicPartition, offset: int, end: int) -> int | None:
        """The first event in this range; None when there is none. Raises TransportError when it cannot be said now."""
        ...


class Stage(StrEnum):
    """How far one partition is."""

    UNFINISHED = "unfinished"
    THROUGH = "through"
    HALTED = "halted"
    """Stopped or paused by policy, or because it cannot go on: it will not get through by itself."""


@dataclass(frozen=True, slots=True)
class Part:
    """One partition of one route, and where it stands."""

    lane: LaneId
    start: int
    """Where the run found it: the commit, or where a first start begins."""
    end: int
    """Not reached: the first offset that is none of this run's."""
    at: int
    """What is committed, `start` before anything was."""
    stage: Stage = Stage.UNFINISHED
    reason: str = ""
    """Of a halt."""

    @property
    def total(self) -> int:
        """Offsets to go through; control records and gaps count like events."""
        return max(0, self.end - self.start)

    @property
    def done(self) -> int:
        """How many of them are behind."""
        return self.total if self.stage is Stage.THROUGH else min(self.total, max(0, self.at - self.start))


@dataclass(frozen=True, slots=True)
class Limit:
    """What a service is told of a bounded run."""

    ends: Mapping[TopicPartition, int]
    """Where each lane stops; a partition that is not named is left alone."""
    enough: asyncio.Event
    """Set when there is nothing left to wait for: drain."""


class Backfill:
    """See the module. `plan` one, then `run` it beside the lanes."""

    def __init__(self, parts: Iterable[Part], ledger: Ledger, control: Control, clock: Clock) -> None:
        self._parts = {part.lane: part for part in parts}
        self._ledger = ledger
        self._control = control
        self._clock = clock
        self._next: dict[LaneId, int] = {}
        """The next event each partition still has before its end, as far as that was looked up."""

    @property
    def parts(self) -> list[Part]:
        """Every partition, in the order of the routes."""
        return list(self._parts.values())

    @property
    def ends(self) -> dict[TopicPartition, int]:
        """Where lanes have to stop."""
        return {part.lane.source: part.end for part in self._parts.values()}

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come of waiting."""
        return all(part.stage is not Stage.UNFINISHED for part in self._parts.values())

    async def run(self, show: Callable[[Sequence[Part]], None]) -> None:
        """Until it is over; `show` is called after every look."""
        while True:
            try:
                await self.look()
            except TransportError as error:  # the lanes meet the same, and decide when to give up
                _log.warning("progress cannot be looked up at the moment: %s", error)
            show(self.parts)
            if self.is_over:
                return
            await self._clock.sleep(_LOOK_EVERY_S)

    async def look(self) -> None:
        """Bring every partition up to date. Raises TransportError."""
        committed = await self._committed()
        for lane, part in self._parts.items():
            self._parts[lane] = await self._standing(part, committed.get(lane))

    async def _committed(self) -> dict[LaneId, int]:
        groups: dict[str, list[LaneId]] = {}
        for lane in self._parts:
            groups.setdefault(lane.group, []).append(lane)
        found: dict[LaneId, int] = {}
        for group, lanes in groups.items():
            offsets = await self._ledger.committed(group, [lane.source for lane in lanes])
            found |= {lane: offsets[lane.source] for lane in lanes if lane.source in offsets}
        return found

    async def _standing(self, part: Part, committed: int | None) -> Part:
        note = self._control.note(part.lane)
        if note is not None and note.state in (LaneState.STOPPED, LaneState.PAUSED):
            at = part.at if committed is None else committed
            return replace(part, at=at, stage=Stage.HALTED, reason=note.reason)
        if part.stage is Stage.THROUGH:
            return part
        at = part.start if committed is None else committed
        moved = at != part.at
        part = replace(part, at=at, stage=Stage.UNFINISHED, reason="")
        if part.start > part.end and not moved:
            return part  # committed beyond the log: its lane will halt and say so
        if at >= part.end or (not moved and await self._is_dry(part)):
            return replace(part, stage=Stage.THROUGH)
        return part

    async def _is_dry(self, part: Part) -> bool:
        """Whether no event is left. Looked up only when the commit stands still, and once for each event that holds it up."""
        known = self._next.get(part.lane)
        if known is not None and known >= part.at:
            return False
        try:
            found = await self._ledger.next_event(part.lane.source, part.at, part.end)
        except TransportError:  # not known yet: the next look asks again
            return False
        if found is not None:
            self._next[part.lane] = found
        return found is None


async def plan(routes: Iterable[RouteSpec], ledger: Ledger, control: Control, clock: Clock) -> Backfill:
    """A backfill of what these routes have before them now. Raises TransportError."""
    parts: list[Part] = []
    read = {route.name: (route, await ledger.partitions(route)) for route in routes}
    # Commits before ends: what is committed later than that lies before an end, or the log has lost it.
    commits = {name: await ledger.committed(route.group, partitions) for name, (route, partitions) in read.items()}
    extents = await ledger.extents({each for _, partitions in read.values() for each in partitions})
    for name, (route, partitions) in read.items():
        committed = commits[name]
        first = await _first_starts(route, [p for p in partitions if p not in committed], extents, ledger)
        for partition in partitions:
            start = committed[partition] if partition in committed else first[partition]
            parts.append(Part(LaneId(route.name, partition, route.group), start, extents[partition].latest, start))
    return Backfill(parts, ledger, control, clock)


async def _first_starts(
    route: RouteSpec,
    partitions: Collection[TopicPartition],
    extents: Mapping[TopicPartition, Extent],
    ledger: Ledger,
) -> dict[TopicPartition, int]:
    """Where a lane without a commit begins, as `EventSource.locate` has it."""
    match route.start:
        case "earliest":
            return {each: extents[each].earliest for each in partitions}
        case "latest":
            return {each: extents[each].latest for each in partitions}
        case time_ms:
            found = await ledger.at_time(partitions, int(time_ms))
            return {each: at if (at := found[each]) is not None else extents[each].latest for each in partitions}
