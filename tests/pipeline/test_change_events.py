"""`encoding: event` through the pipeline: in a chain with raw transformers, with dead letters, and in `penstock try`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline import PipelineDriver
from pipeline.registry import load_registry
from sandbox.sections import Metadata, append_metadata
from schemas.outcome import ViolationKind
from tests.pipeline.cli.test_try import run
from tests.pipeline.rig import MODULES
from tests.sandbox.guests import guest

REGISTRY = f"""
version: 1
transformers:
  censor: {{module: censor.wasm}}
  censor-again: {{module: plain.wasm, encoding: event}}
  lenient: {{module: censor.wasm, on_violation: pass-through}}
  uppercase: {{module: {MODULES}/uppercase.wasm}}
routes:
  mixed: {{from: orders, through: [censor, uppercase], to: out, dead_letter: dead}}
  other-way: {{from: names, through: [censor-again], to: out2, dead_letter: dead2}}
  lenient: {{from: any, through: [lenient], to: out3, dead_letter: dead3}}
"""
DATA = (
    b'{"op":"c","after":{"name":"my secret","price":1.10,"wide":123456789012345678901234567890},"source":{},"ts_ms":1}'
)
MASKED = DATA.replace(b"secret", b"******")


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    (tmp_path / "censor.wasm").write_bytes(append_metadata(guest("censor"), Metadata(name="censor", encoding="event")))
    (tmp_path / "plain.wasm").write_bytes(guest("censor"))
    path = tmp_path / "registry.yaml"
    path.write_text(REGISTRY)
    return path


def values(driver: PipelineDriver, topic: str) -> list[bytes | None]:
    return [record.value for record in driver.read(topic)]


def test_a_chain_mixes_both_encodings(registry: Path) -> None:
    with PipelineDriver(registry, environ={}) as driver:
        driver.send("orders", DATA, key=b"\xff")
        driver.send("orders", None, key=b"\xff")
        driver.send("names", DATA)
        assert values(driver, "out") == [MASKED.upper(), None]
        assert values(driver, "out2") == [MASKED]


def test_what_cannot_be_decoded_is_a_dead_letter_as_it_came(registry: Path) -> None:
    with PipelineDriver(registry, environ={}) as driver:
        driver.send("orders", b"\xff no json", key=b"k")
        driver.send("orders", DATA, key=b"k")
        assert values(driver, "out") == [MASKED.upper()]
        (letter,) = driver.read("dead")
        assert (letter.key, letter.value) == (b"k", b"\xff no json")
        headers = dict(letter.headers)
        assert headers["penstock.violation"] == b"decode" and headers["penstock.transformer"] == b"censor"
        assert (headers["penstock.message"] or b"").startswith(b"the value is no Debezium change event: not JSON")


def test_on_violation_holds_for_it_and_no_breaker_counts_it(registry: Path) -> None:
    with PipelineDriver(registry, environ={}) as driver:
        for _ in range(30):
            driver.send("any", b"no json")
        assert values(driver, "out3") == [b"no json"] * 30
    assert not ViolationKind.DECODE.is_misbehaviour


def test_the_registry_takes_both_names(registry: Path) -> None:
    transformers = load_registry(registry, environ={}).transformers
    assert [transformers[name].encoding for name in ("censor", "censor-again")] == [None, "event"]


def test_try_runs_change_events(registry: Path, tmp_path: Path) -> None:
    events = tmp_path / "events.ndjson"
    lines = [{"value": json.loads(DATA)}, {"value": None}, {"value": "no json"}]
    events.write_text("\n".join(map(json.dumps, lines)))
    done = run(registry, "censor", "--event", events, "--json")
    assert done.returncode == 0, done.stderr
    emitted, tombstone, refused = map(json.loads, done.stdout.splitlines())
    assert json.loads(emitted["records"][0]["value"])["after"]["name"] == "my ******"
    assert tombstone["outcome"] == "emitted" and tombstone["records"][0]["value"] is None
    assert (refused["violation"], refused["message"][:30]) == ("decode", "the value is no Debezium chang")
    shown = run(registry, "censor", "--event", events).stdout.decode()
    assert "after.name" in shown and "my ******" in shown and "violation: decode" in shown
