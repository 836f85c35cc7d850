"""Real Debezium, once through Apicurio's Avro converter and once through JsonConverter with schemas: the same change events; and
through `penstock run`, in Avro and converted.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pipeline.schema_registry.client import RegistryClient
from schemas.change import UNAVAILABLE, ChangeEvent, unpack
from schemas.event import Event
from schemas.formats.named import make_format
from schemas.specs import FormatSpec, SchemaRegistrySpec
from tests.e2e.test_run import service, wait_until
from tests.services.connect import Connect
from tests.services.kafka import KafkaBroker
from tests.services.postgres import Postgres
from tests.services.schema_registry import ApicurioRegistry, converters
from tests.services.topics import create_topic, read_topic

pytestmark = pytest.mark.services

WORKER = """
plugin.discovery=hybrid_warn
group.id=connect-avro
topic.creation.enable=true
key.converter=org.apache.kafka.connect.json.JsonConverter
value.converter=org.apache.kafka.connect.json.JsonConverter
config.storage.topic=connect-avro.configs
offset.storage.topic=connect-avro.offsets
status.storage.topic=connect-avro.status
config.storage.replication.factor=1
offset.storage.replication.factor=1
status.storage.replication.factor=1
offset.storage.partitions=1
status.storage.partitions=1
offset.flush.interval.ms=500
"""
TABLE = """
create table everything (
  id bigint primary key, small smallint not null default 3, flag boolean, wide double precision, narrow real, name text, blob bytea,
  amount numeric(12, 2), vary numeric, at timestamptz, day date, tags text[], number uuid, document jsonb, large text
);
alter table everything alter column large set storage external;
"""
CHANGES = """
insert into everything values (9223372036854775807, -5, true, 'NaN', 0.1, 'Zoë Ωmega', '\\x00ff10', 1234567890.12, 1.2345678901234567890,
  '2024-02-29 12:34:56.789012+00', '1969-12-31', array['a', null, ''], 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{"x": 1.10}', repeat('x', 20000));
insert into everything (id) values (1);
update everything set small = 4, narrow = 16777217, wide = '-Infinity', amount = -0.01, vary = 'NaN' where id > 1;
update everything set id = 2 where id = 1;
delete from everything where id = 2;
truncate everything;
"""


@dataclass
class Captured:
    """One table, captured twice."""

    kafka: KafkaBroker
    registry: ApicurioRegistry
    topic: Callable[[str], str]


@pytest.fixture(scope="module")
def captured(
    kafka_broker: KafkaBroker,
    apicurio: ApicurioRegistry,
    tmp_path_factory: pytest.TempPathFactory,
    postgres_server: Postgres,
) -> Iterator[Captured]:
    """`postgres_server` only says whether PostgreSQL is there: this one has a log for Debezium."""
    with ExitStack() as held:
        postgres = held.enter_context(Postgres({"wal_level": "logical"}))
        worker = Connect(tmp_path_factory.mktemp("connect"), kafka_broker.bootstrap, WORKER, converters())
        connect = held.enter_context(worker)
        postgres.psql(TABLE)
        connect.run("in-json", connector(postgres, "injson") | json_converters())
        connect.run("in-avro", connector(postgres, "inavro") | avro_converters(apicurio))
        postgres.psql(CHANGES)
        yield Captured(kafka_broker, apicurio, lambda prefix: f"{prefix}.public.everything")


def connector(postgres: Postgres, prefix: str) -> dict[str, str]:
    return {
        "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
        "database.hostname": "127.0.0.1",
        "database.port": str(postgres.port),
        "database.user": "postgres",
        "database.password": "",
        "database.dbname": "postgres",
        "topic.prefix": prefix,
        "plugin.name": "pgoutput",
        "slot.name": prefix,
        "publication.name": prefix,
        "publication.autocreate.mode": "filtered",
        "table.include.list": "public.everything",
        "skipped.operations": "none",
        "poll.interval.ms": "50",
        "topic.creation.default.replication.factor": "1",
        "topic.creation.default.partitions": "1",
    }


def json_converters() -> dict[str, str]:
    both = {
        "": "org.apache.kafka.connect.json.JsonConverter",
        ".schemas.enable": "true",
        ".replace.null.with.default": "false",
    }
    return {f"{side}.converter{key}": value for side in ("key", "value") for key, value in both.items()}


def avro_converters(registry: ApicurioRegistry) -> dict[str, str]:
    both = {
        "": "io.apicurio.registry.utils.converter.AvroConverter",
        ".apicurio.registry.url": registry.own_url.replace("/v3", "/v2"),
        ".apicurio.registry.auto-register": "true",
        ".apicurio.registry.find-latest": "true",
        ".apicurio.registry.as-confluent": "true",
        ".apicurio.registry.use-id": "contentId",
        ".apicurio.registry.headers.enabled": "false",
    }
    return {f"{side}.converter{key}": value for side in ("key", "value") for key, value in both.items()}


def events(captured: Captured, topic: str, format_: str) -> tuple[list[Any], list[ChangeEvent | None]]:
    """Keys and change events of a topic."""
    with closing(RegistryClient(SchemaRegistrySpec(captured.registry.url))) as schemas:
        made = make_format(FormatSpec(format_), schemas)
        found = [
            (
                None if one.key is None else made.decode_key(one.key, topic),
                None if one.value is None else unpack(made.decode(Event(0, 0, None, one.value, ()), topic).packed),
            )
            for one in read_topic(captured.kafka.bootstrap, topic)
        ]
    return [key for key, _ in found], [change for _, change in found]


def rows(changes: list[ChangeEvent | None]) -> list[Any]:
    """What both connectors must agree on; of `source`, what is not their own. Where a null has a default (`snapshot`), Apicurio's
    converter writes the default.
    """
    own = {"name", "snapshot", "ts_ms", "ts_us", "ts_ns", "sequence", "txId", "lsn"}
    return [
        None
        if one is None
        else (one.op, shown(one.before), shown(one.after), {k: v for k, v in one.source.items() if k not in own})
        for one in changes
    ]


def shown(row: dict[str, Any] | None) -> dict[str, Any] | None:
    """With NaN and the placeholder as texts, which compare."""
    if row is None:
        return None
    return {
        name: "unavailable" if value == UNAVAILABLE else repr(value) if isinstance(value, float) else value
        for name, value in row.items()
    }


def redacted(change: ChangeEvent | None) -> ChangeEvent | None:
    """With names as the mask leaves them."""
    if change is None:
        return None

    def row(values: dict[str, Any] | None) -> dict[str, Any] | None:
        return values if values is None or values["name"] is None else values | {"name": "***"}

    return msgspec.structs.replace(change, before=row(change.before), after=row(change.after))


COUNT = 9
"""Two inserts, an update, a key's update in three, a delete in two, a truncate."""


def arrived(captured: Captured, topic: str) -> bool:
    return len(read_topic(captured.kafka.bootstrap, topic)) == COUNT


def wait_for_all(captured: Captured) -> None:
    end = time.monotonic() + 60
    while not all(arrived(captured, captured.topic(prefix)) for prefix in ("injson", "inavro")):
        assert time.monotonic() < end, {
            prefix: len(read_topic(captured.kafka.bootstrap, captured.topic(prefix))) for prefix in ("injson", "inavro")
        }
        time.sleep(0.2)


def test_avro_says_what_json_with_schemas_says(captured: Captured) -> None:
    wait_for_all(captured)
    _, plain = events(captured, captured.topic("injson"), "debezium-json")
    keys, binary = events(captured, captured.topic("inavro"), "debezium-avro")
    for ours, theirs in zip(rows(binary), rows(plain), strict=True):
        assert ours == theirs
    assert keys == [
        {"id": 9223372036854775807},
        {"id": 1},
        {"id": 9223372036854775807},
        {"id": 1},
        {"id": 1},
        {"id": 2},
        {"id": 2},
        {"id": 2},
        None,
    ]
    first, third = binary[0], binary[2]
    assert first is not None and first.after is not None and third is not None and third.after is not None
    assert first.after["amount"] == "1234567890.12"
    assert first.after["vary"] == "1.234567890123456789"
    assert first.after["narrow"] == 0.1
    assert first.after["blob"] == b"\0\xff\x10"
    assert third.after["large"] == UNAVAILABLE


REGISTRY = """
version: 1
kafka: {{brokers: "{brokers}", group: "{group}"}}
schema_registry: {{url: "{registry}"}}
transformers:
  mask:
    builtin: mask
    config: {{rules: [{{columns: name, action: redact}}]}}
routes:
  masked:
    from: {topic}
    through: [mask]
    to: {group}.masked
    format: debezium-avro
  converted:
    from: {topic}
    through: [mask]
    to: {group}.converted
    format: {{in: debezium-avro, out: debezium-json}}
create_topics: {{}}
"""


def test_penstock_masks_in_avro_and_converts_to_json(
    captured: Captured, unique: Callable[[str], str], tmp_path: Path
) -> None:
    wait_for_all(captured)
    group, topic = unique("avro"), captured.topic("inavro")
    registry, log = tmp_path / "registry.yaml", tmp_path / "log"
    text = REGISTRY.format(brokers=captured.kafka.bootstrap, group=group, registry=captured.registry.url, topic=topic)
    registry.write_text(text)
    for name in ("masked", "converted"):
        create_topic(captured.kafka.bootstrap, f"{group}.{name}")
    with service(registry, log=log) as process:
        for out in ("masked", "converted"):
            wait_until(lambda out=out: arrived(captured, f"{group}.{out}"), 60, process, log)
        process.terminate()
        assert process.wait(30) == 0, log.read_text()[-4000:]
    for out in ("masked", "converted"):
        assert read_topic(captured.kafka.bootstrap, f"{group}.{out}.dead-letter") == []
    came, went = read_topic(captured.kafka.bootstrap, topic), read_topic(captured.kafka.bootstrap, f"{group}.masked")
    assert [one.key for one in went] == [one.key for one in came]
    assert [a.value == b.value for a, b in zip(came, went, strict=True)].count(False) == 2, (
        "an insert and an update have a name"
    )
    _, masked = events(captured, f"{group}.masked", "debezium-avro")
    _, before = events(captured, topic, "debezium-avro")
    assert rows(masked) == rows([redacted(one) for one in before])
    converted = [
        json.loads(one.value) for one in read_topic(captured.kafka.bootstrap, f"{group}.converted") if one.value
    ]
    assert [one["op"] for one in converted] == [one.op for one in masked if one is not None]
    assert converted[0]["after"]["id"] == 9223372036854775807
    assert converted[0]["after"]["amount"] == "1234567890.12"
