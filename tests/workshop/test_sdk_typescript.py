"""The TypeScript SDK: rows read and changed in both encodings, and the ways in which a guest gives up."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import pytest

from pipeline.workshop.build import compile_project
from pipeline.workshop.scaffold import create
from sandbox import Sandbox
from schemas.event import Batch
from schemas.limits import Limits
from schemas.outcome import Emitted, Outcome, Violation
from schemas.specs import TransformerSpec
from tests.transformers.shipped import SOURCE, value_event
from tests.workshop.tools import need

PROBE = Path(__file__).parent / "probes" / "rows.ts"
ENCODINGS: tuple[Literal["raw", "event"], ...] = ("raw", "event")
SET = {
    "text": 'q" \\ \n é 😀 \x01 again',
    "least": -(1 << 63),
    "half": Decimal("0.5"),
    "yes": True,
    "none": None,
    'ключ "1"': "set",
}


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Path:
    need("typescript")
    project = create("typescript", "rows", tmp_path_factory.mktemp("rows"))
    (project.folder / "src" / "index.ts").write_text(PROBE.read_text())
    built = project.folder / "rows.wasm"
    built.write_bytes(compile_project(project)[0])
    return built


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(workers=1) as shared:
        yield shared


def outcomes(sandbox: Sandbox, module: Path, encoding: Literal["raw", "event"], *values: str) -> tuple[Outcome, ...]:
    limits = Limits.conservative().with_(deadline_ms=5_000)
    transformer = sandbox.load(TransformerSpec(name="rows", module=module, limits=limits, encoding=encoding))
    return tuple(transformer.run(Batch(SOURCE, [value_event(value) for value in values])).outcomes)


def change(after: str) -> str:
    return f'{{"op":"u","before":{{"id":1}},"after":{after},"source":{{"table":"orders"}},"ts_ms":5}}'


def after_of(outcome: Outcome) -> Any:
    assert isinstance(outcome, Emitted), outcome
    value = outcome.events[0].value
    assert value is not None
    return json.loads(value, parse_float=Decimal)["after"]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_columns_are_set_where_they_stand_or_behind_the_others(
    sandbox: Sandbox, module: Path, encoding: Literal["raw", "event"]
) -> None:
    rows = ['{"do":"set"}', '{"amount":"1","x":1.10,"do":"set","text":"old"}', '{ "do" : "set" , "ключ \\"1\\"":0}']
    found = [after_of(outcome) for outcome in outcomes(sandbox, module, encoding, *map(change, rows))]
    for after in found:
        assert str(after.pop("amount")) == "19.90"
    assert found[0] == {"do": "set", **SET}
    assert found[1] == {"x": Decimal("1.10"), "do": "set", **SET}
    assert list(found[1])[:3] == ["x", "do", "text"]
    assert found[2] == {"do": "set", **SET}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_removed_columns_leave_no_commas(sandbox: Sandbox, module: Path, encoding: Literal["raw", "event"]) -> None:
    rows = [
        '{"first":1,"do":"remove","last":2}',
        '{"do":"remove"}',
        '{"first":{"a":[1]},"last":[],"do":"remove"}',
        '{"do":"remove", "first" : 1 , "x": 1e400 }',
    ]
    found = outcomes(sandbox, module, encoding, *map(change, rows))
    expected = {"do": "remove", "added": 1}
    assert [after_of(outcome) for outcome in found[:3]] == [expected] * 3
    assert isinstance(found[3], Emitted) and b"1e400" in (found[3].events[0].value or b"")


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_columns_are_read_in_both_encodings(sandbox: Sandbox, module: Path, encoding: Literal["raw", "event"]) -> None:
    row = (
        '{"do":"r\\u0065ad","text":"\\u00e9 \\ud83d\\ude00\\n","least":-9223372036854775808,"amount":"19.90","yes":true,'
        '"none":null,"big":"__debezium_unavailable_value","\\u043aлюч":"v"}'
    )
    (outcome,) = outcomes(sandbox, module, encoding, change(row))
    assert isinstance(outcome, Violation)
    assert outcome.message == "é 😀\n -9223372036854775808 19.90 true true true 7 v orders 5"


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_column_of_another_type_rejects_the_event(
    sandbox: Sandbox, module: Path, encoding: Literal["raw", "event"]
) -> None:
    (outcome,) = outcomes(sandbox, module, encoding, change('{"do":7}'))
    assert isinstance(outcome, Violation)
    assert (outcome.code, outcome.message.split(" is ")[0]) == ("bad-column", "after.do")


def test_giving_up_says_where_and_costs_one_event(sandbox: Sandbox, module: Path) -> None:
    values = [change(f'{{"do":"{word}"}}') for word in ("throw", "set", "index", "hoard", "remove")]
    thrown, _, beyond, hoarded, _ = found = outcomes(sandbox, module, "raw", *values)
    assert isinstance(found[1], Emitted) and isinstance(found[4], Emitted)
    assert isinstance(thrown, Violation) and isinstance(beyond, Violation) and isinstance(hoarded, Violation)
    assert (thrown.kind, thrown.code) == ("trap", "panic")
    assert "thrown on purpose (src/index.ts:9:" in thrown.message
    assert "Index out of range (~lib/" in beyond.message
    assert hoarded.kind == "memory"


def test_before_and_after_may_be_missing(sandbox: Sandbox, module: Path) -> None:
    values = [
        '{"op":"d","before":{"id":1},"after":null}',
        '{"op":"m"}',
        '{"op":"c","after":[1]}',
        '{"op":"c","op":"c"}',
    ]
    found = outcomes(sandbox, module, "raw", *values)
    assert [getattr(outcome, "code", None) for outcome in found] == ["none", "none", "bad-json", "bad-json"]
    assert [getattr(outcome, "message", "") for outcome in found[:2]] == ["before only", "neither row"]
