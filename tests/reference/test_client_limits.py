"""What docs/client-limits.md says of settings, and no other test asks for."""

from __future__ import annotations

import pytest

from pipeline import RegistryBuilder
from pipeline.kafka.client import consumer_options, kafka_faults, producer_options
from schemas.errors import ConfigError
from schemas.specs import KafkaSpec

OWNED = {
    "acks": 1,
    "auto_offset_reset": "latest",
    "enable_auto_commit": True,
    "enable_idempotence": False,
    "group_instance_id": "one",
    "isolation_level": "read_uncommitted",
    "transactional_id": "mine",
    "value_deserializer": "json",
    "key_deserializer": "json",
}


@pytest.mark.parametrize(("option", "value"), OWNED.items())
def test_what_delivery_depends_on_cannot_be_overridden(option: str, value: object) -> None:
    kafka = KafkaSpec(client={option: value})
    assert [fault.path for fault in kafka_faults(kafka)] == [f"kafka.client.{option}"]
    for options in (consumer_options, producer_options):
        with pytest.raises(ConfigError, match=option):
            options(kafka)
    registry = RegistryBuilder(kafka={"client": {option: value}})
    with pytest.raises(ConfigError, match=rf"kafka\.client\.{option}"):
        registry.build()
