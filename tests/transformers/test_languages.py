"""`enrich-order` in every language: each committed module passes the same golden cases, alone and in one batch, and enriches alike.

Values are compared as canonical JSON: objects without order, numbers as exact decimals, strings unescaped. Rejections by their code;
messages are each language's own, and say something.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandbox import Sandbox, Transformer
from schemas.errors import ModuleFault
from schemas.event import Batch, Event
from schemas.limits import Limits
from schemas.outcome import Dropped, Emitted, Outcome, Violation, ViolationKind
from schemas.specs import InstancePolicy, TransformerSpec
from tests.transformers import shipped
from tests.transformers.shipped import SOURCE, Case
from tests.transformers.test_properties import Amount, NumberText, Text

MODULES = sorted((shipped.MODULES / "languages").glob("enrich_order_*.wasm"))
CASES = [case for case in shipped.cases() if case.guest == "enrich-order"]
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
FILES = sorted({case.file for case in CASES})
LIMITS = {
    "go": Limits.conservative().with_(memory_bytes=16 << 20),
    "python": Limits.conservative().with_(memory_bytes=64 << 20),
}
"""Where the language's runtime needs more than the 4 MiB for code nobody knows."""
REFUSED = [
    ({"currency": "eur"}, "currency"),
    ({"currency": 7}, "currency"),
    ({"curency": "EUR"}, "curency"),
    ({"drop_statuses": [1]}, "drop_statuses"),
    ({"flag_above": "10"}, "flag_topic"),
    ({"flag_topic": "x"}, "flag_above"),
    ({"flag_above": "much", "flag_topic": "x"}, "decimal number"),
    ({"flag_above": 10.5, "flag_topic": "x"}, "flag_above"),
]

pytestmark = pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem.removeprefix("enrich_order_"))


def load(
    sandbox: Sandbox, module: Path, config: Any, instance: InstancePolicy = InstancePolicy.PER_BATCH
) -> Transformer:
    limits = LIMITS.get(module.stem.removeprefix("enrich_order_"), Limits.conservative())
    return sandbox.load(
        TransformerSpec(
            name="enrich-order", module=module, config=config, limits=limits.with_(deadline_ms=5_000), instance=instance
        )
    )


def canonical(value: bytes | None) -> Any:
    return None if value is None else json.loads(value, parse_float=Decimal, parse_int=Decimal)


def check(case: Case, outcome: Outcome) -> None:
    expect = case.expect
    match expect["outcome"]:
        case "unchanged":
            assert isinstance(outcome, Emitted)
            assert outcome.events == (case.event,)
        case "dropped":
            assert isinstance(outcome, Dropped)
        case "emitted":
            assert isinstance(outcome, Emitted), outcome
            found = [(event.to, event.key, canonical(event.value), event.headers) for event in outcome.events]
            assert found == [
                (record["topic"], _encoded(record["key"]), canonical(_encoded(record["value"])), case.event.headers)
                for record in expect["records"]
            ]
        case "rejected":
            assert isinstance(outcome, Violation)
            assert (outcome.kind, outcome.code) == (ViolationKind.REJECTED, expect["code"]), outcome.message
            assert outcome.message
        case other:
            pytest.fail(f"no such outcome: {other}")


def _encoded(text: str | None) -> bytes | None:
    return None if text is None else text.encode()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(sandbox: Sandbox, module: Path, case: Case) -> None:
    check(case, shipped.outcome_of(load(sandbox, module, case.config), case.event))


@pytest.mark.parametrize("file", FILES)
def test_cases_in_one_batch(sandbox: Sandbox, module: Path, file: str) -> None:
    cases = [case for case in CASES if case.file == file]
    report = load(sandbox, module, cases[0].config).run(Batch(SOURCE, [case.event for case in cases]))
    assert not report.exhausted
    for case, outcome in zip(cases, report.outcomes, strict=True):
        check(case, outcome)


