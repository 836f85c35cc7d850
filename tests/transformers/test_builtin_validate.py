"""`builtin: validate` against another validator: the same verdict over schemas and values made by chance."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest

from sandbox import Sandbox
from tests.transformers.builtin_sessions import batch, created, opened, verdict

SCHEMAS = 150
VALUES = 12
TEXTS = ["", "a", "ab", "abc", "äö", "1", "2024-01-31"]
NUMBERS: list[Any] = [-3, 0, 1, 2, 7, 10, 2.5, 7.0, -0.5, 9007199254740993, 1e300]
NAMES = ["a", "b", "ab", "x_1"]
TYPES = ["null", "boolean", "integer", "number", "string", "array", "object"]


class Chance:
    """Schemas and values, by a seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def value(self, depth: int = 3) -> Any:
        pick = self._random
        kind = pick.randrange(8 if depth else 6)
        if kind < 6:
            return [
                None,
                pick.random() < 0.5,
                pick.choice(NUMBERS),
                pick.choice(NUMBERS),
                pick.choice(TEXTS),
                pick.choice(TEXTS),
            ][kind]
        if kind == 6:
            return [self.value(depth - 1) for _ in range(pick.randrange(4))]
        return {name: self.value(depth - 1) for name in pick.sample(NAMES, pick.randrange(4))}

    def schema(self, depth: int = 3) -> Any:
        pick = self._random
        if pick.random() < 0.05:
            return pick.random() < 0.7
        makers = [self._plain, self._plain, self._object, self._list, self._logic] if depth else [self._plain]
        made: dict[str, Any] = {}
        for _ in range(pick.randrange(1, 3)):
            made |= pick.choice(makers)(depth - 1)
        return made

    def _plain(self, _: int) -> dict[str, Any]:
        pick = self._random
        number = pick.choice(NUMBERS)
        return pick.choice(
            [
                {"type": pick.choice(TYPES)},
                {"type": pick.sample(TYPES, 3)},
                {"enum": [self.value(1) for _ in range(3)]},
                {"const": self.value(1)},
                {"minimum": number},
                {"maximum": number},
                {"exclusiveMinimum": number},
                {"exclusiveMaximum": number},
                {"multipleOf": pick.choice([1, 2, 5, 0.5])},
                {"minLength": pick.randrange(4)},
                {"maxLength": pick.randrange(4)},
                {"pattern": pick.choice(["^a", "b$", "^[a-c]+$", "[0-9]{2}"])},
            ]
        )

    def _object(self, depth: int) -> dict[str, Any]:
        pick = self._random
        some = {name: self.schema(depth) for name in pick.sample(NAMES, 2)}
        return pick.choice(
            [
                {"properties": some, "additionalProperties": self.schema(depth)},
                {"properties": some, "patternProperties": {"^a": self.schema(depth)}},
                {"patternProperties": {"b": self.schema(depth)}, "additionalProperties": False},
                {"propertyNames": self._plain(0)},
                {"required": pick.sample(NAMES, 2)},
                {"minProperties": pick.randrange(3)},
                {"maxProperties": pick.randrange(3)},
                {"dependentRequired": {pick.choice(NAMES): pick.sample(NAMES, 1)}},
                {"dependentSchemas": {pick.choice(NAMES): self.schema(depth)}},
            ]
        )

    def _list(self, depth: int) -> dict[str, Any]:
        pick = self._random
        return pick.choice(
            [
                {"items": self.schema(depth)},
                {"prefixItems": [self.schema(depth), self.schema(depth)], "items": self.schema(depth)},
                {"prefixItems": [self.schema(depth)]},
                {"contains": self.schema(depth)},
                {"contains": self.schema(depth), "minContains": pick.randrange(3), "maxContains": 2},
                {"minItems": pick.randrange(3)},
                {"maxItems": pick.randrange(3)},
                {"uniqueItems": pick.random() < 0.8},
            ]
        )

    def _logic(self, depth: int) -> dict[str, Any]:
        pick = self._random
        three = [self.schema(depth) for _ in range(3)]
        return pick.choice(
            [
                {"allOf": three[:2]},
                {"anyOf": three},
                {"oneOf": three},
                {"not": three[0]},
                {"if": three[0], "then": three[1], "else": three[2]},
                {"if": three[0], "then": three[1]},
                {"$ref": "#/$defs/tree"},
            ]
        )


TREE = {"type": ["object", "integer", "null"], "additionalProperties": {"$ref": "#/$defs/tree"}}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(workers=1) as opened_:
        yield opened_


@pytest.mark.parametrize("seed", range(4))
def test_the_verdict_is_another_validators(sandbox: Sandbox, seed: int) -> None:
    chance = Chance(seed)
    schemas = [{"properties": {"v": chance.schema()}, "$defs": {"tree": TREE}} for _ in range(SCHEMAS)]
    rows = [(number, {"v": chance.value()}) for number in range(SCHEMAS) for _ in range(VALUES)]
    rules = [{"tables": f"t{number}", "schema": schema} for number, schema in enumerate(schemas)]
    with opened(sandbox, "validate", {"rules": rules}) as session:
        events = batch([created(row, f"t{number}") for number, row in rows])
        verdicts = [verdict(one) for one in session.run(events).outcomes]
    validators = [jsonschema_rs.Draft202012Validator(schema) for schema in schemas]
    right = [validators[number].is_valid(row) for number, row in rows]
    assert 0.1 < sum(right) / len(right) < 0.9
    unlike = [
        (schemas[number], row, said)
        for (number, row), said, is_right in zip(rows, verdicts, right, strict=True)
        if (said == "passed") is not is_right
    ]
    assert unlike == []
