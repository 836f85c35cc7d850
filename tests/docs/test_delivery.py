"""docs/delivery.md knows every header of a dead letter and every policy, and rests on tests."""

from __future__ import annotations

import re

import pytest

from pipeline.plan import truncated
from schemas.dead_letter import PREFIX, dead_letter
from schemas.event import Event, TopicPartition
from schemas.outcome import Violation, ViolationKind
from schemas.specs import OnViolation
from tests.docs.mapped import DELIVERY_PAGE, Row, exists, mishaps

TEXT = DELIVERY_PAGE.read_text()


def test_every_header_of_a_dead_letter_is_there_in_its_order() -> None:
    violation = Violation(
        kind=ViolationKind.TRAP,
        message="m",
        transformer="t",
        module_sha256="5",
        code="c",
        backtrace="b",
        elapsed_us=1,
        memory_bytes_peak=2,
        limits="l",
    )
    letter = dead_letter(Event(7, 1, b"k", b"v", ()), TopicPartition("orders", 0), violation)
    cut = truncated(letter, 100)
    written = [name for name, _ in cut.headers]
    assert re.findall(rf"^\| `({re.escape(PREFIX)}[^`]+)` \|", TEXT, re.MULTILINE) == written


def test_every_policy_is_there() -> None:
    section = TEXT.partition("## Where an event ends")[2].partition("\n## ")[0]
    assert re.findall(r"^\| violates \| `([^`]+)`", section, re.MULTILINE) == [policy.value for policy in OnViolation]


@pytest.mark.parametrize("mishap", list(mishaps()), ids=str)
def test_every_promise_has_a_test(mishap: Row) -> None:
    assert mishap.tests
    assert [test for test in mishap.tests if not exists(test)] == []
