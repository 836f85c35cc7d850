"""docs/security-kafka.md shows settings that are ones, and messages that are said."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline.registry.reading import parse_document
from schemas.registry import SecurityEntry

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "security-kafka.md").read_text()
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
FAILURES = [line.strip("|").split("|") for line in TEXT.splitlines() if line.startswith("| ") and "kafka." in line]
SOURCE = " ".join(path.read_text() for path in (ROOT / "pipeline" / "kafka").glob("*.py"))


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_is_a_setting(example: str) -> None:
    data = parse_document(example, "docs").data
    assert SecurityEntry.model_validate(data["security"]).protocol in ("SSL", "SASL_SSL")


def test_the_table_of_failures_is_read() -> None:
    assert len(EXAMPLES) == 5 and len(FAILURES) == 16


@pytest.mark.parametrize(("_", "said", "place"), FAILURES, ids=[row[0].strip() for row in FAILURES])
def test_every_message_is_one_that_is_said(_: str, said: str, place: str) -> None:
    quoted = re.findall(r"`([^`]+)`", said)
    assert quoted and [words for words in quoted if words not in SOURCE] == []
    (setting,) = re.findall(r"`kafka\.(?:security\.)?(\w+)`", place)
    assert setting in {*SecurityEntry.model_fields, "brokers"}
