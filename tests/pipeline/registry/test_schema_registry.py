"""`schema_registry` in the registry file, and what routes say of schemas."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from schemas.errors import ConfigError
from schemas.sealed import Sealed
from schemas.specs import FormatSpec

from .conftest import MODULE, Load

ROUTE = """
version: 1
transformers: {{mask: {{module: mask.wasm}}}}
routes: {{r: {{from: a, through: [mask], to: b, format: {format}}}}}
{more}
"""
AVRO = json.dumps({"type": "record", "name": "E", "fields": [{"name": "op", "type": "string"}]})
HERE = 'schema_registry: {url: "http://localhost:8081"}'


@pytest.fixture(autouse=True)
def files(folder: Path) -> None:
    (folder / "mask.wasm").write_bytes(MODULE)
    (folder / "good.avsc").write_text(AVRO)
    (folder / "bad.avsc").write_text("{")
    (folder / "good.proto").write_text('syntax = "proto3"; message E { string op = 1; }')
    (folder / "bad.proto").write_text('syntax = "proto3"; message E { strin op = 1; }')
    (folder / "good.json").write_text('{"type": "object"}')
    (folder / "ca.pem").write_text("-----BEGIN CERTIFICATE-----")
    (folder / "not.pem").write_text("hello")


def written(format_: str, more: str = HERE) -> str:
    return ROUTE.format(format=format_, more=more)


def test_what_it_amounts_to(load: Load, folder: Path) -> None:
    text = """schema_registry:
  url: https://schemas.example.com/apis/ccompat/v7
  auth: {username: alice, password: "${SECRET}"}
  ca: ca.pem
  timeout: 2s
"""
    side = "{in: debezium-avro, out: {name: debezium-avro, schema: good.avsc, key_schema: good.avsc, register: true}}"
    registry = load(written(side, text), environ={"SECRET": "s3cret"})
    spec = registry.schema_registry
    assert spec is not None
    assert (spec.url, spec.username, spec.timeout_ms) == ("https://schemas.example.com/apis/ccompat/v7", "alice", 2000)
    assert spec.ca_file == folder / "ca.pem"
    assert isinstance(spec.password, Sealed)
    assert spec.password.open(spec.owner) == "s3cret"
    assert "s3cret" not in repr(registry)
    route = registry.routes["r"]
    assert route.format_out == FormatSpec("debezium-avro", folder / "good.avsc", True, folder / "good.avsc")


@pytest.mark.parametrize(
    ("format_", "more", "path", "problem"),
    [
        ("debezium-avro", "", "routes.r.format", "debezium-avro needs a schema registry"),
        ("{out: debezium-protobuf}", "", "routes.r.format", "debezium-protobuf needs a schema registry"),
        (
            "{in: debezium-avro, out: {name: debezium-avro, register: true}}",
            HERE,
            "routes.r.format.out.register",
            "no schema to",
        ),
        ("{out: {name: debezium-avro, schema: none.avsc}}", HERE, "routes.r.format.out.schema", "cannot be read"),
        ("{out: {name: debezium-avro, schema: bad.avsc}}", HERE, "routes.r.format.out.schema", "no Avro schema"),
        (
            "{out: {name: debezium-avro, key_schema: bad.avsc}}",
            HERE,
            "routes.r.format.out.key_schema",
            "no Avro schema",
        ),
        (
            "{out: {name: debezium-protobuf, schema: bad.proto}}",
            HERE,
            "routes.r.format.out.schema",
            '"strin" is not defined',
        ),
        ("{out: {name: debezium-json-schema, schema: bad.avsc}}", HERE, "routes.r.format.out.schema", "no JSON Schema"),
        ("{in: {name: debezium-avro, schema: good.avsc}}", HERE, "routes.r.format", "has no effect here"),
        ("debezium-json", "schema_registry: {url: localhost}", "schema_registry.url", "is not a URL"),
        (
            "debezium-json",
            "schema_registry: {url: 'http://a:b@localhost'}",
            "schema_registry.url",
            "a username or password",
        ),
        (
            "debezium-json",
            "schema_registry: {url: 'http://schemas.example.com', auth: {token: t}}",
            "schema_registry.url",
            "is not encrypted",
        ),
        (
            "debezium-json",
            "schema_registry: {url: 'https://s', auth: {username: a}}",
            "schema_registry.auth",
            "username without",
        ),
        (
            "debezium-json",
            "schema_registry: {url: 'https://s', auth: {username: a, password: b, token: c}}",
            "schema_registry.auth",
            "both a user and a token",
        ),
        ("debezium-json", "schema_registry: {url: 'https://s', ca: not.pem}", "schema_registry.ca", "not a PEM file"),
        ("debezium-json", "schema_registry: {url: 'https://s', ca: none.pem}", "schema_registry.ca", "cannot be read"),
        (
            "debezium-json",
            "schema_registry: {url: 'http://s', ca: ca.pem}",
            "schema_registry.ca",
            "no effect with http",
        ),
        ("debezium-json", "schema_registry: {url: 'http://s', timeout: 1ms}", "schema_registry.timeout", ""),
        ("debezium-json", "schema_registry: {}", "schema_registry.url", "is missing"),
    ],
)
def test_one_fault_with_its_place(load: Load, format_: str, more: str, path: str, problem: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load(written(format_, more))
    (fault,) = refused.value.faults
    assert fault.path == path
    assert problem in str(fault)
    assert fault.line


@pytest.mark.parametrize("side", ["debezium-avro", "debezium-protobuf", "debezium-json-schema"])
def test_good_files(load: Load, side: str) -> None:
    file = {"debezium-avro": "good.avsc", "debezium-protobuf": "good.proto", "debezium-json-schema": "good.json"}[side]
    assert load(written(f"{{out: {{name: {side}, schema: {file}}}}}")).routes["r"].format_out.name == side


def test_no_fault_shows_a_secret(load: Load) -> None:
    text = "schema_registry: {url: 'https://s', auth: {username: hunter2, password: [hunter2]}}"
    with pytest.raises(ConfigError) as refused:
        load(written("debezium-json", text))
    assert "hunter2" not in str(refused.value)


def test_what_is_not_installed_is_said(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.schema_registry.missing.NEEDED", ("fastavro", "surely_not_installed"))
    with pytest.raises(ConfigError, match=r"surely_not_installed — pip install 'penstock\[schema-registry\]'"):
        load(written("debezium-avro"))
