"""The check of topics at start: complete, once, and with what to do about it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from confluent_kafka.admin import AclOperation, ResourcePatternType, ResourceType

from pipeline.kafka.topic_rules import new_topic
from pipeline.kafka.topics import TopicReport, ensure_topics
from schemas.dead_letter import HEADROOM_BYTES
from schemas.errors import ConfigError, Fault
from schemas.specs import CreateTopics, Delivery, KafkaSpec, Registry, RouteSpec, Security
from tests.services.access import deny, reserve
from tests.services.kafka import KafkaBroker
from tests.services.secure_kafka import PASSWORD, USER
from tests.services.topics import committed_offsets, create_topic, produce, produce_full, read_topic

Names = Callable[[str], str]
DEFAULT_BYTES = 1_048_588
ROOMY = {"max.message.bytes": str(DEFAULT_BYTES + HEADROOM_BYTES)}
DAY_MS = 86_400_000


def registry(bootstrap: str, route: RouteSpec, control: str, **changes: Any) -> Registry:
    kafka = KafkaSpec(brokers=(bootstrap,), control_topic=control, request_timeout_ms=10_000)
    return replace(Registry(transformers={}, routes={route.name: route}, kafka=kafka), **changes)


def route(unique: Names, **changes: Any) -> RouteSpec:
    spec = RouteSpec("orders", (unique("in"),), (), unique("out"), unique("dead"), unique("group"))
    return replace(spec, **changes)


def create_all(bootstrap: str, spec: RouteSpec, **configs: dict[str, str]) -> None:
    for topic in spec.sources:
        create_topic(bootstrap, topic, 2, configs.get("source"))
    for topic in sorted(spec.destinations):
        create_topic(bootstrap, topic, 3, configs.get("to"))
    create_topic(bootstrap, spec.dead_letter, 1, configs.get("dead_letter", ROOMY))


def check(spec: Registry) -> TopicReport:
    return asyncio.run(ensure_topics(spec))


def faults(spec: Registry) -> tuple[Fault, ...]:
    with pytest.raises(ConfigError) as refused:
        check(spec)
    return refused.value.faults


@pytest.mark.services
def test_the_report_knows_partitions_and_sizes(kafka_broker: KafkaBroker, unique: Names) -> None:
    spec = route(unique, also_to=(unique("extra"),))
    create_all(kafka_broker.bootstrap, spec)
    control = unique("control")
    report = check(registry(kafka_broker.bootstrap, spec, control))
    assert report.partitions == {spec.sources[0]: 2, spec.to: 3, spec.also_to[0]: 3, spec.dead_letter: 1, control: 1}
    assert report.message_bytes_max[spec.to] == DEFAULT_BYTES
    assert report.message_bytes_max[spec.dead_letter] == DEFAULT_BYTES + HEADROOM_BYTES
    assert report.created == (control,)
    assert report.warnings == ()


@pytest.mark.services
def test_every_missing_topic_is_a_fault_of_its_own(kafka_broker: KafkaBroker, unique: Names) -> None:
    spec = route(unique, also_to=("no good",))
    found = {fault.path: str(fault) for fault in faults(registry(kafka_broker.bootstrap, spec, unique("control")))}
    assert found.keys() == {f"routes.orders.{key}" for key in ("from", "to", "also_to", "dead_letter")}
    assert f"topic {spec.sources[0]} does not exist (route orders reads it)" in found["routes.orders.from"]
    assert f"kafka-topics.sh --bootstrap-server {kafka_broker.bootstrap} --create" in found["routes.orders.to"]
    assert "or set create_topics" in found["routes.orders.to"]
    assert "(route orders writes its dead letters to it)" in found["routes.orders.dead_letter"]
    room = "--config max.message.bytes=1064972"  # of a source made as Kafka makes it, and the headers
    assert room in found["routes.orders.dead_letter"]
    assert room not in found["routes.orders.to"]
    assert "'no good' is not a topic name" in found["routes.orders.also_to"]


def test_the_suggested_topic_has_as_many_partitions_as_its_sources() -> None:
    orders = RouteSpec("orders", ("in", "more"), (), "out", "dead", "g", also_to=("side",))
    audit = RouteSpec("audit", (), (), "log", "dead", "g2", pattern="audit-.*")
    spec = Registry(transformers={}, routes={"orders": orders, "audit": audit})
    existing = {"in": 6, "more": 4, "audit-a": 9}
    suggested = {topic: new_topic(topic, spec, 1, {}, existing).partitions for topic in ("out", "side", "dead", "log")}
    assert suggested == {"out": 6, "side": 6, "dead": 9, "log": 9}
    assert new_topic("out", spec, 1, {}, {}).partitions == 1
    assert new_topic(spec.kafka.control_topic, spec, 1, {}, existing).partitions == 1
    declared = replace(spec, create_topics=CreateTopics(partitions=2))
    assert new_topic("out", declared, 1, {}, existing).partitions == 2


@pytest.mark.services
def test_missing_topics_are_created_when_declared(kafka_broker: KafkaBroker, unique: Names) -> None:
    spec, control = route(unique), unique("control")
    create_topic(kafka_broker.bootstrap, spec.sources[0], 2, {"max.message.bytes": "2000000"})
    declared = registry(kafka_broker.bootstrap, spec, control, create_topics=CreateTopics(partitions=5))
    first = check(declared)
    assert set(first.created) == {spec.to, spec.dead_letter, control}
    assert first.partitions == {spec.sources[0]: 2, spec.to: 5, spec.dead_letter: 5, control: 1}
    assert first.message_bytes_max[spec.dead_letter] == 2_000_000 + HEADROOM_BYTES
    assert first.warnings == ()
    again = check(declared)
    assert again.created == ()
    assert again.partitions == first.partitions


@pytest.mark.services
def test_a_creation_that_fails_says_what_the_broker_said(kafka_broker: KafkaBroker, unique: Names) -> None:
    spec, control = route(unique), unique("control")
    declared = registry(kafka_broker.bootstrap, spec, control, create_topics=CreateTopics(1, replication_factor=3))
    found = faults(declared)
    assert {fault.path for fault in found} == {
        "routes.orders.from", "routes.orders.to", "routes.orders.dead_letter", "kafka.control_topic"
    }  # fmt: skip
    assert all("could not be created (InvalidReplicationFactorError" in fault.problem for fault in found)


@pytest.mark.services
def test_a_dead_letter_topic_must_hold_the_largest_record_and_its_headers(
    kafka_broker: KafkaBroker, unique: Names
) -> None:
    spec = route(unique)
    create_all(kafka_broker.bootstrap, spec, dead_letter={"max.message.bytes": str(DEFAULT_BYTES)})
    control = unique("control")
    (fault,) = faults(registry(kafka_broker.bootstrap, spec, control))
    assert fault.path == "routes.orders.dead_letter"
    assert (
        f"--alter --topic {spec.dead_letter} --add-config max.message.bytes={DEFAULT_BYTES + HEADROOM_BYTES}"
        in fault.remedy
    )
    report = check(registry(kafka_broker.bootstrap, replace(spec, truncate_oversize=True), control))
    assert [spec.dead_letter in warning for warning in report.warnings] == [True]


@pytest.mark.services
def test_surprising_settings_are_warned_of(kafka_broker: KafkaBroker, unique: Names) -> None:
    spec, control = route(unique), unique("control")
    create_all(kafka_broker.bootstrap, spec, to={"message.timestamp.type": "LogAppendTime"})
    create_topic(kafka_broker.bootstrap, control, 1, {"cleanup.policy": "delete"})
    stamped, forgetful = check(registry(kafka_broker.bootstrap, spec, control)).warnings
    assert f"topic {spec.to} stamps records itself" in stamped
    assert f"control topic {control} has cleanup.policy=delete" in forgetful
    unstamped = check(registry(kafka_broker.bootstrap, replace(spec, preserve_timestamps=False), control)).warnings
    assert unstamped == (forgetful,)


@pytest.mark.services
def test_a_source_older_than_the_destinations_retention_is_warned_of(kafka_broker: KafkaBroker, unique: Names) -> None:
    spec, control = route(unique), unique("control")
    create_all(kafka_broker.bootstrap, spec, source={"retention.ms": "-1"}, to={"retention.ms": str(DAY_MS)})
    produce_full(kafka_broker.bootstrap, spec.sources[0], [{"value": b"old", "timestamp": 1_000, "partition": 1}])
    produce_full(
        kafka_broker.bootstrap, spec.sources[0], [{"value": b"new", "partition": partition} for partition in (0, 1)]
    )
    (warning,) = check(registry(kafka_broker.bootstrap, spec, control)).warnings
    assert (
        f"{spec.sources[0]} holds records older than {spec.to} keeps any (retention.ms={DAY_MS}, 1 partitions)"
        in warning
    )
    for harmless in ({"preserve_timestamps": False}, {"start": "latest"}):
        assert check(registry(kafka_broker.bootstrap, replace(spec, **harmless), control)).warnings == ()  # type: ignore[arg-type]


@pytest.mark.services
def test_a_pattern_takes_what_there_is_and_waits_for_the_rest(kafka_broker: KafkaBroker, unique: Names) -> None:
    prefix = unique("shop")
    spec = route(unique, sources=(), pattern=rf"{prefix}\.[a-z]+")
    create_all(kafka_broker.bootstrap, spec)
    control = unique("control")
    (warning,) = check(registry(kafka_broker.bootstrap, spec, control)).warnings
    assert "route orders: no topic matches" in warning
    create_topic(kafka_broker.bootstrap, f"{prefix}.orders", 2)
    create_topic(kafka_broker.bootstrap, f"{prefix}.UPPER", 2)
    report = check(registry(kafka_broker.bootstrap, spec, control))
    assert report.warnings == ()
    assert report.partitions == {f"{prefix}.orders": 2, spec.to: 3, spec.dead_letter: 1, control: 1}


def as_user(secure_kafka: KafkaBroker, spec: RouteSpec, control: str) -> Registry:
    wanted = registry(secure_kafka.address("SASL_PLAINTEXT"), spec, control)
    return replace(
        wanted, kafka=replace(wanted.kafka, security=Security("SASL_PLAINTEXT", "SCRAM-SHA-512", USER, PASSWORD))
    )


@pytest.mark.services
def test_what_may_not_even_be_seen_is_named(secure_kafka: KafkaBroker, unique: Names) -> None:
    spec, control = route(unique), unique("control")
    create_all(secure_kafka.bootstrap, spec)
    reserve(secure_kafka.bootstrap, ResourceType.TOPIC, spec.to, ResourcePatternType.LITERAL)
    reserve(secure_kafka.bootstrap, ResourceType.GROUP, spec.group, ResourcePatternType.LITERAL)
    ids = f"{spec.sources[0]}/"
    reserve(secure_kafka.bootstrap, ResourceType.TRANSACTIONAL_ID, ids, ResourcePatternType.PREFIXED)
    denied = as_user(secure_kafka, spec, control)
    to, group, transactional_id = faults(denied)
    assert f"no permission for topic {spec.to}" in to.problem
    assert f"--allow-principal User:{USER} --operation Describe --operation Write --topic {spec.to}" in to.remedy
    assert f"no permission for consumer group {spec.group}" in group.problem
    assert f"no permission for transactional id {ids}0/{spec.group}" in transactional_id.problem
    assert len(faults(replace(denied, delivery=Delivery.AT_LEAST_ONCE))) == 2


@pytest.mark.services
def test_what_may_be_seen_but_not_used_is_named(secure_kafka: KafkaBroker, unique: Names) -> None:
    spec, control = route(unique), unique("control")
    create_all(secure_kafka.bootstrap, spec)
    wanted = as_user(secure_kafka, spec, control)
    assert check(wanted).created == (control,)
    transactional_id = f"{spec.sources[0]}/0/{spec.group}"
    for kind, name, operation in (
        (ResourceType.TOPIC, spec.sources[0], AclOperation.READ),
        (ResourceType.TOPIC, spec.to, AclOperation.WRITE),
        (ResourceType.TOPIC, control, AclOperation.READ),
        (ResourceType.GROUP, spec.group, AclOperation.READ),
        (ResourceType.TRANSACTIONAL_ID, transactional_id, AclOperation.WRITE),
    ):
        deny(secure_kafka.bootstrap, USER, kind, name, operation)
    problems = {fault.problem for fault in faults(wanted)}
    assert problems == {
        f"no permission to read topic {spec.sources[0]} (route orders reads it)",
        f"no permission to read topic {control} (penstock keeps there which lanes are stopped)",
        f"no permission to write topic {control} (penstock keeps there which lanes are stopped)",
        f"no permission to write topic {spec.to} (route orders writes to it)",
        f"no permission for consumer group {spec.group} (route orders)",
        f"no permission for transactional id {transactional_id} (route orders, exactly-once)",
    }


@pytest.mark.services
def test_asking_for_permission_changes_nothing(kafka_broker: KafkaBroker, unique: Names) -> None:
    spec, control = route(unique), unique("control")
    create_all(kafka_broker.bootstrap, spec)
    produce(kafka_broker.bootstrap, spec.to, [(b"k", b"v")], partition=0)
    check(registry(kafka_broker.bootstrap, spec, control))
    assert [kept.offset for kept in read_topic(kafka_broker.bootstrap, spec.to, committed=False)] == [0]
    produce(kafka_broker.bootstrap, spec.to, [(b"k", b"v")], partition=0)
    assert [kept.offset for kept in read_topic(kafka_broker.bootstrap, spec.to, committed=False)] == [0, 1]
    assert committed_offsets(kafka_broker.bootstrap, spec.group, spec.sources[0]) == {}
    assert spec.to not in kafka_broker.log_tail(1_000)


def test_on_the_mock_broker_less_is_checked(mock_kafka: str, unique: Names) -> None:
    spec, control = route(unique), unique("control")
    declared = registry(mock_kafka, spec, control)
    assert {fault.path for fault in faults(declared)} == {
        f"routes.orders.{key}" for key in ("from", "to", "dead_letter")
    }
    report = check(replace(declared, create_topics=CreateTopics()))
    assert set(report.created) == {spec.sources[0], spec.to, spec.dead_letter}
    assert report.partitions.keys() == {spec.sources[0], spec.to, spec.dead_letter, control}
    assert report.message_bytes_max == {}
    assert report.warnings == ()
