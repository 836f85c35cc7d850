"""The JSON Schema for editors says what the loader says, as far as a schema can."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.registry import registry_schema
from pipeline.registry.reading import parse_document, read_document

from .json_schema import accepts
from .test_faults import RULES
from .test_load import EVERYTHING

SHIPPED = Path(__file__).parents[3] / "transformers" / "registry.yaml"
VARIABLES = """\
version: 1
kafka: {brokers: "${B}", session_timeout: "${T}", compression: "${C}", client: {x: 1}}
delivery: "${D}"
defaults: {limits: {memory: "${M}", fuel: "${F}"}, tier: "${T}", pooling: "${P}"}
transformers: {mask: {module: "${M}", limits: "${L}", sha256: "${S}"}}
routes: {r: {from: "${F}", through: [mask], to: "${T}", start: "${S}", batch: {events: "${N}"}}}
create_topics: {partitions: "${N}"}
"""


def test_it_is_json_and_says_which_dialect() -> None:
    schema = json.loads(json.dumps(registry_schema()))
    assert schema["$schema"].startswith("https://json-schema.org/draft/2020-12")
    assert schema["required"] == ["version", "transformers", "routes"]
    assert schema["additionalProperties"] is False


@pytest.mark.parametrize("text", [EVERYTHING, VARIABLES], ids=["everything", "variables"])
def test_it_accepts_what_the_loader_accepts(text: str) -> None:
    assert accepts(registry_schema(), parse_document(text, "r.yaml").data)


def test_it_accepts_the_shipped_registry() -> None:
    assert accepts(registry_schema(), read_document(SHIPPED).data)


SHAPE_PROBLEMS = ("unknown key", "without a unit", "not a mapping", "' is missing")
SHAPE_RULES = [rule for rule in RULES if any(words in rule[2] for words in SHAPE_PROBLEMS)]


@pytest.mark.parametrize(("text", "path"), [rule[:2] for rule in SHAPE_RULES], ids=[rule[1] for rule in SHAPE_RULES])
def test_it_refuses_what_has_the_wrong_shape(text: str, path: str) -> None:
    assert not accepts(registry_schema(), parse_document(text, "r.yaml").data)


def test_every_key_is_in_the_reference() -> None:
    reference = (SHIPPED.parents[1] / "docs" / "registry.md").read_text(encoding="utf-8")
    schema = registry_schema()
    keys = {key for part in (schema, *schema["$defs"].values()) for key in part.get("properties", {})}
    assert len(keys) > 70
    assert sorted(key for key in keys if f"`{key}`" not in reference) == []


def test_every_choice_is_in_the_reference() -> None:
    reference = (SHIPPED.parents[1] / "docs" / "registry.md").read_text(encoding="utf-8")
    found = json.dumps(registry_schema())
    choices = {choice for part in _enums(json.loads(found)) for choice in part}
    assert sorted(choice for choice in choices if f"`{choice}`" not in reference) == []


def _enums(schema: object) -> list[list[str]]:
    if isinstance(schema, dict):
        own = [schema["enum"]] if isinstance(schema.get("enum"), list) else []
        return own + [found for item in schema.values() for found in _enums(item)]
    return [found for item in schema for found in _enums(item)] if isinstance(schema, list) else []
