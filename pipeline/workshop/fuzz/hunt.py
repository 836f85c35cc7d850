"""Runs mutated events, each alone under the limits of the registry, and keeps those that show a fault, one of each, as small as it gets.

Traps, bad output, deadlines and memory are faults, and so is an input that is slow: one that takes a tenth of the deadline, or far more
for its size than the cases' own events do. Rejecting is not: that is what a guest should do.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from pipeline.workshop.cases.model import Settings
from pipeline.workshop.cases.running import Bench
from pipeline.workshop.fuzz.mutation import Mutator, Seed
from pipeline.workshop.fuzz.shrinking import shrink
from pipeline.workshop.subjects import Subject
from sandbox import Sandbox, Session
from schemas.errors import ModuleFault
from schemas.event import Batch, Event
from schemas.outcome import Violation, ViolationKind

FINDINGS_MAX = 10
TRIES_MAX = 3_000
TRIES_SLOW_MAX = 200
"""Of faults that take time to show."""
SHRINK_DEADLINE_MS = 40
"""What does not end within the deadline does not end within this either, nearly always: the result is checked with the real one."""
SIZE_BYTES_MAX = 128 << 10
SLOW_PART = 10
SLOW_FACTOR = 30
SLOW_NS_MIN = 5_000_000
FRAME_BYTES = 256
"""What an event costs without any byte of its own, in bytes: keeps small ones from looking slow."""
_FRAME = re.compile(r"![\w:<>.$-]+")


@dataclass(frozen=True, slots=True)
class Fault:
    """What one run showed."""

    kind: str
    """A violation's kind, `slow`, or `module`: the module itself was at fault."""
    message: str
    signature: str
    """Equal for what is probably the same fault."""
    backtrace: str = ""


@dataclass(slots=True)
class Finding:
    """One fault and the input that shows it."""

    fault: Fault
    number: int
    """Of the first input that showed it."""
    seed: Seed
    """That input, as small as it gets."""
    size_bytes_before: int
    count: int = 1
    """How many inputs showed it."""


@dataclass(slots=True)
class Hunted:
    """What came of all inputs."""

    inputs: int
    seed: int
    slow_ms: float
    findings: list[Finding] = field(default_factory=list)
    others: int = 0
    """Inputs that showed further faults, beyond the findings that are kept."""


@dataclass(frozen=True, slots=True)
class _Pace:
    """What is slow."""

    limit_ns: int
    ns_per_byte: float

    def is_slow(self, event: Event, elapsed_ns: int) -> bool:
        fair_ns = SLOW_FACTOR * self.ns_per_byte * _bytes(event)
        return elapsed_ns > self.limit_ns or (elapsed_ns > SLOW_NS_MIN and elapsed_ns > fair_ns)


def hunt(subject: Subject, sandbox: Sandbox, inputs: int, seed: int) -> Hunted:
    """Run so many inputs. Raises ConfigError when the module will not start."""
    own = dict(subject.spec.config)
    seeds = [
        Seed(Settings(None if case.settings.config == own else case.settings.config), step.source, step.event)
        for file in subject.files
        for case in file.cases
        for step in case.steps
    ]
    with ExitStack() as held:
        return _Hunt(Bench(subject, sandbox), seeds, seed, held).run(inputs)


