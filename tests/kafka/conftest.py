"""The secure broker, shared by the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.services.certificates import Authority
from tests.services.kafka import KafkaBroker
from tests.services.secure_kafka import secure_broker


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def secure_kafka(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[KafkaBroker]:
    with secure_broker(tmp_path_factory.mktemp("secure-kafka"), authority) as broker:
        yield broker
