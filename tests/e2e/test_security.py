"""The service, end to end, through every kind of login and encryption that a registry can declare."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.app import Pipeline
from sandbox import Sandbox
from tests.contracts.scenes import until
from tests.contracts.streams import running
from tests.e2e.stream import MODULES, account, orders
from tests.services.certificates import Authority
from tests.services.kafka import KafkaBroker
from tests.services.secure_kafka import (
    PASSWORD,
    PLAIN_PASSWORD,
    PLAIN_USER,
    SESSION_S,
    USER,
    secure_broker,
    unsecured_token,
)
from tests.services.token_endpoint import CLIENT, SECRET, TokenEndpoint, token_endpoint
from tests.services.topics import committed_offsets, create_topic, produce, read_topic

pytestmark = pytest.mark.services
Names = Callable[[str], str]
EVENTS = 1_000


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[KafkaBroker]:
    with secure_broker(tmp_path_factory.mktemp("secure-kafka"), authority) as running_broker:
        yield running_broker


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    box = Sandbox(workers=2, cache_dir=tmp_path_factory.mktemp("compiled"))
    yield box
    box.close()


@pytest.fixture
def endpoint() -> Iterator[TokenEndpoint]:
    with token_endpoint() as started:
        yield started


SCRAM = f"username: {USER}, password: {PASSWORD}"
WAYS = {
    "SASL PLAIN": ("SASL_PLAINTEXT", f"mechanism: PLAIN, username: {PLAIN_USER}, password: {PLAIN_PASSWORD}"),
    "SCRAM-SHA-256 over TLS": ("SCRAM256", f"protocol: SASL_SSL, mechanism: SCRAM-SHA-256, {SCRAM}, ca: {{ca}}"),
    "SCRAM-SHA-512": ("SASL_PLAINTEXT", f"mechanism: SCRAM-SHA-512, {SCRAM}"),
    "SCRAM-SHA-512 over TLS": ("SASL_SSL", f"protocol: SASL_SSL, mechanism: SCRAM-SHA-512, {SCRAM}, ca: {{ca}}"),
    "OAUTHBEARER from a file": ("OAUTH", "mechanism: OAUTHBEARER, token_file: token"),
    "OAUTHBEARER from an endpoint": (
        "OAUTH",
        "mechanism: OAUTHBEARER, token_endpoint: '{endpoint}', client_id: '{client}', client_secret_file: secret",
    ),
    "TLS": ("SSL", "protocol: SSL, ca: {ca}"),
    "mutual TLS": ("MUTUAL", "protocol: SSL, ca: {ca}, cert: {cert}, key: {cert}, key_password: sesame"),
}


@pytest.fixture
def write(
    broker: KafkaBroker, authority: Authority, endpoint: TokenEndpoint, tmp_path: Path
) -> Callable[[str, str, str], Path]:
    """Write a registry file for a listener, with these settings under `kafka.security`."""

    def to(name: str, listener: str, security: str) -> Path:
        if "protocol:" not in security:
            security = f"protocol: SASL_PLAINTEXT, {security}"
        client = authority.issue("client", password="sesame")
        security = security.format(ca=authority.file, cert=client, endpoint=endpoint.url, client=CLIENT)
        (tmp_path / "secret").write_text(SECRET)
        if not (tmp_path / "token").exists():
            (tmp_path / "token").write_text(unsecured_token("shop"))
        path = tmp_path / "registry.yaml"
        path.write_text(f"""
version: 1
kafka:
  {{brokers: "{broker.address(listener)}", group: {name}, control_topic: {name}.control, session_timeout: 6s, security: {{{security}}}}}
retry_limit: 20s
transformers:
  saboteur: {{module: {MODULES}/saboteur.wasm, quarantine: {{after: 1000 in 1m, action: pause}}}}
  enrich-order: {{module: {MODULES}/enrich_order.wasm, config: {{currency: EUR, drop_statuses: [draft]}}}}
routes:
  orders: {{from: {name}.in, through: [saboteur, enrich-order], to: {name}.out, dead_letter: {name}.dlq}}
