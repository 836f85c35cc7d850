"""Rows held to contracts, in each language that a contract may be written in; and contracts learned from rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.contracts import read_contract
from schemas.change import UNAVAILABLE
from schemas.contracts.infer import Inference
from schemas.contracts.reading import SchemaError, from_avro, from_json_schema
from schemas.contracts.rows import json_schema_check

JSON_SCHEMA = {
    "type": "object",
    "properties": {
        "id": {"type": "integer", "minimum": 1},
        "name": {"type": ["string", "null"], "maxLength": 5},
        "photo": {"type": "string", "contentEncoding": "base64"},
        "tags": {"type": "array", "items": {"enum": ["new", "old"]}},
    },
    "required": ["id", "photo"],
    "additionalProperties": False,
}
AVRO = {
    "type": "record",
    "name": "Order",
    "fields": [
        {"name": "id", "type": "int"},
        {"name": "amount", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
        {"name": "name", "type": ["null", "string"], "default": None},
        {"name": "state", "type": {"type": "enum", "name": "State", "symbols": ["placed", "paid"]}},
        {"name": "parent", "type": ["null", "Order"], "default": None},
    ],
}
PROTOBUF = """
syntax = "proto3";
enum State { placed = 0; paid = 1; }
message Order { int32 id = 1; optional string name = 2; State state = 3; repeated double prices = 4; }
"""
GOOD_JSON: dict[str, Any] = {"id": 1, "name": "Zoë", "photo": b"\xff", "tags": ["new"]}
GOOD_PROTOBUF: dict[str, Any] = {"id": 1, "state": "paid", "prices": [1.5]}
GOOD_AVRO: dict[str, Any] = {"id": 1, "amount": "1.10", "state": "paid"}


class Order(msgspec.Struct, forbid_unknown_fields=True):
    """A contract as a type."""

    id: Annotated[int, msgspec.Meta(ge=1)]
    photo: bytes
    name: str | None = None


@pytest.fixture(params=["json", "avsc", "proto", "type"])
def contract(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    (tmp_path / "order.json").write_text(json.dumps(JSON_SCHEMA))
    (tmp_path / "order.avsc").write_text(json.dumps(AVRO))
    (tmp_path / "order.proto").write_text(PROTOBUF)
    source = f"{__name__}:Order" if request.param == "type" else f"order.{request.param}"
    good = {"json": GOOD_JSON, "avsc": GOOD_AVRO, "proto": GOOD_PROTOBUF, "type": {"id": 1, "photo": b"\xff"}}[
        request.param
    ]
    return read_contract(source, tmp_path), good


def test_a_good_row_has_no_problems(contract: Any) -> None:
    found, good = contract
    assert found.check(good) == []


def test_a_missing_member_is_one(contract: Any) -> None:
    found, good = contract
    (problem,) = found.check({name: value for name, value in good.items() if name != "id"})
    assert "id" in problem


def test_another_type_is_one(contract: Any) -> None:
    found, good = contract
    (problem,) = found.check(good | {"id": "1"})
    assert "id" in problem


def test_what_was_not_sent_is_none(contract: Any) -> None:
    found, good = contract
    for name in good:
        assert found.check(good | {name: UNAVAILABLE}) == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"id": 0}, "id: 0 is less than the minimum of 1"),
        ({"name": "too long"}, 'name: "too long" is longer than 5 characters'),
        ({"tags": ["new", 3]}, 'tags[1]: 3 is not one of "new" or "old"'),
        ({"more": 1}, "Additional properties are not allowed ('more' was unexpected)"),
    ],
)
def test_json_schema_is_applied_whole(change: dict[str, Any], problem: str) -> None:
    assert json_schema_check(JSON_SCHEMA)(GOOD_JSON | change) == [problem]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"id": 1 << 31}, "id: is 2147483648, and int32 is needed"),
        ({"id": True}, "id: is True, and int32 is needed"),
        ({"state": "lost"}, "state: is 'lost', and string of paid, placed is needed"),
        ({"amount": None}, "amount: is null, and decimal is needed"),
        ({"name": b"x"}, "name: is bytes, and string or null is needed"),
    ],
)
def test_avros_types(change: dict[str, Any], problem: str, tmp_path: Path) -> None:
    (tmp_path / "order.avsc").write_text(json.dumps(AVRO))
    assert read_contract("order.avsc", tmp_path).check(GOOD_AVRO | change) == [problem]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.json", None, "cannot be read: No such file"),
        ("a.json", "{", "is not JSON"),
        ("a.json", '{"type": "int"}', "which JSON Schema does not know"),
        ("a.json", '{"$ref": "other.json"}', "only references within the document"),
        ("a.json", '{"properties": {"a": {"$ref": "#/x"}}, "type": "object"}', "a refers to #/x, which is not there"),
        ("a.json", '{"type": "string", "pattern": "("}', "it is no JSON Schema"),
        ("a.avsc", '{"type": "record", "name": "R", "fields": [{"name": "a", "type": "R2"}]}', "a has the type 'R2'"),
        ("a.txt", "x", "neither JSON Schema (.json) nor Avro (.avsc) nor Protobuf (.proto)"),
        ("a.proto", "message Order {", "it is no Protobuf schema"),
        ("no.such.module:Name", None, "cannot be imported"),
        ("json:JSONDecoder", None, "no type that msgspec knows"),
        ("tests.pipeline.unimportable:Row", None, "cannot be imported: ZeroDivisionError: division by zero"),
    ],
)
def test_contracts_that_cannot_be_read(name: str, content: str | None, said: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(SchemaError) as refused:
        read_contract(name, tmp_path)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_schemas_of_themselves_end() -> None:
    tree = {"$ref": "#/$defs/t", "$defs": {"t": {"type": "object", "properties": {"next": {"$ref": "#/$defs/t"}}}}}
    from_json_schema(tree)
    from_json_schema({"$ref": "#"})
    from_avro(AVRO)


rows = st.dictionaries(
    st.text(max_size=2),
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(1 << 63), (1 << 64) - 1)
        | st.floats()
        | st.text(max_size=3)
        | st.binary(max_size=3),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
        max_leaves=5,
    ),
    max_size=4,
)


@example([{"x": float("inf")}, {"x": 1.5}])
@example([{"x": float("-inf")}])
@given(st.lists(rows, min_size=1, max_size=5))
def test_what_was_learned_from_holds_to_it(seen: list[dict[str, Any]]) -> None:
    inference = Inference()
    for row in seen:
        inference.add(row)
    schema = inference.schema("rows")
    from_json_schema(schema)
    check = json_schema_check(schema)
    assert [check(row) for row in seen] == [[]] * len(seen)


def test_what_is_learned() -> None:
    inference = Inference()
    inference.add({"id": 1, "name": None, "big": UNAVAILABLE, "at": {"x": 1}, "n": [1]})
    inference.add({"id": 2, "name": "a", "big": b"x", "at": {}, "n": [1.5], "late": True})
    assert inference.schema("orders") == {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "orders",
        "type": "object",
        "properties": {
            "id": {"type": "integer"},
            "name": {"type": ["string", "null"]},
            "big": {"type": "string", "contentEncoding": "base64"},
            "at": {"type": "object", "properties": {"x": {"type": "integer"}}},
            "n": {"type": "array", "items": {"type": "number"}},
            "late": {"type": "boolean"},
        },
        "required": ["id", "name", "big", "at", "n"],
    }
