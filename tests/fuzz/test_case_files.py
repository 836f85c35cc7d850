"""Files of golden cases: every fault with its place, or cases that run; and what `--update` writes is read back, and passes."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from pipeline.workshop.cases.reading import read_case_file
from pipeline.workshop.cases.running import ISOLATION_MS, run_cases
from pipeline.workshop.cases.update import updated
from pipeline.workshop.subjects import registry_subjects
from sandbox import Sandbox
from schemas.errors import ConfigError
from tests.fuzz.children import ROOT
from tests.fuzz.test_guest_projects import mutated
from tests.workshop.loop import shop

CASES = """\
defaults: {topic: t, key: k, headers: {a: x, b: null, c: {base64: /w==}}}
deadline: 50ms
cases:
  - name: one   # first
    event: {value: {a: 1.10, b: [true, null, "text"]}}
    expect: {value: {A: 1.10}}
  - event:
      value: |
        two lines
        of text
    expect:
      emitted:
        - value: other
          headers: [[h, v]]
  - {name: three, events: [{value: a}, {value_base64: /w==}], expect: [dropped, unchanged]}
  - name: four
    event: {value: x, offset: 7, timestamp: -1}
    exact: true
    expect: {rejected: code, message_has: [words]}
"""
JSON = (ROOT / "transformers" / "guests" / "c" / "uppercase" / "cases" / "all.json").read_text()


@pytest.mark.parametrize(("name", "text"), [("all.yaml", CASES), ("all.json", JSON)])
def test_case_files_mutated(tmp_path: Path, name: str, text: str) -> None:
    registry = shop(tmp_path, "uppercase", text, name)
    file = tmp_path / "cases" / "uppercase" / name
    ran = 0
    with closing(Sandbox(workers=1, isolation_budget_ms=ISOLATION_MS)) as sandbox:
        for damaged in mutated(text.encode(), name, 250):
            file.write_bytes(damaged)
            try:
                (subject,) = registry_subjects(registry, ["uppercase"])
            except ConfigError as error:
                assert error.faults
                assert all(fault.problem and str(fault).isprintable() for fault in error.faults), error.faults
                continue
            for results in run_cases(subject, sandbox):
                ran += 1
                wrong = [result for result in results if not result.ok and not result.error]
                text_now = updated(subject.files[0], wrong)
                file.write_text(text_now)
                again = read_case_file(file)
                assert len(again.cases) == len(subject.files[0].cases), text_now
        assert ran, "every one was refused: nothing was tried"


def test_what_update_writes_passes(tmp_path: Path) -> None:
    registry = shop(tmp_path, "uppercase", CASES)
    file = tmp_path / "cases" / "uppercase" / "all.yaml"
    passed = 0
    with closing(Sandbox(workers=1, isolation_budget_ms=ISOLATION_MS)) as sandbox:
        for damaged in mutated(CASES.encode(), "update", 150):
            file.write_bytes(damaged)
            try:
                (subject,) = registry_subjects(registry, ["uppercase"])
            except ConfigError:
                continue
            (results,) = run_cases(subject, sandbox)
            file.write_text(updated(subject.files[0], [result for result in results if not result.ok]))
            (subject,) = registry_subjects(registry, ["uppercase"])
            (results,) = run_cases(subject, sandbox)
            assert [result.case.name for result in results if not result.ok and not result.error] == [], (
                file.read_text()
            )
            passed += 1
    assert passed


@pytest.mark.parametrize(
    "text",
    [
        "cases:\n" + "- " * 5_000,
        "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nd: [*c, *c]\ncases: [{event: {value: *c}}]\n",
        "cases: [" * 2_000,
        "cases:\n  - event: {value: " + "[" * 100 + "]" * 100 + "}\n",
        "x: " + "y" * (17 << 20),
    ],
)
def test_bombs_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bomb.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError):
        read_case_file(path)
