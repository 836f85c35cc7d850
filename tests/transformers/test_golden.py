"""Every golden case on the committed modules, alone and together with the others of its file."""

from __future__ import annotations

from itertools import groupby

import pytest

from pipeline.workshop.cases.model import Fate
from pipeline.workshop.cases.verdict import difference
from sandbox import Sandbox
from schemas.event import Batch
from schemas.limits import Limits
from schemas.outcome import Emitted, Outcome
from tests.transformers import shipped
from tests.transformers.shipped import SOURCE, Case

CASES = shipped.cases()
TOGETHER = [list(group) for _, group in groupby(CASES, key=lambda case: (case.guest, case.file))]
SHORT = Limits.conservative().with_(deadline_ms=50)


def check(case: Case, outcome: Outcome) -> None:
    """Byte for byte."""
    assert difference(case.expected, case.event, outcome, exact=True) is None
    if case.expected.fate is Fate.UNCHANGED:
        assert isinstance(outcome, Emitted)
        assert outcome.events[0] is case.event


def test_every_guest_has_cases() -> None:
    assert {case.guest.replace("-", "_") for case in CASES} == {path.stem for path in shipped.MODULES.glob("*.wasm")}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(sandbox: Sandbox, case: Case) -> None:
    limits = SHORT if case.expect.get("violation") == "deadline" else None
    transformer = shipped.load(sandbox, case.guest, case.config, limits=limits)
    check(case, shipped.outcome_of(transformer, case.event))


@pytest.mark.parametrize("cases", TOGETHER, ids=lambda cases: f"{cases[0].guest}/{cases[0].file}")
def test_cases_in_one_batch(sandbox: Sandbox, cases: list[Case]) -> None:
    """Neighbours make no difference, misbehaving ones included."""
    limits = SHORT if any(case.expect.get("violation") == "deadline" for case in cases) else None
    transformer = shipped.load(sandbox, cases[0].guest, cases[0].config, limits=limits)
    report = transformer.run(Batch(SOURCE, [case.event for case in cases]))
    assert not report.exhausted
    for case, outcome in zip(cases, report.outcomes, strict=True):
        check(case, outcome)
