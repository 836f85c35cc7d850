"""Events recorded from a real Debezium: what is not masked or added stays byte for byte."""

from __future__ import annotations

import hashlib
import re

import pytest

from sandbox import Sandbox
from schemas.event import Batch, Event
from schemas.outcome import Emitted, Outcome, Violation
from tests.transformers import shipped
from tests.transformers.shipped import SOURCE

RECORDINGS = ["debezium-postgres", "debezium-postgres-with-schemas"]
EMAIL = re.compile(rb'"email":"([^"\\]*)"')
MASK = {"salt": "s", "fields": [{"path": "email", "action": "hash"}]}


def hashed(found: re.Match[bytes]) -> bytes:
    return b'"email":"' + hashlib.sha256(b"s" + found[1]).hexdigest().encode() + b'"'


def value_of(outcome: Outcome) -> bytes | None:
    assert isinstance(outcome, Emitted), outcome
    (event,) = outcome.events
    return event.value


@pytest.mark.parametrize("recording", RECORDINGS)
def test_masking_touches_nothing_else(sandbox: Sandbox, recording: str) -> None:
    events = shipped.fixture(recording)
    report = shipped.load(sandbox, "mask-pii", MASK).run(Batch(SOURCE, events))
    expected = [None if event.value is None else EMAIL.sub(hashed, event.value) for event in events]
    assert [value_of(outcome) for outcome in report.outcomes] == expected
    changed = sum(value != event.value for value, event in zip(expected, events, strict=True))
    assert 15 <= changed < len(events)


@pytest.mark.parametrize("recording", RECORDINGS)
def test_events_without_masked_fields_are_the_very_same(sandbox: Sandbox, recording: str) -> None:
    """int64, decimals, NaN as text, unavailable values: none of it is decoded on the way."""
    events = shipped.fixture(recording)
    config = {"fields": [{"path": "no_such_column", "action": "redact"}, {"path": "doc.no", "action": "redact"}]}
    report = shipped.load(sandbox, "mask-pii", config).run(Batch(SOURCE, events))
    for event, outcome in zip(events, report.outcomes, strict=True):
        assert isinstance(outcome, Emitted)
        assert outcome.events[0] is event


@pytest.mark.parametrize("recording", RECORDINGS)
def test_other_tables_are_no_orders(sandbox: Sandbox, recording: str) -> None:
    """No recorded table has an amount: rows are rejected by name, everything that is no row passes."""
    events = shipped.fixture(recording)
    report = shipped.load(sandbox, "enrich-order").run(Batch(SOURCE, events))
    codes = {outcome.code for outcome in report.outcomes if isinstance(outcome, Violation)}
    assert codes == {"bad-amount", "no-envelope"}
    for event, outcome in zip(events, report.outcomes, strict=True):
        if _passes(event):
            assert isinstance(outcome, Emitted)
            assert outcome.events[0] is event


def _passes(event: Event) -> bool:
    return event.value is None or re.search(rb'"op":"[dtm]"', event.value) is not None
