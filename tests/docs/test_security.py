"""SECURITY.md rests on tests, and every file of tests/fuzz is in its table."""

from __future__ import annotations

import pytest

from tests.docs.mapped import ROOT, Row, assaults, exists


@pytest.mark.parametrize("assault", list(assaults()), ids=str)
def test_every_promise_has_a_test(assault: Row) -> None:
    assert assault.tests
    assert [test for test in assault.tests if not exists(test)] == []


def test_every_door_that_is_fuzzed_is_there() -> None:
    named = {test.partition("::")[0] for row in assaults() for test in row.tests}
    files = {str(path.relative_to(ROOT)) for path in (ROOT / "tests" / "fuzz").glob("test_*.py")}
    assert files <= named
