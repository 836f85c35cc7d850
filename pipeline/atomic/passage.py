"""One passage of a gathering lane: all partitions of a route behind one producer.

It starts as every passage does (fence, read the committed offsets, seek), only with all partitions. What is complete goes through the
chain and is written; a Kafka transaction is committed between source transactions only, with where each partition goes on. What is not
complete is nowhere but in memory, and is read again by the next passage.
"""

from __future__ import annotations

import asyncio
import logging
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from pipeline.atomic.gathering import RELEASED_MAX, Gathering, GatheringError, Unit
from pipeline.chain import Chain, Halt, Verdicts
from pipeline.inbox import cut
from pipeline.passage import Passage, Surroundings, _missing, _Pending, _to_the_end
from pipeline.plan import Destinations, plan
from pipeline.ports import BatchSpan, CommitFacts, EventSink, LaneId, LaneState
from schemas.errors import DeadLetterError, FencedError, OffsetOutOfRangeError, OversizeError, TransportError
from schemas.event import Batch, Event, TopicPartition
from schemas.specs import AtomicSpec

_log = logging.getLogger(__name__)
_HISTORY = 2 * RELEASED_MAX
"""Offsets of the transaction topic that are read back when the lane starts: BEGIN and END of each transaction."""


class GatheringPassage(Passage):
    """See the module."""

    def __init__(
        self,
        lane: LaneId,
        chain: Chain,
        around: Surroundings,
        on_start: Callable[[], None],
        on_commit: Callable[[], Awaitable[None]],
        spec: AtomicSpec,
        partitions: frozenset[TopicPartition],
    ) -> None:
        """`partitions` are those that this member of the group was assigned."""
        super().__init__(lane, chain, around, on_start, on_commit)
        self.next: dict[TopicPartition, int] = {}
        """Where fetching goes on."""
        self._spec = spec
        self._partitions = partitions
        self._gathering = Gathering(spec.transaction_topic, spec.prefix, spec.events_max, spec.size_bytes_max)
        self._arrived = asyncio.Event()
        self._fault: str | None = None
        self._quiet_since: float | None = None
        self._where: dict[str, Destinations] = {}
        self._offsets: dict[TopicPartition, int] = {}
        """Written, not yet committed."""
        self._history: dict[TopicPartition, int] = {}
        """Partitions of the transaction topic of which what was done with before is still to be read, and up to where."""

    def wants(self, at: TopicPartition) -> bool:
        """Whether to fetch from this partition now."""
        if not self.started or self._draining or self._fault is not None:
            return False
        return at in self._history if self._history else self._gathering.wants(at)

    def gather(self, at: TopicPartition, events: Sequence[Event]) -> None:
        """Hand over consecutive records of one partition."""
        assert self.started and events[0].offset >= self.next[at], "events out of step with the partition's position"
        self._quiet_since = None
        self.next[at] = events[-1].offset + 1
        if (until := self._history.get(at)) is not None:
            events = self._without_past(at, events, until)
        if not events:
            return
        before = self._gathering.events, self._gathering.size_bytes
        try:
            self._gathering.put(at, events)
        except GatheringError as error:
            self._fault = str(error)
        self._hold(self._gathering.events - before[0], self._gathering.size_bytes - before[1])
        self._arrived.set()

    def _without_past(self, at: TopicPartition, events: Sequence[Event], until: int) -> Sequence[Event]:
        past = bisect_left(events, until, key=lambda event: event.offset)
        self._gathering.recall(events[:past])
        if self.next[at] >= until:
            del self._history[at]
            if not self._history:
                self._around.on_room()
        return events[past:]

    def _forget_history(self) -> None:
        """It ends in records that are gone."""
        for at, until in self._history.items():
            self.next[at] = until
            with suppress(FencedError):
                self._around.source.seek(at, until)
        self._history.clear()
        self._quiet_since = None
        self._around.on_room()

    def nothing_came(self) -> None:
        """Everything wanted was asked for, and there is nothing to read."""
        now = self._around.clock.monotonic()
        if self._quiet_since is None:
            self._quiet_since = now
        if now - self._quiet_since < self._spec.wait_s:
            return
        if self._history:
            self._forget_history()
        elif self._fault is None and self._gathering.is_overtaken:
            self._fault = (
                f"no source transaction can go on: {'; '.join(self._gathering.waiting()[:3])}; everything there is was read "
                f"{self._spec.wait_s:g} s ago. Records are missing (deleted by retention, or skipped by a start in the middle), "
                f"or not all topics of the connector are read: set group {self._lane.group} behind the transaction with "
                f"`penstock offsets REGISTRY {self._lane.route} reset`, then `penstock resume`"
            )
            self._arrived.set()

    def drain(self) -> None:
        """Take up no further transaction; what is written is committed."""
        self._draining = True
        self._arrived.set()

    def finish(self) -> None:
        """As `drain`: what is not complete could not be finished either."""
        self.drain()

    async def run(self) -> Halt | None:
        """As the base class's."""
        sink = self._sink = self._around.transport.sink(self._lane.route, self._lane.source, self._around.source)
        try:
            await sink.open()
            if missing := await self._elsewhere(sink):
                await self._stand_by(missing)
                return None
            await self._begin(sink)
            return await self._work(sink)
        finally:
            self.started = False
            self._release_all()
            await _to_the_end(sink.close())

    async def _elsewhere(self, sink: EventSink) -> int:
        """How many of the route's partitions are with other members of the group."""
        counts = {topic: await sink.partition_count(topic) for topic in self._around.route.sources}
        everything = {TopicPartition(topic, number) for topic, count in counts.items() for number in range(count)}
        by_topic = {
            topic: await sink.partition_count(topic)
            for topic in sorted({*self._around.route.destinations, self._around.route.dead_letter})
        }
        self._where = {topic: Destinations(count, by_topic) for topic, count in counts.items()}
        return len(everything - self._partitions)

    async def _stand_by(self, missing: int) -> None:
        """A part of the partitions is a part of the transactions: do nothing until they are dealt out anew."""
        _log.warning(
            "route %s is atomic, and %d of its partitions are assigned to another process of group %s: nothing is done here until "
            "this process has all of them; run one process at a time",
            self._lane.route,
            missing,
            self._lane.group,
        )
        while not self._draining:
            await self._arrived.wait()

    async def _begin(self, sink: EventSink) -> None:
        source, route = self._around.source, self._around.route
        begun: dict[TopicPartition, int] = {}
        for at in sorted(self._partitions):
            position = await source.locate(at)
            committed = position.committed
            if committed is not None and not position.earliest <= committed <= position.latest:
                lane = LaneId(self._lane.route, at, self._lane.group)
                raise OffsetOutOfRangeError(_missing(lane, committed, position), [at])
            if committed is None and route.start != "earliest":
                begun[at] = position.start
            self.next[at] = position.start if committed is None else committed
            if (
                at.topic == self._spec.transaction_topic
                and (past := max(position.earliest, self.next[at] - _HISTORY)) < self.next[at]
            ):
                self._history[at] = self.next[at]
                self.next[at] = past
        if begun:
            await sink.commit_all(begun)
        for at, offset in self.next.items():
            source.seek(at, offset)
        self._gathering.begin(self._partitions)
        self.started = True
        self._started_at = self._around.clock.monotonic()
        self._on_start()
        self._around.on_room()

    async def _work(self, sink: EventSink) -> Halt | None:
        while not self._draining:
            await self._arrived.wait()
            self._arrived.clear()
            halt = await self._release(sink)
            await self._commit_written(sink)
            if halt is not None:
                return halt
            if self._fault is not None:
                return Halt(LaneState.STOPPED, self._fault)
            self._around.on_room()
        return None

    async def _release(self, sink: EventSink) -> Halt | None:
        """Write everything that may go."""
        while not self._draining:
            try:
                unit = self._gathering.release()
            except GatheringError as error:
                self._fault = str(error)
                return None
            if unit is None:
                return None
            with self._chain.undivided():
                halt = await self._emit_unit(sink, unit)
            if halt is not None:
                return halt
            self._offsets |= unit.offsets
            self._pending.events += unit.events
            self._hold(-unit.events, -unit.size_bytes)
            if (pause := self._chain.pause) is not None:
                return pause
            if self._pending.events >= self._around.route.batch.commit_events_max:
                await self._commit_written(sink)
        return None

    async def _emit_unit(self, sink: EventSink, unit: Unit) -> Halt | None:
        """All of it is decided before any of it is written: a transaction that halts the lane is not begun."""
        decided: list[tuple[Verdicts, BatchSpan]] = []
        try:
            for at, events in unit.runs:
                for chunk, _ in cut(events, self._around.route.batch):
                    rest = chunk
                    while rest:
                        decided.append(await self._decide(Batch(at, rest)))
                        verdicts = decided[-1][0]
                        if verdicts.halt is not None:
                            return verdicts.halt
                        rest = rest[verdicts.decided :]  # all but when taking a bad batch apart used up its time
            for verdicts, span in decided:
                await self._write_fitting(sink, verdicts, span)
        finally:
            for _, span in decided:
                span.end()
        return None

    async def _decide(self, batch: Batch) -> tuple[Verdicts, BatchSpan]:
        span = self._around.observer.batch(self._lane, batch)
        try:
            return await self._chain.run(batch, span), span
        except BaseException as error:
            span.end(error)
            raise

    async def _write_fitting(self, sink: EventSink, verdicts: Verdicts, span: BatchSpan) -> None:
        """An event whose output does not fit its topic is dead-lettered instead, before anything of its batch is sent."""
        at, around = verdicts.batch.source, self._around
        self._pending.cut_to.clear()  # offsets of another partition
        while True:
            planned = plan(around.route, at, verdicts, self._where[at.topic], span.headers(), around.clock.time_ms())
            planned = self._pending.shortened(planned)
            try:
                await sink.write(planned)
                break
            except OversizeError as error:
                verdicts = self._made_to_fit(verdicts, error)
        self._pending.wrote(verdicts, sum(len(outgoing.events) for outgoing in planned))

    async def _commit_written(self, sink: EventSink) -> None:
        offsets, pending, around = self._offsets, self._pending, self._around
        if not offsets:
            return
        self._offsets, self._pending = {}, _Pending()
        started = around.clock.monotonic()
        try:
            await sink.commit_all(offsets)
        except TransportError as error:
            if not error.retriable and error.topic == around.route.dead_letter:
                raise DeadLetterError(f"the dead letters of {self._lane} cannot be written: {error}") from error
            raise
        seconds = around.clock.monotonic() - started
        self.progressed = True
        behind = [
            high - at for each, at in self.next.items() if (high := around.source.high_watermark(each)) is not None
        ]
        lag = self._gathering.events + sum(max(0, each) for each in behind)
        offset = offsets.get(self._lane.source, self.next[self._lane.source])
        around.observer.committed(self._lane, CommitFacts(pending.tally(), pending.records_out, offset, lag, seconds))
        await self._on_commit()
