"""The service runs under just the rules that `penstock acls` prints, and each of them is one that it cannot do without."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from pipeline.app import Pipeline, check_cluster
from pipeline.kafka.acls import Acl, needed_acls
from pipeline.ports import LaneState
from pipeline.registry import load_registry
from sandbox import Sandbox
from schemas.errors import ConfigError
from tests.contracts.scenes import until
from tests.contracts.streams import running
from tests.e2e.stream import MODULES, account, fate, orders
from tests.services.guarded_kafka import PASSWORD, allow, guarded_broker, rules_of, run_commands, user
from tests.services.kafka import KafkaBroker
from tests.services.topics import committed_offsets, create_topic, produce, read_topic

pytestmark = pytest.mark.services
EVENTS = 4_000
"""Enough for one misbehaving event of each kind."""

SHAPES = {
    "exactly-once": ("exactly-once", "{name}.in", "create_topics: {{partitions: 2}}"),
    "at-least-once": ("at-least-once", "{name}.in", ""),
    "pattern": ("exactly-once", "/{name}\\.i.*/", ""),
}
"""Delivery, source, and what else the registry says."""


def registry_text(broker: KafkaBroker, shape: str, name: str, who: str, on_violation: str = "dead-letter") -> str:
    delivery, source, extra = (text.format(name=name) for text in SHAPES[shape])
    address = broker.address("SASL_PLAINTEXT")
    return f"""
version: 1
kafka:
  brokers: "{address}"
  group: "{name}"
  control_topic: "{name}.control"
  session_timeout: 6s
  security: {{protocol: SASL_PLAINTEXT, mechanism: PLAIN, username: {who}, password: "{PASSWORD}"}}
delivery: {delivery}
{extra}
transformers:
  saboteur:
    module: {MODULES}/saboteur.wasm
    limits: {{profile: untrusted, deadline: 300ms}}
    on_violation: {on_violation}
    quarantine: {{after: 100000 in 1m, action: pause}}
  enrich-order: {{module: {MODULES}/enrich_order.wasm, config: {{currency: EUR, drop_statuses: [draft]}}}}
routes:
  orders: {{from: '{source}', through: [saboteur, enrich-order], to: {name}.out, also_to: [{name}.also], dead_letter: {name}.dlq}}
