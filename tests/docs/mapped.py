"""The tables of docs/reference-map.md, and the promise that the tests they name ran."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference-map.md"
HEADER = "| line | status | code | test |"
_QUOTED = re.compile(r"`([^`]+)`")


@dataclass(frozen=True)
class Row:
    """One line of a reference document."""

    section: str
    line: str
    status: str
    code: tuple[str, ...]
    tests: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.section}: {self.line}"


def rows() -> Iterator[Row]:
    """Every row of the tables that have a status."""
    section, inside = "", False
    for text in PAGE.read_text().splitlines():
        if text.startswith("#"):
            section = text.lstrip("# ")
        inside = text == HEADER or (inside and text.startswith("|"))
        if inside and text != HEADER and not text.startswith("|---"):
            line, status, code, tests = (cell.strip() for cell in text.strip("|").split("|"))
            yield Row(section, line, status, tuple(_QUOTED.findall(code)), tuple(_QUOTED.findall(tests)))


class Ran:
    """A pytest plugin: fails a run in which a wanted test did not run and pass, parametrised in whatever way."""

    def __init__(self, wanted: Collection[str]) -> None:
        self._missing = set(wanted)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed:
            self._missing.discard(report.nodeid.partition("[")[0])

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._missing and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for name in sorted(self._missing):
            terminalreporter.write_line(f"NOT RUN, but named in {PAGE.name}: {name}", red=True)
