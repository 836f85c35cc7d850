"""docs/reference-map.md and docs/client-limits.md are bound to the code: what they name exists, and nothing built lacks a test."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.mapped import LIMITS_PAGE, PAGE, ROOT, Row, exists, named_tests, rows, traps, tree

ROWS = list(rows())
BUILT = [row for row in ROWS if row.status != "not built yet"]
TRAPS = list(traps())


def test_the_tables_are_read() -> None:
    assert {row.status for row in ROWS} == {"built", "built, otherwise", "not built yet"}
    assert len({str(row) for row in ROWS}) == len(ROWS)
    assert any(row.status == "built, otherwise" for row in ROWS) and "## Otherwise" in PAGE.read_text()


def test_both_checklists_are_complete() -> None:
    quick = [row.line for row in ROWS if row.section == "Testing checklist of the Quick Reference"]
    assert [line.partition(".")[0] for line in quick if line[0].isdigit()] == [str(n) for n in range(1, 23)]
    isolation = [row.line for row in ROWS if row.section == "Production checklist of Isolation Strategies"]
    assert [line[:2] for line in isolation] == [f"{n}{part}" for n in range(1, 6) for part in "abc"]


@pytest.mark.parametrize("row", BUILT, ids=str)
def test_what_is_built_has_code_and_a_test_that_exist(row: Row) -> None:
    assert row.code and row.tests
    assert [place for place in (*row.code, *row.tests) if not exists(place)] == []
    assert all(test.startswith("tests/") and "::test_" in test for test in row.tests)


@pytest.mark.parametrize("row", [row for row in ROWS if row not in BUILT], ids=str)
def test_what_is_not_built_names_nothing(row: Row) -> None:
    assert not row.code and not row.tests


@pytest.mark.parametrize("trap", TRAPS, ids=str)
def test_a_trap_is_handled_where_the_page_says(trap: Row) -> None:
    assert trap.code and (trap.tests or trap.said == "no test yet")
    assert [place for place in (*trap.code, *trap.tests) if not exists(place)] == []


def test_every_row_of_the_client_limits_is_read() -> None:
    lines = [line for line in LIMITS_PAGE.read_text().splitlines() if line.startswith("| ")]
    assert len(TRAPS) == len(lines) - sum(line.startswith("| trap |") for line in lines) > 30


def test_every_named_test_is_collected_and_none_is_marked_to_be_skipped() -> None:
    wanted = named_tests()
    files = sorted({test.partition("::")[0] for test in wanted})
    command = [sys.executable, "-m", "pytest", "--collect-only", *files]  # addopts has one -q already
    environ = {**os.environ, "PENSTOCK_REQUIRE_SERVICES": "1"}
    ran = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert wanted <= {line.partition("[")[0] for line in ran.stdout.splitlines()}
    assert [test for test in sorted(wanted) if "skip" in decorators(test)] == []


def decorators(test: str) -> str:
    path, _, name = test.partition("::")
    functions = [node for node in tree(path).body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return " ".join(ast.unparse(one) for node in functions if node.name == name for one in node.decorator_list)


SUITE = {
    "conftest.py": """
from tests.docs.mapped import Ran

def pytest_configure(config):
    config.pluginmanager.register(Ran({"test_it.py::test_a", "test_it.py::test_b"}))
""",
    "test_it.py": """
import pytest

@pytest.mark.parametrize("n", [1, 2])
def test_a(n):
    pass

@pytest.mark.skipif(SKIPPED, reason="not today")
def test_b():
    pass
""",
}


@pytest.mark.parametrize("skipped", [True, False])
def test_a_run_that_left_a_named_test_out_fails(tmp_path: Path, skipped: bool) -> None:
    for name, text in SUITE.items():
        (tmp_path / name).write_text(text.replace("SKIPPED", str(skipped)))
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(tmp_path),
        str(tmp_path),
    ]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60)
    assert (ran.returncode, "test_it.py::test_b" in ran.stdout) == ((1, True) if skipped else (0, False)), ran.stdout
