"""An atomic route in this process: one lane for all its partitions, or none.

The group deals partitions out, and a part of them is a part of the transactions: a member that has not all of them does nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from sys import maxsize
from typing import Any

from pipeline.atomic.passage import GatheringPassage
from pipeline.chain import Chain
from pipeline.inbox import Allowance
from pipeline.lane import Lane
from pipeline.passage import Passage
from pipeline.ports import LaneId
from pipeline.route import Asked, RouteRunner
from schemas.errors import FencedError
from schemas.event import Event, TopicPartition
from schemas.specs import AtomicSpec


class GatheringLane(Lane):
    """A lane over all partitions; its name is that of the first partition of the transaction topic."""

    def __init__(self, spec: AtomicSpec, partitions: frozenset[TopicPartition], *given: Any, **settings: Any) -> None:
        super().__init__(*given, **settings)
        self._spec = spec
        self._partitions = partitions

    @property
    def gathering(self) -> GatheringPassage | None:
        """The passage that events may be handed to now."""
        passage = self.passage
        assert passage is None or isinstance(passage, GatheringPassage)
        return passage

    def gather(self, passage: Passage, at: TopicPartition, events: Sequence[Event]) -> None:
        """Hand over what was asked for on behalf of `passage`; what an earlier one asked for is fetched again."""
        current = self.gathering
        if current is None or self._failure is not None:
            return
        if current is passage and events[0].offset >= current.next[at]:
            current.gather(at, events)
        else:
            with suppress(FencedError):
                self._around.source.seek(at, current.next[at])

    def _make_passage(self, chain: Chain) -> Passage:
        return GatheringPassage(
            self.identity,
            chain,
            self._around,
            self._started,
            self._remember_quarantine,
            self._spec,
            self._partitions,
        )


class AtomicRunner(RouteRunner):
    """See the module."""

    def __init__(self, *given: Any, **settings: Any) -> None:
        super().__init__(*given, **settings)
        route, observer = self._around.route, self._around.observer
        # what a lane gathers has bounds of its own: the route's would keep the rest of a transaction away
        self._around = replace(
            self._around,
            allowance=Allowance(maxsize, lambda size, events: observer.in_flight(route.name, size, events)),
        )

    async def assigned(self, partitions: Collection[TopicPartition]) -> None:
        """One lane for all of them."""
        try:
            assert self._group is not None
            if partitions and not self._stopping:
                lane = self._make_gathering(frozenset(partitions))
                self.lanes.update(dict.fromkeys(partitions, lane))
                task = self._tasks[lane] = self._group.create_task(lane.run(), name=f"lane {lane.identity}")
                task.add_done_callback(partial(self._ended, lane))
            self._vitals.joined(self.route.name)
            self._room.set()
        except Exception as error:
            self._failure = error

    def _asked(self) -> Asked:
        asked: dict[TopicPartition, tuple[Lane, Passage]] = {}
        for at, lane in self.lanes.items():
            assert isinstance(lane, GatheringLane)
            if (passage := lane.gathering) is not None and passage.wants(at):
                asked[at] = lane, passage
        return asked

    async def _take(self, asked: Asked) -> None:
        fetched = await self._fetch(asked)
        for at, events in fetched.items():
            lane = self.lanes.get(at)
            if events and isinstance(lane, GatheringLane):
                lane.gather(asked[at][1], at, list(events))
        if not any(fetched.values()):
            for passage in {id(passage): passage for _, passage in asked.values()}.values():
                assert isinstance(passage, GatheringPassage)
                passage.nothing_came()

    def _make_gathering(self, partitions: frozenset[TopicPartition]) -> GatheringLane:
        spec = self.route.atomic
        assert spec is not None, "only an atomic route gathers"
        return GatheringLane(
            spec,
            partitions,
            LaneId(self.route.name, TopicPartition(spec.transaction_topic, 0), self.route.group),
            self._around,
            self._control,
            self._breakers(),
            self._chain,
            retry_limit_s=self._retry_limit_s,
            chance=self._chance,
        )
