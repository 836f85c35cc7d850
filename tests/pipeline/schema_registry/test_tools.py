"""What is no `penstock run` and reads values that name a schema: `penstock try`, and the driver for users' own tests."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline import PipelineDriver
from pipeline.cli.root import app
from pipeline.schema_registry.client import RegistryClient
from schemas.change import ChangeEvent, pack, unpack
from schemas.errors import ConfigError
from schemas.event import Event
from schemas.formats.named import make_format
from schemas.formats.schemas import SchemaKind
from schemas.specs import FormatSpec, SchemaRegistrySpec
from tests.services.schema_registry import ApicurioRegistry

from .test_outage import schema

pytestmark = pytest.mark.services

REGISTRY = """
version: 1
schema_registry: {{url: "{url}"}}
transformers:
  mask: {{builtin: mask, config: {{rules: [{{columns: note, action: redact}}]}}}}
routes:
  same: {{from: orders, through: [mask], to: "{name}", format: debezium-avro}}
  json: {{from: orders, through: [mask], to: orders.json, format: {{in: debezium-avro, out: debezium-json}}}}
"""


def test_try_and_the_driver(apicurio: ApicurioRegistry, unique: Callable[[str], str], tmp_path: Path) -> None:
    name, path, events = unique("tools"), tmp_path / "registry.yaml", tmp_path / "events.ndjson"
    path.write_text(REGISTRY.format(url=apicurio.url, name=name))
    change = ChangeEvent("c", None, {"id": 1 << 60, "note": "secret"}, {"table": "t"}, None, None)
    with closing(RegistryClient(SchemaRegistrySpec(apicurio.url))) as client:
        client.register(f"{name}-value", SchemaKind.AVRO, schema("Envelope"))
        client.register(
            f"{name}-key", SchemaKind.AVRO, '{"type":"record","name":"Key","fields":[{"name":"id","type":"long"}]}'
        )
        avro = make_format(FormatSpec("debezium-avro"), client)
        value = avro.encode(pack(change), Event(0, 0, None, None, ()), name)
        key = avro.encode_key({"id": 1 << 60}, name)
        events.write_text(json.dumps({"value_base64": base64.b64encode(value).decode()}) + "\n")
        told = CliRunner().invoke(app, ["try", str(path), "mask", "--event", str(events), "--route", "same", "--json"])
        assert told.exit_code == 0, told.output
        assert "value_base64" in told.output
        with PipelineDriver(path) as driver:
            driver.send("orders", value, key=key)
            (same,) = driver.read(name)
            (plain,) = driver.read("orders.json")
            assert unpack(avro.decode(same, name).packed).after == {"id": 1 << 60, "note": "***"}
            assert same.key == key
            assert json.loads(plain.value or b"")["after"] == {"id": 1 << 60, "note": "***"}
            assert json.loads(plain.key or b"") == {"id": 1 << 60}


def test_a_conversion_without_a_schema_is_refused(
    apicurio: ApicurioRegistry, unique: Callable[[str], str], tmp_path: Path
) -> None:
    path = tmp_path / "registry.yaml"
    path.write_text(
        REGISTRY.format(url=apicurio.url, name=unique("none")).replace(
            "format: debezium-avro", "format: {out: debezium-avro}"
        )
    )
    with pytest.raises(ConfigError, match="no schema for none"):
        PipelineDriver(path)
