"""Real changes in real PostgreSQL, through real Debezium and Kafka Connect, enriched by `penstock run`: the services of
docker-compose.yml with their configuration, started without containers.

The destination, folded by key, is the table as the transformer would have changed it: whatever was killed meanwhile.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.stream import MODULES
from tests.e2e.test_run import service, wait_until
from tests.services import tracing
from tests.services.compose import ROOT, Compose, kafka_properties, postgres_settings
from tests.services.connect import Connect
from tests.services.kafka import KafkaBroker, free_ports
from tests.services.monitoring import Prometheus
from tests.services.postgres import Postgres
from tests.services.schema_registry import ApicurioRegistry
from tests.services.topics import Kept, create_topic, read_topic

pytestmark = pytest.mark.services


PAGES = (ROOT / "README.md", ROOT / "docs" / "compose.md")
WALKTHROUGH = re.compile(r"```sql\n(.*?)```", re.DOTALL)

QUIET_PANELS = {"Lanes that need `penstock resume`", "Security events"}
"""Of the dashboard: what shows nothing while all is well."""


@dataclass
class Shop:
    """The services, and the registry between them."""

    kafka: KafkaBroker
    postgres: Postgres
    connect: Connect
    registry: Path
    options: list[str]
    """Of `penstock run`."""
    prometheus: Prometheus
    jaeger: tracing.Jaeger
    log: Path

    def psql(self, script: str) -> str:
        """Statements in the shop's database."""
        return self.postgres.psql(script, database="shop")

    def table(self) -> dict[int, dict[str, Any]]:
        """The rows of `orders` as the transformer would have changed them, by id."""
        rows = self.psql("select row_to_json(o) from (select *, amount::text as amount from orders) o")
        return {row["id"]: enriched(row) for row in map(json.loads, rows.splitlines())}

    def folded(self) -> dict[int, dict[str, Any]]:
        """The destination's last word on each key."""
        rows: dict[int, dict[str, Any]] = {}
        for record in read_topic(self.kafka.bootstrap, "orders.enriched"):
            assert record.key is not None
            number = json.loads(record.key)["id"]
            change = json.loads(record.value) if record.value is not None else {"after": None}
            if change["after"] is None:
                rows.pop(number, None)
            else:
                rows[number] = comparable(change["after"])
        return rows


def enriched(row: dict[str, Any]) -> dict[str, Any]:
    """What enrich-order makes of a row, with exact decimals."""
    amount = Decimal(row["amount"])
    names = [row[name] for name in ("first_name", "last_name") if row[name]]
    made = {
        "full_name": " ".join(names) or None,
        "amount_cents": int((amount * 100).quantize(Decimal(1), ROUND_HALF_UP)),
        "total": str(amount * row["quantity"]),
        "currency": "EUR",
    }
    return comparable(row | made)


def comparable(row: dict[str, Any]) -> dict[str, Any]:
    """Without the time, which PostgreSQL's JSON and Debezium write differently, and without the default of a column that was added
    later: rows that did not change since have no event that says it.
    """
    return {name: value for name, value in row.items() if name != "placed" and (name, value) != ("gift", False)}


def dashboard() -> dict[str, str]:
    """What Grafana asks Prometheus for, by the panel's title."""
    text = Compose({}).mounted("grafana", "/var/lib/grafana/dashboards/penstock.json")
    return {panel["title"]: target["expr"] for panel in json.loads(text)["panels"] for target in panel["targets"]}


@contextmanager
def traces(folder: Path) -> Iterator[tuple[tracing.Jaeger, str]]:
    """Jaeger, and the address of the collector before it, as the file configures the two."""
    grpc, http, taken, internal, pages = tracing.here(5)
    file = Compose({"0.0.0.0:16686": pages, "0.0.0.0:16685": internal, "0.0.0.0:4317": taken})
    shown = file.mounted("jaeger", "/etc/jaeger/jaeger.yaml")
    file = Compose({"0.0.0.0:4317": grpc, "0.0.0.0:4318": http, "jaeger:4317": taken})
    passed = file.mounted("otel-collector", "/etc/otelcol/config.yaml")
    with tracing.Jaeger(folder, shown, int(pages.split(":")[1])) as jaeger, tracing.Collector(folder, passed):
        yield jaeger, http


