"""Runs cases as their registry would run them: each alone, and all of a file that can be together, in one batch.

A case's own `config` takes the place of the registry's; its budgets tighten the registry's limits. A case with a config of its own
may name any topic (what it may name is in that config), any other only those of the transformer's route.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

from pipeline.registry.builtins import completed
from pipeline.workshop.cases.model import Case, Settings, Step
from pipeline.workshop.cases.verdict import Difference, difference
from pipeline.workshop.subjects import Subject
from sandbox import Sandbox, Session, Transformer
from schemas.errors import ConfigError, ModuleFault
from schemas.event import Batch, Event, TopicPartition
from schemas.limits import Limits
from schemas.outcome import LogLine, Outcome
from schemas.specs import TransformerSpec

ISOLATION_MS = 600_000
"""So that every event of a batch of cases gets its verdict, however many of them misbehave."""


@dataclass(frozen=True, slots=True)
class Ran:
    """Events that were run together, and what became of each."""

    outcomes: Sequence[Outcome]
    elapsed_ns: int
    memory_bytes_peak: int
    logs: Sequence[LogLine] = ()


@dataclass(frozen=True, slots=True)
class Failure:
    """One outcome that is not as expected."""

    number: int
    """Of the case's event, from 0."""
    difference: Difference
    together: bool = False
    """Only in one batch with the file's other cases; alone it is as expected."""


@dataclass(slots=True)
class Result:
    """What became of one case."""

    case: Case
    ran: Ran
    failures: list[Failure] = field(default_factory=list)
    error: str = ""
    """Why it could not be run at all."""

    @property
    def ok(self) -> bool:
        """Everything came as expected."""
        return not self.failures and not self.error


class Bench:
    """The transformers of one subject, loaded once for each settings that its cases ask for."""

    def __init__(self, subject: Subject, sandbox: Sandbox) -> None:
        self.subject = subject
        self._sandbox = sandbox
        self._loaded: list[tuple[Settings, Transformer]] = []

    def transformer(self, settings: Settings) -> Transformer:
        """The transformer for cases with these settings. Raises ConfigError when the module will not start with them."""
        for known, transformer in self._loaded:
            if known == settings:
                return transformer
        transformer = self.subject.load(self._sandbox, settled(self.subject.spec, settings))
        self._loaded.append((settings, transformer))
        return transformer

    def session(self, settings: Settings) -> Session:
        """A session for cases with these settings."""
        topics = self.subject.topics if settings.config is None else None
        return self.transformer(settings).session(allowed_topics=topics)


def settled(spec: TransformerSpec, settings: Settings) -> TransformerSpec:
    """The registry's entry with what the case says."""
    config = spec.config if settings.config is None else _config(spec, settings.config)
    return replace(spec, config=config, limits=_tightened(spec.limits, settings))


def _config(spec: TransformerSpec, config: Mapping[str, Any]) -> Mapping[str, Any]:
    return config if spec.builtin is None else completed(spec.builtin, config)


def _tightened(limits: Limits, settings: Settings) -> Limits:
    deadline = min(limits.deadline_ms, settings.deadline_ms or limits.deadline_ms)
    memory = min(limits.memory_bytes, settings.memory_bytes or limits.memory_bytes)
    allocation = min(limits.allocation_bytes_max, memory if memory == limits.memory_bytes else memory // 2)
    return limits.with_(deadline_ms=deadline, memory_bytes=memory, allocation_bytes_max=allocation)


def run_cases(subject: Subject, sandbox: Sandbox, only: str | None = None) -> Iterator[list[Result]]:
    """The results of one file after the other; with `only`, of the cases whose names hold this text.

    Raises ConfigError when the module will not start as the registry has it.
    """
    bench = Bench(subject, sandbox)
    bench.transformer(Settings())
    for file in subject.files:
        cases = [case for case in file.cases if only is None or only in case.name]
        results = [_alone(bench, case) for case in cases]
        _together(bench, results)
        if results:
            yield results


def run_events(session: Session, source: TopicPartition, events: Sequence[Event]) -> Ran:
    """These events in one batch, or in as few as it takes until each has its outcome."""
    outcomes: list[Outcome] = []
    logs: list[LogLine] = []
    elapsed = memory = 0
    while len(outcomes) < len(events):
        report = session.run(Batch(source, events[len(outcomes) :]))
        assert report.outcomes, "the first event of a batch always gets its outcome"
        outcomes += report.outcomes
        logs += report.logs
        elapsed += report.elapsed_ns
        memory = max(memory, report.memory_bytes_peak)
    return Ran(outcomes, elapsed, memory, logs)


def _alone(bench: Bench, case: Case) -> Result:
    try:
        with closing(bench.session(case.settings)) as session:
            ran = _joined([run_events(session, source, events) for source, events in _by_source(case.steps)])
    except (ConfigError, ModuleFault) as error:
        return Result(case, Ran((), 0, 0), error=str(error))
    result = Result(case, ran)
    _judge(result, ran.outcomes, together=False)
    return result


def _by_source(steps: Sequence[Step]) -> Iterator[tuple[TopicPartition, list[Event]]]:
    for source, group in groupby(steps, key=lambda step: step.source):
        yield source, [step.event for step in group]


def _joined(parts: Sequence[Ran]) -> Ran:
    return Ran(
        [outcome for part in parts for outcome in part.outcomes],
        sum(part.elapsed_ns for part in parts),
        max((part.memory_bytes_peak for part in parts), default=0),
        [line for part in parts for line in part.logs],
    )


def _together(bench: Bench, results: Sequence[Result]) -> None:
    """Neighbours must make no difference: the same cases once more, in as few batches as their settings and topics allow."""
    waiting = [result for result in results if not result.error]
    while waiting:
        first = waiting[0]
        alike = [one for one in waiting if _goes_with(first.case, one.case)]
        waiting = [one for one in waiting if one not in alike]
        if len(alike) > 1:
            _run_together(bench, alike)


def _goes_with(one: Case, other: Case) -> bool:
    sources = {step.source for step in (*one.steps, *other.steps)}
    return one.settings == other.settings and len(sources) == 1


def _run_together(bench: Bench, results: Sequence[Result]) -> None:
    events = [step.event for result in results for step in result.case.steps]
    try:
        with closing(bench.session(results[0].case.settings)) as session:
            ran = run_events(session, results[0].case.steps[0].source, events)
    except ModuleFault as fault:
        for result in results:
            result.error = f"in one batch with the file's other cases: {fault}"
        return
    at = 0
    for result in results:
        count = len(result.case.steps)
        _judge(result, ran.outcomes[at : at + count], together=True)
        at += count


def _judge(result: Result, outcomes: Sequence[Outcome], *, together: bool) -> None:
    known = {failure.number for failure in result.failures}
    for number, (step, outcome) in enumerate(zip(result.case.steps, outcomes, strict=True)):
        found = difference(step.expected, step.event, outcome, exact=result.case.exact)
        if found is not None and number not in known:
            result.failures.append(Failure(number, found, together))
