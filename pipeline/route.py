"""One route in this process: its membership in the consumer group, and a lane for every partition it is assigned."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial

from pipeline.breaker import Breaker
from pipeline.chain import Chain
from pipeline.control import Control, note_key
from pipeline.inbox import Allowance
from pipeline.lane import Lane
from pipeline.passage import Passage, Surroundings
from pipeline.ports import Clock, EventSource, LaneId, LaneState, Observer, Transport, Vitals
from schemas.errors import OffsetOutOfRangeError, TransportError
from schemas.event import Event, TopicPartition
from schemas.specs import RouteSpec

_log = logging.getLogger(__name__)
_POLL_S = 0.2
"""How long one fetch waits for events; a lane that gets room in the meantime ends the wait."""
_IDLE_POLL_S = 1.0
"""How often the source is polled while no lane wants events, to stay in the group."""
_FETCH_AGAIN_S = 1.0
"""The pause after a fetch that failed."""

Asked = Mapping[TopicPartition, tuple[Lane, Passage]]


class RouteRunner:
    """Fetches for the lanes that have room, starts a lane for each assigned partition, drains those that are revoked."""

    def __init__(
        self,
        route: RouteSpec,
        transport: Transport,
        clock: Clock,
        observer: Observer,
        vitals: Vitals,
        control: Control,
        breakers: Callable[[], Mapping[str, Breaker]],
        chain: Callable[[Mapping[str, Breaker]], Chain],
        *,
        commit_interval_s: Callable[[RouteSpec, bool], float],
        drain_budget_s: float,
        retry_limit_s: float,
        chance: random.Random,
        ends: Mapping[TopicPartition, int] | None = None,
    ) -> None:
        """With `ends`, each partition is taken up to its end only, and one that has none not at all."""
        self.route = route
        self.lanes: dict[TopicPartition, Lane] = {}
        self._vitals = vitals
        self._source: EventSource = transport.source(route.name)
        self._room = asyncio.Event()
        self._control = control
        self._breakers = breakers
        self._chain = chain
        self._drain_budget_s = drain_budget_s
        self._retry_limit_s = retry_limit_s
        self._chance = chance
        self._ends = ends
        self._tasks: dict[Lane, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None
        self._failure: Exception | None = None
        self._failing_since: float | None = None
        """When fetching began to fail; None while it goes well."""
        self._stopping = False
        self._stop_asked = asyncio.Event()
        self._around = Surroundings(
            route=route,
            transport=transport,
            source=self._source,
            clock=clock,
            observer=observer,
            allowance=Allowance(
                route.batch.in_flight_bytes_max, lambda size, events: observer.in_flight(route.name, size, events)
            ),
            commit_interval_s=lambda caught_up: commit_interval_s(route, caught_up),
            on_room=self._room.set,
        )

    async def run(self, drain_s: Callable[[], float]) -> None:
        """Until `stop`; then drains for at most `drain_s()` seconds. Raises TransportError when the brokers stay out of reach."""
        try:
            async with asyncio.TaskGroup() as self._group:
                try:
                    await self._join()
                    while not self._stopping:
                        await self._turn()
                    await self._drain(list(self.lanes.values()), drain_s())
                finally:
                    self._stopping = True
        finally:
            self._vitals.left(self.route.name)
            await self._leave()

    async def _join(self) -> None:
        """Join the group, which can take as long as another member takes to be missed; given up when told to stop meanwhile."""
        joining, asked = asyncio.ensure_future(self._source.start(self)), asyncio.ensure_future(self._stop_asked.wait())
        try:
            await asyncio.wait({joining, asked}, return_when=asyncio.FIRST_COMPLETED)
            if joining.done():
                joining.result()
        finally:
            asked.cancel()
            joining.cancel()
            await asyncio.gather(asked, joining, return_exceptions=True)

    async def _leave(self) -> None:
        """Leaving is a courtesy to the other members: when it fails, whatever ended the route is still the reason."""
        try:
            await self._source.stop()
        except TransportError as error:
            _log.warning(
                "route %s could not leave group %s, which will notice by itself: %s",
                self.route.name,
                self.route.group,
                error,
            )

    def stop(self) -> None:
        """Fetch no more and drain."""
        self._stopping = True
        self._stop_asked.set()
        self._room.set()

    def released(self, key: str) -> None:
        """The control topic says that this lane (by its note's key) may go on."""
        for lane in self.lanes.values():
            if note_key(lane.identity) == key:
                lane.resume()

    async def assigned(self, partitions: Collection[TopicPartition]) -> None:
        """Start a lane for each partition. A source swallows what its listener raises, so it is kept for the loop."""
        try:
            assert self._group is not None
            for partition in (
                () if self._stopping else partitions
            ):  # a leaving member starts nothing: nobody would end it
                lane = self.lanes[partition] = self._make_lane(partition)
                task = self._tasks[lane] = self._group.create_task(lane.run(), name=f"lane {lane.identity}")
                task.add_done_callback(partial(self._ended, lane))
            self._vitals.joined(self.route.name)
            self._room.set()
        except Exception as error:
            self._failure = error

    def _ended(self, lane: Lane, _: asyncio.Task[None]) -> None:
        del self._tasks[lane]

    async def revoked(self, partitions: Collection[TopicPartition]) -> None:
        """Finish or abort the lanes of these partitions within the rebalance budget."""
        try:
            lanes = [lane for partition in partitions if (lane := self.lanes.pop(partition, None)) is not None]
            await self._drain(lanes, self._drain_budget_s)
        except Exception as error:
            self._failure = error

    async def _turn(self) -> None:
        """One fetch, or one wait for a lane that wants it."""
        self._vitals.progressed(self.route.name)
        if self._failure is not None:
            raise self._failure
        self._room.clear()
        asked = self._asked()
        try:
            if asked and self._around.allowance.has_room:
                await self._take(asked)
            else:
                for _, passage in asked.values():
                    passage.hurry()
                await self._idle()
            self._failing_since = None
        except TransportError as error:
            await self._failed_to_fetch(error, asked)

    def _asked(self) -> Asked:
        """The partitions to fetch from now."""
        return {
            p: (lane, lane.passage) for p, lane in self.lanes.items() if lane.passage is not None and lane.wants_events
        }

    async def _take(self, asked: Asked) -> None:
        """One fetch, handed to the lanes it was for."""
        for partition, events in (await self._fetch(asked)).items():
            holder = self.lanes.get(partition)
            if events and holder is not None:
                holder.offer(asked[partition][1], events)

    async def _failed_to_fetch(self, error: TransportError, asked: Asked) -> None:
        """As a lane does: what is about some partitions or one topic stops their lanes, what may pass is tried again for
        `retry_limit`, the rest is raised."""
        concerned = [lane for partition, (lane, _) in asked.items() if _concerns(error, partition)]
        if concerned:
            for lane in concerned:
                lane.fail(error)
            return
        if isinstance(error, OffsetOutOfRangeError):
            return  # of partitions that were taken away meanwhile
        clock = self._around.clock
        if not error.retriable:
            raise error
        if self._failing_since is None:
            self._failing_since = clock.monotonic()
        if (failing_s := clock.monotonic() - self._failing_since) >= self._retry_limit_s:
            message = f"route {self.route.name} could not fetch for {failing_s:.0f} s, the last time with: {error}"
            raise TransportError(message, retriable=False) from error
        _log.warning("route %s cannot fetch at the moment: %s", self.route.name, error)
        await clock.sleep(_FETCH_AGAIN_S)

    async def _fetch(self, asked: Asked) -> Mapping[TopicPartition, Sequence[Event]]:
        """Fetch for these lanes; when another one gets room before anything came, come back empty-handed."""
        events_max = self.route.batch.events_max
        fetch = asyncio.ensure_future(self._source.fetch(asked, events_max, _POLL_S))
        if len(asked) == len(self.lanes):
            return await fetch
        room = asyncio.ensure_future(self._room.wait())
        try:
            await asyncio.wait({fetch, room}, return_when=asyncio.FIRST_COMPLETED)
            if not fetch.done():
                fetch.cancel()
            return await fetch
        except asyncio.CancelledError:
            if fetch.cancelled() and not _is_cancelling():
                return {}
            fetch.cancel()
            raise
        finally:
            room.cancel()

    async def _idle(self) -> None:
        """No lane wants events: stay in the group, and wait for one that does."""
        await self._source.fetch((), self.route.batch.events_max, 0.0)
        try:
            async with asyncio.timeout(_IDLE_POLL_S):
                await self._room.wait()
        except TimeoutError:
            return

    async def _drain(self, lanes: Sequence[Lane], budget_s: float) -> None:
        for lane in lanes:
            lane.drain()
        tasks = [self._tasks[lane] for lane in lanes if lane in self._tasks]
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=budget_s)
        for task in late:
            task.cancel()
        if late:
            _log.warning(
                "%d lanes of route %s did not drain within %.1f s: aborted, their last batches will be run again",
                len(late),
                self.route.name,
                budget_s,
            )
            await asyncio.wait(late, timeout=budget_s)

    def _make_lane(self, partition: TopicPartition) -> Lane:
        return Lane(
            LaneId(self.route.name, partition, self.route.group),
            self._around,
            self._control,
            self._breakers(),
            self._chain,
            retry_limit_s=self._retry_limit_s,
            chance=self._chance,
            end=None if self._ends is None else self._ends.get(partition, 0),
        )

    @property
    def running_lanes(self) -> int:
        """Lanes that commit now; the commit interval depends on it."""
        return sum(lane.state is LaneState.RUNNING for lane in self.lanes.values())


def _is_cancelling() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _concerns(error: TransportError, partition: TopicPartition) -> bool:
    """Whether this lane must stop for it, and no other need to."""
    if isinstance(error, OffsetOutOfRangeError):
        return partition in error.partitions
    return not error.retriable and partition.topic == error.topic
