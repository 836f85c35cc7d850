"""`format:` on a route: rows are split before the first transformer, and converted behind the last."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from pipeline import PipelineDriver
from pipeline.registry import load_checked
from sandbox import Sandbox
from schemas.errors import ConfigError
from schemas.outcome import Violation
from tests.pipeline.cli.test_try import run
from tests.pipeline.rig import MODULES
from tests.sandbox.guests import guest

REGISTRY = f"""
version: 1
transformers:
  censor: {{module: censor.wasm, encoding: event}}
  copy: {{module: {MODULES}/passthrough.wasm}}
routes:
  r: {{from: in, through: THROUGH, to: out, dead_letter: dead, format: FORMAT}}
"""
DEBEZIUM = (
    b'{"op":"u","before":{"id":1,"name":"secret"},"after":{"id":1,"name":"a secret"},"source":{"db":"d","table":"t"},'
    b'"ts_ms":5000,"transaction":null}'
)
CANAL = b'{"data":[{"id":"1","name":"my secret"},{"id":"2","name":"x"}],"database":"d","table":"t","type":"INSERT","es":1,"ts":2,"old":null}'


def registry(folder: Path, format_: str, through: str = "censor") -> Path:
    (folder / "censor.wasm").write_bytes(guest("censor"))
    path = folder / "registry.yaml"
    path.write_text(REGISTRY.replace("FORMAT", format_).replace("THROUGH", through))
    return path


def values(driver: PipelineDriver, topic: str = "out") -> list[bytes | None]:
    return [record.value for record in driver.read(topic)]


def test_out_in_another_format(tmp_path: Path) -> None:
    with PipelineDriver(registry(tmp_path, "{in: debezium-json, out: maxwell}"), environ={}) as driver:
        driver.send("in", DEBEZIUM, key=b'{"id":1}')
        driver.send("in", None, key=b'{"id":1}')
        records = driver.read("out")
        assert [record.key for record in records] == [b'{"id":1}'] * 2
        changed, tombstone = (record.value for record in records)
        assert tombstone is None
        assert json.loads(changed or b"") == {
            "database": "d",
            "table": "t",
            "type": "update",
            "ts": 5,
            "data": {"id": 1, "name": "a ******"},
            "old": {"name": "******"},
        }


def test_keys_are_converted_where_they_are_written_differently(tmp_path: Path) -> None:
    with PipelineDriver(registry(tmp_path, "{in: debezium-json, out: msgpack}", "copy"), environ={}) as driver:
        driver.send("in", DEBEZIUM, key=b'{"id":1}')
        (record,) = driver.read("out")
        assert record.key == msgspec.msgpack.encode({"id": 1})
        assert msgspec.msgpack.decode(record.value or b"")["after"] == {"id": 1, "name": "a secret"}
        (sent,) = driver.send("in", DEBEZIUM, key=b"no json")
        assert isinstance(sent.outcome, Violation)
        assert (sent.outcome.kind, sent.outcome.transformer) == ("decode", "debezium-json-to-msgpack")


def test_what_the_other_format_cannot_say(tmp_path: Path) -> None:
    with PipelineDriver(registry(tmp_path, "{in: debezium-json, out: maxwell}", "copy"), environ={}) as driver:
        (sent,) = driver.send("in", b'{"op":"t","source":{"table":"t"}}', key=b"k")
        assert isinstance(sent.outcome, Violation)
        assert sent.outcome.kind == "schema"
        assert sent.outcome.message == "it cannot be said in maxwell: maxwell has no way to say a truncate"
        assert [record.value for record in driver.read("dead")] == [b'{"op":"t","source":{"table":"t"}}']


def test_a_delete_in_rows_is_a_tombstone(tmp_path: Path) -> None:
    with PipelineDriver(registry(tmp_path, "{in: debezium-json, out: json}", "copy"), environ={}) as driver:
        driver.send("in", DEBEZIUM, key=b"1")
        driver.send("in", b'{"op":"d","before":{"id":1},"after":null,"source":{}}', key=b"1")
        assert values(driver) == [b'{"id":1,"name":"a secret"}', None]


def test_rows_of_one_record_go_one_by_one(tmp_path: Path) -> None:
    with PipelineDriver(registry(tmp_path, "canal"), environ={}) as driver:
        driver.send("in", CANAL, key=b"k")
        first, second = (json.loads(value or b"") for value in values(driver))
        assert first["data"] == [{"id": "1", "name": "my ******"}] and second["data"] == [{"id": "2", "name": "x"}]
        (sent,) = driver.send("in", CANAL.replace(b'"INSERT"', b'"ALTER"'), key=b"k")
        assert isinstance(sent.outcome, Violation)
        assert sent.outcome.kind == "decode" and "which is about no row" in sent.outcome.message


def test_rows_stay_together_where_nobody_looks_at_them(tmp_path: Path) -> None:
    with PipelineDriver(registry(tmp_path, "canal", "copy"), environ={}) as driver:
        driver.send("in", CANAL, key=b"k")
        assert values(driver) == [CANAL]


def test_raw_touches_nothing(tmp_path: Path) -> None:
    with PipelineDriver(registry(tmp_path, "raw", "copy"), environ={}) as driver:
        driver.send("in", b"\xff\x00", key=b"k")
        assert values(driver) == [b"\xff\x00"]


@pytest.mark.parametrize(
    ("format_", "through", "said"),
    [
        ("raw", "censor", "values in the format raw are no change events, and censor is sent change events"),
        ("{in: raw, out: json}", "copy", "values in the format raw cannot be converted to json"),
    ],
)
def test_what_no_format_can_do_is_a_fault(format_: str, through: str, said: str, tmp_path: Path) -> None:
    with Sandbox(workers=1) as sandbox, pytest.raises(ConfigError) as refused:
        load_checked(registry(tmp_path, format_, through), sandbox, environ={})
    (fault,) = refused.value.faults
    assert fault.problem == said and fault.path == "routes.r.format" and fault.line == 7


def test_try_reads_as_the_route_does(tmp_path: Path) -> None:
    path = registry(tmp_path, "maxwell")
    row = {"database": "d", "table": "t", "type": "insert", "ts": 1, "data": {"name": "my secret"}}
    (tmp_path / "events.ndjson").write_text(json.dumps({"value": json.dumps(row)}) + "\n")
    done = run(str(path), "censor", "--event", str(tmp_path / "events.ndjson"), "--json")
    (record,) = json.loads(done.stdout)["records"]
    assert json.loads(record["value"])["data"] == {"name": "my ******"}
