"""Options: what delivery depends on is set, the rest passes through, and every fault is named without a secret."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.abc import AbstractTokenProvider
from aiokafka.admin import AIOKafkaAdminClient

from pipeline.kafka.client import admin_options, consumer_options, kafka_faults, open_admin, producer_options
from schemas.errors import ConfigError, TransportError
from schemas.specs import KafkaSpec, Security


class Tokens(AbstractTokenProvider):
    async def token(self) -> str:
        return "t"


SECURE = Security("SASL_SSL", "SCRAM-SHA-512", "shop", "hush-hush")
SPECS = [
    KafkaSpec(),
    KafkaSpec(security=SECURE, client={"metadata_max_age_ms": 5_000}),
    KafkaSpec(security=Security("SASL_PLAINTEXT", "OAUTHBEARER"), client={"sasl_oauth_token_provider": Tokens()}),
]


@pytest.mark.parametrize("spec", SPECS)
def test_aiokafka_takes_the_options(spec: KafkaSpec) -> None:
    async def construct() -> None:
        await AIOKafkaConsumer(**consumer_options(spec), group_id="g").stop()
        await AIOKafkaProducer(**producer_options(spec), transactional_id="t").stop()
        await AIOKafkaAdminClient(**admin_options(spec)).close()

    asyncio.run(construct())


def test_no_dangerous_default_of_aiokafka_survives() -> None:
    consumer, producer = consumer_options(KafkaSpec()), producer_options(KafkaSpec())
    assert consumer["enable_auto_commit"] is False
    assert consumer["auto_offset_reset"] == "none"
    assert consumer["isolation_level"] == "read_committed"
    assert consumer["rebalance_timeout_ms"] == 30_000
    assert producer["acks"] == "all"
    assert producer["enable_idempotence"] is True
    assert producer["compression_type"] == "lz4"
    assert max(producer["max_batch_size"], producer["max_request_size"]) < 1_048_588


def test_further_options_reach_the_clients_that_know_them() -> None:
    spec = KafkaSpec(client={"linger_ms": 7, "fetch_max_bytes": 9, "client_id": "mine", "max_batch_size": 5})
    assert producer_options(spec)["linger_ms"] == 7
    assert producer_options(spec)["max_batch_size"] == 5
    assert "linger_ms" not in consumer_options(spec)
    assert consumer_options(spec)["fetch_max_bytes"] == 9
    assert admin_options(spec).keys() & {"linger_ms", "fetch_max_bytes", "client_id"} == {"client_id"}
    assert admin_options(spec)["client_id"] == "mine"


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("linger_msec", 5, "did you mean linger_ms?"),
        ("zzz", "hush-hush", "aiokafka has no such option"),
        ("loop", None, "aiokafka has no such option"),
        ("sasl_plain_password", "hush-hush", "set kafka.security.password"),
        ("enable_auto_commit", True, "may not be changed"),
        ("transactional_id", "x", "may not be changed"),
        ("linger_ms", "5ms", "expected a whole number, got str"),
        ("linger_ms", True, "expected a whole number, got bool"),
        ("check_crcs", 1, "expected true or false, got int"),
        ("sasl_oauth_token_provider", "hush-hush", "AbstractTokenProvider from code"),
    ],
)
@pytest.mark.parametrize("options", [consumer_options, producer_options, admin_options])
def test_a_bad_option_is_refused_everywhere(
    options: Callable[[KafkaSpec], object], name: str, value: object, says: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        options(KafkaSpec(client={name: value}))
    (fault,) = refused.value.faults
    assert fault.path == f"kafka.client.{name}"
    assert says in str(fault)
    assert "hush" not in str(fault)


@pytest.mark.parametrize(
    ("security", "path", "says"),
    [
        (Security("SASL"), "protocol", "use one of PLAINTEXT, SSL"),
        (Security("SASL_SSL"), "mechanism", "needs a mechanism"),
        (Security("SASL_SSL", "SCRAM"), "mechanism", "unknown mechanism 'SCRAM'"),
        (Security("SASL_SSL", "PLAIN", "shop"), "password", "needs a password"),
        (Security("SASL_SSL", "PLAIN", password="hush-hush"), "username", "needs a username"),
        (Security("SASL_SSL", "OAUTHBEARER"), "mechanism", "needs tokens"),
        (Security("SSL", "PLAIN", "shop", "hush-hush"), "protocol", "use SASL_SSL"),
        (Security(ca_file=Path("ca.pem")), "protocol", "use SSL"),
        (Security("SSL", ca_file=Path("/nowhere/ca.pem")), "ca", "there is no file /nowhere/ca.pem"),
        (Security("SSL", ca_file=Path(__file__)), "ca", "cannot be used"),
        (Security("SSL", cert_file=Path("/nowhere/c.pem")), "cert", "there is no file /nowhere/c.pem"),
        (Security("SSL", key_file=Path("/nowhere/k.pem")), "key", "set kafka.security.cert"),
    ],
)
def test_security_faults_are_found_before_any_broker_is_asked(security: Security, path: str, says: str) -> None:
    (fault,) = kafka_faults(KafkaSpec(security=security))
    assert fault.path == f"kafka.security.{path}"
    assert says in str(fault)
    assert "hush" not in str(fault)


def test_every_fault_is_reported_at_once() -> None:
    spec = KafkaSpec(brokers=("localhost:x", ":9092", "ok:1", "ok"), security=Security("X"), client={"nope": 1})
    assert [fault.path for fault in kafka_faults(spec)] == ["kafka.brokers"] * 2 + [
        "kafka.security.protocol",
        "kafka.client.nope",
    ]


def test_admin_opens_on_a_broker_and_fails_as_transport(mock_kafka: str) -> None:
    async def open_both() -> None:
        admin = await open_admin(KafkaSpec(brokers=(mock_kafka,)))
        assert await admin.describe_cluster()
        await admin.close()
        with pytest.raises(TransportError):
            await open_admin(KafkaSpec(brokers=("localhost:1",)))

    asyncio.run(open_both())
