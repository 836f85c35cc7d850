"""Session-wide fixtures: a real PostgreSQL, a real broker for the tests marked `services`, a mock broker for those without Java."""

from __future__ import annotations

import itertools
import os
import re
import signal
from collections.abc import Callable, Iterator

import pytest
from confluent_kafka import Producer

from tests.services import kafka, postgres, schema_registry

# Whoever runs the tests in the background has SIGINT ignored, and the programs that tests start and interrupt would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

_NEEDS_KAFKA = "needs real Kafka"
_MISSING = pytest.StashKey[str | None]()


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("services") is None:
        return
    missing = _missing(item.config)
    if missing is None:
        return
    if os.environ.get("PENSTOCK_REQUIRE_SERVICES") == "1":
        pytest.fail(f"PENSTOCK_REQUIRE_SERVICES=1, but {missing}: install Java 17+ and Maven", pytrace=False)
    pytest.skip(f"{_NEEDS_KAFKA}, and {missing}")


def _missing(config: pytest.Config) -> str | None:
    if _MISSING not in config.stash:
        config.stash[_MISSING] = kafka.missing_tools()
    return config.stash[_MISSING]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    reports = terminalreporter.stats.get("skipped", [])
    if skipped := sum(_NEEDS_KAFKA in str(report.longrepr) for report in reports):
        line = f"{skipped} tests need real Kafka and were skipped: install Java 17+ and Maven ({_missing(config)})"
        terminalreporter.write_sep("!", line, yellow=True, bold=True)


@pytest.fixture(scope="session")
def kafka_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[kafka.KafkaBroker]:
    """The session's broker. Shared: tests use names of their own (`unique`) and never stop it; see `start_broker`."""
    with kafka.KafkaBroker(tmp_path_factory.mktemp("kafka")) as broker:
        yield broker


@pytest.fixture(scope="session")
def start_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., kafka.KafkaBroker]]:
    """Start one more broker (arguments as `KafkaBroker`'s) that a test may kill; all end with the session."""
    brokers: list[kafka.KafkaBroker] = []

    def start(**options: object) -> kafka.KafkaBroker:
        broker = kafka.KafkaBroker(tmp_path_factory.mktemp("kafka-extra"), **options)  # type: ignore[arg-type]
        brokers.append(broker)
        broker.start()
        return broker

    yield start
    for broker in brokers:
        broker.close()


@pytest.fixture(scope="session")
def apicurio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[schema_registry.ApicurioRegistry]:
    """The session's schema registry. Shared: tests use subjects of their own (`unique`) and never stop it. Tests are marked `services`."""
    with schema_registry.ApicurioRegistry(tmp_path_factory.mktemp("registry")) as registry:
        yield registry


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.Postgres]:
    """The session's PostgreSQL. Shared: tests make databases of their own and never stop it."""
    if lacking := postgres.missing():
        if os.environ.get("PENSTOCK_REQUIRE_SERVICES") == "1":
            pytest.fail(f"PENSTOCK_REQUIRE_SERVICES=1, but {lacking}: install postgresql", pytrace=False)
        pytest.skip(f"needs real PostgreSQL, and {lacking}: install postgresql")
    with postgres.Postgres() as server:
        yield server


@pytest.fixture(scope="session")
def mock_kafka() -> Iterator[str]:
    """`host:port` of librdkafka's mock broker: no Java, no real transactions."""
    producer = Producer({"test.mock.num.brokers": 1})
    (broker,) = producer.list_topics(timeout=10).brokers.values()
    yield f"{broker.host}:{broker.port}"
    del producer


_NUMBERS = itertools.count(1)


@pytest.fixture
def unique(request: pytest.FixtureRequest) -> Callable[[str], str]:
    """`unique("orders")` is a topic, group or transactional-id name that no other test has."""
    test = re.sub(r"[^A-Za-z0-9]+", "-", request.node.name)[:60].strip("-")

    def name(base: str) -> str:
        return f"{base}.{test}.{next(_NUMBERS)}"

    return name
