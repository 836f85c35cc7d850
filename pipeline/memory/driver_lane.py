"""One lane of a `PipelineDriver`: the steps of a passage, one event at a time, without waiting."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pipeline.assembly import make_breakers, make_chain
from pipeline.chain import Chain, Halt, Verdicts
from pipeline.memory.broker import MemoryBroker
from pipeline.memory.clock import ManualClock
from pipeline.observe.null import NullSpan
from pipeline.plan import Destinations, plan
from pipeline.ports import EventSink, LaneId, LaneState
from pipeline.steps import RouteFormats
from pipeline.workers import InlineThread
from sandbox import Transformer
from schemas.errors import ModuleFault, PenstockError
from schemas.event import Batch, Event, Headers, TopicPartition
from schemas.outcome import Outcome, Violation
from schemas.specs import RouteSpec

T = TypeVar("T")
_NO_TRACE: Headers = ()


class LaneHaltedError(PenstockError):
    """An event was sent to a lane that is stopped or paused; `PipelineDriver.resume` lets it go on."""

    code = "halted"

    def __init__(self, lane: LaneId, halt: Halt) -> None:
        super().__init__(
            f"lane {lane} is {halt.state}: {halt.reason} — driver.resume({lane.route!r}) does what `penstock resume` does"
        )
        self.lane = lane
        self.halt = halt


@dataclass(frozen=True, slots=True)
class Sent:
    """What one route made of one event."""

    route: str
    source: TopicPartition
    event: Event
    """As the topic holds it, with its offset and timestamp."""
    outcome: Outcome | None
    """None: the lane halted before this event had a verdict; it is run again after `resume`."""
    tolerated: tuple[Violation, ...] = ()
    """Violations that `on_violation: drop` or `pass-through` took care of."""
    halt: Halt | None = None
    """Why the lane takes no further event."""


class DriverLane:
    """One route over one partition: the same steps as a `Passage`, one event at a time."""

    def __init__(
        self,
        route: RouteSpec,
        source: TopicPartition,
        broker: MemoryBroker,
        sink: EventSink,
        clock: ManualClock,
        transformers: Mapping[str, Transformer],
        formats: RouteFormats,
    ) -> None:
        self.identity = LaneId(route.name, source, route.group)
        self.halt: Halt | None = None
        self._route = route
        self._formats = formats
        self._source = source
        self._broker = broker
        self._sink = sink
        self._clock = clock
        self._transformers = transformers
        self._breakers = make_breakers(route, transformers, clock)
        self._position = 0
        self._chain = self._make_chain()
        _at_once(sink.open())
        topics = (*route.destinations, route.dead_letter)
        counts = {topic: broker.partition_count(topic) for topic in topics}
        self._where = Destinations(source=broker.partition_count(source.topic), by_topic=counts)

    def run(self, written: Callable[[TopicPartition], None]) -> list[Sent]:
        """To the partition's end, or until halted; tells which partitions were written to."""
        sent: list[Sent] = []
        log = self._broker.partition(self._source)
        while self.halt is None and (events := log.since(self._position, 1)):
            sent.append(self._step(events[0], written))
        return sent

    def resume(self) -> None:
        """Forget the halt and the breakers' strikes; a new passage has guests of its own."""
        for breaker in self._breakers.values():
            breaker.reset()
        if self.halt is not None:
            self.halt = None
            self._chain.close()
            self._chain = self._make_chain()

    def close(self) -> None:
        """Let go of the guests."""
        self._chain.close()

    def _step(self, event: Event, written: Callable[[TopicPartition], None]) -> Sent:
        try:
            verdicts = _at_once(self._chain.run(Batch(self._source, [event]), NullSpan()))
        except ModuleFault as fault:
            self.halt = Halt(LaneState.STOPPED, str(fault))
            return Sent(self._route.name, self._source, event, None, halt=self.halt)
        self._write(verdicts, written)
        self.halt = verdicts.halt
        outcomes = verdicts.outcomes()
        tolerated = tuple(violation for _, violation in verdicts.tolerated)
        return Sent(
            self._route.name, self._source, event, outcomes[0] if outcomes else None, tolerated, halt=verdicts.halt
        )

    def _write(self, verdicts: Verdicts, written: Callable[[TopicPartition], None]) -> None:
        planned = plan(self._route, self._source, verdicts, self._where, _NO_TRACE, self._clock.time_ms())
        _at_once(self._sink.write(planned))
        for outgoing in planned:
            written(TopicPartition(outgoing.topic, outgoing.partition))
        if verdicts.decided:
            self._position = verdicts.batch.events[verdicts.decided - 1].offset + 1
            _at_once(self._sink.commit(self._position))

    def _make_chain(self) -> Chain:
        chain = make_chain(self._route, self._transformers, self._breakers, InlineThread(), self._clock, self._formats)
        begin = max(0, self._position - chain.history_events)
        if history := self._broker.partition(self._source).since(begin, self._position - begin):
            _at_once(chain.recall(Batch(self._source, history)))
        return chain


def _at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never waits: in memory, everything is there already."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    raise AssertionError("something in memory had to wait")
