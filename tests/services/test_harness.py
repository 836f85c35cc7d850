"""The harness keeps its own promises: data survives a kill, and no broker outlives its owner."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import Producer

from tests.services.kafka import KafkaBroker
from tests.services.topics import create_topic, delete_records, produce, produce_full, read_topic

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.services
def test_a_topic_reads_back_completely_and_in_order(kafka_broker: KafkaBroker, unique: Callable[[str], str]) -> None:
    for_ever = {"retention.ms": "-1"}  # or the record of 1970 is gone at the broker's next look
    topic = create_topic(kafka_broker.bootstrap, unique("t"), partitions=2, config=for_ever)
    produce(kafka_broker.bootstrap, topic, ((b"k", str(i).encode()) for i in range(3_000)), partition=1)
    produce_full(
        kafka_broker.bootstrap,
        topic,
        [{"key": None, "value": None, "headers": [("h", b"1")], "timestamp": 5, "partition": 0}],
    )
    first, *rest = read_topic(kafka_broker.bootstrap, topic)
    assert first == (0, 0, 5, None, None, (("h", b"1"),))
    assert [record.value for record in rest] == [str(i).encode() for i in range(3_000)]
    delete_records(kafka_broker.bootstrap, topic, 1, 2_999)
    assert [record.offset for record in read_topic(kafka_broker.bootstrap, topic)] == [0, 2_999]


@pytest.mark.services
def test_only_committed_records_are_read(kafka_broker: KafkaBroker, unique: Callable[[str], str]) -> None:
    topic = create_topic(kafka_broker.bootstrap, unique("t"))
    producer = Producer({"bootstrap.servers": kafka_broker.bootstrap, "transactional.id": unique("x")})
    producer.init_transactions(30)
    for value, finish in ((b"aborted", producer.abort_transaction), (b"kept", producer.commit_transaction)):
        producer.begin_transaction()
        producer.produce(topic, value)
        producer.flush(30)
        finish(30)
    assert [record.value for record in read_topic(kafka_broker.bootstrap, topic)] == [b"kept"]
    assert [record.value for record in read_topic(kafka_broker.bootstrap, topic, committed=False)] == [
        b"aborted",
        b"kept",
    ]


@pytest.mark.services
def test_a_broker_comes_back_with_its_data_and_dies_with_its_owner(tmp_path: Path) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path / "data")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert owner.stdout is not None
    assert owner.stderr is not None
    with owner.stdout, owner.stderr:
        said = owner.stdout.readline().split()
        assert said[:1] == ["kept"], owner.stderr.read()
        owner.kill()
        owner.wait()
    assert ends(int(said[1]))


OWNER = """
import pathlib, sys, time
from tests.services.kafka import KafkaBroker
from tests.services.topics import create_topic, produce, read_topic
broker = KafkaBroker(pathlib.Path(sys.argv[1]), heap="256m")
broker.start()
create_topic(broker.bootstrap, "t")
produce(broker.bootstrap, "t", [(b"k", b"v")])
broker.kill()
broker.start()
print(*[record.value.decode().replace("v", "kept") for record in read_topic(broker.bootstrap, "t")],
      (broker.folder / "kafka.pid").read_text().strip(), flush=True)
time.sleep(600)
"""


def ends(pid: int, within_s: float = 10.0) -> bool:
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False
