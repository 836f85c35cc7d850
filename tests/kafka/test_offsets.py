"""`penstock offsets` on real Kafka: what it shows, what it sets, and what it refuses."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from pipeline.control import Control, LaneNote
from pipeline.kafka.transport import KafkaTransport, transactional_id_of
from pipeline.memory.clock import ManualClock
from pipeline.ports import LaneId, LaneState
from pipeline.registry import load_registry
from schemas.event import TopicPartition as Partition
from tests.e2e.stream import create_stream_topics, registry_text
from tests.services.kafka import KafkaBroker
from tests.services.topics import alter_topic, committed_offsets, create_topic, delete_records, produce_full, read_topic

pytestmark = pytest.mark.services

WIDE = {**os.environ, "COLUMNS": "200"}
NOON = 1_767_268_800_000  # 2026-01-01T12:00:00Z


class Shop:
    """A registry on the broker, its group at offset 10 of 20 in each of two partitions, and the command."""

    def __init__(self, bootstrap: str, name: str, folder: Path) -> None:
        self.bootstrap, self.name, self.folder = bootstrap, name, folder
        self.registry = folder / "registry.yaml"
        self.registry.write_text(registry_text(bootstrap, name))
        self.group, self.topic = f"{name}-orders", f"{name}.in"
        create_stream_topics(bootstrap, name, 2)
        alter_topic(bootstrap, self.topic, {"retention.ms": "-1"})  # noon is long ago
        for partition in (0, 1):
            records = [{"value": b"%d" % at, "timestamp": NOON + 1_000 * at} for at in range(20)]
            produce_full(bootstrap, self.topic, records, partition)
        self.commit({0: 10, 1: 10})

    def commit(self, offsets: dict[int, int]) -> None:
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": self.group, "enable.auto.commit": False})
        rows = [TopicPartition(self.topic, partition, offset) for partition, offset in offsets.items()]
        consumer.commit(offsets=rows, asynchronous=False)
        consumer.close()

    def committed(self) -> dict[int, int]:
        return committed_offsets(self.bootstrap, self.group, self.topic)

    def run(self, *options: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pipeline.cli", "offsets", str(self.registry), "orders", *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, input=stdin, env=WIDE)
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def reset(self, to: str, *options: str) -> dict[str, Any]:
        done = self.run("reset", "--to", to, "--json", *(options or ("--yes",)))
        assert done.returncode == 0, done.stderr
        said: dict[str, Any] = json.loads(done.stdout)
        return said


@pytest.fixture
def shop(kafka_broker: KafkaBroker, unique: Callable[[str], str], tmp_path: Path) -> Shop:
    return Shop(kafka_broker.bootstrap, unique("offsets"), tmp_path)


def test_show_has_every_partition_with_lag_and_halt(shop: Shop) -> None:
    delete_records(shop.bootstrap, shop.topic, 1, 4)
    asyncio.run(halt(shop, 1))
    said = json.loads(shop.run("--json").stdout)
    assert said["members"] == []
    assert said["partitions"] == [
        {"topic": shop.topic, "partition": 0, "committed": 10, "beginning": 0, "end": 20, "lag": 10}
        | {"halted": None, "reason": ""},
        {"topic": shop.topic, "partition": 1, "committed": 10, "beginning": 4, "end": 20, "lag": 10}
        | {"halted": "stopped", "reason": "a test"},
    ]
    table = shop.run("show").stdout
    assert "no live member" in table and "stopped: a test" in table
    assert "released" not in table


async def halt(shop: Shop, partition: int) -> None:
    create_topic(shop.bootstrap, f"{shop.name}.control", 1, {"cleanup.policy": "compact"})
    control = Control(KafkaTransport(load_registry(shop.registry)).control(), ManualClock())
    await control.open()
    lane = LaneId("orders", Partition(shop.topic, partition), shop.group)
    note = LaneNote(
        route="orders",
        topic=shop.topic,
        partition=partition,
        group=shop.group,
        state=LaneState.STOPPED,
        reason="a test",
        since_ms=1,
    )
    await control.remember(lane, note)
    await control.close()


def test_reset_to_an_end_or_a_time(shop: Shop) -> None:
    for to, expected in {
        "earliest": 0,
        "latest": 20,
        "2026-01-01T12:00:05Z": 5,
        "2026-01-01T14:00:06+02:00": 6,
        str(NOON + 6_500): 7,
        datetime(2030, 1, 1, tzinfo=UTC).isoformat(): 20,
    }.items():
        before = shop.committed()[0]
        said = shop.reset(to)
        assert said["applied"]
        assert [(row["before"], row["after"]) for row in said["partitions"]] == [(before, expected)] * 2, to
        assert {row["repeated"] - row["skipped"] for row in said["partitions"]} == {before - expected}
        assert shop.committed() == {0: expected, 1: expected}


def test_a_dry_run_a_filter_and_single_offsets(shop: Shop) -> None:
    assert not shop.reset("earliest", "--dry-run")["applied"]
    assert shop.committed() == {0: 10, 1: 10}
    shop.reset(f"{shop.topic}:1=3")
    assert shop.committed() == {0: 10, 1: 3}
    said = shop.run("reset", "--to", "latest", "--topic", "orders", "--yes")
    assert said.returncode == 2 and "reads no topic 'orders'" in said.stderr
    table = shop.run("reset", "--to", "earliest", "--topic", shop.topic, "--yes").stdout
    assert "2 offsets set: 13 events to be repeated, 0 skipped." in table
    assert "Nothing changes." in shop.run("reset", "--to", "earliest", "--yes").stdout


def test_what_show_exports_reset_takes_back(shop: Shop) -> None:
    exported = shop.run("show", "--csv").stdout
    assert list(csv.reader(io.StringIO(exported))) == [[shop.topic, "0", "10"], [shop.topic, "1", "10"]]
    shop.reset("latest")
    for text in (exported, f'{shop.group},"{shop.topic}",0,10\n'):  # the tool's own rows: one group, and several
        (shop.folder / "saved.csv").write_text(text)
        shop.reset(str(shop.folder / "saved.csv"))
        assert shop.committed()[0] == 10


def test_what_is_refused_changes_nothing(shop: Shop) -> None:
    for to, said in {
        f"{shop.topic}:0=21,{shop.topic}:1=3": f"{shop.topic}/0 has no offset 21 — it has 0 to 20",
        f"{shop.topic}:7=0": f"{shop.topic}/7 is no partition that route orders reads",
        "2026-01-01T12:00:00": "has no time zone",
        "yesterday": "'yesterday' is nowhere to go to",
        "9" * 30: "is nowhere to go to",
        f"{shop.topic}=3": "is no offset of a partition",
        f"{shop.topic}:0=3,{shop.topic}:0=4": "is named twice",
    }.items():
        done = shop.run("reset", "--yes", "--to", to)
        assert done.returncode == 2
        assert said in done.stderr
    assert shop.committed() == {0: 10, 1: 10}


def test_nobody_to_ask_is_no_yes(shop: Shop) -> None:
    done = shop.run("reset", "--to", "earliest", stdin="y\n")
    assert done.returncode == 2 and "add --yes, or --dry-run" in done.stderr
    assert shop.committed() == {0: 10, 1: 10}


def test_on_a_terminal_it_asks_first(shop: Shop) -> None:
    command = [sys.executable, "-m", "pipeline.cli", "offsets", str(shop.registry), "orders", "reset", "--to", "latest"]
    for answer, code, offset in ((b"n\n", 1, 10), (b"y\n", 0, 20)):
        ours, theirs = pty.openpty()
        os.write(ours, answer)
        done = subprocess.run(command, stdin=theirs, capture_output=True, text=True, timeout=60, check=False)
        os.close(theirs)
        os.close(ours)
        assert "Set 2 offsets?" in done.stderr and "Traceback" not in done.stderr
        assert done.returncode == code
        assert shop.committed() == {0: offset, 1: offset}


def test_a_live_group_is_refused_and_its_members_named(shop: Shop) -> None:
    member = Consumer({"bootstrap.servers": shop.bootstrap, "group.id": shop.group, "client.id": "someone"})
    member.subscribe([shop.topic])
    while not member.assignment():
        member.poll(0.1)
    done = shop.run("reset", "--to", "earliest", "--yes")
    assert done.returncode == 1
    assert f"group {shop.group} is live: someone" in done.stderr and " on 127.0.0.1 — stop them first" in done.stderr
    assert "live, someone on 127.0.0.1" in shop.run("show").stdout
    member.close()
    shop.reset("earliest")
    assert shop.committed() == {0: 0, 1: 0}


def test_a_dead_lanes_open_transaction_cannot_come_after_a_reset(shop: Shop) -> None:
    """What a killed process left: records and an offset in a transaction nobody ends."""
    consumer = Consumer({"bootstrap.servers": shop.bootstrap, "group.id": shop.group})
    zombie = Producer(
        {
            "bootstrap.servers": shop.bootstrap,
            "transactional.id": transactional_id_of(Partition(shop.topic, 0), shop.group),
        }
    )
    zombie.init_transactions(30)
    zombie.begin_transaction()
    zombie.produce(f"{shop.name}.out", b"never to be seen", partition=0)
    zombie.flush(30)
    zombie.send_offsets_to_transaction([TopicPartition(shop.topic, 0, 17)], consumer.consumer_group_metadata(), 30)

    shop.reset("earliest")
    with pytest.raises(KafkaException, match=r"(?i)fenced"):
        zombie.commit_transaction(30)
    assert shop.committed() == {0: 0, 1: 0}
    assert read_topic(shop.bootstrap, f"{shop.name}.out") == []
    consumer.close()


def test_a_pattern_covers_the_topics_there_are(shop: Shop) -> None:
    create_topic(shop.bootstrap, f"{shop.name}.in2", 1)
    shop.registry.write_text(
        registry_text(shop.bootstrap, shop.name).replace(f"from: {shop.topic}", f"from: /{shop.name}[.]in.*/")
    )
    rows = json.loads(shop.run("--json").stdout)["partitions"]
    assert [(row["topic"], row["partition"], row["committed"]) for row in rows] == [
        (shop.topic, 0, 10),
        (shop.topic, 1, 10),
        (f"{shop.name}.in2", 0, None),
    ]
    assert shop.reset("latest", "--yes", "--topic", f"{shop.name}.in2")["partitions"][0]["after"] == 0
    assert shop.committed() == {0: 10, 1: 10}
