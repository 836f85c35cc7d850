"""Traps of single records, and of settings: rows G, J, R, U, V and Z."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, codec
from aiokafka.producer import sender

from pipeline import RegistryBuilder
from pipeline.kafka.client import PRODUCE_BYTES_MAX, consumer_options, kafka_faults, producer_options
from schemas.errors import ConfigError, OversizeError
from schemas.event import TopicPartition
from schemas.specs import KafkaSpec
from tests.client_limits.plain import TOO_LARGE, producer
from tests.client_limits.trap import Trap
from tests.contracts.clusters import EmbeddedCluster, values
from tests.contracts.scenes import event, opened, outgoing, route, scenario, transport

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


def default(client: Callable[..., Any], option: str) -> object:
    return inspect.signature(client).parameters[option].default


@pytest.mark.parametrize(
    ("client", "option", "value"),
    [
        (AIOKafkaConsumer, "enable_auto_commit", True),
        (AIOKafkaConsumer, "isolation_level", "read_uncommitted"),
        (AIOKafkaConsumer, "auto_offset_reset", "latest"),
        (AIOKafkaProducer, "enable_idempotence", False),
    ],
)
def test_defaults_lose_data(client: Callable[..., Any], option: str, value: object) -> None:
    trap = Trap("G", f"setting {option}")
    trap.holds(default(client, option) == value)
    ours = (consumer_options if client is AIOKafkaConsumer else producer_options)(KafkaSpec())
    assert ours[option] != value


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


@scenario
async def test_a_record_of_nothing_goes_by_batch_only(embedded_cluster: EmbeddedCluster) -> None:
    trap = Trap("J", "building batches for that reason (KafkaSink._lay_out)")
    topic = await embedded_cluster.topic("out")
    async with producer(embedded_cluster.bootstrap) as client:
        with trap.raises(AssertionError, match="Need at least one"):
            await client.send(topic, None, key=None)
        batch = client.create_batch()
        assert batch.append(timestamp=None, key=None, value=None) is not None
        await (await client.send_batch(batch, topic, partition=0))
    assert values(await embedded_cluster.read(topic)) == [None]

    made = transport(embedded_cluster, route([topic], topic))
    async with opened(made, TopicPartition(topic, 0), made.source("orders")) as sink:
        await sink.write(outgoing(topic, [event(None, key=None)], 1))
        await sink.commit(1)
    assert values(await embedded_cluster.read(topic)) == [None, None]


def test_batches_are_small_and_lz4_is_slow() -> None:
    Trap("R", "the larger batch (PRODUCE_BYTES_MAX)").holds(default(AIOKafkaProducer, "max_batch_size") == 16_384)
    assert producer_options(KafkaSpec())["max_batch_size"] == PRODUCE_BYTES_MAX
    trap = Trap("Z", "compress_fast (pipeline/kafka/compression.py, docs/adr/0008)")
    trap.holds(not [name for name in inspect.signature(AIOKafkaProducer).parameters if "level" in name])
    parameters = inspect.signature(codec.lz4_encode).parameters
    trap.holds("level" in parameters and parameters["level"].default in (9, 1))  # 1: this process made it so


_SOONER = """
from aiokafka.producer import sender
from pipeline.kafka.transactions import begin_soon
print(sender.BACKOFF_OVERRIDE, begin_soon(), sender.BACKOFF_OVERRIDE)
"""


def test_a_transaction_after_another_waits_twenty_milliseconds() -> None:
    """The constant is looked up at every such answer, so that setting it is enough; tried in a process of its own."""
    trap = Trap("AC", "begin_soon (pipeline/kafka/transactions.py)")
    trap.holds("BACKOFF_OVERRIDE" in sender.AddPartitionsToTxnHandler.handle_response.__code__.co_names)
    said = subprocess.run([sys.executable, "-c", _SOONER], check=True, capture_output=True, text=True, timeout=60)
    before, done, after = said.stdout.split()
    trap.holds(before == "0.02", f"it is {before} s")
    assert (done, after) == ("True", "0.01")


@scenario
async def test_a_batch_takes_its_first_record_however_large(embedded_cluster: EmbeddedCluster) -> None:
    trap = Trap("U", "checking each record's size before it is sent (KafkaSink._lay_out)")
    topic = await embedded_cluster.topic("out")
    async with producer(embedded_cluster.bootstrap, max_request_size=1_000, max_batch_size=1_000) as client:
        batch = client.create_batch()
        trap.holds(batch.append(timestamp=None, key=None, value=TOO_LARGE) is not None)
        await (await client.send_batch(batch, topic, partition=0))
    trap.holds(values(await embedded_cluster.read(topic)) == [TOO_LARGE])

    ours = await embedded_cluster.topic("out")
    made = transport(embedded_cluster, route([topic], ours), sizes={ours: 1_000})
    async with opened(made, TopicPartition(topic, 0), made.source("orders")) as sink:
        with pytest.raises(OversizeError):
            await sink.write(outgoing(ours, [event(TOO_LARGE)]))
    assert await embedded_cluster.read(ours) == []


@scenario
async def test_batches_want_whole_milliseconds_and_a_list_of_headers(embedded_cluster: EmbeddedCluster) -> None:
    trap = Trap("V", "converting timestamps and headers (KafkaSink._lay_out)")
    async with producer(embedded_cluster.bootstrap) as client:
        stamped = client.create_batch().append(timestamp=1_700_000_000.5, key=None, value=b"v")
        trap.holds(stamped.timestamp == 1_700_000_000, "seconds become milliseconds, as the docstring says")
        with trap.raises(TypeError, AssertionError):
            client.create_batch().append(timestamp=None, key=None, value=b"v", headers=(("a", b"b"),))

    topic = await embedded_cluster.topic("out")
    made = transport(embedded_cluster, route([topic], topic))
    async with opened(made, TopicPartition(topic, 0), made.source("orders")) as sink:
        await sink.write(outgoing(topic, [event(b"v", headers=(("a", b"b"),))]))
        await sink.commit(1)
    ((_, found),) = await embedded_cluster.read(topic)
    assert found.headers == (("a", b"b"),)
