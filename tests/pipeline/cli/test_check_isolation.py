"""`penstock check` shows how each transformer is kept apart, and what this machine has to do it with."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import typer
import wasmtime
from typer.testing import CliRunner, Result

from pipeline.cli.check import check
from sandbox.process.confinement import probe

SOUND = """
(module (memory (export "memory") 1)
  (func (export "penstock_v1_alloc") (param i32) (result i32) i32.const 1024)
  (func (export "penstock_v1_transform") (param i32 i32) (result i64) i64.const 0))
"""
TEXT = """\
version: 1
defaults: {isolation: runtime}
transformers:
  shared: {module: sound.wasm, isolation: instance}
  own: {module: sound.wasm}
  apart: {module: sound.wasm, isolation: process}
routes:
  orders: {from: in, through: [shared, own, apart], to: orders.out}
"""


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "sound.wasm").write_bytes(wasmtime.wat2wasm(SOUND))
    file = tmp_path / "registry.yaml"
    file.write_text(TEXT)
    return file


def invoke(*arguments: object) -> Result:
    app = typer.Typer()
    app.command()(check)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_each_level_is_shown(registry: Path) -> None:
    result = invoke(registry)
    shown = re.sub(r"\x1b\[[0-9;]*m", "", result.output)
    assert result.exit_code == 0, shown
    assert re.search(r"^  own .*its own runtime, ", shown, re.MULTILINE)
    assert re.search(r"^  apart .*its own process, ", shown, re.MULTILINE)
    assert not re.search(r"^  shared .*its own ", shown, re.MULTILINE)
    assert f"its processes have {probe().describe()}" in shown


def test_json_has_the_level_and_what_was_found(registry: Path) -> None:
    found = {one["name"]: one for one in json.loads(invoke(registry, "--json").output)["transformers"]}
    assert {name: one["isolation"] for name, one in found.items()} == {
        "shared": "instance",
        "own": "runtime",
        "apart": "process",
    }
    assert found["apart"]["posture"] == probe().describe()
    assert found["own"]["posture"] is None


def test_an_unknown_level_is_refused_by_name(registry: Path) -> None:
    registry.write_text(TEXT.replace("isolation: process", "isolation: proces"))
    result = invoke(registry)
    assert result.exit_code == 2
    assert "transformers.apart.isolation" in result.output and "process" in result.output
