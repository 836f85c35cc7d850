"""A transaction that the broker never ended, and that penstock must not bring to light: the lane stops until it is aborted."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition

from tests.e2e.stream import account, create_stream_topics, orders, registry_text
from tests.e2e.test_run import service, wait_until
from tests.services.kafka import SCRIPT, KafkaBroker
from tests.services.topics import committed_offsets, produce, read_topic

pytestmark = pytest.mark.services
EVENTS = 60


async def leave_hanging(bootstrap: str, transactional_id: str, topic: str, partition: int) -> None:
    """Records that the coordinator knows nothing of, as they are left when a broker forgets a transaction's markers."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id=transactional_id)
    await producer.start()
    await producer.begin_transaction()
    producer._txn_manager._txn_partitions.add(TopicPartition(topic, partition))
    batch = producer.create_batch()
    batch.append(timestamp=None, key=b"k", value=b"of a forgotten transaction")
    await (await producer.send_batch(batch, topic, partition=partition))
    producer._sender.sender_task.cancel()
    await producer.client.close()
    producer._closed = True  # what a killed process would never have said


def test_a_lane_does_not_start_over_an_open_transaction_of_its_own(
    tmp_path: Path, unique: Callable[[str], str]
) -> None:
    trusting = {"transaction.partition.verification.enable": "false"}
    with KafkaBroker(tmp_path / "kafka", properties=trusting) as broker:
        bootstrap, name, log = broker.bootstrap, unique("hanging"), tmp_path / "log"
        create_stream_topics(bootstrap, name, 2)
        produce(bootstrap, f"{name}.in", orders(EVENTS))
        registry = tmp_path / "registry.yaml"
        registry.write_text(registry_text(bootstrap, name))
        asyncio.run(leave_hanging(bootstrap, f"{name}.in/1/{name}-orders", f"{name}.out", 1))

        def done() -> int:
            return sum(committed_offsets(bootstrap, f"{name}-orders", f"{name}.in").values())

        with service(registry, log=log) as process:
            remedy = f"abort --topic {name}.out --partition 1 --start-offset 0`, then release the lane with `penstock resume`"
            wait_until(lambda: remedy in log.read_text(), 60, process, log)
            wait_until(lambda: done() > 0, 60, process, log)  # the other lane goes on
            abort = ["abort", "--topic", f"{name}.out", "--partition", "1", "--start-offset", "0"]
            tool = [str(SCRIPT), "tool", "org.apache.kafka.tools.TransactionsCommand", "--bootstrap-server", bootstrap]
            subprocess.run([*tool, *abort], check=True, timeout=60)
            resumed = subprocess.run(
                [
                    sys.executable,
                    "-m",
                    "pipeline.cli",
                    "resume",
                    str(registry),
                    "orders",
                    "--partition",
                    f"{name}.in/1",
                ],
                capture_output=True,
                text=True,
                check=False,
                timeout=60,
            )
            assert resumed.returncode == 0, resumed.stderr
            wait_until(lambda: done() == EVENTS, 60, process, log)
            process.terminate()
            assert process.wait(30) == 0
        out, dead = read_topic(bootstrap, f"{name}.out"), read_topic(bootstrap, f"{name}.dlq")
        assert all(record.value != b"of a forgotten transaction" for record in out)
        assert account(out, dead).faults(EVENTS) == []
