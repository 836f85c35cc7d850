"""docs/schema-registry.md as it stands: JSON to Avro with schemas of its own, Avro masked, Avro to JSON; and what it says of failures."""

from __future__ import annotations

import base64
import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pipeline.schema_registry.client import RegistryClient
from schemas.change import unpack
from schemas.event import Event
from schemas.formats.named import make_format
from schemas.formats.schemas import SchemaKind
from schemas.specs import FormatSpec, SchemaRegistrySpec
from tests.e2e.test_run import service, wait_until
from tests.services.kafka import KafkaBroker, free_ports
from tests.services.schema_registry import ApicurioRegistry
from tests.services.topics import create_topic, produce, read_topic

pytestmark = pytest.mark.services

DOCS = Path(__file__).parents[2] / "docs"
READING, WRITING = re.findall(
    r"^```yaml\n(.*?)^```", (DOCS / "schema-registry.md").read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
)
SCHEMA = {
    "type": "struct",
    "fields": [
        {
            "field": side,
            "type": "struct",
            "optional": True,
            "fields": [
                {
                    "field": "amount",
                    "type": "bytes",
                    "name": "org.apache.kafka.connect.data.Decimal",
                    "parameters": {"scale": "2"},
                }
            ],
        }
        for side in ("before", "after")
    ],
}


def order(number: int, **more: object) -> bytes:
    row = {
        "id": number,
        "email": f"{number}@example.com",
        "amount": base64.b64encode(number.to_bytes(9, "big")).decode(),
    }
    source = {"db": "shop", "table": "orders", "lsn": number} | more
    payload = {"op": "c", "before": None, "after": row, "source": source, "ts_ms": number}
    return json.dumps({"schema": SCHEMA, "payload": payload}).encode()


@pytest.fixture
def page(
    kafka_broker: KafkaBroker,
    apicurio: ApicurioRegistry,
    unique: Callable[[str], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[[str, str], Path]]:
    """Writes an example of the page with topics of its own."""
    monkeypatch.setenv("BROKERS", kafka_broker.bootstrap)
    monkeypatch.setenv("SCHEMA_REGISTRY_URL", apicurio.url)
    for name in ("orders.avsc", "orders-key.avsc"):
        shutil.copy(DOCS / "examples" / name, tmp_path)
    prefix = unique("page")

    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        for topic in ("shop.public.orders", "shop.json.orders", "orders.masked", "orders.plain"):
            text = text.replace(f": {topic}\n", f": {prefix}.{topic}\n")
        path.write_text(text.replace("kafka: {", f"kafka: {{group: {prefix}-{path.stem}, "))
        return path

    write.prefix = prefix  # type: ignore[attr-defined]
    yield write


def test_the_page(
    page: Callable[[str, str], Path], kafka_broker: KafkaBroker, apicurio: ApicurioRegistry, tmp_path: Path
) -> None:
    prefix, bootstrap, log = page.prefix, kafka_broker.bootstrap, tmp_path / "log"  # type: ignore[attr-defined]
    topics = [
        f"{prefix}.{name}" for name in ("shop.json.orders", "shop.public.orders", "orders.masked", "orders.plain")
    ]
    for topic in topics:
        create_topic(bootstrap, topic)
    source, avro, masked, plain = topics
    records = [(json.dumps({"id": number}).encode(), order(number)) for number in range(1, 6)]
    strange = (b'{"id":6}', order(6, unknown=1))
    produce(bootstrap, source, [*records, (b'{"id":1}', None), strange])
    with service(page("writing.yaml", WRITING), log=log) as process:
        wait_until(lambda: len(read_topic(bootstrap, f"{avro}.dead-letter")) == 1, 60, process, log)
        with service(page("reading.yaml", READING), log=log) as reading:
            wait_until(lambda: all(len(read_topic(bootstrap, one)) == 6 for one in (masked, plain)), 60, reading, log)
    (letter,) = read_topic(bootstrap, f"{avro}.dead-letter")
    headers = dict(letter.headers)
    assert headers["penstock.violation"] == b"schema"
    assert b"source: the schema has no 'unknown' here" in (headers["penstock.message"] or b"")
    with closing(RegistryClient(SchemaRegistrySpec(apicurio.url))) as client:
        format_ = make_format(FormatSpec("debezium-avro"), client)
        for topic in (avro, masked):
            found = read_topic(bootstrap, topic)
            assert [one.value for one in found][5] is None
            changes = [unpack(format_.decode(Event(0, 0, None, one.value, ()), topic).packed) for one in found[:5]]
            assert [one.after for one in changes] == [
                {"id": number, "email": "***", "amount": f"0.0{number}"} for number in range(1, 6)
            ]
            assert [format_.decode_key(one.key or b"", topic) for one in found] == [
                {"id": number} for number in (1, 2, 3, 4, 5, 1)
            ]
        latest = client.by_subject(f"{avro}-value")
        assert latest is not None
        assert {one.value[1:5] for one in read_topic(bootstrap, masked) if one.value} == {latest.id.to_bytes(4, "big")}
    back = [json.loads(one.value) for one in read_topic(bootstrap, plain) if one.value]
    assert [one["after"]["amount"] for one in back] == [f"0.0{number}" for number in range(1, 6)]
    assert [json.loads(one.key or b"") for one in read_topic(bootstrap, plain)] == [
        {"id": number} for number in (1, 2, 3, 4, 5, 1)
    ]


def refused(registry: Path, log: Path) -> tuple[int, str]:
    with service(registry, log=log) as process:
        return process.wait(60), log.read_text()


def test_what_is_refused_at_the_start(
    page: Callable[[str, str], Path],
    kafka_broker: KafkaBroker,
    apicurio: ApicurioRegistry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    prefix = page.prefix  # type: ignore[attr-defined]
    for name in ("shop.json.orders", "shop.public.orders"):
        create_topic(kafka_broker.bootstrap, f"{prefix}.{name}")
    subject = f"{prefix}.shop.public.orders"
    without = re.sub(r"out: \{.*\}", "out: debezium-avro", WRITING)
    code, said = refused(page("none.yaml", without), tmp_path / "none.log")
    assert code == 2
    assert f"no schema for {subject}-value" in said and f"no schema for {subject}-key" in said
    assert "routes.avro.format: " in said
    code, said = refused(
        page("unregistered.yaml", WRITING.replace(", register: true", "")), tmp_path / "unregistered.log"
    )
    assert code == 2
    assert f"orders.avsc is not registered for {subject}-value" in said and "add register: true" in said
    with closing(RegistryClient(SchemaRegistrySpec(apicurio.url))) as client:
        assert client.by_subject(f"{subject}-value") is None, "nothing is registered that was not declared"
        client.register(
            f"{subject}-value",
            SchemaKind.JSON,
            '{"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"}',
        )
    code, said = refused(page("other.yaml", without), tmp_path / "other.log")
    assert code == 2
    assert "is JSON, and debezium-avro writes AVRO" in said
    (port,) = free_ports(1)
    monkeypatch.setenv("SCHEMA_REGISTRY_URL", f"http://127.0.0.1:{port}")
    code, said = refused(page("away.yaml", WRITING), tmp_path / "away.log")
    assert code == 1
    assert "is out of reach" in said and "Traceback" not in said
    monkeypatch.setenv("SCHEMA_REGISTRY_URL", f"http://127.0.0.1:{apicurio.port}/nothing")
    code, said = refused(page("wrong.yaml", WRITING), tmp_path / "wrong.log")
    assert code == 2
    assert "is no schema registry" in said
