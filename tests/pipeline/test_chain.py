"""The chain: one verdict per source event, through all stages, whatever its neighbours and siblings do."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.breaker import Breaker
from pipeline.chain import Chain, Stage, Verdicts
from pipeline.memory.clock import ManualClock
from pipeline.observe.null import NullSpan
from pipeline.ports import LaneState
from pipeline.workers import GuestThreads, InlineThread, Workers
from schemas.event import Batch, Event, TopicPartition
from schemas.outcome import DROPPED, Dropped, Emitted, Outcome, Report, Violation, ViolationKind
from schemas.specs import OnViolation, Quarantine, QuarantineAction, TransformerSpec
from tests.pipeline.rig import MODULES

T = TypeVar("T")
SOURCE = TopicPartition("in", 0)
NEVER = Quarantine(after=10_000)
NO_MODULE = MODULES / "none.wasm"


def violated(kind: ViolationKind = ViolationKind.TRAP, name: str = "t") -> Violation:
    return Violation(kind=kind, message="m", transformer=name, module_sha256="f")


@dataclass
class Script:
    """A session whose answers are written down: by value, and how many events it gets done at a time."""

    answers: Mapping[bytes | None, Outcome | tuple[bytes, ...]] = field(default_factory=dict)
    """A tuple of values: these are emitted instead."""
    budget: int = 10_000
    seen: list[bytes | None] = field(default_factory=list)
    closed: int = 0

    def run(self, batch: Batch) -> Report:
        self.seen += [event.value for event in batch.events]
        outcomes = [self.outcome(event) for event in batch.events[: self.budget]]
        return Report(outcomes=outcomes, elapsed_ns=1, memory_bytes_peak=1, exhausted=len(outcomes) < len(batch.events))

    def outcome(self, event: Event) -> Outcome:
        answer = self.answers.get(event.value, Emitted((event,)))
        if isinstance(answer, tuple):
            return Emitted(tuple(msgspec.structs.replace(event, value=value) for value in answer))
        return answer

    def stop(self) -> None:
        pass

    def close(self) -> None:
        self.closed += 1


def stage(
    script: Script,
    policy: OnViolation = OnViolation.DEAD_LETTER,
    quarantine: Quarantine = NEVER,
    threads: GuestThreads | None = None,
    name: str = "t",
) -> Stage:
    spec = TransformerSpec(name, NO_MODULE, on_violation=policy, quarantine=quarantine)
    return Stage(spec, "f", script, Breaker(quarantine, ManualClock()), threads or InlineThread())  # type: ignore[arg-type]


def batch(*values: bytes) -> Batch:
    return Batch(SOURCE, [Event(10 + at, 0, None, value) for at, value in enumerate(values)])


def decide(stages: Sequence[Stage], given_: Batch) -> Verdicts:
    return at_once(Chain(stages).run(given_, NullSpan()))


def at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    with pytest.raises(StopIteration) as done:
        coroutine.send(None)
    value: T = done.value.value
    return value


def values(verdicts: Verdicts) -> list[tuple[int, bytes | None]]:
    return [(at, event.value) for at, event in zip(verdicts.origin, verdicts.emitted, strict=True)]


# The same, event by event: what the chain does for whole batches at once.

NAMES = [b"a", b"b", b"c", b"d"]
ANSWERS = st.dictionaries(
    st.sampled_from(NAMES),
    st.just(DROPPED)
    | st.sampled_from([violated(), violated(ViolationKind.REJECTED)])
    | st.lists(st.sampled_from(NAMES), max_size=3).map(tuple),
)
STAGES = st.lists(st.tuples(ANSWERS, st.sampled_from(OnViolation)), min_size=1, max_size=4)

Fate = tuple[str, Any]


def fate(value: bytes, stages: Sequence[tuple[Mapping[bytes, Any], OnViolation]]) -> Fate:
    """What becomes of one event, alone: halt, dead, dropped by policy, or the values it is emitted as."""
    alive = [value]
    for answers, policy in stages:
        after: list[bytes] = []
        found: list[Violation] = []
        for each in alive:
            answer = answers.get(each, (each,))
            if isinstance(answer, Violation):
                found.append(answer)
                after += [each] if policy is OnViolation.PASS_THROUGH else []
            elif not isinstance(answer, Dropped):
                after += answer
        if found and policy is OnViolation.STOP:
            return "halt", None
        if found and policy is OnViolation.DEAD_LETTER:
            return "dead", found[0]
        alive = [] if found and policy is OnViolation.DROP else after
    return "emitted", alive


@given(STAGES, st.lists(st.sampled_from(NAMES), min_size=1, max_size=8))
def test_a_batch_is_decided_as_its_events_would_be_one_by_one(
    stages: list[tuple[dict[bytes, Any], OnViolation]], names: list[bytes]
) -> None:
    given_ = batch(*names)
    verdicts = decide([stage(Script(answers), policy) for answers, policy in stages], given_)
    fates = [fate(name, stages) for name in names]
    halted = next((at for at, (kind, _) in enumerate(fates) if kind == "halt"), None)
    assert verdicts.decided == (len(names) if halted is None else halted)
    assert (verdicts.halt is None) == (halted is None)
    decided = fates[: verdicts.decided]
    assert values(verdicts) == [
        (at, value) for at, (kind, out) in enumerate(decided) if kind == "emitted" for value in out
    ]
    assert list(verdicts.violations) == [(at, why) for at, (kind, why) in enumerate(decided) if kind == "dead"]
    assert verdicts.dropped == sum(kind == "emitted" and not out for kind, out in decided)
    assert all(at < verdicts.decided for at, _ in verdicts.tolerated)
    assert len(verdicts.outcomes()) == verdicts.decided
    for outcome, (kind, out) in zip(verdicts.outcomes(), decided, strict=True):
        assert outcome == (out if kind == "dead" else outcome)
        assert isinstance(outcome, {"dead": Violation}.get(kind, Emitted if out else Dropped))


def test_unchanged_events_stay_the_very_same_objects() -> None:
    given_ = batch(b"a", b"b")
    verdicts = decide([stage(Script()), stage(Script())], given_)
    assert all(out is event for out, event in zip(verdicts.emitted, given_.events, strict=True))


def test_a_later_stage_sees_only_what_the_one_before_emitted() -> None:
    later = Script()
    first = Script({b"a": (b"x", b"y"), b"b": DROPPED, b"c": violated()})
    decide([stage(first), stage(later)], batch(b"a", b"b", b"c", b"d"))
    assert later.seen == [b"x", b"y", b"d"]


def test_when_nothing_is_left_the_rest_of_the_chain_is_not_run() -> None:
    later = Script()
    decide([stage(Script({b"a": DROPPED})), stage(later)], batch(b"a"))
    assert later.seen == []


def test_one_bad_child_of_three_condemns_its_source_event_and_no_other() -> None:
    fan_out = Script({b"a": (b"x", b"bad", b"y")})
    verdicts = decide([stage(fan_out), stage(Script({b"bad": violated()}))], batch(b"b", b"a", b"c"))
    assert values(verdicts) == [(0, b"b"), (2, b"c")]
    assert [at for at, _ in verdicts.violations] == [1]


def strikes(kind: ViolationKind, action: QuarantineAction, *names: bytes) -> tuple[Verdicts, Stage]:
    bad = stage(Script({b"bad": violated(kind)}), quarantine=Quarantine(after=2, action=action))
    return decide([bad], batch(*names)), bad


@pytest.mark.parametrize("kind", ViolationKind)
def test_only_misbehaviour_trips_the_breaker(kind: ViolationKind) -> None:
    verdicts, bad = strikes(kind, QuarantineAction.PAUSE, b"bad", b"a", b"bad")
    assert bad.breaker.is_tripped == kind.is_misbehaviour
    assert (verdicts.halt is not None) == kind.is_misbehaviour
    assert verdicts.decided == 3, "what has a verdict keeps it"
    if verdicts.halt is not None:
        assert (verdicts.halt.state, verdicts.halt.transformer) == (LaneState.PAUSED, "t")


@pytest.mark.parametrize(
    ("action", "out", "dead"),
    [(QuarantineAction.DEAD_LETTER_ALL, [], [0, 1]), (QuarantineAction.PASS_THROUGH, [(0, b"a"), (1, b"bad")], [])],
)
def test_a_quarantined_transformer_is_not_run(
    action: QuarantineAction, out: list[tuple[int, bytes]], dead: list[int]
) -> None:
    script = Script({b"bad": violated()})
    bad = stage(script, quarantine=Quarantine(after=2, action=action))
    assert decide([bad], batch(b"bad", b"bad")).halt is None
    script.seen.clear()
    verdicts = decide([bad], batch(b"a", b"bad"))
    assert (script.seen, verdicts.halt, verdicts.decided) == ([], None, 2)
    assert values(verdicts) == out
    assert [at for at, _ in verdicts.violations] == dead
    for _, violation in verdicts.violations:
        assert (violation.code, violation.kind) == ("quarantined", ViolationKind.TRAP)
        assert "2 events misbehaved" in violation.message


@pytest.mark.parametrize("policy", OnViolation)
def test_dead_letter_all_means_all_whatever_on_violation_says(policy: OnViolation) -> None:
    quarantine = Quarantine(after=1, action=QuarantineAction.DEAD_LETTER_ALL)
    bad = stage(Script({b"bad": violated()}), policy, quarantine)
    decide([bad], batch(b"bad"))
    verdicts = decide([bad], batch(b"a", b"b"))
    assert (verdicts.decided, verdicts.halt) == (2, None)
    assert [(at, why.attempt) for at, why in verdicts.violations] == [(0, 0), (1, 0)]


@pytest.mark.parametrize("action", QuarantineAction)
def test_an_exhausted_isolation_budget_trips_the_breaker_and_nothing_unjudged_passes(action: QuarantineAction) -> None:
    bad = stage(Script({b"bad": violated()}, budget=2), quarantine=Quarantine(after=99, action=action))
    verdicts = decide([bad, stage(Script({}))], batch(b"a", b"bad", b"b", b"c"))
    assert bad.breaker.is_tripped
    match action:
        case QuarantineAction.PAUSE:
            assert (verdicts.decided, values(verdicts)) == (2, [(0, b"a")])
            assert verdicts.halt is not None
        case QuarantineAction.DEAD_LETTER_ALL:
            assert [(at, why.code) for at, why in verdicts.violations] == [
                (1, ""),
                (2, "quarantined"),
                (3, "quarantined"),
            ]
        case QuarantineAction.PASS_THROUGH:
            assert values(verdicts) == [(0, b"a"), (2, b"b"), (3, b"c")]


def test_a_budget_that_ends_among_siblings_leaves_their_source_event_undecided() -> None:
    fan_out = Script({b"a": (b"x", b"y", b"z")})
    bad = stage(Script(budget=2), quarantine=Quarantine(action=QuarantineAction.PAUSE))
    verdicts = decide([stage(fan_out), bad, stage(Script())], batch(b"b", b"a", b"c"))
    assert (verdicts.decided, values(verdicts)) == (1, [(0, b"b")])


def test_a_budget_that_ends_among_the_first_events_siblings_still_decides_it() -> None:
    """Else the lane would pause before the same event each time it is released."""
    fan_out = Script({b"a": (b"x", b"y", b"z")})
    bad = stage(Script(budget=1), quarantine=Quarantine(action=QuarantineAction.PAUSE))
    verdicts = decide([stage(fan_out), bad, stage(Script())], batch(b"a", b"b", b"c"))
    assert (verdicts.decided, values(verdicts)) == (1, [(0, b"x"), (0, b"y"), (0, b"z")])
    assert verdicts.halt is not None


def test_a_halt_says_which_event_and_why() -> None:
    verdicts = decide([stage(Script({b"b": violated()}), OnViolation.STOP)], batch(b"a", b"b"))
    assert verdicts.halt is not None
    assert (verdicts.halt.state, verdicts.halt.reason) == (LaneState.STOPPED, "t at offset 11: trap: m")


def test_the_earliest_halt_counts() -> None:
    first = stage(Script({b"c": violated()}), OnViolation.STOP, name="first")
    second = stage(Script({b"b": violated()}), OnViolation.STOP, name="second")
    verdicts = decide([first, second], batch(b"a", b"b", b"c"))
    assert verdicts.halt is not None
    assert (verdicts.decided, verdicts.halt.transformer) == (1, "second")


def test_closing_a_chain_waits_for_no_thread_and_leaves_no_guest_behind() -> None:
    release, entered, closed = threading.Event(), threading.Event(), threading.Event()

    class Slow(Script):
        def run(self, batch: Batch) -> Report:
            entered.set()
            assert release.wait(20)
            assert not self.closed, "closed under the feet of the thread that uses it"
            return super().run(batch)

        def close(self) -> None:
            super().close()
            closed.set()

    async def scenario() -> None:
        workers, script = Workers(2), Slow()
        chain = Chain([stage(script, threads=workers)])
        running = asyncio.create_task(chain.run(batch(b"a"), NullSpan()))
        await asyncio.to_thread(entered.wait, 20)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        chain.close()
        assert not closed.is_set()
        release.set()
        assert await asyncio.to_thread(closed.wait, 20)
        workers.close()

    asyncio.run(scenario())


def test_a_closed_chain_is_not_run_again() -> None:
    script = Script()
    chain = Chain([stage(script)])
    chain.close()
    assert script.closed >= 1
    with pytest.raises(RuntimeError, match="was closed before"):
        chain.run(batch(b"a"), NullSpan()).send(None)
