"""Every way not to reach Kafka has a message of its own, and none shows a password."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace

import pytest
from aiokafka.abc import AbstractTokenProvider

from pipeline.kafka.probe import probe
from schemas.errors import ConfigError, TransportError
from schemas.specs import KafkaSpec, Security
from tests.services.certificates import Authority
from tests.services.kafka import KafkaBroker
from tests.services.secure_kafka import PASSWORD, PLAIN_PASSWORD, PLAIN_USER, USER, unsecured_token

PLAINTEXT = Security()
SCRAM = Security("SASL_PLAINTEXT", "SCRAM-SHA-512", USER, PASSWORD)
PLAIN = Security("SASL_PLAINTEXT", "PLAIN", PLAIN_USER, PLAIN_PASSWORD)
WRONG = "wrong-secret"


def spec(*brokers: str, security: Security = PLAINTEXT, **changes: object) -> KafkaSpec:
    return replace(KafkaSpec(brokers=brokers, security=security), **changes)  # type: ignore[arg-type]


def refusal(kafka: KafkaSpec) -> ConfigError | TransportError:
    with pytest.raises((ConfigError, TransportError)) as raised:
        asyncio.run(probe(kafka))
    error = raised.value
    for secret in (PASSWORD, PLAIN_PASSWORD, WRONG):
        assert secret not in f"{error!s} {error!r}"
    return error


@dataclass
class Case:
    listener: str
    security: Security
    path: str
    says: str
    trusted: bool = True
    host: str = "localhost"


REFUSALS = {
    "plaintext to TLS": Case("SSL", PLAINTEXT, "protocol", "this port wants TLS — use SSL"),
    "plaintext to SASL_SSL": Case("SASL_SSL", PLAINTEXT, "protocol", "this port wants TLS"),
    "SASL_PLAINTEXT to TLS": Case("SASL_SSL", SCRAM, "protocol", "this port wants TLS — use SASL_SSL"),
    "plaintext to mutual TLS": Case("MUTUAL", PLAINTEXT, "protocol", "this port wants TLS"),
    "TLS to plaintext": Case("PLAINTEXT", Security("SSL"), "protocol", "this port is not encrypted — use PLAINTEXT"),
    "SASL_SSL to SASL_PLAINTEXT": Case(
        "SASL_PLAINTEXT",
        replace(SCRAM, protocol="SASL_SSL"),
        "protocol",
        "this port is not encrypted — use SASL_PLAINTEXT",
    ),
    "unknown authority": Case("SSL", Security("SSL"), "ca", "not signed by an authority trusted here", trusted=False),
    "self-signed": Case("SELFSIGNED", Security("SSL"), "ca", "certificate is self-signed"),
    "expired": Case("EXPIRED", Security("SSL"), "ca", "certificate has expired"),
    "wrong host": Case("SSL", Security("SSL"), "brokers", "not for this IP address", host="127.0.0.1"),
    "no client certificate": Case("MUTUAL", Security("SSL"), "cert", "wants a client certificate"),
    "mechanism not enabled": Case(
        "SASL_PLAINTEXT", replace(SCRAM, mechanism="SCRAM-SHA-256"), "mechanism", "use SCRAM-SHA-512 or PLAIN"
    ),
    "mechanism of another port": Case(
        "SASL_SSL",
        replace(PLAIN, protocol="SASL_SSL"),
        "mechanism",
        "does not have mechanism PLAIN on this port — use SCRAM-SHA-512",
    ),
    "wrong SCRAM password": Case(
        "SASL_PLAINTEXT", replace(SCRAM, password=WRONG), "password", f"refused user '{USER}'"
    ),
    "wrong PLAIN password": Case(
        "SASL_PLAINTEXT", replace(PLAIN, password=WRONG), "password", f"refused user '{PLAIN_USER}'"
    ),
    "unknown user": Case(
        "SASL_SSL", replace(SCRAM, protocol="SASL_SSL", username="who"), "password", "refused user 'who'"
    ),
    "no login to SASL_PLAINTEXT": Case(
        "SASL_PLAINTEXT", PLAINTEXT, "protocol", "use SASL_PLAINTEXT with mechanism SCRAM-SHA-512 or PLAIN"
    ),
    "no login to SASL_SSL": Case("SASL_SSL", Security("SSL"), "protocol", "use SASL_SSL with mechanism SCRAM-SHA-512"),
    "login to plaintext": Case("PLAINTEXT", SCRAM, "protocol", "this port has no login (SASL) — use PLAINTEXT"),
    "login to TLS": Case(
        "SSL", replace(SCRAM, protocol="SASL_SSL"), "protocol", "this port has no login (SASL) — use SSL"
    ),
}


@pytest.mark.services
@pytest.mark.parametrize("case", REFUSALS.values(), ids=REFUSALS.keys())
def test_each_wrong_setting_has_its_own_message(secure_kafka: KafkaBroker, authority: Authority, case: Case) -> None:
    security = case.security
    if security.protocol.endswith("SSL") and case.trusted:
        security = replace(security, ca_file=authority.file)
    address = secure_kafka.address(case.listener, case.host)
    error = refusal(spec(address, security=security))
    assert isinstance(error, ConfigError)
    (fault,) = error.faults
    assert fault.path in (f"kafka.security.{case.path}", f"kafka.{case.path}")
    assert case.says in str(fault)
    assert address in fault.problem


@pytest.mark.services
def test_a_client_certificate_of_a_stranger_is_named(secure_kafka: KafkaBroker, authority: Authority) -> None:
    stranger = Authority(authority.folder, "stranger").issue("stranger-client")
    security = Security("SSL", ca_file=authority.file, cert_file=stranger)
    error = refusal(spec(secure_kafka.address("MUTUAL"), security=security))
    assert "refused the client certificate" in str(error)
    assert "kafka.security.cert: " in str(error)


@pytest.mark.services
def test_a_client_certificate_that_has_expired_is_named(secure_kafka: KafkaBroker, authority: Authority) -> None:
    old = authority.issue("old-client", age_days=30)
    error = refusal(
        spec(secure_kafka.address("MUTUAL"), security=Security("SSL", ca_file=authority.file, cert_file=old))
    )
    assert f"the client certificate {old} expired on " in str(error)
    assert "renew it" in str(error)
    assert "kafka.security.cert: " in str(error)


@pytest.mark.services
def test_right_settings_pass(secure_kafka: KafkaBroker, authority: Authority) -> None:
    tls = Security("SSL", ca_file=authority.file)
    client = authority.issue("client", password="sesame")
    working = {
        "PLAINTEXT": PLAINTEXT,
        "SSL": tls,
        "MUTUAL": replace(tls, cert_file=client, key_password="sesame"),
        "SASL_SSL": replace(SCRAM, protocol="SASL_SSL", ca_file=authority.file),
    }

    async def all_of_them() -> None:
        for listener, security in working.items():
            await probe(spec(secure_kafka.address(listener), security=security))
        for security in (SCRAM, PLAIN):
            await probe(spec(secure_kafka.address("SASL_PLAINTEXT"), security=security))
        anywhere = replace(tls, check_hostname=False)
        await probe(spec(secure_kafka.address("SSL", "127.0.0.1"), security=anywhere))

    asyncio.run(all_of_them())


@pytest.mark.services
def test_addresses_that_lead_nowhere_are_the_brokers_fault(secure_kafka: KafkaBroker) -> None:
    error = refusal(spec(secure_kafka.address("ELSEWHERE")))
    assert isinstance(error, TransportError)
    assert "nowhere.invalid:9092: the host name nowhere.invalid does not resolve" in str(error)
    assert "advertised.listeners" in str(error)


class Tokens(AbstractTokenProvider):
    """Hands out this token, or raises this error."""

    def __init__(self, token: str | Exception) -> None:
        self._token = token

    async def token(self) -> str:
        if isinstance(self._token, Exception):
            raise self._token
        return self._token


@pytest.mark.services
def test_tokens_come_from_the_programs_own_provider(secure_kafka: KafkaBroker) -> None:
    def with_token(token: str | Exception) -> KafkaSpec:
        security = Security("SASL_PLAINTEXT", "OAUTHBEARER")
        return spec(
            secure_kafka.address("OAUTH"), security=security, client={"sasl_oauth_token_provider": Tokens(token)}
        )

    asyncio.run(probe(with_token(unsecured_token("shop"))))
    assert "the token provider failed (LookupError)" in str(refusal(with_token(LookupError(WRONG))))
    assert "the broker refused the token (OAUTHBEARER)" in str(refusal(with_token(f"x.{WRONG}.y")))


def test_the_mock_broker_passes(mock_kafka: str) -> None:
    asyncio.run(probe(spec(mock_kafka)))


def test_one_working_broker_is_enough(mock_kafka: str) -> None:
    asyncio.run(probe(spec("localhost:1", "nowhere.invalid:9092", mock_kafka)))


def test_tls_to_the_mock_broker_is_refused(mock_kafka: str) -> None:
    error = refusal(spec(mock_kafka, security=Security("SSL"), request_timeout_ms=1_000))
    assert "this port is not encrypted" in str(error)


def test_every_broker_out_of_reach_is_named() -> None:
    error = refusal(spec("localhost:1", "nowhere.invalid:9092"))
    assert isinstance(error, TransportError)
    assert error.retriable
    assert "localhost:1: connection refused" in str(error)
    assert "nowhere.invalid:9092: the host name nowhere.invalid does not resolve" in str(error)


@pytest.fixture
def deaf() -> Iterator[int]:
    """A port that accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def full() -> Iterator[int]:
    """A port whose backlog is full: the next connection gets no answer at all."""
    with ExitStack() as stack, socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        port = server.getsockname()[1]
        for _ in range(3):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", port))
        yield port


def test_a_port_that_is_not_kafka_is_named(deaf: int) -> None:
    assert "does not answer as Kafka does" in str(refusal(spec(f"127.0.0.1:{deaf}", request_timeout_ms=200)))


def test_a_connect_timeout_says_how_long(full: int) -> None:
    assert "no answer within 0.2 s" in str(refusal(spec(f"127.0.0.1:{full}", request_timeout_ms=200)))


def test_bad_settings_are_refused_before_anything_is_sent() -> None:
    error = refusal(spec("localhost:1", security=Security("SASL_SSL", "PLAIN", "shop")))
    assert isinstance(error, ConfigError)
    assert error.faults[0].path == "kafka.security.password"
