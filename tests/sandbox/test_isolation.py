"""Taking a failed crossing apart: fair, complete, bounded. Time moves only when a guest moves it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox import Sandbox
from sandbox.host import HostImport, HostState
from sandbox.isolation import Isolation
from sandbox.memory import GuestMemory
from sandbox.sandbox import isolation_budget_ms
from sandbox.traps import Trouble
from schemas.capabilities import Capability
from schemas.outcome import DROPPED, Emitted, Outcome, Violation, ViolationKind
from schemas.specs import IsolationLevel
from tests.sandbox.guests import LIMITS, Bench, batch, kinds, spec, violation, wat

CURSORS: dict[str, Callable[[int, int], int]] = {
    "honest": lambda index, count: index,
    "stale: always the first": lambda index, count: 0,
    "one behind": lambda index, count: max(0, index - 1),
    "one ahead": lambda index, count: index + 1,
    "always the last": lambda index, count: count - 1,
    "beyond the batch": lambda index, count: count,
    "far beyond": lambda index, count: 0x7FFFFFFF,
    "negative": lambda index, count: -1,
}


@pytest.mark.parametrize("cursor", CURSORS.values(), ids=CURSORS.keys())
@pytest.mark.parametrize("command", [b"U", b"L"])
@pytest.mark.parametrize("place", [0, 7, 15])
def test_a_lying_cursor_condemns_nobody_else(
    bench: Bench, cursor: Callable[[int, int], int], command: bytes, place: int
) -> None:
    bench.cursor = cursor
    values = [b"k"] * 16
    values[place] = command
    report = bench.load("clockwork").run(batch(values))
    assert [n for n, kind in enumerate(kinds(report.outcomes)) if kind != "emitted"] == [place]
    assert not report.exhausted


def test_the_cursor_saves_crossings(bench: Bench) -> None:
    values = [b"k"] * 255 + [b"U"]
    transformer = bench.load("clockwork")
    assert transformer.run(batch(values)).crossings == 3
    bench.cursor = lambda index, count: count
    assert transformer.run(batch(values)).crossings > 3


def test_slow_neighbours_do_not_condemn_an_innocent(bench: Bench) -> None:
    """32 events of 10 ms each, and a deadline of 100 ms for the batch."""
    report = bench.load("clockwork").run(batch([b"t\x0a"] * 32))
    assert kinds(report.outcomes) == ["emitted"] * 32


def test_the_batch_shrinks_so_that_slow_events_fit_the_deadline(bench: Bench) -> None:
    session = bench.load("clockwork").session()
    session.run(batch([b"t\x0a"] * 32))
    before = bench.now_ns
    report = session.run(batch([b"t\x0a"] * 32))
    assert session.events_max < 10
    assert kinds(report.outcomes) == ["emitted"] * 32
    assert bench.now_ns - before == 32 * 10_000_000, "no time is wasted any more"
    session.close()


def test_the_batch_grows_again_with_health(bench: Bench) -> None:
    session = bench.load("clockwork").session()
    session.run(batch([b"t\x0a"] * 32))
    small = session.events_max
    for _ in range(40):
        session.run(batch([b"k"] * 32))
    assert session.events_max > 32 > small
    assert session.run(batch([b"k"] * 32)).crossings == 1
    session.close()


def test_a_batch_that_comes_near_the_deadline_shrinks_before_it_fails(bench: Bench) -> None:
    session = bench.load("clockwork").session()
    assert session.run(batch([b"t\x08"] * 8)).crossings == 1  # 64 of 100 ms
    assert session.events_max == 4
    session.close()


def test_an_event_just_below_the_deadline_passes_amid_slow_ones(bench: Bench) -> None:
    report = bench.load("clockwork").run(batch([b"t\x32", b"t\x5a", b"t\x32", b"t\x5a"]))
    assert kinds(report.outcomes) == ["emitted"] * 4


def test_memory_used_up_by_the_batch_condemns_nobody(bench: Bench) -> None:
    """Each event keeps 512 KiB of 4 MiB for ever: all 32 of them pass in smaller crossings."""
    report = bench.load("clockwork").run(batch([b"m\x08"] * 32))
    assert kinds(report.outcomes) == ["emitted"] * 32


def test_an_event_that_needs_more_than_there_is_is_condemned(bench: Bench) -> None:
    report = bench.load("clockwork").run(batch([b"m\x08", b"m\xff", b"m\x08"]))
    assert kinds(report.outcomes) == ["emitted", "trap", "emitted"]
    assert "of 4MiB" in violation(report.outcomes[1]).message


@pytest.mark.parametrize("cursor", [CURSORS["honest"], CURSORS["negative"]], ids=["with cursor", "without"])
def test_256_looping_events_are_decided_a_budget_at_a_time(bench: Bench, cursor: Callable[[int, int], int]) -> None:
    bench.cursor = cursor
    session = bench.load("clockwork").session()
    decided, runs = 0, 0
    while decided < 256:
        before = bench.now_ns
        report = session.run(batch([b"L"] * (256 - decided)))
        assert report.outcomes, "every run makes progress"
        assert set(kinds(report.outcomes)) == {"deadline"}
        assert bench.now_ns - before <= (4 + 2) * LIMITS.deadline_ms * 1_000_000
        assert report.exhausted == (decided + len(report.outcomes) < 256)
        decided += len(report.outcomes)
        runs += 1
    assert runs <= 256 / 4
    session.close()


def test_an_exhausted_run_goes_on_one_by_one(bench: Bench) -> None:
    session = bench.load("clockwork").session()
    assert session.run(batch([b"L"] * 64)).exhausted
    assert session.events_max == 1
    session.close()


def test_the_isolation_budget_can_be_set(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(isolation_budget_ms=1000)
    report = bench.load("clockwork").run(batch([b"L"] * 64))
    assert report.exhausted
    assert 8 <= len(report.outcomes) <= 11


@pytest.mark.parametrize(
    ("deadline_ms", "budget_ms"), [(10, 200), (100, 2_000), (500, 10_000), (2_500, 10_000), (5_000, 20_000)]
)
def test_the_budget_is_a_few_deadlines_or_more_where_they_are_short(deadline_ms: int, budget_ms: int) -> None:
    assert isolation_budget_ms(deadline_ms) == budget_ms


def test_healthy_work_does_not_use_up_the_budget(bench: Bench) -> None:
    """16 events of 90 of 100 ms take 1.4 s, more than three budgets of 400 ms, and none of it is waste."""
    report = bench.load("clockwork").run(batch([b"t\x5a"] * 16))
    assert kinds(report.outcomes) == ["emitted"] * 16


def test_outcomes_of_an_exhausted_run_have_no_gap(bench: Bench) -> None:
    values = [b"k", b"L", b"k", b"L", b"k", b"L", b"k", b"L", b"k", b"L"]
    report = bench.load("clockwork").run(batch(values))
    assert report.exhausted
    expected = ["emitted", "deadline"] * 5
    assert kinds(report.outcomes) == expected[: len(report.outcomes)]


def test_a_stopped_session_returns_what_it_has(bench: Bench) -> None:
    session = bench.load("clockwork").session()
    session.stop()
    report = session.run(batch([b"L", b"k", b"k"]))
    assert report.exhausted
    assert kinds(report.outcomes)[0] == "deadline"
    session.close()


def test_several_culprits_of_several_kinds(bench: Bench) -> None:
    values = [b"k"] * 64
    for place, command in {3: b"U", 17: b"L", 18: b"U", 40: b"m\xff", 63: b"U"}.items():
        values[place] = command
    report = bench.load("clockwork").run(batch(values))
    wrong = {n: kind for n, kind in enumerate(kinds(report.outcomes)) if kind != "emitted"}
    assert wrong == {3: "trap", 17: "deadline", 18: "trap", 40: "trap", 63: "trap"}


class Model:
    """Events that are bad by themselves or only too many together; the guest's hints may be anything."""

    def __init__(self, bad: set[int], together_max: int, hints: Sequence[int | None], kind: ViolationKind) -> None:
        self.bad, self.together_max, self.kind = bad, together_max, kind
        self.hints = list(hints)
        self.alone: set[int] = set()
        self.crossings = 0

    def cross(self, indexes: Sequence[int]) -> list[Outcome | Trouble] | Trouble:
        self.crossings += 1
        if len(indexes) == 1:
            self.alone.add(indexes[0])
        if self.bad & set(indexes) or len(indexes) > self.together_max:
            hint = self.hints.pop() if self.hints else None
            return Trouble(self.kind, "bad", cursor=hint if hint is not None and hint < len(indexes) else None)
        return [DROPPED for _ in indexes]

    def condemn(self, trouble: Trouble, attempt: int) -> Violation:
        return Violation(kind=trouble.kind, message=trouble.message, transformer="m", module_sha256="", attempt=attempt)

    def is_spent(self) -> bool:
        return False


