"""`penstock check` and `penstock registry schema`, through the command line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import typer
import wasmtime
from typer.testing import CliRunner, Result

from pipeline.cli.check import check, registry_app
from schemas.errors import ConfigError

SHIPPED = Path(__file__).parents[3] / "transformers" / "registry.yaml"
SOUND = """
(module (memory (export "memory") 1)
  (func (export "penstock_v1_alloc") (param i32) (result i32) i32.const 1024)
  (func (export "penstock_v1_configure") (param i32 i32) (result i32) i32.const 0)
  (func (export "penstock_v1_transform") (param i32 i32) (result i64) i64.const 0))
"""
TEXT = """\
version: 1
kafka: {brokers: "b:9092", client: {client_id: "${SECRET}"}}
transformers:
  sound: {module: sound.wasm, config: {salt: "${SECRET}"}}
routes:
  orders: {from: /shop\\..*/, through: [sound], to: orders.out}
"""


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("SECRET", "hunter2")
    (tmp_path / "sound.wasm").write_bytes(wasmtime.wat2wasm(SOUND))
    file = tmp_path / "registry.yaml"
    file.write_text(TEXT)
    return file


def invoke(*arguments: object) -> Result:
    app = typer.Typer()
    app.command()(check)
    app.add_typer(registry_app, name="registry")
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def column(text: str) -> int:
    """Where this stands in the route's line, counted from 1."""
    return TEXT.splitlines()[5].index(text) + 1


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_a_sound_registry_is_summed_up(path: Path) -> None:
    result = invoke("check", path)
    assert result.exit_code == 0
    said = plain(result.output)
    assert "memory=64MiB deadline=5000ms" in said
    assert r"/shop\..*/ → sound → orders.out" in said
    assert "dead letters to orders.out.dead-letter, group penstock-orders" in said
    assert "ok " in said


def test_as_data(path: Path) -> None:
    result = invoke("check", path, "--json")
    report = json.loads(result.output)
    assert (result.exit_code, report["ok"], report["faults"]) == (0, True, [])
    (transformer,) = report["transformers"]
    assert transformer["name"] == "sound"
    assert re.fullmatch("[0-9a-f]{64}", transformer["sha256"])
    assert transformer["limits"]["memory_bytes"] == 64 << 20
    (route,) = report["routes"]
    assert (route["from"], route["to"], route["group"]) == (r"/shop\..*/", "orders.out", "penstock-orders")
    assert "hunter2" not in result.output


def test_what_penstock_does_itself_is_summed_up_too(path: Path) -> None:
    (path.parent / "orders.json").write_text('{"type": "object"}')
    more = "format: {in: debezium-json, out: maxwell}, dedupe: {by: [source.lsn], window: 10m}, contract: {schema: orders.json, on_break: park}"
    path.write_text(TEXT.replace("to: orders.out}", f"to: orders.out, {more}}}"))
    said = plain(invoke("check", path).output)
    assert "values are debezium-json → maxwell\n" in said
    assert "rows are held to orders.json, compatible forward, else park\n" in said
    assert "doubles by source.lsn within 10m are dropped\n" in said
    (route,) = json.loads(invoke("check", path, "--json").output)["routes"]
    assert route["format"] == {"in": "debezium-json", "out": "maxwell"}
    assert route["dedupe"]["window_ms"] == 600_000 and route["contracts"][0]["on_break"] == "park"


def test_source_transactions_are_summed_up(path: Path) -> None:
    path.write_text(
        TEXT.replace("from: /shop\\..*/", "from: [shop.orders, shop.transaction]").replace(
            "to: orders.out}", "to: orders.out, atomic: source-transaction}"
        )
    )
    assert "source transactions stay whole, by shop.transaction\n" in plain(invoke("check", path).output)


def test_every_fault_with_its_place_and_remedy(path: Path) -> None:
    path.write_text(TEXT.replace("to: orders.out", "to: shop.out").replace("sound.wasm,", "sound.wasm, limit: 5,"))
    result = invoke("check", path)
    assert result.exit_code == 2
    said = plain(result.output)
    assert f"{path}:4:31  transformers.sound.limit\n  unknown key\n  → did you mean 'limits'?" in said
    assert f"{path}:6:{column('orders.out')}  routes.orders.to\n" in said
    assert f"2 faults in {path}" in said


def test_faults_as_data(path: Path) -> None:
    path.write_text(TEXT.replace("[sound]", "[sond]"))
    result = invoke("check", path, "--json")
    report = json.loads(result.output)
    assert result.exit_code == 2
    assert report == {
        "ok": False,
        "faults": [
            {
                "file": str(path),
                "line": 6,
                "column": column("sound]"),
                "path": "routes.orders.through[0]",
                "problem": "'sond' is not a transformer of this registry",
                "remedy": "did you mean 'sound'? (one of: sound)",
            }
        ],
        "routes": [],
        "transformers": [],
    }


def test_the_module_and_the_client_options_are_looked_at_together(path: Path) -> None:
    (path.parent / "sound.wasm").write_bytes(wasmtime.wat2wasm("(module)"))
    path.write_text(TEXT.replace("client_id:", "client_idd:"))
    report = json.loads(invoke("check", path, "--json").output)
    assert [(fault["line"], fault["path"]) for fault in report["faults"]] == [
        (2, "kafka.client.client_idd"),
        (4, "transformers.sound.module"),
    ]


def test_what_looks_like_markup_is_shown_as_it_is(path: Path) -> None:
    path.write_text(TEXT.replace("to: orders.out", "to: '[bold]'"))
    assert "'[bold]' is not a topic name" in plain(invoke("check", path).output)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    result = invoke("check", tmp_path / "none.yaml")
    assert result.exit_code == 2
    assert "there is no such file" in result.output


def test_the_schema_is_json() -> None:
    result = invoke("registry", "schema")
    assert result.exit_code == 0
    assert json.loads(result.output)["title"] == "penstock registry"


def test_the_shipped_registry(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KAFKA_BROKERS", "PENSTOCK_SALT"):
        monkeypatch.delenv(name, raising=False)
    assert invoke("check", SHIPPED).exit_code == 0


def test_the_operators_ceiling_is_above_every_registry(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_text(TEXT.replace("module: sound.wasm", "module: sound.wasm, capabilities: [log, clock]"))
    assert invoke("check", path).exit_code == 0
    refused = invoke("check", path, "--ceiling", "minimal,clock")
    assert refused.exit_code == 2
    assert "transformers.sound.capabilities" in plain(refused.output)
    assert "grants `log`, which the operator's ceiling does not leave" in plain(refused.output)
    monkeypatch.setenv("PENSTOCK_CEILING", "database-only,clock")
    assert invoke("check", path).exit_code == 0


def test_a_ceiling_of_unknown_names_is_refused(path: Path) -> None:
    error = invoke("check", path, "--ceiling", "standrd").exception
    assert isinstance(error, ConfigError)
    assert "'standrd' is neither a profile" in error.faults[0].problem
    assert "did you mean 'standard'" in error.faults[0].remedy
