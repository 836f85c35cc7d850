"""Real changes in real PostgreSQL, through real Debezium and Kafka Connect, enriched by `penstock run`.

The destination, folded by key, is the table as the transformer would have changed it: whatever was killed meanwhile.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.stream import MODULES
from tests.e2e.test_run import service, wait_until
from tests.services.connect import Connect
from tests.services.kafka import KafkaBroker
from tests.services.postgres import Postgres
from tests.services.topics import Kept, create_topic, read_topic

pytestmark = pytest.mark.services

SCHEMA = """
create table orders (
  id bigint primary key, first_name text, last_name text, amount numeric(12, 2) not null, quantity int not null,
  status text not null, note text, placed timestamptz not null default now());
create table audit (id bigint primary key, said text);
alter table orders replica identity full;
"""
CONNECTOR = {
    "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
    "exactly.once.support": "requested",
    "database.hostname": "127.0.0.1",
    "database.user": "postgres",
    "database.password": "",
    "database.dbname": "postgres",
    "topic.prefix": "shop",
    "plugin.name": "pgoutput",
    "slot.name": "shop",
    "publication.autocreate.mode": "filtered",
    "table.include.list": "public.orders,public.audit",
    "decimal.handling.mode": "string",
    "skipped.operations": "none",
    "poll.interval.ms": "50",
    "retriable.restart.connector.wait.ms": "500",
    "topic.creation.default.replication.factor": "1",
    "topic.creation.default.partitions": "3",
}
LOGICAL = {"wal_level": "logical", "max_wal_senders": "4", "max_replication_slots": "4"}


@dataclass
class Shop:
    """The services, and the registry between them."""

    kafka: KafkaBroker
    postgres: Postgres
    connect: Connect
    registry: Path
    log: Path

    def table(self) -> dict[int, dict[str, Any]]:
        """The rows of `orders` as the transformer would have changed them, by id."""
        rows = self.postgres.psql("select row_to_json(o) from (select *, amount::text as amount from orders) o")
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


@pytest.fixture
def shop(start_broker: Callable[..., KafkaBroker], postgres_server: Postgres, tmp_path: Path) -> Iterator[Shop]:
    """`postgres_server` only says whether PostgreSQL is there: this test breaks a server of its own."""
    with ExitStack() as held:
        kafka, postgres = start_broker(), held.enter_context(Postgres(settings=LOGICAL))
        postgres.psql(SCHEMA)
        connect = held.enter_context(Connect(tmp_path / "connect", kafka.bootstrap))
        connect.run("shop", CONNECTOR | {"database.port": str(postgres.port)})
        for topic in ("shop.public.orders", "shop.public.audit", "orders.enriched", "audit.copied"):
            create_topic(kafka.bootstrap, topic, 3)
        for topic in ("orders.enriched.dead-letter", "audit.copied.dead-letter"):
            create_topic(kafka.bootstrap, topic, 3, {"max.message.bytes": "2000000"})
        registry = tmp_path / "registry.yaml"
        registry.write_text(_registry(kafka.bootstrap))
        yield Shop(kafka, postgres, connect, registry, tmp_path / "log")


def _registry(bootstrap: str) -> str:
    return f"""
version: 1
kafka: {{brokers: "{bootstrap}", session_timeout: 6s}}
transformers:
  enrich-order: {{module: {MODULES}/enrich_order.wasm, config: {{currency: EUR}}}}
  passthrough: {{module: {MODULES}/passthrough.wasm}}
routes:
  orders: {{from: shop.public.orders, through: enrich-order, to: orders.enriched}}
  audit: {{from: shop.public.audit, through: passthrough, to: audit.copied}}
"""


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
    with service(shop.registry, log=shop.log) as process:
        shop.postgres.psql(insert(1, 500))
        shop.postgres.psql(change(1, 500))
        shop.postgres.psql("alter table orders add column gift boolean not null default false")
        shop.postgres.psql("update orders set gift = true where id % 11 = 1")
        shop.postgres.psql("insert into audit values (1, 'hello'); truncate audit")
        wait_until(lambda: shop.folded() == shop.table(), 90, process, shop.log)
        copied = lambda: sorted(operations(read_topic(shop.kafka.bootstrap, "audit.copied")))  # noqa: E731
        wait_until(lambda: copied() == ["c", "t"], 30, process, shop.log)
    assert any(row["gift"] for row in shop.folded().values())
    assert read_topic(shop.kafka.bootstrap, "orders.enriched.dead-letter") == []


def test_whatever_is_killed_meanwhile_nothing_is_lost_or_doubled(shop: Shop) -> None:
    stop, written = threading.Event(), []

    def write() -> None:
        first = 1
        while not stop.is_set():
            try:
                shop.postgres.psql(insert(first, 50))
                shop.postgres.psql(change(first, 50))
            except RuntimeError:  # PostgreSQL is down: this piece's rows may be there or not, so the next has others
                stop.wait(0.2)
            first += 50
            written.append(first)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for victim in ("penstock", "connect", "postgres", "kafka", "none"):
            with service(shop.registry, log=shop.log) as process:
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
