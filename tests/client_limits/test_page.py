"""docs/client-limits.md and these tests know the same rows, and a row that vanishes says so."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.client_limits.trap import Trap
from tests.docs.mapped import traps

HERE = Path(__file__).parent
LETTERS = [
    *"ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "AA",
    "AB",
    "AC",
    *(f"W{n}" for n in range(1, 15)),
    *(f"M{n}" for n in range(1, 5)),
]
KAFKAS_OWN = {"X"}
"""Not a client's trap: shown by the test of the warning."""
ROWS = {ident: row for row in traps() for ident in re.findall(r"\*\*(\w+)\*\*", row.line)}


def shown() -> dict[str, set[str]]:
    """The tests that show each row: those that make its `Trap`, or name it in their first line."""
    found: dict[str, set[str]] = {}
    for path in HERE.glob("test_*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                text = ast.unparse(node)
                for ident in re.findall(r"Trap\('(\w+)'", text) + re.findall(
                    r"[Rr]ow (\w+)", ast.get_docstring(node) or ""
                ):
                    found.setdefault(ident, set()).add(f"tests/client_limits/{path.name}::{node.name}")
    return found


def test_every_row_is_on_the_page() -> None:
    assert ROWS.keys() == {*LETTERS, "SS"}


@pytest.mark.parametrize("ident", sorted(ROWS.keys() - KAFKAS_OWN))
def test_a_lettered_row_names_the_test_that_shows_it(ident: str) -> None:
    assert shown()[ident] & set(ROWS[ident].tests)


def test_no_row_is_without_a_test() -> None:
    assert [row.line for row in traps() if not row.tests] == []


def test_a_row_that_vanishes_says_which_and_what_may_go() -> None:
    trap = Trap("A", "the work-around")
    trap.holds(True)
    with pytest.raises(
        pytest.fail.Exception,
        match=r"row A of docs/client-limits\.md has vanished with aiokafka 0\.\d+.*the work-around can go",
    ):
        trap.holds(False)
    with pytest.raises(pytest.fail.Exception, match="no KeyError is raised"), trap.raises(KeyError):
        pass
    with pytest.raises(pytest.fail.Exception, match="it says"), trap.raises(KeyError, match="other"):
        raise KeyError("this")
