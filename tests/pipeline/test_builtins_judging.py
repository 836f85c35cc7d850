"""filter, validate, lookup and outbox in the pipeline: chained, in every source format, and what their dead letters say."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pipeline import PipelineDriver
from pipeline.registry import load_registry
from schemas.change import ChangeEvent, pack
from schemas.errors import ConfigError
from schemas.event import Event
from schemas.formats.named import make_format
from schemas.outcome import Violation
from schemas.specs import FormatSpec

REGISTRY = """
version: 1
databases:
  shop: {sqlite: shop.db}
transformers:
  paid: {builtin: filter, config: {keep: "row.status == 'paid' && row.total >= 10.50"}}
  right: {builtin: validate, config: {rules: [{schema: {properties: {id: {type: integer, maximum: 100}}}}]}}
  customer:
    builtin: lookup
    config: {table: customers, key: customer, columns: {name: customer_name}, missing: reject}
    capabilities: [{database: {connection: shop, tables: [customers], cache: 1m}}]
  messages: {builtin: outbox, config: {topics: {Order: orders.events}}}
routes:
  orders: {from: orders, through: [paid, right, customer], to: orders.out}
  outbox: {from: outbox, through: [messages], to: outbox.event.Customer, also_to: [orders.events]}
"""


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    with closing(sqlite3.connect(tmp_path / "shop.db")) as raw, raw:
        raw.execute("CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT)")
        raw.execute("INSERT INTO customers VALUES (1, 'Ada')")
    path = tmp_path / "registry.yaml"
    path.write_text(REGISTRY)
    return path


@pytest.fixture
def driver(registry: Path) -> Iterator[PipelineDriver]:
    with PipelineDriver(registry) as opened:
        yield opened


def change(op: str, row: Any) -> bytes:
    before, after = (row, None) if op == "d" else (None, row)
    return json.dumps({"op": op, "before": before, "after": after, "source": {"table": "t"}, "ts_ms": 1}).encode()


def code(driver: PipelineDriver, topic: str, value: bytes) -> str:
    (done,) = driver.send(topic, value)
    assert isinstance(done.outcome, Violation), done.outcome
    return f"{done.outcome.transformer}: {done.outcome.code}"


def test_a_chain_of_them(driver: PipelineDriver) -> None:
    row = {"id": 7, "status": "paid", "total": "10.50", "customer": 1}
    driver.send("orders", change("c", row))
    driver.send("orders", change("u", row | {"status": "new"}))
    driver.send("orders", change("d", row))
    driver.send("orders", None, key=b"7")
    after = [one.value and json.loads(one.value)["after"] for one in driver.read("orders.out")]
    assert after == [row | {"customer_name": "Ada"}, None, None]
    assert code(driver, "orders", change("c", {"status": "paid"})) == "paid: filter-failed"
    assert code(driver, "orders", change("c", row | {"id": 101})) == "right: invalid"
    assert code(driver, "orders", change("c", row | {"customer": 2})) == "customer: lookup-missing"


def test_messages_go_to_the_topics_that_the_route_lists(driver: PipelineDriver) -> None:
    row = {"id": 1, "aggregatetype": "Order", "aggregateid": "17", "type": "Paid", "payload": '{"total": 1.50}'}
    driver.send("outbox", change("c", row))
    driver.send("outbox", change("c", row | {"aggregatetype": "Customer"}))
    for topic in ("orders.events", "outbox.event.Customer"):
        (record,) = driver.read(topic)
        assert (record.key, record.value) == (b"17", b'{"total": 1.50}')
        assert dict(record.headers) == {"id": b"1", "type": b"Paid"}
    (done,) = driver.send("outbox", change("c", row | {"aggregatetype": "Secret"}))
    assert isinstance(done.outcome, Violation)
    assert done.outcome.kind == "bad-output"


@pytest.mark.parametrize("name", ["debezium-json", "flattened-json", "maxwell", "canal", "msgpack", "json"])
def test_one_filter_and_one_lookup_for_every_format(registry: Path, name: str) -> None:
    text = REGISTRY.replace("to: orders.out", f"to: orders.out, format: {name}")
    registry.write_text(text.replace("[paid, right, customer]", "[paid, customer]"))  # canal's numbers are texts
    format_ = make_format(FormatSpec(name))
    event = Event(0, 1, b'{"id":7}', b"", ())

    def written(**row: Any) -> bytes | None:
        source = {"db": "shop", "schema": "public", "table": "orders"}
        made = ChangeEvent(
            op="c", before=None, after={"id": 7, "customer": 1} | row, source=source, ts_ms=1, transaction=None
        )
        return format_.encode(pack(made), event, "orders")

    with PipelineDriver(registry) as driver:
        for status, total in (("paid", "10.50"), ("paid", "9.99"), ("new", "99.00")):
            driver.send("orders", written(status=status, total=total), key=b'{"id":7}')
        (record,) = driver.read("orders.out")
    assert record.value is not None
    assert b"Ada" in record.value


def test_topics_that_a_route_does_not_list_are_a_fault_at_load(registry: Path) -> None:
    registry.write_text(REGISTRY.replace(", also_to: [orders.events]", ""))
    with pytest.raises(ConfigError, match=r"messages sends records to orders\.events, which the route does not list"):
        load_registry(registry)