@pytest.fixture
def shop(
    start_broker: Callable[..., KafkaBroker], postgres_server: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Shop]:
    """`postgres_server` only says whether PostgreSQL is there: this test breaks a server of its own."""
    if lacking := Prometheus.missing() or tracing.missing():
        if os.environ.get("PENSTOCK_REQUIRE_SERVICES") == "1":
            pytest.fail(f"PENSTOCK_REQUIRE_SERVICES=1, but {lacking}: install prometheus, and Go 1.25", pytrace=False)
        pytest.skip(f"needs Prometheus, the collector and Jaeger, and {lacking}: install prometheus, and Go 1.25")
    (port,) = free_ports(1)
    with ExitStack() as held:
        file = Compose({})
        kafka = start_broker(properties=kafka_properties(file.environment("kafka")))
        postgres = held.enter_context(Postgres(postgres_settings(file.command("postgres"))))
        jaeger, collector = held.enter_context(traces(tmp_path / "traces"))
        schemas = held.enter_context(ApicurioRegistry(tmp_path / "schemas"))
        addresses = {
            "kafka:9092": kafka.bootstrap,
            "0.0.0.0:9464": f"127.0.0.1:{port}",
            "penstock:9464": f"127.0.0.1:{port}",
            "otel-collector:4318": collector,
            "schema-registry:8080": f"127.0.0.1:{schemas.port}",
        }
        file = Compose(addresses)
        postgres.psql("create database shop")
        postgres.psql(file.mounted("postgres", "/docker-entrypoint-initdb.d/shop.sql"), database="shop")
        worker = file.mounted("connect", "/etc/connect/worker.properties")
        connect = held.enter_context(Connect(tmp_path / "connect", kafka.bootstrap, worker))
        connector = json.loads(file.mounted("connector", "/shop.json"))
        connect.run("shop", connector | {"database.hostname": "127.0.0.1", "database.port": str(postgres.port)})
        for name, value in file.environment("penstock").items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("PENSTOCK_MODULES", str(MODULES))
        registry = tmp_path / "registry.yaml"
        registry.write_text(file.mounted("penstock", "/etc/penstock/registry.yaml"))
        for name in ("customers.avsc", "customers-key.avsc"):
            (tmp_path / name).write_text(file.mounted("penstock", f"/etc/penstock/{name}"))
        run = file.command("penstock")
        assert run[:2] == ["run", "/etc/penstock/registry.yaml"]
        metrics = file.mounted("prometheus", "/etc/prometheus/prometheus.yml")
        prometheus = held.enter_context(Prometheus(tmp_path / "prometheus", metrics))
        yield Shop(kafka, postgres, connect, registry, run[2:], prometheus, jaeger, tmp_path / "log")


def insert(first: int, count: int) -> str:
    """Rows with every kind of name and amount."""
    return f"""
insert into orders (id, first_name, last_name, amount, quantity, status, note)
select n, case n % 3 when 0 then null else 'Zoë' end, case n % 5 when 0 then '' else 'Ωmega "' || n || '"' end,
  (n * 37 % 100000) / 100.0, n % 7 + 1, 'placed', repeat('x', n % 90) from generate_series({first}, {first + count - 1}) n;
"""


def change(first: int, count: int) -> str:
    """A third of the rows changed twice in one transaction, a seventh deleted."""
    between = f"id between {first} and {first + count - 1}"
    return f"""
begin;
update orders set amount = amount + 0.05 where id % 3 = 0 and {between};
update orders set status = 'paid', last_name = null where id % 3 = 0 and {between};
delete from orders where id % 7 = 0 and {between};
commit;
"""


def operations(records: list[Kept]) -> list[str]:
    return [json.loads(record.value)["op"] for record in records if record.value is not None]


def test_changes_of_every_kind_arrive_enriched(shop: Shop) -> None:
    with service(shop.registry, *shop.options, log=shop.log) as process:
        shop.psql(insert(101, 500))
        shop.psql(change(101, 500))
        shop.psql("alter table orders add column gift boolean not null default false")
        shop.psql("update orders set gift = true where id % 11 = 1")
        shop.psql("insert into customers values (3, 'Zoë', 'zoe@example.com'); truncate customers")
        wait_until(lambda: shop.folded() == shop.table(), 90, process, shop.log)
        copied = lambda: read_topic(shop.kafka.bootstrap, "customers.masked")  # noqa: E731
        wait_until(lambda: len(copied()) > 3, 30, process, shop.log)
        assert sorted(operations(copied())) == ["c", "r", "r", "t"]
        emitted = 'penstock_records_total{route="customers",outcome="emitted"} == 4'
        assert shop.prometheus.wait_for(emitted, 30)[0]["metric"]["job"] == "penstock"
        wait_until(lambda: "transform mask-email" in shop.jaeger.spans("penstock"), 30, process, shop.log)
        assert "penstock" in shop.jaeger.services()
        wait_until(lambda: len(read_topic(shop.kafka.bootstrap, "customers.avro")) == 4, 30, process, shop.log)
        tail = ["tail", "customers.avro", "--registry", str(shop.registry), "--from-beginning"]
        shown = subprocess.run(
            [sys.executable, "-m", "pipeline.cli", *tail], capture_output=True, text=True, timeout=60, check=True
        )
        assert shown.stdout.count("read") == 2 and "***@example.com" in shown.stdout and "truncated" in shown.stdout
        assert b"zoe@" not in b"".join(record.value or b"" for record in copied())
        assert any(row["gift"] for row in shop.folded().values())
        letters = lambda: read_topic(shop.kafka.bootstrap, "orders.enriched.dead-letter")  # noqa: E731
        assert letters() == []
        for statements in WALKTHROUGH.findall("".join(page.read_text() for page in PAGES)):
            shop.psql(statements)
        wait_until(lambda: len(letters()) == 1, 30, process, shop.log)
        for row in (1001, 2001):
            wait_until(lambda row=row: shop.folded()[row]["status"] == "paid", 30, process, shop.log)  # type: ignore[misc]
        for title, expression in dashboard().items():
            if title not in QUIET_PANELS:
                shop.prometheus.wait_for(expression, 30)
    (letter,) = letters()
    assert letter.key == b'{"id":1002}' and dict(letter.headers)["penstock.violation"] == b"rejected"
    assert shop.folded()[1001]["total"] == "37.50"


