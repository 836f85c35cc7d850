"""The ordered transformers of one route, for one lane: what becomes of a batch.

A verdict is per source event, through the whole chain: when any record that came of it violates further on, none of
them is emitted. The chain decides; the lane writes.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol, assert_never

import msgspec

from pipeline.breaker import Breaker
from pipeline.ports import BatchSpan, LaneState
from pipeline.workers import GuestThreads
from schemas.event import Batch, Event
from schemas.outcome import DROPPED, Carried, Emitted, Outcome, Report, Violation, ViolationKind
from schemas.records import Records, offset_at
from schemas.specs import OnViolation, QuarantineAction, TransformerSpec


@dataclass(frozen=True, slots=True)
class Halt:
    """Why the lane must not go on by itself after this batch."""

    state: LaneState
    reason: str
    transformer: str = ""


@dataclass(slots=True)
class Verdicts:
    """What became of the first `decided` events of a batch, by columns: nothing here is made per event on the healthy path."""

    batch: Batch
    decided: int
    """Events with a verdict; the rest must be run again, after the halt is lifted."""
    emitted: Sequence[Event]
    """In order. The very same object as in the batch when unchanged."""
    origin: Sequence[int]
    """`emitted[i]` came of `batch.events[origin[i]]`; never decreases."""
    violations: Sequence[tuple[int, Violation]]
    """Events for the dead letters, by index into the batch, in order."""
    tolerated: Sequence[tuple[int, Violation]] = ()
    """Violations that `on_violation: drop` or `pass-through` took care of."""
    dropped: int = 0
    halt: Halt | None = None
    reports: list[tuple[str, Report]] = field(default_factory=list)

    def outcomes(self) -> list[Outcome]:
        """One outcome per decided event, for those who look at single events (`penstock try`, `PipelineDriver`)."""
        children: dict[int, list[Event]] = {}
        for index, event in zip(self.origin, self.emitted, strict=True):
            children.setdefault(index, []).append(event)
        dead = dict(self.violations)
        return [dead.get(i) or (Emitted(tuple(children[i])) if i in children else DROPPED) for i in range(self.decided)]


class Runner(Protocol):
    """What takes a lane's batches: a session with a guest, or a step of the host's own (`pipeline.steps`)."""

    def run(self, batch: Batch) -> Report:
        """What became of each event. Raises ModuleFault, TransportError."""
        ...

    def stop(self) -> None:
        """Make a `run` in another thread return what it has."""
        ...

    def close(self) -> None:
        """Let go of what it holds. Safe to repeat; it must not be running."""
        ...


class Stage:
    """One transformer's place in a lane's chain: its session, its breaker, and what to do with its violations."""

    def __init__(
        self, spec: TransformerSpec, sha256: str, session: Runner, breaker: Breaker, workers: GuestThreads
    ) -> None:
        self.spec = spec
        self.sha256 = sha256
        """Of the module's bytes."""
        self.breaker = breaker
        self._session = session
        self._workers = workers
        self._busy = threading.Lock()
        self._closed = False

    @property
    def pause(self) -> Halt | None:
        """Why the lane must not go on, when the breaker's action is to pause it."""
        if not self.breaker.is_tripped or self.breaker.policy.action is not QuarantineAction.PAUSE:
            return None
        reason = f"{self.spec.name} is quarantined: {self.breaker.reason}"
        return Halt(LaneState.PAUSED, reason, self.spec.name)

    async def run(self, batch: Batch) -> Report:
        """The transformer's report; a quarantined one is not run at all. Raises ModuleFault."""
        if self.breaker.is_tripped:
            return self._quarantined(batch)
        return await self._workers.run(self.spec.name, partial(self._run_session, batch))

    def verdict_of_quarantine(self, event: Event) -> Outcome | None:
        """What the tripped breaker's action makes of an event; None when the lane must pause before it."""
        match self.breaker.policy.action:
            case QuarantineAction.PAUSE:
                return None
            case QuarantineAction.PASS_THROUGH:
                return Emitted((event,))
            case QuarantineAction.DEAD_LETTER_ALL:
                return Violation(
                    kind=self.breaker.kind,
                    code="quarantined",
                    message=f"not run: {self.spec.name} is quarantined ({self.breaker.reason})",
                    transformer=self.spec.name,
                    module_sha256=self.sha256,
                    limits=self.spec.limits.describe(),
                    attempt=0,
                )
            case action:
                assert_never(action)

    def close(self) -> None:
        """Let go of the session's guest; when a thread is still inside it (its lane was cancelled), that thread does it on its way out."""
        self._closed = True
        self._session.stop()
        if self._busy.acquire(blocking=False):
            try:
                self._session.close()
            finally:
                self._busy.release()

    def _run_session(self, batch: Batch) -> Report:
        try:
            with self._busy:
                if self._closed:
                    raise RuntimeError(f"the lane of {self.spec.name} was closed before its batch was run")
                return self._session.run(batch)
        finally:
            if self._closed:
                self.close()

    def _quarantined(self, batch: Batch) -> Report:
        verdicts = [self.verdict_of_quarantine(event) for event in batch.events]
        decided = [verdict for verdict in verdicts if verdict is not None]
        return Report(
            outcomes=decided, elapsed_ns=0, memory_bytes_peak=0, crossings=0, exhausted=len(decided) < len(verdicts)
        )


