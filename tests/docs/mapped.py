"""The tables of docs/ that name code and tests, and the promise that these tests ran."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference-map.md"
LIMITS_PAGE = ROOT / "docs" / "client-limits.md"
SECURITY_PAGE = ROOT / "SECURITY.md"
DELIVERY_PAGE = ROOT / "docs" / "delivery.md"
_QUOTED = re.compile(r"`([^`]+)`")


@dataclass(frozen=True)
class Row:
    """One line of a reference document, or one trap of a client."""

    section: str
    line: str
    status: str
    """Of a trap: what penstock does."""
    code: tuple[str, ...]
    tests: tuple[str, ...]
    said: str
    """The test column as it is written."""

    def __str__(self) -> str:
        return f"{self.section}: {self.line}"


def rows() -> Iterator[Row]:
    """Every line of the reference documents."""
    yield from _rows(PAGE, "| line | status | code | test |")


def traps() -> Iterator[Row]:
    """Every trap."""
    yield from _rows(LIMITS_PAGE, "| trap | what penstock does | code | test |")


def mishaps() -> Iterator[Row]:
    """Every promise about delivery; the columns `status` and `code` hold its two modes."""
    yield from _rows(DELIVERY_PAGE, "| what happens | exactly-once | at-least-once | test |")


def assaults() -> Iterator[Row]:
    """Everything a guest, an event or any other input may try; the columns `status` and `code` hold what comes of it."""
    yield from _rows(SECURITY_PAGE, "| what a guest or event does | what it may cost | what holds | test |")
    yield from _rows(SECURITY_PAGE, "| door | what comes in | what happens | test |")


def named_tests() -> set[str]:
    """The tests that these pages rest on."""
    return {test for row in (*rows(), *traps(), *mishaps(), *assaults()) for test in row.tests}


def _rows(page: Path, header: str) -> Iterator[Row]:
    section, inside = "", False
    for text in page.read_text().splitlines():
        if text.startswith("#"):
            section = text.lstrip("# ")
        inside = text == header or (inside and text.startswith("|"))
        if inside and text != header and not text.startswith("|---"):
            line, status, code, tests = (cell.strip() for cell in text.strip("|").split("|"))
            yield Row(section, line, status, tuple(_QUOTED.findall(code)), tuple(_QUOTED.findall(tests)), tests)


@functools.cache
def tree(path: str) -> ast.Module:
    """A source file, parsed."""
    return ast.parse((ROOT / path).read_text())


def names(body: list[ast.stmt]) -> Iterator[tuple[str, list[ast.stmt]]]:
    """What these statements define, each with its own body."""
    for node in body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield node.name, []
            case ast.ClassDef():
                yield node.name, node.body
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                yield name, []
            case _:
                pass


def exists(place: str) -> bool:
    """Whether `path` or `path::Name.attribute` is there."""
    path, _, dotted = place.partition("::")
    if not (ROOT / path).is_file() or not dotted:
        return (ROOT / path).is_file()
    body = tree(path).body
    for name in dotted.split("."):
        found = dict(names(body))
        if name not in found:
            return False
        body = found[name]
    return True


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
            terminalreporter.write_line(f"NOT RUN, but named in docs/: {name}", red=True)
