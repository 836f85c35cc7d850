"""What a transformer costs here: µs per event by batch size, memory, compiling, starting.

Method: CPU of the calling thread, user and system, so that other work on the machine shows little; the batch sizes take turns, and the
median of the rounds counts. Compiling is the clock on the wall, without the cache of compiled modules. Starting is what the first batch
of a fresh instance takes beyond the second one of the same instance. Limits, deadlines and checks are those of `penstock run`; reading from
Kafka and writing to it are not in these figures.
"""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from pipeline.workshop.cases.model import Settings
from pipeline.workshop.cases.running import ISOLATION_MS, Bench
from pipeline.workshop.subjects import Subject
from pipeline.workshop.svg import COLOURS, Panel, Series, chart
from sandbox import Sandbox, Session, Transformer
from schemas.errors import ConfigError, Fault
from schemas.event import Batch, Event, TopicPartition
from schemas.outcome import Violation
from schemas.specs import InstancePolicy

SIZES = (1, 16, 256, 2_000)
ROUNDS = 9
ROUND_NS = 20_000_000
"""What one size takes of a round, at least."""
STARTS = 15

Clock = Callable[[], int]


@dataclass(frozen=True, slots=True)
class Figure:
    """Batches of one size."""

    size: int
    us_per_event: float
    """Median."""
    us_per_event_low: float
    us_per_event_high: float
    memory_bytes_peak: int
    """0 where it cannot be seen: of components."""

    @property
    def events_per_s(self) -> float:
        """Of one thread."""
        return 1e6 / self.us_per_event


@dataclass(frozen=True, slots=True)
class Measured:
    """All figures of one transformer."""

    name: str
    sha256: str
    module_bytes: int
    events: int
    """Different ones."""
    bytes_per_event: float
    left_out: int
    """Events that violate: a batch of them would measure something else."""
    compile_ms: float
    start_us: float
    figures: tuple[Figure, ...]


def measure(subject: Subject, given: Sequence[tuple[TopicPartition, Event]] | None = None) -> Measured:
    """The figures of this transformer for these events, or for those of its cases. Raises ConfigError when there is none to run."""
    compile_ms = _compile_ms(subject)
    with closing(Sandbox(workers=1, isolation_budget_ms=ISOLATION_MS)) as sandbox:
        transformer = subject.load(sandbox)
        offered = _of_cases(subject) if given is None else list(given)
        source, events = _healthy(subject, sandbox, offered)
        start_us = _start_us(subject, sandbox, Batch(source, events[:1]))
        figures = _by_size(subject, transformer, source, events)
    return Measured(
        name=subject.name,
        sha256=transformer.sha256,
        module_bytes=subject.spec.module.stat().st_size,
        events=len(events),
        bytes_per_event=statistics.mean(len(event.value or b"") for event in events),
        left_out=len(offered) - len(events),
        compile_ms=compile_ms,
        start_us=start_us,
        figures=figures,
    )


def plot(measured: Measured) -> str:
    """The figures as SVG: µs per event, and events per second."""
    sizes = [f"{figure.size:,}" for figure in measured.figures]
    costs = [(float(at), figure.us_per_event) for at, figure in enumerate(measured.figures)]
    rates = [(float(at), figure.events_per_s / 1e3) for at, figure in enumerate(measured.figures)]
    return chart(
        [
            Panel(
                f"{measured.name}: cost of an event",
                "events in a batch",
                "µs of CPU per event",
                [Series("cost", costs, COLOURS[0], "bars")],
                categories=sizes,
            ),
            Panel(
                f"{measured.name}: throughput of one thread",
                "events in a batch",
                "thousand events/s",
                [Series("throughput", rates, COLOURS[2], "bars")],
                categories=sizes,
            ),
        ]
    )


def _of_cases(subject: Subject) -> list[tuple[TopicPartition, Event]]:
    return [(step.source, step.event) for file in subject.files for case in file.cases for step in case.steps]


def _healthy(
    subject: Subject, sandbox: Sandbox, offered: Sequence[tuple[TopicPartition, Event]]
) -> tuple[TopicPartition, list[Event]]:
    """The events that pass, and the topic most of them come from."""
    kept: list[tuple[TopicPartition, Event]] = []
    with closing(Bench(subject, sandbox).session(Settings())) as session:
        for source, event in offered:
            (outcome,) = session.run(Batch(source, [event])).outcomes
            if not isinstance(outcome, Violation):
                kept.append((source, event))
    if not kept:
        problem = f"none of {len(offered)} events passes {subject.name}: there is nothing to measure"
        raise ConfigError(Fault(problem, "name a file of events with --event"))
    ((source, _),) = Counter(source for source, _ in kept).most_common(1)
    return source, [event for _, event in kept]


def _compile_ms(subject: Subject) -> float:
    with closing(Sandbox(workers=1, cache=False)) as sandbox:
        began = time.perf_counter_ns()
        subject.load(sandbox)
        return (time.perf_counter_ns() - began) / 1e6


def _start_us(subject: Subject, sandbox: Sandbox, batch: Batch) -> float:
    spec = replace(subject.spec, instance=InstancePolicy.REUSED)
    transformer = subject.load(sandbox, spec)
    taken = []
    for _ in range(STARTS):
        with closing(transformer.session(allowed_topics=subject.topics)) as session:
            fresh = _timed(session, batch, time.perf_counter_ns)
            taken.append(fresh - _timed(session, batch, time.perf_counter_ns))
    return max(0.0, statistics.median(taken)) / 1e3


def _timed(session: Session, batch: Batch, clock_ns: Clock) -> int:
    began = clock_ns()
    session.run(batch)
    return clock_ns() - began


def _by_size(
    subject: Subject, transformer: Transformer, source: TopicPartition, events: Sequence[Event]
) -> tuple[Figure, ...]:
    batches = {size: Batch(source, [_numbered(events, at) for at in range(size)]) for size in SIZES}
    taken: dict[int, list[float]] = {size: [] for size in SIZES}
    memory = dict.fromkeys(SIZES, 0)
    sessions = {size: transformer.session(allowed_topics=subject.topics) for size in SIZES}
    try:
        times = {size: _times(sessions[size], batches[size]) for size in SIZES}
        for turn in range(ROUNDS):
            for at in range(len(SIZES)):
                size = SIZES[(at + turn) % len(SIZES)]
                spent, peak = _round(sessions[size], batches[size], times[size])
                taken[size].append(spent / times[size] / size / 1e3)
                memory[size] = max(memory[size], peak)
    finally:
        for session in sessions.values():
            session.close()
    return tuple(
        Figure(size, statistics.median(taken[size]), min(taken[size]), max(taken[size]), memory[size]) for size in SIZES
    )


def _numbered(events: Sequence[Event], at: int) -> Event:
    """One of the events in turn, at the offset it would have."""
    event = events[at % len(events)]
    return Event(at, event.timestamp, event.key, event.value, event.headers)


def _times(session: Session, batch: Batch) -> int:
    """How often a batch is run in a round; this also warms up."""
    session.run(batch)
    spent = max(1, _timed(session, batch, time.thread_time_ns))
    return max(1, -(-ROUND_NS // spent))


def _round(session: Session, batch: Batch, times: int) -> tuple[int, int]:
    """CPU of so many runs, and the memory of the largest."""
    peak = 0
    began = time.thread_time_ns()
    for _ in range(times):
        peak = max(peak, session.run(batch).memory_bytes_peak)
    return time.thread_time_ns() - began, peak