class _Hunt:
    def __init__(self, bench: Bench, seeds: Sequence[Seed], seed: int, held: ExitStack) -> None:
        limits = bench.subject.spec.limits
        self._bench = bench
        self._held = held
        self._sessions: list[tuple[Settings, Session]] = []
        self._mutator = Mutator(seeds, seed, min(SIZE_BYTES_MAX, limits.memory_bytes // 16))
        self._deadline_ms = limits.deadline_ms
        self._pace = self._paced(seeds)
        self._seed = seed

    def run(self, inputs: int) -> Hunted:
        found: dict[str, Finding] = {}
        hunted = Hunted(inputs, self._seed, self._pace.limit_ns / 1e6)
        for number in range(inputs):
            seed = self._mutator.input(number)
            fault = self._look(seed, seed.event)
            if fault is None:
                continue
            if fault.signature in found:
                found[fault.signature].count += 1
            elif len(found) < FINDINGS_MAX:
                small = self._shrunk(seed, fault)
                found[fault.signature] = Finding(fault, number, small, _bytes(seed.event) - FRAME_BYTES)
            else:
                hunted.others += 1
        hunted.findings = list(found.values())
        return hunted

    def _paced(self, seeds: Sequence[Seed]) -> _Pace:
        """How long the cases' own events take for their size, those that misbehave aside."""
        rates = []
        for seed in seeds:
            runs = [self._run(seed.settings, seed, seed.event) for _ in range(3)]  # the machine may have been busy
            if all(fault is None for _, fault in runs):
                rates.append(min(elapsed_ns for elapsed_ns, _ in runs) / _bytes(seed.event))
        limit_ns = max(SLOW_NS_MIN, self._deadline_ms * 1_000_000 // SLOW_PART)
        return _Pace(limit_ns, statistics.median(rates) if rates else float(limit_ns))

    def _look(self, seed: Seed, event: Event, settings: Settings | None = None) -> Fault | None:
        elapsed_ns, fault = self._run(settings or seed.settings, seed, event)
        if fault is not None and fault.kind == ViolationKind.DEADLINE:  # the machine may have stood still
            fault = self._run(settings or seed.settings, seed, event)[1]
        if fault is not None or not self._pace.is_slow(event, elapsed_ns):
            return fault
        again = [self._run(seed.settings, seed, event)[0] for _ in range(2)]  # the machine may have been busy
        taken = min(elapsed_ns, *again)
        if not self._pace.is_slow(event, taken):
            return None
        return Fault("slow", f"{taken / 1e6:.1f} ms for {_bytes(event) - FRAME_BYTES} bytes", "slow")

    def _run(self, settings: Settings, seed: Seed, event: Event) -> tuple[int, Fault | None]:
        try:
            return _run(self._session(settings), seed, event)
        except ModuleFault as error:
            return 0, Fault("module", str(error), f"module {_alike(error.problem)}")

    def _session(self, settings: Settings) -> Session:
        """One for each settings: a guest that is kept (`instance: reused`) need not start for every input."""
        for known, session in self._sessions:
            if known == settings:
                return session
        session = self._bench.session(settings)
        self._held.callback(session.close)
        self._sessions.append((settings, session))
        return session

    def _shrunk(self, seed: Seed, fault: Fault) -> Seed:
        shows, tries = self._shows(seed, fault)
        small = shrink(seed.event, shows, tries)
        seen = self._look(seed, small)
        same = seen is not None and seen.kind == fault.kind
        return Seed(seed.settings, seed.source, small if same else seed.event)

    def _shows(self, seed: Seed, fault: Fault) -> tuple[Callable[[Event], bool], int]:
        """Whether an event shows this fault, and how often that may be asked."""
        settings, tries = seed.settings, TRIES_MAX
        if fault.kind == ViolationKind.DEADLINE:
            short = min(self._deadline_ms, SHRINK_DEADLINE_MS)
            settings, tries = Settings(config=seed.settings.config, deadline_ms=short), TRIES_SLOW_MAX
        elif fault.kind == "slow":
            tries = TRIES_SLOW_MAX

        def shows(event: Event) -> bool:
            seen = self._look(seed, event, settings)
            return seen is not None and (seen.kind, seen.signature) == (fault.kind, fault.signature)

        return shows, tries


def _run(session: Session, seed: Seed, event: Event) -> tuple[int, Fault | None]:
    report = session.run(Batch(seed.source, [event]))
    (outcome,) = report.outcomes
    if isinstance(outcome, Violation) and outcome.kind.is_misbehaviour:
        return report.elapsed_ns, Fault(outcome.kind.value, outcome.message, _signature(outcome), outcome.backtrace)
    return report.elapsed_ns, None


def _signature(violation: Violation) -> str:
    """The kind, and where it happened; for what runs on until it is stopped, where is chance."""
    if violation.kind in (ViolationKind.DEADLINE, ViolationKind.MEMORY, ViolationKind.STACK, ViolationKind.FUEL):
        return violation.kind.value
    where = " ".join(_FRAME.findall(violation.backtrace)[:4])
    return f"{violation.kind} {violation.code} {_alike(violation.message.splitlines()[0])} {where}"


def _alike(message: str) -> str:
    """The message without what differs from input to input."""
    return re.sub(r"\d+|'[^']*'|\"[^\"]*\"", "…", message)[:200]


def _bytes(event: Event) -> int:
    return (
        FRAME_BYTES
        + sum(len(part or b"") for part in (event.key, event.value))
        + sum(len(name) + len(value or b"") for name, value in event.headers)
    )
