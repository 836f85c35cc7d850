"""Built-in transformers in the pipeline: chains of them, what ends change events, and what the commands say of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from pipeline import PipelineDriver
from pipeline.cli.builtin_page import markdown
from pipeline.cli.root import app
from schemas.builtins import NAMES, builtin

REGISTRY = """
version: 1
transformers:
  hide: {builtin: mask, config: {salt: "${SALT}", rules: [{columns: email, action: hash}]}}
  dates: {builtin: cast, config: {rules: [{columns: "*_at", to: timestamp}]}}
  names: {builtin: rename, config: {columns: [{from: mail, to: email}]}}
  split: {builtin: route, config: {rules: [{to: people.eu, when: {region: EU}}]}}
  lines: {builtin: explode, config: {column: lines, merge: true, index: line, key: [id, line]}}
  flat: {builtin: flatten}
  row: {builtin: unwrap, config: {deletes: rewrite-with-tombstone, add_fields: op}}
routes:
  people: {from: people, through: [names, hide, dates, split], to: people.out, also_to: [people.eu]}
  orders: {from: orders, through: [lines, flat, row], to: lines.out}
"""


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def event(op: str, before: Any = None, after: Any = None) -> bytes:
    return json.dumps({"op": op, "before": before, "after": after, "source": {"table": "t"}, "ts_ms": 1}).encode()


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    path = tmp_path / "registry.yaml"
    path.write_text(REGISTRY)
    return path


def read(driver: PipelineDriver, topic: str) -> list[tuple[Any, Any]]:
    return [
        (record.key and json.loads(record.key), record.value and json.loads(record.value))
        for record in driver.read(topic)
    ]


def test_a_chain_of_them(registry: Path) -> None:
    with PipelineDriver(registry, environ={"SALT": "s"}) as driver:
        for number, region in enumerate(("EU", "US")):
            row = {"id": number, "mail": "a@b.org", "made_at": 1795353061265, "region": region}
            driver.send("people", event("c", after=row), key=b"1")
        driver.send("people", None, key=b"1")
        ((_, eu), (_, gone)) = read(driver, "people.eu")
        ((_, us), _) = read(driver, "people.out")
    assert (eu["after"]["id"], us["after"]["id"], gone) == (0, 1, None)
    assert eu["after"]["email"] == "7c6cb5bc5741aed7ca5c8cf7d0995eec7b0d8aa1ee9a7b1efc118523220df61a"
    assert eu["after"]["made_at"] == "2026-11-22T13:11:01.265Z"


def test_many_records_become_rows(registry: Path) -> None:
    two = {"id": 1, "lines": [{"sku": {"code": "a"}}, {"sku": {"code": "b"}}]}
    one = {"id": 1, "lines": [{"sku": {"code": "A"}}]}
    with PipelineDriver(registry, environ={"SALT": "s"}) as driver:
        driver.send("orders", event("c", after=two), key=b"1")
        driver.send("orders", event("u", before=two, after=one), key=b"1")
        driver.send("orders", None, key=b"1")
        assert read(driver, "lines.out") == [
            ({"id": 1, "line": 0}, {"id": 1, "line": 0, "sku_code": "a", "__op": "c", "__deleted": "false"}),
            ({"id": 1, "line": 1}, {"id": 1, "line": 1, "sku_code": "b", "__op": "c", "__deleted": "false"}),
            ({"id": 1, "line": 0}, {"id": 1, "line": 0, "sku_code": "A", "__op": "u", "__deleted": "false"}),
            ({"id": 1, "line": 1}, {"id": 1, "line": 1, "sku_code": "b", "__op": "d", "__deleted": "true"}),
            ({"id": 1, "line": 1}, None),
        ]  # fmt: skip


def test_what_one_refuses_is_a_dead_letter_as_it_came(registry: Path) -> None:
    bad = event("c", after={"made_at": "never"})
    with PipelineDriver(registry, environ={"SALT": "s"}) as driver:
        driver.send("people", bad, key=b"1")
        (letter,) = driver.read("people.out.dead-letter")
    assert letter.value == bad
    assert dict(letter.headers)["penstock.code"] == b"bad-cast"


def test_check_and_capabilities_name_them(registry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SALT", "s")
    assert "builtin mask, " in run("check", str(registry)).stdout
    found = json.loads(run("check", str(registry), "--json").stdout)["transformers"]
    assert {one["name"]: one["builtin"] for one in found}["row"] == "unwrap"
    assert "builtin route, " in run("capabilities", str(registry), "split").stdout


def test_try_runs_them(registry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SALT", "s")
    (tmp_path / "event").write_text(json.dumps({"value": json.loads(event("c", after={"email": "a@b.org"}))}))
    result = run("try", str(registry), "hide", "-e", str(tmp_path / "event"))
    assert result.exit_code == 0
    assert "7c6cb5bc" in result.stdout


def test_builtins_lists_and_shows_them() -> None:
    listed = run("builtins").stdout.splitlines()
    assert [line.split()[0] for line in listed] == list(NAMES)
    page = run("builtins", "mask").stdout
    assert "rules[].columns" in page and "is not masked" in page
    assert run("builtins", "mask", "--markdown").stdout == markdown(builtin("mask"))
    (data,) = [one for one in json.loads(run("builtins", "--json").stdout) if one["name"] == "unwrap"]
    assert data["schema"]["properties"]["deletes"]["default"] == "tombstone"
    assert data["plain"] is True


def test_a_name_that_is_none_is_answered_with_the_nearest() -> None:
    (fault,) = run("builtins", "msk").exception.faults  # type: ignore[union-attr]
    assert "did you mean 'mask'?" in fault.remedy


def test_the_shell_completes_names() -> None:
    from pipeline.cli.builtins import _complete

    assert [name for name, _ in _complete("r")] == ["rename", "route"]
