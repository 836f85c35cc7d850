"""One passage of a lane: from opening its sink at a committed offset until it halts, drains or fails.

Two loops in step: one transforms batches, the other writes them and commits by time or size. The order at the start is
the one that loses nothing (fence, then read the committed offset, then seek), and whatever goes wrong ends the passage
without a commit; the lane then starts a new one. A transaction opens only when transforms are done.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.chain import Chain, Halt, Verdicts
from pipeline.inbox import Allowance, Inbox
from pipeline.plan import Destinations, condemn, plan, truncated, unfit_violation
from pipeline.ports import (
    BatchSpan,
    Clock,
    CommitFacts,
    EventSink,
    EventSource,
    LaneId,
    Observer,
    Outgoing,
    Position,
    Tally,
    Transport,
)
from schemas.errors import DeadLetterError, KeylessError, OffsetOutOfRangeError, OversizeError, TransportError
from schemas.event import Batch, Event
from schemas.records import offset_at
from schemas.specs import OnViolation, RouteSpec

_BATCHES_PER_COMMIT = 4
_PATIENCE_S_MAX = 0.5
"""A lane that is behind waits for a full batch no longer than its share of the commit interval, and never longer than this."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all lanes of a route share in one process."""

    route: RouteSpec
    transport: Transport
    source: EventSource
    clock: Clock
    observer: Observer
    allowance: Allowance
    commit_interval_s: Callable[[bool], float]
    """Of a lane that has caught up, or that has not. Grows with the number of lanes in the process, so that commits stay
    at about a hundred a second."""
    on_room: Callable[[], None]
    """Called when a lane can take more events than before."""


@dataclass(frozen=True, slots=True)
class _Work:
    """A transformed batch on its way to the writer."""

    verdicts: Verdicts
    size_bytes: int
    span: BatchSpan


