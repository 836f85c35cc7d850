"""A crossing that came to nothing is taken apart until every event has its own verdict.

The rule above all others: only a run of one event, alone, on a fresh guest, with the full limits, is a verdict. Everything else
(the guest's cursor, bisection, the time neighbours took) merely decides who runs alone first. And a deadline that passed while
the machine was busy with others is not yet the event's fault: it runs again, `DOUBTS_MAX` times at most.

What is cheap depends on the trouble. A trap costs as long as the batch took to get there, so without a hint halves are tried.
A deadline or exhausted fuel costs a whole deadline for every crossing that meets it again, so without a hint, after a suspect
that proves innocent, or the second time, all that is left runs one by one: healthy events then cost microseconds and
each bad one a single deadline.

The budget counts time that was wasted (crossings that came to nothing, events that were condemned), not healthy work. When it is
used up, what is decided from the first event on without a gap is returned; that is at least one event, so that whoever
asks again makes progress.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from sandbox.traps import Trouble
from schemas.outcome import Outcome, Violation, ViolationKind

SLOW = frozenset({ViolationKind.DEADLINE, ViolationKind.FUEL})
DOUBTS_MAX = 2
"""Verdicts of a busy machine that are not believed, for each event."""


class Runner(Protocol):
    """What isolation needs done."""

    def cross(self, indexes: Sequence[int]) -> list[Outcome | Trouble] | Trouble:
        """Run these events together on a fresh guest."""
        ...

    def condemn(self, trouble: Trouble, attempt: int) -> Violation:
        """The violation this lone run amounts to."""
        ...

    def is_spent(self) -> bool:
        """The isolation budget is used up, or the session was told to stop."""
        ...


@dataclass(frozen=True, slots=True)
class Step:
    """Events to run together. `rest` waits for the verdict on a suspect that runs alone."""

    indexes: tuple[int, ...]
    rest: tuple[int, ...] = ()
    because: Trouble | None = None
    """Why the suspect is one."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What isolation came to."""

    outcomes: list[Outcome]
    """Decided without a gap from the first event on."""
    exhausted: bool
    events_max: int | None
    """Crossings this small would have done; None when size had no part in it."""


class Isolation:
    """Takes one failed crossing of `count` events apart, which they have gone through `attempts` times."""

    def __init__(self, runner: Runner, count: int, attempts: int = 1) -> None:
        self._runner = runner
        self._outcomes: list[Outcome | None] = [None] * count
        self._attempts = [attempts] * count
        self._doubts = [0] * count
        """How often an event alone ran out of time while the machine was busy with others."""
        self._pending: deque[Step] = deque()
        self._slow_crossings = 0
        self._events_max: int | None = None

    def after_trouble(self, trouble: Trouble) -> Findings:
        """The crossing as a whole came to nothing."""
        if trouble.is_doubtful and len(self._outcomes) == 1:
            self._doubts[0] = 1
        self._plan(tuple(range(len(self._outcomes))), trouble)
        return self._resolve()

    def after_answers(self, answers: Sequence[Outcome | Trouble]) -> Findings:
        """The crossing returned, but some of its answers broke a rule: those events run alone."""
        self._keep(range(len(answers)), answers)
        return self._resolve()

    def _resolve(self) -> Findings:
        while self._pending:
            if self._runner.is_spent():
                if self._outcomes[0] is not None:
                    return self._findings(exhausted=True)
                self._pending = deque([Step((0,))])
            self._take(self._pending.popleft())
        return self._findings(exhausted=None in self._outcomes)

    def _findings(self, *, exhausted: bool) -> Findings:
        decided = []
        for outcome in self._outcomes:
            if outcome is None:
                break
            decided.append(outcome)
        return Findings(decided, exhausted and len(decided) < len(self._outcomes), self._events_max)

    def _take(self, step: Step) -> None:
        for index in step.indexes:
            self._attempts[index] += 1
        answers = self._runner.cross(step.indexes)
        if len(step.indexes) == 1:
            self._pass_verdict(step, answers)
        elif isinstance(answers, Trouble):
            self._plan(step.indexes, answers)
        else:
            self._keep(step.indexes, answers)

    def _keep(self, indexes: Sequence[int], answers: Sequence[Outcome | Trouble]) -> None:
        for index, answer in zip(indexes, answers, strict=True):
            if isinstance(answer, Trouble):
                self._pending.append(Step((index,)))
            else:
                self._outcomes[index] = answer

    def _pass_verdict(self, step: Step, answers: list[Outcome | Trouble] | Trouble) -> None:
        (index,) = step.indexes
        answer = answers if isinstance(answers, Trouble) else answers[0]
        if isinstance(answer, Trouble) and answer.is_doubtful and self._doubts[index] < DOUBTS_MAX:
            self._doubts[index] += 1
            self._pending.appendleft(step)
        elif isinstance(answer, Trouble):
            self._outcomes[index] = self._runner.condemn(answer, self._attempts[index])
            if step.rest:
                self._pending.appendleft(Step(step.rest))
        else:
            self._outcomes[index] = answer
            if step.because is not None:
                self._shrink(step.rest, step.because)

    def _plan(self, indexes: tuple[int, ...], trouble: Trouble) -> None:
        """What to run after these events together came to nothing."""
        self._slow_crossings += trouble.kind in SLOW
        if trouble.oversize:
            self._shrink(indexes, trouble)
        elif trouble.kind in SLOW and (trouble.cursor is None or self._slow_crossings > 1):
            self._one_by_one(indexes)
        elif trouble.cursor is not None:
            suspect = indexes[trouble.cursor]
            rest = tuple(index for index in indexes if index != suspect)
            self._pending.appendleft(Step((suspect,), rest, trouble))
        else:
            self._prepend(_parts(indexes, (len(indexes) + 1) // 2))

    def _shrink(self, indexes: tuple[int, ...], trouble: Trouble) -> None:
        """Nobody in particular is to blame: together these events were too much."""
        size = max(1, len(indexes) // 2)
        self._events_max = size if self._events_max is None else min(size, self._events_max)
        if trouble.kind in SLOW:
            self._one_by_one(indexes)
        else:
            self._prepend(_parts(indexes, size))

    def _one_by_one(self, indexes: tuple[int, ...]) -> None:
        """These, and all that waits."""
        waiting = [index for step in self._pending for index in (*step.indexes, *step.rest)]
        self._pending = deque(Step((index,)) for index in sorted({*indexes, *waiting}))

    def _prepend(self, parts: Sequence[tuple[int, ...]]) -> None:
        self._pending.extendleft(Step(part) for part in reversed(parts))


def _parts(indexes: tuple[int, ...], size: int) -> list[tuple[int, ...]]:
    return [indexes[at : at + size] for at in range(0, len(indexes), size)]