def test_whatever_is_killed_meanwhile_nothing_is_lost_or_doubled(shop: Shop) -> None:
    stop, written = threading.Event(), []

    def write() -> None:
        first = 101
        while not stop.is_set():
            try:
                shop.psql(insert(first, 50))
                shop.psql(change(first, 50))
            except RuntimeError:  # PostgreSQL is down: this piece's rows may be there or not, so the next has others
                stop.wait(0.2)
            first += 50
            written.append(first)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for victim in ("penstock", "connect", "postgres", "kafka", "none"):
            with service(shop.registry, *shop.options, log=shop.log) as process:
                goal = len(shop.folded()) + 100
                wait_until(lambda goal=goal: len(shop.folded()) > goal, 90, process, shop.log)
                _kill(shop, victim)
                if victim == "none":
                    stop.set()
                    writer.join()
                    wait_until(lambda: shop.folded() == shop.table(), 120, process, shop.log)
    finally:
        stop.set()
        writer.join()
    assert len(shop.table()) > 500
    assert read_topic(shop.kafka.bootstrap, "orders.enriched.dead-letter") == []
    came, went = (
        read_topic(shop.kafka.bootstrap, "shop.public.orders"),
        read_topic(shop.kafka.bootstrap, "orders.enriched"),
    )
    assert [(one.partition, one.key) for one in went] == [(one.partition, one.key) for one in came]


def _kill(shop: Shop, victim: str) -> None:
    """Kill a service, as hard as can be, and start it again. penstock itself is killed by leaving its `with`."""
    if victim == "connect":
        shop.connect.kill()
        shop.connect.start()
    elif victim == "postgres":
        shop.postgres.kill()
        shop.postgres.start()
    elif victim == "kafka":
        shop.kafka.kill()
        shop.kafka.start()
    if victim in ("connect", "postgres", "kafka"):
        shop.connect.wait_until_running("shop")


def test_source_transactions_stay_whole(shop: Shop, tmp_path: Path) -> None:
    """Each transaction writes to two tables; penstock is killed between them again and again."""
    config = json.loads(Compose({}).mounted("connector", "/shop.json"))
    addresses = {"database.hostname": "127.0.0.1", "database.port": str(shop.postgres.port)}
    shop.connect.run("shop", config | addresses | {"provide.transaction.metadata": "true"})
    registry = tmp_path / "atomic.yaml"
    registry.write_text(ATOMIC.replace("BROKERS", shop.kafka.bootstrap).replace("MODULES", str(MODULES)))
    create_topic(shop.kafka.bootstrap, "shop.whole", 3)
    for life in range(4):
        goal = 10 * (life + 1) if life == 3 else len(whole(shop)) + 1
        with service(registry, log=shop.log) as process:
            for number in range(10 * life + 1, 10 * life + 11):
                shop.psql(transaction(number))
            wait_until(lambda goal=goal: len(whole(shop)) >= goal, 90, process, shop.log)
        assert set(whole(shop).values()) <= {6}, "a part of a transaction"
    assert whole(shop) == dict.fromkeys(map(str, range(1, 41)), 6)


ATOMIC = """
version: 1
kafka: {brokers: "BROKERS", session_timeout: 6s}
create_topics: {partitions: 3, replication_factor: 1}
transformers:
  copy: {module: MODULES/passthrough.wasm}
routes:
  whole:
    from: [shop.public.orders, shop.public.customers, shop.transaction]
    through: copy
    to: shop.whole
    atomic: source-transaction
"""


def transaction(number: int) -> str:
    """Three orders and three customers that say of which transaction they are."""
    first = 10 * number + 1000
    return f"""
begin;
insert into orders (id, amount, quantity, status) select n, 1, 1, '{number}' from generate_series({first}, {first + 2}) n;
insert into customers select n, '{number}', 'x' from generate_series({first}, {first + 2}) n;
commit;
"""


def whole(shop: Shop) -> dict[str, int]:
    """By transaction, how many of its rows readers find; each row once."""
    found: dict[str, set[tuple[str, int]]] = {}
    for record in read_topic(shop.kafka.bootstrap, "shop.whole"):
        change = json.loads(record.value or b"{}")
        if change.get("op") == "c":
            row, table = change["after"], change["source"]["table"]
            rows = found.setdefault(row["status"] if table == "orders" else row["name"], set())
            assert (table, row["id"]) not in rows
            rows.add((table, row["id"]))
    return {number: len(rows) for number, rows in found.items()}