class Chain:
    """Runs batches through the stages. One lane's own; one batch at a time."""

    def __init__(self, stages: Sequence[Stage], history_events: int = 0, history_stages: int = 0) -> None:
        """With `history_events`, so many offsets before the first batch must be given to `recall`; the first `history_stages` stages
        are those that remember them, and steps before those."""
        self.stages = stages
        self.history_events = history_events
        self._remembering = stages[:history_stages]

    async def recall(self, batch: Batch) -> None:
        """Events that were done with before: let those stages remember them. Raises TransportError."""
        for stage in self._remembering:
            report = await stage.run(batch)
            alive = [child for outcome in report.outcomes if type(outcome) is Emitted for child in outcome.events]
            batch = Batch(batch.source, alive)

    async def run(self, batch: Batch, span: BatchSpan) -> Verdicts:
        """Verdicts for the batch, or for a prefix of it and a halt. Raises ModuleFault when a module itself fails."""
        progress = _Progress(batch)
        for stage in self.stages:
            if not progress.events:
                break
            step = Batch(batch.source, progress.events)
            report = await stage.run(step)
            while report.outcomes and len(report.outcomes) < (due := progress.records_of_first):
                # the isolation budget ended inside of one source event: without a verdict on it the lane would stand still for ever
                rest = await stage.run(Batch(batch.source, step.events[len(report.outcomes) : due]))
                report = _joined(report, rest)
            span.transformed(stage.spec.name, step, report)
            progress.absorb(stage, report)
        return progress.verdicts()

    @contextmanager
    def undivided(self) -> Iterator[None]:
        """Several batches that are written together or not at all: breakers that trip meanwhile pause the lane behind them (`pause`).

        A batch may then be decided in part without a halt, and its rest is to be run.
        """
        with ExitStack() as held:
            for stage in self.stages:
                held.enter_context(stage.breaker.held())
            yield

    @property
    def pause(self) -> Halt | None:
        """Why the lane must not go on, when a breaker's action is to pause it."""
        return next((pause for stage in self.stages if (pause := stage.pause) is not None), None)

    def stage(self, name: str) -> Stage:
        """That of this transformer."""
        return next(stage for stage in self.stages if stage.spec.name == name)

    def close(self) -> None:
        """Let go of every session. The lane must not run the chain again."""
        for stage in self.stages:
            stage.close()


def _joined(report: Report, more: Report) -> Report:
    """One report of two runs of a transformer, the second over events that the first left out."""
    return msgspec.structs.replace(
        report,
        outcomes=[*report.outcomes, *more.outcomes],
        elapsed_ns=report.elapsed_ns + more.elapsed_ns,
        memory_bytes_peak=max(report.memory_bytes_peak, more.memory_bytes_peak),
        crossings=report.crossings + more.crossings,
        fuel_used=None if report.fuel_used is None else report.fuel_used + (more.fuel_used or 0),
        logs=[*report.logs, *more.logs],
        logs_suppressed=report.logs_suppressed + more.logs_suppressed,
        host_calls=report.host_calls + more.host_calls,
        exhausted=more.exhausted,
    )


