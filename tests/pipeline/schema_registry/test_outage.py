"""A schema registry that goes away while events come whose schemas nobody has seen yet: nobody is blamed, and nothing is lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from pipeline.schema_registry.client import RegistryClient
from schemas.change import ChangeEvent, pack
from schemas.event import Event
from schemas.formats.named import make_format
from schemas.formats.schemas import SchemaKind
from schemas.specs import FormatSpec, SchemaRegistrySpec
from tests.e2e.test_run import service, wait_until
from tests.services.kafka import KafkaBroker
from tests.services.proxy import Network, Proxy
from tests.services.schema_registry import ApicurioRegistry
from tests.services.topics import create_topic, produce, read_topic

pytestmark = pytest.mark.services

REGISTRY = """
version: 1
kafka: {{brokers: "{brokers}", group: "{name}"}}
schema_registry: {{url: "{registry}", timeout: 200ms}}
transformers:
  mask: {{builtin: mask, config: {{rules: [{{columns: note, action: redact}}]}}}}
routes: {{r: {{from: "{name}.in", through: [mask], to: "{name}.out", format: debezium-avro}}}}
create_topics: {{}}
"""


def schema(name: str) -> str:
    row = {
        "type": "record",
        "name": "Row",
        "fields": [{"name": "id", "type": "long"}, {"name": "note", "type": "string"}],
    }
    fields = [
        {"name": "before", "type": ["null", row]},
        {"name": "after", "type": ["null", "Row"]},
        {"name": "source", "type": {"type": "record", "name": "S", "fields": [{"name": "table", "type": "string"}]}},
        {"name": "op", "type": "string"},
        {"name": "ts_ms", "type": ["null", "long"]},
    ]
    return json.dumps({"type": "record", "name": name, "fields": fields})


def test_events_wait_for_their_schema(
    kafka_broker: KafkaBroker, apicurio: ApicurioRegistry, unique: Callable[[str], str], tmp_path: Path
) -> None:
    name, bootstrap, log = unique("outage"), kafka_broker.bootstrap, tmp_path / "log"
    for end in ("in", "out"):
        create_topic(bootstrap, f"{name}.{end}")
    client = RegistryClient(SchemaRegistrySpec(apicurio.url))
    with closing(client), Proxy() as proxy:

        def value(number: int, record: str) -> bytes:
            client.register(f"{name}-{record}-value", SchemaKind.AVRO, schema(record))
            change = ChangeEvent("c", None, {"id": number, "note": "secret"}, {"table": "t"}, None, None)
            return make_format(FormatSpec("debezium-avro"), client).encode(
                pack(change), Event(0, 0, None, None, ()), f"{name}-{record}"
            )

        proxy.target = ("127.0.0.1", apicurio.port)
        url = apicurio.url.replace(str(apicurio.port), str(proxy.port))
        registry = tmp_path / "registry.yaml"
        registry.write_text(REGISTRY.format(brokers=bootstrap, name=name, registry=url))
        produce(bootstrap, f"{name}.in", [(b"1", value(1, "First"))])
        with service(registry, log=log) as process:
            wait_until(lambda: len(read_topic(bootstrap, f"{name}.out")) == 1, 60, process, log)
            proxy.set(Network.CUT)
            produce(
                bootstrap,
                f"{name}.in",
                [(b"2", value(2, "First")), (b"3", value(3, "Second")), (b"4", b"\0\x7f\xff\xff\xff")],
            )
            wait_until(lambda: "out of reach" in log.read_text(), 60, process, log)
            proxy.set(Network.PASS)
            wait_until(lambda: len(read_topic(bootstrap, f"{name}.out")) == 3, 60, process, log)
            letters = lambda: read_topic(bootstrap, f"{name}.out.dead-letter")  # noqa: E731
            wait_until(lambda: len(letters()) == 1, 60, process, log)
            process.terminate()
            assert process.wait(30) == 0, log.read_text()[-4000:]
        (letter,) = letters()
        assert letter.key == b"4"
        assert dict(letter.headers)["penstock.violation"] == b"decode"
        out = read_topic(bootstrap, f"{name}.out")
        assert [one.key for one in out] == [b"1", b"2", b"3"]
        assert not any(b"secret" in (one.value or b"") for one in out)
