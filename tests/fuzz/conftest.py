"""A broker that takes records of more than ten megabytes, shared by the doors that need one."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from sandbox import Sandbox
from tests.contracts.clusters import KafkaCluster
from tests.services.kafka import KafkaBroker


@pytest.fixture(scope="session")
def big_cluster(start_broker: Callable[..., KafkaBroker]) -> KafkaCluster:
    return KafkaCluster(start_broker(properties={"message.max.bytes": "20000000"}, heap="768m"))


@pytest.fixture(scope="session")
def plain_cluster(kafka_broker: KafkaBroker) -> KafkaCluster:
    return KafkaCluster(kafka_broker)


@pytest.fixture(scope="session")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """One sandbox for all pipelines."""
    with Sandbox(cache_dir=tmp_path_factory.mktemp("compiled")) as sandbox:
        yield sandbox
        assert sandbox.stats().active_instances == 0
