"""One built-in for every format: what it makes of a row is the same, whatever the row was written in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from pipeline.registry import RegistryBuilder
from sandbox import Sandbox
from schemas.change import pack, unpack
from schemas.event import Batch, Event, TopicPartition
from schemas.formats.format import Format
from schemas.formats.named import PLAIN, REGISTERED, make_format
from schemas.outcome import Emitted, Outcome
from schemas.specs import FormatSpec
from tests.schemas.formats.written import SCHEMAS, WRITERS, Known

ROW: dict[str, Any] = {
    "id": 1,
    "big": None,
    "small": 5,
    "flag": True,
    "ratio": 0.5,
    "narrow": 0.5,
    "name": "Ωmega",
    "blob": b"\0\xff",
    "amount": None,
    "vary": None,
    "at": 1_700_000_000_000_000,
    "tags": ["a"],
    "attributes": {"x": "y"},
}
SOURCE = {"table": "orders", "lsn": 7}
TOPIC = "orders"
WITH_CHANGES = [name for name in PLAIN if PLAIN[name](FormatSpec(name)).is_change]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(workers=1) as opened:
        yield opened


def outcome(sandbox: Sandbox, builtin: str, config: dict[str, Any], format_: Format, value: bytes) -> Outcome:
    registry = RegistryBuilder()
    registry.register(builtin, builtin=builtin, config=config)
    registry.route("r", sources=TOPIC, through=builtin, to="b")
    with closing(sandbox.load(registry.build().transformers[builtin]).session(format_=format_)) as session:
        (found,) = session.run(Batch(TopicPartition(TOPIC, 0), [Event(0, 0, None, value, ())])).outcomes
    return found


def emitted(found: Outcome) -> bytes:
    assert isinstance(found, Emitted), found
    (event,) = found.events
    assert event.value is not None
    return event.value


def written(name: str) -> tuple[Format, bytes]:
    """A format, and an insert of the row in it."""
    if name in REGISTERED:
        event = {"before": None, "after": ROW, "source": SOURCE, "op": "c", "ts_ms": 9, "ts_us": 9_001}
        return make_format(FormatSpec(name), Known(SCHEMAS[name])), WRITERS[name](event)
    row = ROW | {"blob": None}  # not every one of these can say bytes, and Canal's values are texts
    if name == "canal":
        row = {column: value for column, value in row.items() if not isinstance(value, list | dict)}
    change = {"op": "c", "before": None, "after": row, "source": SOURCE, "ts_ms": 9, "transaction": None}
    format_ = make_format(FormatSpec(name))
    value = format_.encode(pack(change), Event(0, 0, None, None, ()), TOPIC)
    assert value is not None
    return format_, value


@pytest.mark.parametrize("name", [*WITH_CHANGES, *REGISTERED])
def test_mask(sandbox: Sandbox, name: str) -> None:
    format_, value = written(name)
    config = {"key": "k", "rules": [{"columns": "name", "action": "tokenize"}, {"columns": "tags", "action": "redact"}]}
    made = emitted(outcome(sandbox, "mask", config, format_, value))
    after = unpack(format_.decode(Event(0, 0, None, made, ()), TOPIC).packed).after
    before = unpack(format_.decode(Event(0, 0, None, value, ()), TOPIC).packed).after
    assert after is not None and before is not None
    assert after.get("tags") == (["***"] if "tags" in before else None)
    assert after["name"] != before["name"] and len(after["name"]) == 5
    unchanged = {column: before[column] for column in before if column not in ("name", "tags")}
    assert {column: after[column] for column in unchanged} == unchanged


@pytest.mark.parametrize("name", [*WITH_CHANGES, *REGISTERED])
def test_unwrap(sandbox: Sandbox, name: str) -> None:
    format_, value = written(name)
    row = json.loads(emitted(outcome(sandbox, "unwrap", {"add_fields": "op"}, format_, value)))
    assert str(row["id"]) == "1"
    assert row["name"] == "Ωmega"
    assert row.get("tags", ["a"]) == ["a"]
    assert row["__op"] in ("c", "r")