@pytest.mark.parametrize("instance", InstancePolicy)
def test_real_events_come_out_as_the_shipped_guest_makes_them(
    sandbox: Sandbox, module: Path, instance: InstancePolicy
) -> None:
    """Recorded from a real Debezium; and the shipped guest is the measure. Several batches through one guest."""
    events = shipped.fixture("debezium-postgres") + shipped.fixture("debezium-postgres-with-schemas")
    config = {"currency": "EUR", "flag_above": "100", "flag_topic": "flagged"}
    measure, guest = shipped.load(sandbox, "enrich-order", config), load(sandbox, module, config, instance)
    wanted = [_told(outcome) for outcome in measure.run(Batch(SOURCE, events)).outcomes]
    with closing(guest.session()) as session:
        for _ in range(3):
            assert [_told(outcome) for outcome in session.run(Batch(SOURCE, events)).outcomes] == wanted


def _told(outcome: Outcome) -> Any:
    match outcome:
        case Emitted():
            return [(event.to, event.key, canonical(event.value), event.headers) for event in outcome.events]
        case Violation():
            return (outcome.kind, outcome.code)
        case _:
            return type(outcome)


@pytest.mark.parametrize(("config", "word"), REFUSED, ids=str)
def test_a_config_that_will_not_do_is_refused_by_name(
    sandbox: Sandbox, module: Path, config: dict[str, Any], word: str
) -> None:
    with pytest.raises(ModuleFault) as raised:
        load(sandbox, module, config)
    assert word in str(raised.value)


def test_many_batches_through_one_guest_take_no_more_memory(sandbox: Sandbox, module: Path) -> None:
    """A guest that is kept does not grow: the second half of hundreds of batches fits the memory of the first."""
    limits = Limits.conservative().with_(deadline_ms=5_000, memory_bytes=64 << 20)
    spec = TransformerSpec(name="enrich-order", module=module, limits=limits, instance=InstancePolicy.REUSED)
    value = b'{"op":"c","after":{"first_name":"Ada","amount":"19.90","quantity":3,"note":"' + b"x" * 2000 + b'"}}'
    batch = Batch(SOURCE, [Event(offset, 0, b"1", value) for offset in range(20)])
    with closing(sandbox.load(spec).session()) as session:
        peaks = [session.run(batch).memory_bytes_peak for _ in range(300)]
    assert max(peaks[150:]) <= max(peaks[:150]), sorted(set(peaks))


Amounts = NumberText | Amount | st.text("0123456789.-+eE x", max_size=12) | st.integers(-(10**40), 10**40).map(str)
Rows = st.fixed_dictionaries(
    {"amount": st.tuples(st.booleans(), Amounts)},
    optional={
        "quantity": st.tuples(st.booleans(), Amounts),
        "first_name": st.none() | Text,
        "last_name": st.none() | Text,
        "total": st.none() | Text,
        "currency": Text,
        "status": st.sampled_from(["draft", "paid", "é"]),
    },
)


def _order(row: Mapping[str, Any]) -> bytes:
    """A change event around the row: amounts as numbers where they are some, else as texts."""
    members = (f"{json.dumps(name)}:{_spelt(value)}" for name, value in row.items())
    return f'{{"op":"u","before":null,"after":{{{",".join(members)}}}}}'.encode()


def _spelt(value: Any) -> str:
    match value:
        case (True, text) if _NUMBER.fullmatch(text):
            return str(text)
        case (_, text):
            return json.dumps(text)
        case _:
            return json.dumps(value)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(Rows, min_size=1, max_size=30))
def test_any_order_comes_out_as_the_shipped_guest_makes_it(
    sandbox: Sandbox, module: Path, rows: list[dict[str, Any]]
) -> None:
    """Decimals of any length and shape, names with escapes: outcome, code and value."""
    config = {"currency": "EUR", "drop_statuses": ["draft"], "flag_above": "99.5", "flag_topic": "flagged"}
    batch = Batch(SOURCE, [Event(offset, 0, b"1", _order(row)) for offset, row in enumerate(rows)])
    measure = shipped.load(sandbox, "enrich-order", config).run(batch).outcomes
    found = load(sandbox, module, config).run(batch).outcomes
    for row, wanted, outcome in zip(rows, measure, found, strict=True):
        assert _told(outcome) == _told(wanted), (row, outcome, wanted)
