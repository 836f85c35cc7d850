"""`penstock produce` on real Kafka: what it writes, and what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from itertools import chain, islice
from pathlib import Path

import pytest
from confluent_kafka import KafkaException

from pipeline.demo.anything import AnyTable
from pipeline.demo.envelope import Envelope
from schemas.event import Event
from schemas.formats.debezium import decode
from schemas.formats.named import make_format
from schemas.specs import FormatSpec
from schemas.transactions import membership
from tests.e2e.test_run import service, wait_until
from tests.services.kafka import KafkaBroker
from tests.services.topics import create_topic, read_topic

pytestmark = pytest.mark.services

MODULE = Path(__file__).parents[2] / "transformers" / "modules" / "passthrough.wasm"
COMMAND = [sys.executable, "-m", "pipeline.cli", "produce"]


@pytest.fixture
def registry(kafka_broker: KafkaBroker, unique: Callable[[str], str], tmp_path: Path) -> Path:
    """Routes over two topics of one test, over the shop's orders, and over a pattern."""
    name = unique("produce")
    file = tmp_path / "registry.yaml"
    file.write_text(f"""
version: 1
kafka: {{brokers: "{kafka_broker.bootstrap}", group: "{name}"}}
transformers: {{copy: {{module: {MODULE}}}}}
routes:
  two: {{from: [{name}.one, {name}.two], through: copy, to: {name}.out}}
  shop: {{from: shop.public.orders, through: copy, to: {name}.shop}}
  rows: {{from: [{name}.rows], through: copy, to: {name}.out, format: debezium-json}}
  some: {{from: '/{name.replace(".", "[.]")}[.]x.*/', through: copy, to: {name}.some}}
""")
    return file


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def sources(registry: Path) -> list[str]:
    group = registry.read_text().split('group: "')[1].split('"')[0]
    return [f"{group}.one", f"{group}.two"]


def test_made_up_tables_for_each_source_in_turns(kafka_broker: KafkaBroker, registry: Path) -> None:
    for topic in sources(registry):
        create_topic(kafka_broker.bootstrap, topic, 3)
    done = run(registry, "two", "--count", 2001, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["written"] == 2001
    first, second = (read_topic(kafka_broker.bootstrap, topic) for topic in sources(registry))
    assert len(first) + len(second) == 2001 and min(len(first), len(second)) > 900
    changes = [decode(one.value).change for one in first if one.value is not None]
    assert {change.op for change in changes} == {"c", "u", "d"}
    assert {change.source["table"] for change in changes} == {"one"}


def test_each_key_tells_the_story_of_a_row() -> None:
    live: dict[bytes, dict[str, object]] = {}
    gone: set[bytes] = set()
    for change in islice(chain.from_iterable(AnyTable("t", Envelope(1))), 5_000):
        if change.value is None:
            assert change.key in gone
            continue
        found = decode(change.value).change
        assert found.before == live.pop(change.key, None)
        assert change.key not in gone
        if found.after is None:
            gone.add(change.key)
        else:
            live[change.key] = found.after
    assert len(live) > 1_000
    assert len(gone) > 100


def test_the_same_seed_is_the_same_stream() -> None:
    first, again, other = (list(islice(AnyTable("t", Envelope(1), seed=seed), 100)) for seed in (3, 3, 4))
    assert first == again != other


def test_the_shop(kafka_broker: KafkaBroker, registry: Path) -> None:
    with suppress(KafkaException):  # the broker is shared, and this name is the shop's own
        create_topic(kafka_broker.bootstrap, "shop.public.orders", 1)
    done = run(registry, "shop", "--shop", "--count", 50, "--rate", 500)
    assert (done.returncode, done.stderr) == (0, "")
    assert "50 records written" in done.stdout
    records = read_topic(kafka_broker.bootstrap, "shop.public.orders")
    assert {decode(one.value).change.source["table"] for one in records if one.value is not None} == {"orders"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["twoo"], "there is no route 'twoo' — did you mean 'two'?"),
        (["two"], "there is no topic"),
        (["two", "--shop"], "reads none of the shop's topics"),
        (["two", "--topic", "x"], "names its topics itself"),
        (["some"], "reads a pattern — say which topic to write to: --topic NAME"),
        (["some", "--topic", "y"], "does not read 'y'"),
    ],
    ids=["route", "topic", "shop", "named", "pattern", "foreign"],
)
def test_what_cannot_be_done_is_said(registry: Path, arguments: list[str], said: str) -> None:
    done = run(registry, *arguments)
    assert done.returncode == 2, done.stdout
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_an_atomic_route_is_given_whole_transactions(
    kafka_broker: KafkaBroker, unique: Callable[[str], str], tmp_path: Path
) -> None:
    name, registry = unique("atomic"), tmp_path / "registry.yaml"
    registry.write_text(f"""
version: 1
kafka: {{brokers: "{kafka_broker.bootstrap}", group: "{name}"}}
create_topics: {{partitions: 1, replication_factor: 1}}
transformers: {{copy: {{module: {MODULE}}}}}
routes:
  whole: {{from: [{name}.s.one, {name}.s.two, {name}.transaction], through: copy, to: {name}.whole, atomic: source-transaction}}
""")
    for topic in ("s.one", "s.two", "transaction", "whole"):
        create_topic(kafka_broker.bootstrap, f"{name}.{topic}", 2 if topic == "s.one" else 1)
    done = run(registry, "whole", "--count", 500)
    assert done.returncode == 0, done.stderr
    with service(registry, log=tmp_path / "log") as process:
        out = lambda: read_topic(kafka_broker.bootstrap, f"{name}.whole")  # noqa: E731
        wait_until(lambda: len(out()) == 500, 60, process, tmp_path / "log")
    assert read_topic(kafka_broker.bootstrap, f"{name}.whole.dead-letter") == []
    ids = {membership(one.value).key for one in out() if one.value is not None}  # type: ignore[union-attr]
    ends = read_topic(kafka_broker.bootstrap, f"{name}.transaction")
    assert len(ends) == len(ids) > 100


@pytest.mark.parametrize("name", ["flattened-json", "maxwell", "canal", "json", "msgpack", "raw"])
def test_a_route_is_given_what_it_reads(
    kafka_broker: KafkaBroker, unique: Callable[[str], str], registry: Path, name: str
) -> None:
    registry.write_text(
        registry.read_text().replace("format: debezium-json", f"format: {name}").replace(".rows]", f".{name}]")
    )
    topic = registry.read_text().split("rows: {from: [")[1].split("]")[0]
    create_topic(kafka_broker.bootstrap, topic, 1)
    done = run(registry, "rows", "--count", 200)
    assert done.returncode == 0, done.stderr
    found = read_topic(kafka_broker.bootstrap, topic)
    assert len(found) == 200
    written = make_format(FormatSpec("debezium-json" if name == "raw" else name))
    values = [written.decode(Event(0, 0, one.key, one.value, ()), topic) for one in found if one.value is not None]
    assert len(values) > 150 and all(value.packed for value in values)


def test_formats_with_a_schema_registry_are_refused(registry: Path) -> None:
    text = registry.read_text().replace("format: debezium-json", "format: debezium-avro")
    registry.write_text(text.replace("transformers:", 'schema_registry: {url: "http://localhost:1"}\ntransformers:'))
    done = run(registry, "rows")
    assert done.returncode == 2
    assert "reads debezium-avro, whose schemas belong to the tables — produce to a route with format:" in done.stderr