class Passage:
    """See the module. `run` once; `offer` events while `accepts`; `drain` to end it in good order."""

    def __init__(
        self,
        lane: LaneId,
        chain: Chain,
        around: Surroundings,
        on_start: Callable[[], None],
        on_commit: Callable[[], Awaitable[None]],
    ) -> None:
        self.next_offset = -1
        """Where fetching goes on: after the last offered event, or the start."""
        self.started = False
        self.progressed = False
        """Whether anything was committed, so that a failure now is a new failure."""
        self.idle_s = 0.0
        """How long it waited for its first event: in that time it did not fail."""
        self._lane = lane
        self._chain = chain
        self._around = around
        self._on_start = on_start
        self._on_commit = on_commit
        self._inbox = Inbox(around.route.batch, self._patience_s)
        self._sink: EventSink | None = None
        self._handoff: asyncio.Queue[_Work | None] = asyncio.Queue(1)
        self._held_bytes = 0
        self._held_events = 0
        self._pending = _Pending()
        self._resume_at = 0
        """Where this passage takes up the work; what is fetched before it is history (see `Chain.recall`)."""
        self._draining = False
        self._offered = False
        self._started_at = 0.0

    @property
    def accepts(self) -> bool:
        """Whether the lane should be asked for events now."""
        return self.started and not self._draining and self._inbox.has_room

    def offer(self, events: Sequence[Event]) -> None:
        """Hand over consecutive events, the first at `next_offset` or after a gap that the log itself has."""
        assert self.started and offset_at(events, 0) >= self.next_offset, "events out of step with the lane's position"
        if not self._offered:
            self._offered = True
            self.idle_s = self._around.clock.monotonic() - self._started_at
        size = self._inbox.put(events)
        self._hold(len(events), size)
        self.next_offset = offset_at(events, -1) + 1

    def hurry(self) -> None:
        """Nothing more can be fetched until something is written: wait for no fuller batch."""
        self._inbox.hurry()

    def drain(self) -> None:
        """Take up no further batch; what is transformed is written and committed."""
        self._draining = True
        self._inbox.close()

    def finish(self) -> None:
        """Take no more events; what was offered is transformed, written and committed."""
        self._draining = True
        self._inbox.finish()

    async def run(self) -> Halt | None:
        """Until drained (None) or halted. Raises TransportError, ModuleFault, DeadLetterError, and OversizeError where that is to stop
        the lane; nothing uncommitted survives any of them."""
        around = self._around
        self._sink = around.transport.sink(self._lane.route, self._lane.source, around.source)
        try:
            await self._sink.open()
            position = await around.source.locate(self._lane.source)
            where = await self._destinations(self._sink)
            await self._keep_start(self._sink, position)
            self._begin_at(position)
            writer = asyncio.create_task(self._write(where), name=f"write {self._lane}")
            await _in_step(asyncio.create_task(self._transform(), name=f"transform {self._lane}"), writer)
            return writer.result()
        finally:
            self.started = False
            self._release_all()
            await _to_the_end(self._sink.close())

    async def _keep_start(self, sink: EventSink, position: Position) -> None:
        """Commit where a first start begins: `latest` is somewhere else by the next attempt, and what came between would be lost."""
        if position.committed is None and self._around.route.start != "earliest":
            await sink.commit(position.start)

    def _begin_at(self, position: Position) -> None:
        committed = position.committed
        if committed is not None and not position.earliest <= committed <= position.latest:
            raise OffsetOutOfRangeError(_missing(self._lane, committed, position), [self._lane.source])
        self._resume_at = position.start if committed is None else committed
        self.next_offset = max(position.earliest, self._resume_at - self._chain.history_events)
        self._around.source.seek(self._lane.source, self.next_offset)
        self.started = True
        self._started_at = self._around.clock.monotonic()
        self._on_start()
        self._around.on_room()

    async def _destinations(self, sink: EventSink) -> Destinations:
        route = self._around.route
        counts = {
            topic: await sink.partition_count(topic) for topic in sorted({*route.destinations, route.dead_letter})
        }
        return Destinations(source=await sink.partition_count(self._lane.source.topic), by_topic=counts)

    async def _transform(self) -> None:
        while (chunk := await self._inbox.take()) is not None:
            self._around.on_room()
            events, size_bytes = await self._without_history(*chunk)
            if not events:
                continue
            batch = Batch(self._lane.source, events)
            span = self._around.observer.batch(self._lane, batch)
            try:
                verdicts = await self._chain.run(batch, span)
            except BaseException as error:
                span.end(error)
                raise
            await self._handoff.put(_Work(verdicts, size_bytes, span))
            if verdicts.halt is not None:
                return
        await self._handoff.put(None)

    async def _without_history(self, events: Sequence[Event], size_bytes: int) -> tuple[Sequence[Event], int]:
        """What lies before the committed offset was done with by an earlier passage; the chain only remembers it."""
        if offset_at(events, 0) >= self._resume_at:
            return events, size_bytes
        before = bisect_left(range(len(events)), self._resume_at, key=lambda index: offset_at(events, index))
        await self._chain.recall(Batch(self._lane.source, events[:before]))
        rest = events[before:]
        share = size_bytes * len(rest) // len(events)
        self._hold(-before, share - size_bytes)
        self._around.on_room()
        return rest, share

    async def _write(self, where: Destinations) -> Halt | None:
        while True:
            try:
                async with asyncio.timeout(self._pending.seconds_left(self._around.clock.monotonic())):
                    work = await self._handoff.get()
            except TimeoutError:
                await self._commit()
                continue
            if work is None:
                await self._commit()
                return None
            await self._emit(work, where)
            self._hold(-len(work.verdicts.batch.events), -work.size_bytes)
            self._around.on_room()
            interval_s = self._around.commit_interval_s(self._has_caught_up)
            self._pending.add(work.verdicts, self._around.clock.monotonic() + interval_s)
            if work.verdicts.halt is not None:
                await self._commit()
                return work.verdicts.halt
            if self._pending.events >= self._around.route.batch.commit_events_max or self._pending.is_due(
                self._around.clock.monotonic()
            ):
                await self._commit()

    @property
    def _has_caught_up(self) -> bool:
        """Less than a batch is left to fetch (not nothing: a topic that is written in transactions ends in markers)."""
        high = self._around.source.high_watermark(self._lane.source)
        return high is not None and high - self.next_offset < self._around.route.batch.events_max

    def _patience_s(self) -> float:
        """How long to wait for a full batch while there is more to fetch: a crossing and a produce request cost about the
        same for few events, and a lane that is behind delays nobody by it."""
        if self._has_caught_up:
            return 0.0
        return min(self._around.commit_interval_s(False) / _BATCHES_PER_COMMIT, _PATIENCE_S_MAX)

    async def _emit(self, work: _Work, where: Destinations) -> None:
        try:
            await self._emit_fitting(work, where)
        except BaseException as error:
            work.span.end(error)
            raise
        work.span.end()

    async def _emit_fitting(self, work: _Work, where: Destinations) -> None:
        """Write the batch; an event whose output does not fit its topic is dead-lettered instead, before anything is sent."""
        assert self._sink is not None
        verdicts, source = work.verdicts, self._lane.source
        while True:
            planned = plan(
                self._around.route, source, verdicts, where, work.span.headers(), self._around.clock.time_ms()
            )
            planned = self._pending.shortened(planned)
            try:
                await self._sink.write(planned)
                break
            except OversizeError as error:
                verdicts = self._made_to_fit(verdicts, error)
        self._pending.wrote(verdicts, sum(len(outgoing.events) for outgoing in planned))

    def _made_to_fit(self, verdicts: Verdicts, error: OversizeError) -> Verdicts:
        route = self._around.route
        if error.topic != route.dead_letter:
            last = self._chain.stage(route.through[-1])
            if last.spec.on_violation is OnViolation.STOP:
                raise error
            violation = unfit_violation(last.spec.name, last.sha256, error)
            return condemn(verdicts, error.offset, violation, drop=last.spec.on_violation is OnViolation.DROP)
        if isinstance(error, KeylessError):
            raise DeadLetterError(
                f"the dead letter of {self._lane.source} offset {error.offset} cannot be written: {error}; "
                f"set cleanup.policy=delete on {error.topic}"
            )
        if not route.truncate_oversize or error.offset in self._pending.cut_to:
            raise DeadLetterError(
                f"the dead letter of {self._lane.source} offset {error.offset} cannot be written: {error}; "
                f"raise max.message.bytes of {error.topic}, or set `oversize: truncate` on route {route.name}"
            )
        self._pending.cut_to[error.offset] = (error.topic, error.size_bytes_max)
        return verdicts

    async def _commit(self) -> None:
        assert self._sink is not None
        pending, around = self._pending, self._around
        if pending.offset is None:
            return
        self._pending = _Pending()
        started = around.clock.monotonic()
        try:
            await self._sink.commit(pending.offset)
        except TransportError as error:
            if not error.retriable and error.topic == around.route.dead_letter:
                raise DeadLetterError(f"the dead letters of {self._lane.source} cannot be written: {error}") from error
            raise
        seconds = around.clock.monotonic() - started
        self.progressed = True
        high = around.source.high_watermark(self._lane.source)
        lag = None if high is None else max(0, high - pending.offset)
        around.observer.committed(
            self._lane, CommitFacts(pending.tally(), pending.records_out, pending.offset, lag, seconds)
        )
        await self._on_commit()

    def _hold(self, events: int, size_bytes: int) -> None:
        self._held_events += events
        self._held_bytes += size_bytes
        self._around.allowance.take(events, size_bytes)

    def _release_all(self) -> None:
        self._hold(-self._held_events, -self._held_bytes)


