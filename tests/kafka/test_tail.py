"""`penstock tail` on real Kafka: which records it shows, and how."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
from aiokafka import AIOKafkaProducer
from confluent_kafka import Producer

from tests.services.kafka import KafkaBroker
from tests.services.topics import create_topic, produce_full

pytestmark = pytest.mark.services

COMMAND = [sys.executable, "-m", "pipeline.cli", "tail"]
WIDE = {**os.environ, "COLUMNS": "200"}


def tail(bootstrap: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, *options, "--brokers", bootstrap]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=WIDE, check=False)


def change(number: int, status: str = "new") -> bytes:
    row = {"id": number, "status": status, "amount": 1.10}
    envelope = {"op": "u", "before": {**row, "status": "draft"}, "after": row, "source": {"table": "orders"}}
    return json.dumps(envelope).encode()


@pytest.fixture
def topic(kafka_broker: KafkaBroker, unique: Callable[[str], str]) -> str:
    """Two partitions with twenty changes each; behind those of partition 0 an aborted one."""
    name = create_topic(kafka_broker.bootstrap, unique("tail"), 2)
    for partition in (0, 1):
        records = [{"key": b"%d" % number, "value": change(number)} for number in range(20)]
        produce_full(kafka_broker.bootstrap, name, records, partition)
    producer = Producer({"bootstrap.servers": kafka_broker.bootstrap, "transactional.id": name})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(name, value=b"never happened", partition=0)
    producer.flush(30)
    producer.abort_transaction(30)
    return name


def lines(said: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in said.splitlines()]


def test_the_last_of_each_partition(kafka_broker: KafkaBroker, topic: str) -> None:
    done = tail(kafka_broker.bootstrap, topic, "-n", "5", "--json")
    assert done.returncode == 0, done.stderr
    found = lines(done.stdout)
    assert [one["offset"] for one in found if one["partition"] == 1] == [15, 16, 17, 18, 19]
    assert [one["offset"] for one in found if one["partition"] == 0] == [17, 18, 19], "two of five offsets are aborted"


def test_from_the_beginning_of_one_partition(kafka_broker: KafkaBroker, topic: str) -> None:
    done = tail(kafka_broker.bootstrap, topic, "--from-beginning", "--partition", "0", "--json")
    assert [one["offset"] for one in lines(done.stdout)] == list(range(20))


def test_aborted_records_are_shown_when_asked_for(kafka_broker: KafkaBroker, topic: str) -> None:
    done = tail(kafka_broker.bootstrap, topic, "-n", "2", "--partition", "0", "--uncommitted", "--json")
    assert [one["value"] for one in lines(done.stdout)] == ["never happened"]


def test_what_is_read_can_be_tried(kafka_broker: KafkaBroker, topic: str) -> None:
    done = tail(kafka_broker.bootstrap, topic, "-n", "1", "--partition", "1", "--json")
    command = [sys.executable, "-m", "pipeline.cli", "try", "transformers/registry.yaml", "passthrough", "--event", "-"]
    tried = subprocess.run(command, input=done.stdout, capture_output=True, text=True, timeout=60, check=False)
    assert tried.returncode == 0, tried.stderr
    assert "offset 19" in tried.stdout


def test_changes_are_shown_with_their_digits(kafka_broker: KafkaBroker, topic: str) -> None:
    done = tail(kafka_broker.bootstrap, topic, "-n", "1", "--partition", "1")
    assert "updated" in done.stdout
    assert f"{topic}" in done.stdout
    assert '~ status: "draft" → "new"' in done.stdout


def test_rows_of_another_format(kafka_broker: KafkaBroker, unique: Callable[[str], str]) -> None:
    name = create_topic(kafka_broker.bootstrap, unique("tail"), 1)
    rows = [{"id": "1", "status": "new"}, {"id": "2", "status": "new"}]
    olds = [{"status": "draft"}, {"status": "sent"}]
    message = {
        "data": rows,
        "old": olds,
        "type": "UPDATE",
        "database": "d",
        "table": "t",
        "es": 1,
        "ts": 2,
        "isDdl": False,
    }
    produce_full(kafka_broker.bootstrap, name, [{"value": json.dumps(message).encode(), "key": b"k"}], 0)
    done = tail(kafka_broker.bootstrap, name, "--format", "canal")
    assert done.stdout.count("updated") == 2, done.stdout
    assert '~ status: "draft" → "new"' in done.stdout and '~ status: "sent" → "new"' in done.stdout
    plain = tail(kafka_broker.bootstrap, name)
    assert "updated" not in plain.stdout and "record" in plain.stdout


def test_it_follows_until_it_is_interrupted(kafka_broker: KafkaBroker, topic: str) -> None:
    command = [*COMMAND, topic, "--brokers", kafka_broker.bootstrap, "-n", "0", "--follow", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=WIDE) as process:
        assert process.stdout is not None
        until = time.monotonic() + 60
        produced = 0
        os.set_blocking(process.stdout.fileno(), False)
        said = ""
        while not said and time.monotonic() < until:
            produce_full(kafka_broker.bootstrap, topic, [{"value": b"late %d" % produced}], 1)
            produced += 1
            said = process.stdout.readline() or ""
        try:
            assert json.loads(said)["value"].startswith("late ")
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 130
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["no-such-topic"], "there is no topic 'no-such-topic'"),
        (["TOPIC", "--partition", "7"], "has no partition 7 — it has 2, numbered from 0"),
    ],
    ids=["topic", "partition"],
)
def test_what_is_not_there_is_said(kafka_broker: KafkaBroker, topic: str, options: list[str], said: str) -> None:
    done = tail(kafka_broker.bootstrap, *[topic if one == "TOPIC" else one for one in options])
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


async def _write_in_transactions(bootstrap: str, name: str) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id=name)
    await producer.start()
    for number in range(3):
        async with producer.transaction():
            await producer.send_and_wait(name, change(number), partition=0)
    await producer.stop()


def test_what_was_written_in_transactions_to_the_demos_broker_can_be_looked_at(
    mock_kafka: str, unique: Callable[[str], str]
) -> None:
    """Its batches have other checksums then."""
    name = unique("demo")
    asyncio.run(_write_in_transactions(mock_kafka, name))
    done = tail(mock_kafka, name, "--from-beginning", "--json")
    assert done.returncode == 0, done.stderr
    assert len(lines(done.stdout)) == 3
