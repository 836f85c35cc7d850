"""Configs and events that mean ill: a built-in refuses them with a word, and never traps, hangs or grows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from sandbox import Sandbox
from schemas.errors import ModuleFault
from tests.transformers.builtin_sessions import batch, created, opened, verdict


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(workers=1) as opened_:
        yield opened_


def validated(schema: object) -> dict[str, Any]:
    return {"rules": [{"schema": schema}]}


def nested(schema: Any, keyword: str, levels: int) -> Any:
    for _ in range(levels):
        schema = {keyword: schema}
    return schema


CHAIN = {f"d{n}": {"$ref": f"#/$defs/d{n + 1}"} for n in range(300)} | {"d300": {}}
REFUSED = [
    ("filter", {"keep": "(" * 16_000}, "nested more than 40 levels"),
    ("filter", {"keep": "!" * 16_000 + "true"}, "nested more than 40 levels"),
    ("filter", {"keep": "[" * 5_000}, "nested more than 40 levels"),
    ("filter", {"keep": "true ? true : " * 1_100 + "true"}, "nested more than 40 levels"),
    ("filter", {"keep": "after" + ".a" * 8_000 + " == 1"}, "nested more than 40 levels"),
    ("filter", {"keep": "1 + " * 4_000 + "1 == 1"}, "nested more than 40 levels"),
    ("filter", {"keep": "[1].all(x, " * 1_000}, "nested more than 40 levels"),
    ("filter", {"keep": "op.matches('" + "(" * 5_000 + "')"}, "no regular expression"),
    ("filter", {"keep": "op.matches('" + "(((((a{100}){100}){100}){100}){100})" + "')"}, "no regular expression"),
    ("filter", {"keep": "op == 'c"}, "keep: column 7: a text without its closing '"),
    ("filter", {"drop": "befor == null"}, "drop: column 1: `befor` is nothing that an event has"),
    ("validate", validated(nested({}, "not", 100)), "more than 64 schemas within each other"),
    ("validate", validated(nested({}, "items", 65)), "more than 64 schemas within each other"),
    ("validate", validated({"$ref": "#"}), "#: refers to itself"),
    ("validate", validated({"anyOf": [{"$ref": "#/not"}], "not": {"$ref": "#"}}), "refers to itself"),
    ("validate", validated({"$ref": "#/$defs/d0", "$defs": CHAIN}), "within each other"),
    ("validate", validated({"$defs": dict(reversed(CHAIN.items())), "$ref": "#/$defs/d0"}), "or through 100 schemas"),
    ("validate", validated({"$defs": {f"d{n}": {} for n in range(10_001)}}), "or 10000 in all"),
    ("validate", validated({"$ref": "https://example.org/schema"}), "is in another document"),
    ("validate", validated({"$ref": "#/nowhere"}), "there is nothing there to refer to"),
    ("validate", validated({"$ref": "#name"}), "there is no `$anchor: name`"),
    ("validate", validated({"properties": {"a": {"pattern": "(?=a)"}}}), "#/properties/a: pattern: no regular expression"),
    ("validate", validated({"pattern": "((a{1000}){1000}){1000}"}), "pattern: no regular expression"),
    ("validate", validated({"properties": {"a": {"unevaluatedProperties": False}}}), "#/properties/a: unevaluatedProperties: is a keyword"),
    ("validate", validated({"format": "hostname"}), 'format: "hostname" is not checked here'),
    ("validate", validated({"items": [{}]}), "items: is a list"),
    ("validate", validated({"then": {}}), "then: there is no `if` beside it"),
    ("validate", validated({"items": {"maxContains": 1}}), "#/items: maxContains: there is no `contains` beside it"),
    ("validate", validated({"type": "text"}), "type: is no type"),
    ("validate", validated({"minLength": -1}), "minLength: write a whole number"),
    ("validate", validated({"multipleOf": 0}), "multipleOf: write a number above zero"),
    ("validate", validated({"properties": {"a": 1}}), "#/properties/a: a schema is a mapping, true or false"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "config", "problem"), REFUSED)
def test_a_config_is_refused_at_load(sandbox: Sandbox, name: str, config: dict[str, Any], problem: str) -> None:
    with pytest.raises(ModuleFault) as caught, opened(sandbox, name, config):
        pass
    assert problem in caught.value.problem
    assert "trap" not in caught.value.problem


def test_what_is_allowed_fits_the_stack(sandbox: Sandbox) -> None:
    deep = "(" * 36 + "after.n == 1" + ")" * 36
    wide = " && ".join(["after.n == 1"] * 900)
    within = "after.l" + ".all(a, [a]" * 15 + ".all(a, true)" + ")" * 15
    for text in (deep, wide, within):
        with opened(sandbox, "filter", {"keep": text}) as session:
            (outcome,) = session.run(batch([created({"n": 1, "l": [1]})])).outcomes
        assert verdict(outcome) == "passed", text


def test_a_schema_as_deep_as_the_value_fits_the_stack(sandbox: Sandbox) -> None:
    tree = {"additionalProperties": {"allOf": [{"$ref": "#"}]}}
    row: Any = {}
    for _ in range(60):
        row = {"a": row}
    deeper: Any = row
    for _ in range(50):
        deeper = {"a": deeper}
    with opened(sandbox, "validate", validated(tree)) as session:
        verdicts = [verdict(one) for one in session.run(batch([created(row), created(deeper)])).outcomes]
    assert verdicts == ["passed", "invalid: more than 200 levels of schemas and values"]


def test_work_without_an_end_ends(sandbox: Sandbox) -> None:
    numbers = list(range(2_000))
    product = "after.l.all(a, after.l.all(b, after.l.all(c, a + b + c >= 0)))"
    with opened(sandbox, "filter", {"keep": product}, limits={"deadline": "10s"}) as session:
        (outcome,) = session.run(batch([created({"l": numbers})])).outcomes
    assert verdict(outcome).endswith("more than 1000000 steps for one event")
    doubled = {
        "anyOf": [{"items": {"$ref": "#/$defs/d"}, "minItems": 2}, {"items": {"$ref": "#/$defs/d"}, "maxItems": 1}]
    }
    value: Any = []
    for _ in range(40):
        value = [value, 1]
    schema = {
        "properties": {"v": {"$ref": "#/$defs/d"}},
        "$defs": {"d": {"oneOf": [doubled, doubled, {"type": "integer"}]}},
    }
    with opened(sandbox, "validate", validated(schema), limits={"deadline": "10s"}) as session:
        (outcome,) = session.run(batch([created({"v": value})])).outcomes
    assert verdict(outcome) == "invalid: more than 1000000 steps for one event"


def test_a_regular_expression_takes_time_by_the_texts_length(sandbox: Sandbox) -> None:
    with opened(sandbox, "filter", {"keep": "after.t.matches('^(a+)+$')"}, limits={"deadline": "10s"}) as session:
        (outcome,) = session.run(batch([created({"t": "a" * 20_000 + "!"})])).outcomes
    assert verdict(outcome) == "dropped"