@given(
    count=st.integers(2, 40),
    bad=st.sets(st.integers(0, 39)),
    together_max=st.integers(1, 40),
    hints=st.lists(st.none() | st.integers(0, 40), max_size=40),
    kind=st.sampled_from([ViolationKind.TRAP, ViolationKind.DEADLINE, ViolationKind.BAD_OUTPUT]),
)
def test_exactly_the_guilty_are_condemned_whatever_the_hints(
    count: int, bad: set[int], together_max: int, hints: list[int | None], kind: ViolationKind
) -> None:
    bad = {index for index in bad if index < count}
    model = Model(bad, together_max, hints, kind)
    findings = Isolation(model, count).after_trouble(Trouble(kind, "all together"))
    condemned = {index for index, outcome in enumerate(findings.outcomes) if isinstance(outcome, Violation)}
    assert len(findings.outcomes) == count and not findings.exhausted
    assert condemned == bad
    assert condemned <= model.alone, "only a lone run is a verdict"
    assert model.crossings <= 3 * count + 2


@given(st.integers(1, 30), st.sets(st.integers(0, 29)))
def test_answers_that_broke_a_rule_are_asked_for_again_alone(count: int, wrong: set[int]) -> None:
    model = Model(set(), 100, [], ViolationKind.TRAP)
    answers: list[Outcome | Trouble] = [
        Trouble(ViolationKind.BAD_OUTPUT, "foreign topic") if index in wrong else Emitted(()) for index in range(count)
    ]
    findings = Isolation(model, count).after_answers(answers)
    assert model.alone == {index for index in wrong if index < count}
    assert len(findings.outcomes) == count