class _Progress:
    """A batch on its way through the stages: the events still alive, and which source event each came of."""

    def __init__(self, batch: Batch) -> None:
        self.events: Sequence[Event] = batch.events
        self._batch = batch
        self._origin: Sequence[int] = range(len(batch.events))
        self._decided = len(batch.events)
        self._halt: Halt | None = None
        self._dead: dict[int, Violation] = {}
        self._dropped: set[int] = set()
        """By `on_violation: drop`: the source event as a whole, siblings included."""
        self._tolerated: list[tuple[int, Violation]] = []
        self._reports: list[tuple[str, Report]] = []

    @property
    def records_of_first(self) -> int:
        """How many of the events still alive came of the same source event as the first of them."""
        return next((at for at, index in enumerate(self._origin) if index != self._origin[0]), len(self._origin))

    def absorb(self, stage: Stage, report: Report) -> None:
        self._reports.append((stage.spec.name, report))
        if isinstance(report.outcomes, Carried) and self._carry(stage, report.outcomes):
            return
        before = (len(self._dead), len(self._tolerated), self._decided)
        outcomes = report.outcomes
        if len(outcomes) < len(self.events):
            outcomes = self._beyond_budget(stage, outcomes)
        alive: list[Event] = []
        origin: list[int] = []
        for index, event, outcome in zip(self._origin, self.events, outcomes, strict=False):
            if type(outcome) is Emitted:
                for child in outcome.events:
                    alive.append(child)
                    origin.append(index)
            elif type(outcome) is Violation and self._violated(stage, index, outcome):
                alive.append(event)
                origin.append(index)
        self.events, self._origin = alive, origin
        if before != (len(self._dead), len(self._tolerated), self._decided):
            self._discard_siblings()
        if (pause := stage.pause) is not None:
            self._halt_at(self._decided, pause)

    def _carry(self, stage: Stage, carried: Carried) -> bool:
        """The healthy path, without a look at single events. False when there is a rejection that is not for the dead letters."""
        if carried.rejected and stage.spec.on_violation is not OnViolation.DEAD_LETTER:
            return False
        for index, violation in carried.rejected:
            self._violated(stage, self._origin[index], violation)
        self.events = carried.records
        before = self._origin
        self._origin = carried.kept if before == range(len(before)) else [before[index] for index in carried.kept]
        return True

    def verdicts(self) -> Verdicts:
        alive = len(self._origin) if isinstance(self.events, Records) else len(set(self._origin))
        violations = sorted((index, violation) for index, violation in self._dead.items() if index < self._decided)
        return Verdicts(
            batch=self._batch,
            decided=self._decided,
            emitted=self.events,
            origin=self._origin,
            violations=violations,
            tolerated=[entry for entry in self._tolerated if entry[0] < self._decided],
            dropped=self._decided - alive - len(violations),
            halt=self._halt,
            reports=self._reports,
        )

    def _beyond_budget(self, stage: Stage, outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
        """The isolation budget ran out: the breaker trips, and its action decides the rest, or the lane pauses before it."""
        if not stage.breaker.is_tripped:
            stage.breaker.trip(
                ViolationKind.DEADLINE, "one batch used up the time for finding out which of its events misbehave"
            )
        rest = [stage.verdict_of_quarantine(event) for event in self.events[len(outcomes) :]]
        if stage.breaker.policy.action is QuarantineAction.PAUSE:
            self._decided = min(self._decided, self._origin[len(outcomes)])
            return outcomes
        return [*outcomes, *(verdict for verdict in rest if verdict is not None)]

    def _violated(self, stage: Stage, index: int, violation: Violation) -> bool:
        """Record it by the transformer's policy; True when the event goes on as it came."""
        if violation.kind.is_misbehaviour and not stage.breaker.is_tripped:
            stage.breaker.strike(violation.kind)
        not_run = violation.attempt == 0  # quarantined: `on_violation` is about events that the guest has seen
        match OnViolation.DEAD_LETTER if not_run else stage.spec.on_violation:
            case OnViolation.DEAD_LETTER:
                self._dead.setdefault(index, violation)
            case OnViolation.STOP:
                offset = offset_at(self._batch.events, index)
                self._halt_at(
                    index,
                    Halt(
                        LaneState.STOPPED,
                        f"{stage.spec.name} at offset {offset}: {violation.kind}: {violation.message}",
                        stage.spec.name,
                    ),
                )
            case OnViolation.DROP:
                self._tolerated.append((index, violation))
                self._dropped.add(index)
            case OnViolation.PASS_THROUGH:
                self._tolerated.append((index, violation))
                return True
            case policy:
                assert_never(policy)
        return False

    def _halt_at(self, index: int, halt: Halt) -> None:
        if self._halt is None or index < self._decided:
            self._halt = halt
        self._decided = min(self._decided, index)

    def _discard_siblings(self) -> None:
        """Nothing of a source event that violated, or that lies beyond a halt, goes on."""
        gone = self._dead.keys() | self._dropped
        keep = [position for position, index in enumerate(self._origin) if index not in gone and index < self._decided]
        self.events = [self.events[position] for position in keep]
        self._origin = [self._origin[position] for position in keep]