class _Pending:
    """What was written since the last commit."""

    def __init__(self) -> None:
        self.offset: int | None = None
        self.events = 0
        self.records_out = 0
        self.cut_to: dict[int, tuple[str, int]] = {}
        """Dead letters to truncate: source offset to topic and its size limit."""
        self._due: float | None = None
        self._sources = Counter[str]()
        self._violations = Counter[str]()

    def add(self, verdicts: Verdicts, due: float) -> None:
        """A batch was written; commit by `due` (the first batch's counts)."""
        if self._due is None:
            self._due = due
        self.events += len(verdicts.batch.events)
        if verdicts.decided:
            self.offset = offset_at(verdicts.batch.events, verdicts.decided - 1) + 1

    def wrote(self, verdicts: Verdicts, records: int) -> None:
        """Count outcomes; they become facts at the commit."""
        self.records_out += records
        dead = len(verdicts.violations)
        passed = _passed_through(verdicts)
        self._sources["dead_lettered"] += dead
        self._sources["dropped"] += verdicts.dropped
        self._sources["passed_through"] += passed
        self._sources["emitted"] += verdicts.decided - dead - verdicts.dropped - passed
        self._violations.update(violation.kind.value for _, violation in (*verdicts.violations, *verdicts.tolerated))

    def shortened(self, planned: list[Outgoing]) -> list[Outgoing]:
        """The plan with those dead letters cut that are known not to fit."""
        if not self.cut_to:
            return planned
        return [
            Outgoing(o.topic, o.partition, [self._cut(o.topic, event) for event in o.events], o.timestamp)
            for o in planned
        ]

    def _cut(self, topic: str, event: Event) -> Event:
        found = self.cut_to.get(event.offset)
        return truncated(event, found[1]) if found and found[0] == topic else event

    def is_due(self, now: float) -> bool:
        return self._due is not None and now >= self._due

    def seconds_left(self, now: float) -> float | None:
        """Until the commit is due; None when nothing waits for one."""
        return None if self._due is None else max(0.0, self._due - now)

    def tally(self) -> Tally:
        return Tally(**self._sources, by_violation=dict(self._violations))


