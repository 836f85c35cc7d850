"""`penstock schema` as docs/registry.md shows it: infer from real Kafka, diff of files."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.services.kafka import KafkaBroker
from tests.services.topics import create_topic, produce_full

COMMAND = [sys.executable, "-m", "pipeline.cli", "schema"]


def schema(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=cwd, check=False)


def change(table: str, after: object) -> bytes:
    return json.dumps({"op": "c", "before": None, "after": after, "source": {"table": table}}).encode()


@pytest.mark.services
def test_infer_learns_from_the_latest_rows(kafka_broker: KafkaBroker, unique: Callable[[str], str]) -> None:
    topic = create_topic(kafka_broker.bootstrap, unique("infer"), 2)
    records = [change("orders", {"id": 1, "note": None}), change("orders", {"id": 2, "note": "x", "late": 1.5})]
    rest = [b"no json", change("people", {"name": "a"}), change("orders", None)]
    produce_full(kafka_broker.bootstrap, topic, [{"key": b"k", "value": value} for value in records], 0)
    produce_full(kafka_broker.bootstrap, topic, [{"key": b"k", "value": value} for value in rest], 1)
    done = schema("infer", topic, "--brokers", kafka_broker.bootstrap, "--table", "orders")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "orders",
        "type": "object",
        "properties": {"id": {"type": "integer"}, "note": {"type": ["string", "null"]}, "late": {"type": "number"}},
        "required": ["id", "note"],
    }
    assert "1 records were left out" in done.stderr and "learned from 2 rows" in done.stderr
    nothing = schema("infer", topic, "--brokers", kafka_broker.bootstrap, "--table", "none")
    assert (nothing.returncode, nothing.stdout) == (1, "") and "have no row to learn from" in nothing.stderr
    wrong = schema("infer", topic, "--brokers", kafka_broker.bootstrap, "--format", "xml")
    assert wrong.returncode == 2 and "formats are debezium-json" in wrong.stderr


OLD = {"type": "object", "properties": {"id": {"type": "integer"}, "name": {"type": "string"}}, "required": ["id"]}
NEW = {
    "type": "object",
    "properties": {"id": {"type": ["integer", "null"]}, "city": {"type": "string"}},
    "required": ["id"],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "orders.schema.json").write_text(json.dumps(OLD))
    (tmp_path / "orders.next.json").write_text(json.dumps(NEW))
    return tmp_path


def test_diff_shows_what_changed_and_whom_it_breaks(folder: Path) -> None:
    done = schema("diff", "orders.schema.json", "orders.next.json", cwd=folder)
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "~ id: int64 → int64 or null   breaks forward",
        "- name: string (optional)",
        "+ city: string (optional)",
    ]


def test_diff_for_machines(folder: Path) -> None:
    done = schema("diff", "orders.schema.json", "orders.next.json", "--json", cwd=folder)
    assert json.loads(done.stdout.splitlines()[0]) == {
        "path": "id", "was": "int64", "now": "int64 or null", "breaks": ["forward"],
    }  # fmt: skip


@pytest.mark.parametrize(("wanted", "code"), [("full", 1), ("forward", 1), ("backward", 0), ("none", 0)])
def test_diff_judges_when_asked(folder: Path, wanted: str, code: int) -> None:
    done = schema("diff", "orders.schema.json", "orders.next.json", "--compatible", wanted, cwd=folder)
    assert done.returncode == code
    assert ("is not" in done.stderr) == (code == 1)


def test_diff_of_equal_schemas_says_so(folder: Path) -> None:
    assert schema("diff", "orders.next.json", "orders.next.json", cwd=folder).stdout == "no difference in types\n"


def test_diff_of_what_is_no_schema(folder: Path) -> None:
    done = schema("diff", "orders.schema.json", "none.json", cwd=folder)
    assert done.returncode == 2
    assert "none.json cannot be read: No such file" in done.stderr and "Traceback" not in done.stderr