def stalled(kind: ViolationKind = ViolationKind.DEADLINE) -> Trouble:
    return Trouble(kind, "late", elapsed_ns=100, starved_ns=51)


class BusyMachine(Model):
    """No event is bad: the machine lets the first `stalls` runs of each lone event down, and the first of all."""

    def __init__(self, stalls: dict[int, int], trouble: Trouble, *, spent: bool) -> None:
        super().__init__(set(), 100, [], trouble.kind)
        self.stalls, self.trouble, self.spent = stalls, trouble, spent

    def cross(self, indexes: Sequence[int]) -> list[Outcome | Trouble] | Trouble:
        if len(indexes) == 1 and self.stalls.get(indexes[0], 0):
            self.crossings += 1
            self.stalls[indexes[0]] -= 1
            return self.trouble
        return super().cross(indexes)

    def is_spent(self) -> bool:
        return self.spent


@given(
    count=st.integers(1, 20),
    stalls=st.dictionaries(st.integers(0, 19), st.integers(0, 5)),
    kind=st.sampled_from([ViolationKind.DEADLINE, ViolationKind.FUEL]),
    spent=st.booleans(),
)
def test_a_deadline_that_the_machine_used_up_is_no_verdict_twice(
    count: int, stalls: dict[int, int], kind: ViolationKind, spent: bool
) -> None:
    believed_after = 0 if kind is not ViolationKind.DEADLINE else 2 if count > 1 else 1  # the first run was one already
    guilty = {index for index, times in stalls.items() if times > believed_after and index < count}
    model = BusyMachine(dict(stalls), stalled(kind), spent=spent)
    findings = Isolation(model, count).after_trouble(stalled(kind))
    condemned = {index for index, outcome in enumerate(findings.outcomes) if isinstance(outcome, Violation)}
    assert condemned == {index for index in guilty if index < len(findings.outcomes)}
    assert len(findings.outcomes) == count or (spent and findings.exhausted and findings.outcomes)


STALLING = """(module (import "test" "stall" (func $stall))
  (import "penstock" "log" (func $log (param i32 i32 i32)))
  (memory (export "memory") 1) (data (i32.const 16) "\\91\\92\\01\\c0") (data (i32.const 32) "said")
  (func (export "penstock_v1_alloc") (param i32) (result i32) (i32.const 1024))
  (func (export "penstock_v1_transform") (param i32 i32) (result i64)
    (call $log (i32.const 2) (i32.const 32) (i32.const 4))
    (call $stall)
    (loop $once (br_if $once (i32.const 0)))
    (i64.const 0x1000000004)))"""


@pytest.mark.parametrize("level", list(IsolationLevel))
@pytest.mark.parametrize(("stalls", "kind", "crossings"), [(0, "emitted", 1), (2, "emitted", 3), (9, "deadline", 3)])
def test_a_machine_that_stalls_is_not_held_against_the_event(
    level: IsolationLevel, stalls: int, kind: str, crossings: int
) -> None:
    """The guest itself takes no time; something else does, and it is no host call that would be counted as the guest's own."""
    left = stalls

    def stall(state: HostState, memory: GuestMemory | None) -> None:
        nonlocal left
        if left:
            left -= 1
            time.sleep(0.6)

    limits = LIMITS.with_(deadline_ms=500)
    granted = frozenset({Capability.LOG})
    with Sandbox(cache=False, extra_imports=[HostImport("stall", (), None, stall, module="test")]) as sandbox:
        loaded = sandbox.load(spec(limits=limits, isolation=level, capabilities=granted), wat(STALLING))
        report = loaded.run(batch([b"x"]))
    assert kinds(report.outcomes) == [kind]
    assert report.crossings == crossings
    assert [line.text for line in report.logs] == ["said"], "runs that were no verdict are not heard"