"""


def create_topics(broker: KafkaBroker, shape: str, name: str) -> None:
    """Those that the service would not make itself."""
    if shape != "exactly-once":
        create_topic(broker.bootstrap, f"{name}.in", 2)
        for topic in ("out", "also", "dlq"):
            create_topic(broker.bootstrap, f"{name}.{topic}", 2, {"max.message.bytes": "2000000"})


def penstock(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipeline.cli", *map(str, arguments)]
    environ = os.environ | {"COLUMNS": "200"}
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environ, check=False)


def printed(registry: Path, *options: str) -> list[Acl]:
    ran = penstock("acls", registry, "--json", *options)
    assert ran.returncode == 0, ran.stderr
    return msgspec.json.decode(ran.stdout, type=list[Acl])


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    with guarded_broker(tmp_path_factory.mktemp("guarded-kafka")) as broker:
        yield broker


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    box = Sandbox(workers=2, cache_dir=tmp_path_factory.mktemp("compiled"))
    yield box
    box.close()


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.mark.parametrize("shape", SHAPES)
def test_the_service_runs_under_just_these(guarded: KafkaBroker, sandbox: Sandbox, shape: str, tmp_path: Path) -> None:
    """Every outcome, a restart that goes on from the committed offsets, a stopped lane, its release, and its offsets reset."""
    name, who = f"runs-{shape}", user(list(SHAPES).index(shape))
    registry = write(tmp_path / "registry.yaml", registry_text(guarded, shape, name, who))
    stops = write(tmp_path / "stops.yaml", registry_text(guarded, shape, name, who, on_violation="stop"))
    create_topics(guarded, shape, name)
    commands = penstock("acls", registry)
    assert commands.returncode == 0, commands.stderr
    run_commands(commands.stdout.splitlines(), tmp_path)
    rules = printed(registry)
    assert rules_of(guarded.bootstrap, f"User:{who}") == {
        (rule.resource, rule.pattern, rule.name, rule.operation.lower()) for rule in rules
    }

    asyncio.run(check_cluster(load_registry(registry)))  # makes the topics that are to be made
    events = list(orders(EVENTS))
    produce(guarded.bootstrap, f"{name}.in", events[: EVENTS // 2])
    run_until(guarded, registry, sandbox, EVENTS // 2)
    produce(guarded.bootstrap, f"{name}.in", events[EVENTS // 2 :])
    asyncio.run(stop_a_lane(stops, sandbox))
    released = penstock("resume", registry, "orders", "--json")
    assert released.returncode == 0 and json.loads(released.stdout)["released"], released.stderr
    run_until(guarded, registry, sandbox, EVENTS)

    found = account(read_topic(guarded.bootstrap, f"{name}.out"), read_topic(guarded.bootstrap, f"{name}.dlq"))
    assert found.faults(EVENTS) == []
    assert {fate(n) for n in range(EVENTS)} == {"emitted", "dropped", *found.kinds} - {"rejected"} | {"reject"}
    assert sum(committed_offsets(guarded.bootstrap, f"{name}-orders", f"{name}.in").values()) >= EVENTS
    for action in (["show"], ["reset", "--to", "earliest", "--yes"]):
        ran = penstock("offsets", registry, "orders", *action)
        assert ran.returncode == 0, ran.stdout + ran.stderr
    assert set(committed_offsets(guarded.bootstrap, f"{name}-orders", f"{name}.in").values()) == {0}


def run_until(broker: KafkaBroker, registry: Path, sandbox: Sandbox, count: int) -> None:
    """The pipeline, until the group has committed so many events."""
    kafka = load_registry(registry).kafka

    async def go() -> None:
        async with running(Pipeline(registry, sandbox=sandbox)) as task:

            async def done() -> bool:
                found = await asyncio.to_thread(
                    committed_offsets, broker.bootstrap, f"{kafka.group}-orders", f"{kafka.group}.in"
                )
                return task.done() or sum(found.values()) >= count

            await until(done, f"{count} events are committed", 60)

    asyncio.run(go())


async def stop_a_lane(registry: Path, sandbox: Sandbox) -> None:
    pipeline = Pipeline(registry, sandbox=sandbox)
    async with running(pipeline):
        await until(lambda: any(lane.state is LaneState.STOPPED for lane in pipeline.status()), "a lane stops", 60)


def refusal(registry: Path) -> str:
    """What the service says instead of running."""
    try:
        report = asyncio.run(check_cluster(load_registry(registry)))
    except ConfigError as error:
        return "\n".join(str(fault) for fault in error.faults)
    return "\n".join(f"WARNING {warning}" for warning in report.warnings)


COUNTS = {"exactly-once": 13, "at-least-once": 8, "pattern": 9}
"""How many rules each shape has."""
LACKING = [(shape, index) for shape, count in COUNTS.items() for index in range(count)]


@pytest.mark.parametrize(("shape", "missing"), LACKING)
def test_without_any_one_of_them_it_says_which(guarded: KafkaBroker, shape: str, missing: int, tmp_path: Path) -> None:
    number = 10 + LACKING.index((shape, missing))
    name, who = f"lacks-{number}", user(number)
    registry = write(tmp_path / "registry.yaml", registry_text(guarded, shape, name, who))
    rules = needed_acls(load_registry(registry), [f"User:{who}"])
    assert len(rules) == COUNTS[shape], "a rule came or went: it needs a case here"
    create_topics(guarded, shape, name)
    lacking = rules.pop(missing)
    allow(guarded.bootstrap, rules)
    said = refusal(registry)
    assert "no permission" in said or (lacking.pattern == "prefixed" and lacking.resource == "topic")
    assert lacking.name in said and lacking.operation in said, said
    for rule in rules:
        assert f"--operation {rule.operation} --{rule.resource} {rule.name}" not in said, "a permission it has"


def test_checks_are_made_when_they_are_allowed(guarded: KafkaBroker, tmp_path: Path) -> None:
    name, who = "checks", user(9)
    registry = write(tmp_path / "registry.yaml", registry_text(guarded, "at-least-once", name, who))
    create_topics(guarded, "at-least-once", name)
    allow(guarded.bootstrap, printed(registry))
    assert refusal(registry).count("allow DescribeConfigs on it") == 5
    allow(guarded.bootstrap, printed(registry, "--checks"))
    assert refusal(registry) == ""
