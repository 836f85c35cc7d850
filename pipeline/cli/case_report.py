"""What a run of `penstock test` came to, as data: for `--json` and `--junit`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.cli.case_view import in_words, unlike_changes
from pipeline.events_file import event_fields
from pipeline.workshop.cases.junit import ReportRow
from pipeline.workshop.cases.running import Result
from pipeline.workshop.fuzz.hunt import Hunted
from pipeline.workshop.fuzz.keeping import Kept
from pipeline.workshop.subjects import Subject


@dataclass(slots=True)
class Tally:
    """What a whole run came to."""

    results: list[tuple[Subject, Result]] = field(default_factory=list)
    hunts: list[tuple[Subject, Hunted, list[Kept]]] = field(default_factory=list)
    updated: int = 0
    """Cases whose expectations were rewritten."""

    @property
    def ok(self) -> bool:
        """Everything passed, and nothing was found."""
        return all(result.ok for _, result in self.results) and not any(kept for _, _, kept in self.hunts)


def junit_rows(tally: Tally) -> list[ReportRow]:
    """The rows of the JUnit report: cases first, then what fuzzing found."""
    rows = [_row(subject, result) for subject, result in tally.results]
    return rows + [row for hunt in tally.hunts for row in _hunt_rows(*hunt)]


def _row(subject: Subject, result: Result) -> ReportRow:
    case = result.case
    words = in_words(result)
    return ReportRow(
        suite=subject.name,
        group=str(case.path),
        name=case.name,
        seconds=result.ran.elapsed_ns / 1e9,
        failure="" if result.error else words,
        error=words if result.error else "",
    )


def _hunt_rows(subject: Subject, hunted: Hunted, kept: Sequence[Kept]) -> list[ReportRow]:
    """One row for each finding, or one that says that there is none."""
    run = f"{hunted.inputs} inputs, seed {hunted.seed}"
    rows = [
        ReportRow(subject.name, "fuzz", where.name, 0.0, failure=f"{one.fault.kind}: {one.fault.message} ({run})")
        for one, where in zip(hunted.findings, kept, strict=True)
    ]
    return rows or [ReportRow(subject.name, "fuzz", run, 0.0)]


def as_json(tally: Tally) -> dict[str, Any]:
    """The report as plain data."""
    return {
        "ok": tally.ok,
        "updated": tally.updated,
        "cases": [_case_json(subject, result) for subject, result in tally.results],
        "fuzz": [_hunt_json(*hunt) for hunt in tally.hunts],
    }


def _hunt_json(subject: Subject, hunted: Hunted, kept: Sequence[Kept]) -> dict[str, Any]:
    findings = [
        {
            "kind": one.fault.kind,
            "message": one.fault.message,
            "backtrace": one.fault.backtrace,
            "input": one.number,
            "count": one.count,
            "event": event_fields(one.seed.event, one.seed.source),
            "case": str(where.case),
            "try": where.try_line,
        }
        for one, where in zip(hunted.findings, kept, strict=True)
    ]
    return {
        "transformer": subject.name,
        "inputs": hunted.inputs,
        "seed": hunted.seed,
        "findings": findings,
        "others": hunted.others,
    }


def _case_json(subject: Subject, result: Result) -> dict[str, Any]:
    case = result.case
    return {
        "transformer": subject.name,
        "file": str(case.path),
        "line": case.line,
        "name": case.name,
        "ok": result.ok,
        "error": result.error,
        "failures": _failures_json(result),
        "elapsed_us": result.ran.elapsed_ns // 1_000,
        "memory_bytes_peak": result.ran.memory_bytes_peak,
    }


def _failures_json(result: Result) -> Sequence[dict[str, Any]]:
    return [
        {
            "event": failure.number,
            "together": failure.together,
            "expected": failure.difference.expected,
            "got": failure.difference.got,
            "changes": [
                {"path": change.path, "expected": change.before, "got": change.after}
                for change in unlike_changes(failure.difference, exact=result.case.exact)
            ],
        }
        for failure in result.failures
    ]