""")
        return path

    return to


def create_topics(broker: KafkaBroker, name: str) -> None:
    for topic, settings in (("in", {}), ("out", {}), ("dlq", {"max.message.bytes": "2000000"})):
        create_topic(broker.bootstrap, f"{name}.{topic}", 2, settings)


async def committed(broker: KafkaBroker, name: str) -> int:
    found = await asyncio.to_thread(committed_offsets, broker.bootstrap, f"{name}-orders", f"{name}.in")
    return sum(found.values())


def faults(broker: KafkaBroker, name: str, count: int) -> list[str]:
    bootstrap = broker.bootstrap
    return account(read_topic(bootstrap, f"{name}.out"), read_topic(bootstrap, f"{name}.dlq")).faults(count)


@pytest.mark.parametrize("way", WAYS)
def test_the_service_runs_through_it(
    broker: KafkaBroker, sandbox: Sandbox, unique: Names, write: Callable[[str, str, str], Path], way: str
) -> None:
    name = unique("run")
    create_topics(broker, name)
    produce(broker.bootstrap, f"{name}.in", orders(EVENTS))
    registry = write(name, *WAYS[way])

    async def go() -> None:
        async with running(Pipeline(registry, sandbox=sandbox)) as task:

            async def done() -> bool:
                return task.done() or await committed(broker, name) >= EVENTS

            await until(done, "all is committed", 40)

    asyncio.run(go())
    assert faults(broker, name, EVENTS) == []


def test_tokens_and_sessions_that_end_do_not_end_the_service(
    broker: KafkaBroker,
    sandbox: Sandbox,
    unique: Names,
    write: Callable[[str, str, str], Path],
    endpoint: TokenEndpoint,
) -> None:
    """The broker ends each connection after a while, and a token lives for little longer than that."""
    name = unique("hasty")
    endpoint.life_s = 2 * SESSION_S
    create_topics(broker, name)
    registry = write(name, "HASTY", WAYS["OAUTHBEARER from an endpoint"][1])
    waves = 4
    events = list(orders(EVENTS))

    async def go() -> None:
        async with running(Pipeline(registry, sandbox=sandbox)) as task:
            for wave in range(waves):
                size = EVENTS // waves
                until_then = time.monotonic() + SESSION_S
                part = events[wave * size : (wave + 1) * size]
                await asyncio.to_thread(produce, broker.bootstrap, f"{name}.in", part)

                async def done(so_far: int = (wave + 1) * size, end: float = until_then) -> bool:
                    return task.done() or (await committed(broker, name) >= so_far and time.monotonic() > end)

                await until(done, "all of the wave is committed", 40)

    asyncio.run(go())
    assert faults(broker, name, EVENTS) == []
    assert len(endpoint.scopes) > 4


REFUSALS = {
    "wrong password": (
        "SASL_PLAINTEXT",
        "mechanism: PLAIN, username: plain-shop, password: nope",
        "password",
        "refused user",
    ),
    "unknown user": (
        "SASL_PLAINTEXT",
        "mechanism: SCRAM-SHA-512, username: who, password: x",
        "password",
        "refused user 'who'",
    ),
    "mechanism": ("SASL_PLAINTEXT", f"mechanism: SCRAM-SHA-256, {SCRAM}", "mechanism", "use SCRAM-SHA-512 or PLAIN"),
    "plaintext to TLS": ("SSL", "protocol: PLAINTEXT", "protocol", "this port wants TLS"),
    "TLS to plaintext": ("PLAINTEXT", "protocol: SSL, ca: {ca}", "protocol", "this port is not encrypted"),
    "wrong authority": ("SSL", "protocol: SSL", "ca", "not signed by an authority trusted here"),
    "no client certificate": ("MUTUAL", "protocol: SSL, ca: {ca}", "cert", "wants a client certificate"),
    "wrong client secret": (
        "OAUTH",
        "mechanism: OAUTHBEARER, token_endpoint: '{endpoint}', client_id: '{client}', client_secret: nope",
        "client_id",
        "(401, invalid_client)",
    ),
    "expired token": ("OAUTH", "mechanism: OAUTHBEARER, token_file: token", "token_file", "expired"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_the_command_says_what_and_where(
    unique: Names, write: Callable[[str, str, str], Path], tmp_path: Path, case: str
) -> None:
    """One line, exit code 2, no traceback, no secret. All other refusals are in tests/kafka/test_probe.py."""
    listener, security, key, says = REFUSALS[case]
    if case == "expired token":
        (tmp_path / "token").write_text(unsecured_token("shop", life_s=-60))
    registry = write(unique("refused"), listener, security)
    command = [sys.executable, "-m", "pipeline.cli", "run", str(registry)]
    ran = subprocess.run(
        command, capture_output=True, text=True, timeout=60, env=os.environ | {"COLUMNS": "200"}, check=False
    )
    assert ran.returncode == 2, ran.stderr
    (line,) = [line for line in ran.stderr.splitlines() if line.startswith("error: ")]
    assert f"kafka.security.{key}: " in line and says in line, line
    assert "Traceback" not in ran.stderr and "nope" not in ran.stderr


def test_an_endpoint_that_is_down_is_a_failure_and_no_mistake(
    unique: Names, write: Callable[[str, str, str], Path], endpoint: TokenEndpoint
) -> None:
    endpoint.status = 503
    registry = write(unique("down"), *WAYS["OAUTHBEARER from an endpoint"])
    command = [sys.executable, "-m", "pipeline.cli", "run", str(registry)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 1, ran.stderr
    assert f"the token endpoint {endpoint.url} answered 503" in ran.stderr.replace("\n", "")