def _passed_through(verdicts: Verdicts) -> int:
    """Source events that went on unchanged past a violation and were emitted."""
    if not verdicts.tolerated:
        return 0
    return len({index for index, _ in verdicts.tolerated} & set(verdicts.origin))


def _missing(lane: LaneId, committed: int, position: Position) -> str:
    if committed < position.earliest:
        gap = f"offsets {committed} to {position.earliest - 1} ({position.earliest - committed} at most) are gone from the broker"
    else:
        gap = (
            f"the log ends at {position.latest}, before the committed offset: the topic was made anew or lost its tail"
        )
    remedy = f"decide where to go on, `penstock offsets REGISTRY {lane.route} reset` (group {lane.group}), then `penstock resume`"
    return f"{lane.source} goes on at offset {committed}, but {gap}; {remedy}"


async def _in_step(*tasks: asyncio.Task[Any]) -> None:
    """Until all have ended; the first that fails cancels the others, and its error is raised.

    Not a task group: that forgets that it was itself cancelled when one of its tasks fails at the same time, and it waits
    for ever for the others when one ends cancelled without having been asked (as a client's own future can make it).
    """
    running, errors = set(tasks), list[BaseException]()
    while running:
        try:
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError as cancelled:
            errors.insert(0, cancelled)
        else:
            errors += filter(None, (_error_of(task, asked=bool(errors)) for task in done))
        for task in running if errors else ():
            task.cancel()
    if errors:
        raise errors[0]


async def _to_the_end(call: Coroutine[Any, Any, None]) -> None:
    """`call` in full, however often this task is cancelled meanwhile: half-closed, a producer would keep its transaction open."""
    task, cancelled = asyncio.create_task(call), False
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            cancelled = True
    task.result()
    if cancelled:
        raise asyncio.CancelledError


def _error_of(task: asyncio.Task[Any], *, asked: bool) -> BaseException | None:
    if not task.cancelled():
        return task.exception()
    return None if asked else TransportError(f"{task.get_name()} was cut off by the client")
