"""`contract:` on a route: what breaks it is dead-lettered, or parks the lane, with the difference."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline import PipelineDriver
from pipeline.memory.driver_lane import LaneHaltedError
from pipeline.registry import load_located
from schemas.errors import ConfigError
from schemas.outcome import Emitted, Violation
from tests.pipeline.rig import MODULES

SCHEMA = {"type": "object", "properties": {"id": {"type": "integer"}, "name": {"type": "string"}}, "required": ["id"]}
REGISTRY = f"""
version: 1
transformers:
  copy: {{module: {MODULES}/passthrough.wasm}}
routes:
  r: {{from: in, through: copy, to: out, dead_letter: dead, contract: CONTRACT}}
"""


def registry(folder: Path, contract: str) -> Path:
    (folder / "orders.json").write_text(json.dumps(SCHEMA))
    path = folder / "registry.yaml"
    path.write_text(REGISTRY.replace("CONTRACT", contract))
    return path


def value(row: object, table: str = "orders") -> bytes:
    return json.dumps({"op": "c", "before": None, "after": row, "source": {"table": table}, "ts_ms": 1}).encode()


def embedded(row: object, **types: str) -> bytes:
    """With the schema that JsonConverter puts around it."""
    fields = [
        {"field": name, "type": kind.removesuffix("?"), "optional": kind.endswith("?")} for name, kind in types.items()
    ]
    side = {"type": "struct", "optional": True, "fields": fields}
    members = [{**side, "field": "before"}, {**side, "field": "after"}, {"type": "string", "field": "op"}]
    payload = {"op": "c", "before": None, "after": row, "source": {"table": "orders"}, "ts_ms": 1}
    return json.dumps({"schema": {"type": "struct", "fields": members}, "payload": payload}).encode()


def verdict(driver: PipelineDriver, data: bytes | None) -> Any:
    (sent,) = driver.send("in", data, key=b"k")
    return sent.outcome


def test_rows_that_break_it_are_dead_letters(tmp_path: Path) -> None:
    with PipelineDriver(registry(tmp_path, "{schema: orders.json}"), environ={}) as driver:
        assert isinstance(verdict(driver, value({"id": 1, "more": 2})), Emitted)
        assert isinstance(verdict(driver, None), Emitted)
        assert isinstance(verdict(driver, value(None)), Emitted), "a delete has no row after it"
        broken = verdict(driver, value({"id": "1"}))
        assert isinstance(broken, Violation)
        assert (broken.kind, broken.transformer) == ("schema", "contract")
        assert broken.message == 'it breaks orders.json: id: "1" is not of type "integer"'
        undecodable = verdict(driver, b"no json")
        assert undecodable.kind == "decode" and "it cannot be held to orders.json" in undecodable.message
        assert len(driver.read("dead")) == 2 and len(driver.read("out")) == 3


def test_a_breaking_change_of_the_writers_schema(tmp_path: Path) -> None:
    with PipelineDriver(registry(tmp_path, "{schema: orders.json}"), environ={}) as driver:
        assert isinstance(verdict(driver, embedded({"id": 1, "name": "a"}, id="int64", name="string")), Emitted)
        assert isinstance(verdict(driver, embedded({"id": 1}, id="int32", more="string?")), Emitted)
        for _ in range(2):  # compared once, and remembered
            broken = verdict(driver, embedded({"id": 1, "name": None}, id="int64?", name="string?"))
            assert broken.kind == "schema"
            assert broken.message == (
                "its writer's schema is not forward compatible with orders.json: ~ id: int64 → int64 or null (optional); "
                "~ name: string → string or null"
            )


def test_none_only_looks_at_rows(tmp_path: Path) -> None:
    with PipelineDriver(registry(tmp_path, "{schema: orders.json, compatible: none}"), environ={}) as driver:
        assert isinstance(verdict(driver, embedded({"id": 1}, id="int64?", name="string?")), Emitted)
        assert verdict(driver, embedded({"id": None}, id="int64?", name="string?")).kind == "schema"


def test_parking_stops_the_lane_before_the_event(tmp_path: Path) -> None:
    with PipelineDriver(registry(tmp_path, "{schema: orders.json, on_break: park}"), environ={}) as driver:
        driver.send("in", value({"id": 1}))
        (sent,) = driver.send("in", value({"id": None}))
        assert (
            sent.halt is not None
            and "contract at offset 1: schema: it breaks orders.json: id: null is not" in sent.halt.reason
        )
        with pytest.raises(LaneHaltedError):
            driver.send("in", value({"id": 3}))
        assert len(driver.read("out")) == 1 and driver.read("dead") == []


def test_contracts_of_different_tables(tmp_path: Path) -> None:
    (tmp_path / "people.json").write_text('{"type": "object", "required": ["name"]}')
    contracts = "[{schema: orders.json, tables: orders}, {schema: people.json, tables: [people]}]"
    with PipelineDriver(registry(tmp_path, contracts), environ={}) as driver:
        assert isinstance(verdict(driver, value({"id": 1})), Emitted)
        assert isinstance(verdict(driver, value({"name": "a"}, "people")), Emitted)
        assert (
            verdict(driver, value({"id": 1}, "people")).message
            == 'it breaks people.json: "name" is a required property'
        )
        assert isinstance(verdict(driver, value({}, "other")), Emitted)


def test_a_contract_that_cannot_be_read_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        load_located(registry(tmp_path, "{schema: missing.json}"), environ={})
    (fault,) = refused.value.faults
    assert fault.path == "routes.r.contract" and fault.line == 6
    assert "cannot be read" in fault.problem
