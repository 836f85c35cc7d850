"""The clusters as fixtures. A scenario asks for the widest set that can keep its promise."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.embedded import EmbeddedBroker
from sandbox import Sandbox
from tests.contracts.clusters import Cluster, EmbeddedCluster, KafkaCluster, MemoryCluster
from tests.services.kafka import KafkaBroker

_REAL = pytest.param("kafka", marks=pytest.mark.services)


@pytest.fixture(scope="session")
def embedded_cluster() -> Iterator[EmbeddedCluster]:
    with EmbeddedBroker() as broker:
        yield EmbeddedCluster(broker)


@pytest.fixture(scope="session")
def kafka_cluster(kafka_broker: KafkaBroker) -> KafkaCluster:
    return KafkaCluster(kafka_broker)


def _cluster(request: pytest.FixtureRequest) -> Cluster:
    if request.param == "memory":
        return MemoryCluster()
    found: Cluster = request.getfixturevalue(f"{request.param}_cluster")
    return found


@pytest.fixture(params=["memory", "embedded", _REAL])
def cluster(request: pytest.FixtureRequest) -> Cluster:
    """Every transport there is."""
    return _cluster(request)


@pytest.fixture(params=["memory", _REAL])
def honest_cluster(request: pytest.FixtureRequest) -> Cluster:
    """Those with real transactions, fencing, timestamps, retention and groups of several members."""
    return _cluster(request)


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """One for all pipelines of the suite: modules are compiled once."""
    folder: Path = tmp_path_factory.mktemp("compiled")
    box = Sandbox(workers=4, cache_dir=folder)
    yield box
    box.close()
