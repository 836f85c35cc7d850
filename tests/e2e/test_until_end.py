"""`penstock run --until-end` on real Kafka: everything that was there at the start, nothing that came later."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from tests.e2e.stream import BAD_EVERY, account, create_stream_topics, fate, orders, registry_text
from tests.e2e.test_run import service, wait_until
from tests.services.damage import produce_damaged, produce_unreadable
from tests.services.kafka import KafkaBroker
from tests.services.topics import committed_offsets, create_topic, produce, read_topic

pytestmark = pytest.mark.services

PARTITIONS = 3


def command(registry: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "pipeline.cli", "run", str(registry), "--until-end", *options]


def backfill(registry: Path, *options: str) -> tuple[dict[str, Any], subprocess.CompletedProcess[str]]:
    """The account and the process, run to its end."""
    done = subprocess.run(
        command(registry, "--json", *options), capture_output=True, text=True, timeout=120, check=False
    )
    assert "Traceback" not in done.stderr, done.stderr
    return json.loads(done.stdout or "{}"), done


def transactions(
    bootstrap: str, topic: str, partition: int, *parts: tuple[Iterable[tuple[bytes, bytes]], bool]
) -> None:
    """Records in transactions, each committed (True) or aborted."""
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": f"{topic}-{partition}"})
    producer.init_transactions(30)
    for records, commits in parts:
        producer.begin_transaction()
        for key, value in records:
            producer.produce(topic, key=key, value=value, partition=partition)
        producer.flush(30)
        (producer.commit_transaction if commits else producer.abort_transaction)(30)


@pytest.mark.parametrize("processes", ["1", "2"])
def test_everything_of_the_start_and_nothing_after_it(
    kafka_broker: KafkaBroker, unique: Callable[[str], str], tmp_path: Path, processes: str
) -> None:
    bootstrap, name, events = kafka_broker.bootstrap, unique("bounded"), 12_000
    create_stream_topics(bootstrap, name, PARTITIONS)
    produce(bootstrap, f"{name}.in", orders(events))
    registry = tmp_path / "registry.yaml"
    registry.write_text(registry_text(bootstrap, name, extra="batch: {events: 64, commit_interval: 50ms}"))
    stop, later = threading.Event(), list(orders(4 * events))[events:]

    def go_on_producing() -> None:
        number = 0
        while not stop.is_set():
            produce(bootstrap, f"{name}.in", later[number : number + 100])
            number += 100

    writer = threading.Thread(target=go_on_producing)
    writer.start()
    try:
        said, done = backfill(registry, "--processes", processes)
    finally:
        stop.set()
        writer.join()
    assert done.returncode == 0, done.stderr
    assert said["complete"] and {part["state"] for part in said["partitions"]} == {"through"}
    ends = {part["partition"]: part["end"] for part in said["partitions"]}
    assert events <= sum(ends.values()) < 2 * events + 200_000
    assert committed_offsets(bootstrap, f"{name}-orders", f"{name}.in") == ends
    out, dead = read_topic(bootstrap, f"{name}.out"), read_topic(bootstrap, f"{name}.dlq")
    assert said["events"] == sum(ends.values()) == sum(said["outcomes"].values())
    assert said["outcomes"]["emitted"] == len(out) and said["outcomes"]["dead_lettered"] == len(dead)
    assert account(out, dead).faults(events) == []

    again, done = backfill(registry, "--processes", processes)  # what came meanwhile is the next run's
    assert done.returncode == 0 and again["complete"]
    log_ends = {part["partition"]: part["end"] for part in again["partitions"]}
    assert {part["partition"]: part["start"] for part in again["partitions"]} == ends
    assert committed_offsets(bootstrap, f"{name}-orders", f"{name}.in") == log_ends


def test_control_records_and_aborted_events_at_the_end_are_not_waited_for(
    kafka_broker: KafkaBroker, unique: Callable[[str], str], tmp_path: Path
) -> None:
    bootstrap, name = kafka_broker.bootstrap, unique("tails")
    create_stream_topics(bootstrap, name, 4)
    good = [record for number, record in enumerate(orders(200)) if fate(number) == "emitted"]
    transactions(bootstrap, f"{name}.in", 0, (good[:50], True))  # a commit marker last
    transactions(bootstrap, f"{name}.in", 1, (good[50:60], True), (good[60:90], False), (good[90:95], False))
    transactions(bootstrap, f"{name}.in", 2, (good[95:99], False))  # nothing that was ever valid; 3 is empty
    registry = tmp_path / "registry.yaml"
    registry.write_text(registry_text(bootstrap, name))
    for expected in (60, 0):
        said, done = backfill(registry)
        assert done.returncode == 0, done.stderr
        assert said["complete"] and said["events"] == expected
    assert len(read_topic(bootstrap, f"{name}.out")) == 60
    assert [part["end"] for part in said["partitions"]] == [51, 48, 5, 0]
    assert said["seconds"] < 5, "with nothing left there is no group to join"


def test_a_halted_partition_ends_it_with_its_name(
    kafka_broker: KafkaBroker, unique: Callable[[str], str], tmp_path: Path
) -> None:
    bootstrap, name = kafka_broker.bootstrap, unique("halted")
    create_stream_topics(bootstrap, name, 2)
    produce(bootstrap, f"{name}.in", list(orders(BAD_EVERY + 10))[BAD_EVERY - 10 :], partition=1)
    produce(bootstrap, f"{name}.in", list(orders(91))[1:], partition=0)
    registry = tmp_path / "registry.yaml"
    registry.write_text(registry_text(bootstrap, name).replace("  saboteur:", "  saboteur:\n    on_violation: stop"))
    for _ in range(2):  # the second run finds it halted
        said, done = backfill(registry)
        assert done.returncode == 1
        assert f"error: orders:{name}.in/1 is halted at offset 10 of 20: " in done.stderr
        assert [part["state"] for part in said["partitions"]] == ["through", "halted"]
    assert committed_offsets(bootstrap, f"{name}-orders", f"{name}.in")[0] == 90


@pytest.mark.parametrize("spoil", [produce_unreadable, produce_damaged])
def test_a_batch_that_cannot_be_read_halts_its_partition_and_ends_it(
    kafka_broker: KafkaBroker,
    unique: Callable[[str], str],
    tmp_path: Path,
    spoil: Callable[[str, str, int], Coroutine[Any, Any, None]],
) -> None:
    bootstrap, name = kafka_broker.bootstrap, unique("unreadable")
    create_stream_topics(bootstrap, name, 2)
    produce(bootstrap, f"{name}.in", list(orders(91))[1:], partition=0)
    produce(bootstrap, f"{name}.in", list(orders(11))[1:], partition=1)
    asyncio.run(spoil(bootstrap, f"{name}.in", 1))
    registry = tmp_path / "registry.yaml"
    registry.write_text(registry_text(bootstrap, name))
    for events in (100, 0):  # the second run finds it halted
        said, done = backfill(registry)
        assert done.returncode == 1
        assert f"error: orders:{name}.in/1 is halted at offset 10 of 11: " in done.stderr
        assert [part["state"] for part in said["partitions"]] == ["through", "halted"]
        assert said["events"] == events


def test_a_commit_beyond_the_log_is_no_end(
    kafka_broker: KafkaBroker, unique: Callable[[str], str], tmp_path: Path
) -> None:
    """As after a topic was made anew: nothing is left to do, and nothing would ever be done again."""
    bootstrap, name = kafka_broker.bootstrap, unique("anew")
    create_stream_topics(bootstrap, name, 1)
    produce(bootstrap, f"{name}.in", list(orders(6))[1:])
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": f"{name}-orders", "enable.auto.commit": False})
    consumer.commit(offsets=[TopicPartition(f"{name}.in", 0, 100)], asynchronous=False)
    consumer.close()
    registry = tmp_path / "registry.yaml"
    registry.write_text(registry_text(bootstrap, name))
    said, done = backfill(registry)
    assert done.returncode == 1 and not said["complete"]
    assert "the log ends at 5, before the committed offset" in done.stderr


def test_a_first_start_at_the_end_has_nothing_to_do(
    kafka_broker: KafkaBroker, unique: Callable[[str], str], tmp_path: Path
) -> None:
    bootstrap, name = kafka_broker.bootstrap, unique("latest")
    create_stream_topics(bootstrap, name, 1)
    produce(bootstrap, f"{name}.in", list(orders(6))[1:])
    registry = tmp_path / "registry.yaml"
    registry.write_text(registry_text(bootstrap, name, extra="start: latest"))
    said, done = backfill(registry)
    assert done.returncode == 0 and said["complete"] and said["events"] == 0
    assert read_topic(bootstrap, f"{name}.out") == []


def test_interrupted_it_says_where_it_stands_and_goes_on_there(
    kafka_broker: KafkaBroker, unique: Callable[[str], str], tmp_path: Path
) -> None:
    bootstrap, name, events = kafka_broker.bootstrap, unique("interrupted"), 20_000
    create_stream_topics(bootstrap, name, PARTITIONS)
    produce(bootstrap, f"{name}.in", orders(events))
    registry, log = tmp_path / "registry.yaml", tmp_path / "log"
    registry.write_text(registry_text(bootstrap, name, extra="batch: {events: 8, commit_interval: 20ms}"))

    def done() -> int:
        return sum(committed_offsets(bootstrap, f"{name}-orders", f"{name}.in").values())

    with service(registry, "--until-end", log=log) as process:
        wait_until(lambda: done() > events // 20, 60, process, log)
        process.send_signal(signal.SIGINT)
        code = process.wait(30)
    stands = done()
    assert stands < events, "too late to matter"
    assert code == 130
    assert f"{events - stands:,} offsets are left, and running this again goes on there" in log.read_text()
    said, ran = backfill(registry, "--processes", "2")
    assert ran.returncode == 0 and said["events"] == events - stands
    out, dead = read_topic(bootstrap, f"{name}.out"), read_topic(bootstrap, f"{name}.dlq")
    assert account(out, dead).faults(events) == []


def test_two_of_them_share_a_group_and_both_end(
    kafka_broker: KafkaBroker, unique: Callable[[str], str], tmp_path: Path
) -> None:
    bootstrap, name, events = kafka_broker.bootstrap, unique("shared"), 12_000
    create_stream_topics(bootstrap, name, PARTITIONS)
    produce(bootstrap, f"{name}.in", orders(events))
    registry = tmp_path / "registry.yaml"
    registry.write_text(registry_text(bootstrap, name, extra="batch: {events: 16, commit_interval: 20ms}"))
    both = [
        subprocess.Popen(command(registry, "--json"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    accounts = []
    for process in both:
        said, told = process.communicate(timeout=120)
        assert process.returncode == 0, told
        accounts.append(json.loads(said))
    assert sum(said["events"] for said in accounts) == events
    out, dead = read_topic(bootstrap, f"{name}.out"), read_topic(bootstrap, f"{name}.dlq")
    assert account(out, dead).faults(events) == []


def test_on_a_terminal_there_is_a_bar(kafka_broker: KafkaBroker, unique: Callable[[str], str], tmp_path: Path) -> None:
    bootstrap, name = kafka_broker.bootstrap, unique("terminal")
    create_stream_topics(bootstrap, name, 1)
    produce(bootstrap, f"{name}.in", orders(5_000))
    registry = tmp_path / "registry.yaml"
    registry.write_text(registry_text(bootstrap, name, extra="batch: {events: 16}"))
    ours, theirs = pty.openpty()
    environ = {**os.environ, "TERM": "xterm", "COLUMNS": "140"}
    process = subprocess.Popen(command(registry), stdout=theirs, stderr=theirs, env=environ)
    os.close(theirs)
    drawn = _until_closed(ours)
    assert process.wait(60) == 0, drawn
    assert "━" in drawn and "left" in drawn and "5,000 of 5,000" in drawn
    assert "all 1 partitions are committed to the end seen at the start" in drawn


def _until_closed(terminal: int) -> str:
    drawn, end = b"", time.monotonic() + 60
    while time.monotonic() < end:
        if not select.select([terminal], [], [], 1)[0]:
            continue
        try:
            drawn += os.read(terminal, 65_536)
        except OSError:  # the other side is closed
            break
    os.close(terminal)
    return drawn.decode(errors="replace")


def test_topics_without_anything_are_done(
    kafka_broker: KafkaBroker, unique: Callable[[str], str], tmp_path: Path
) -> None:
    bootstrap, name = kafka_broker.bootstrap, unique("empty")
    create_stream_topics(bootstrap, name, 2)
    registry = tmp_path / "registry.yaml"
    registry.write_text(registry_text(bootstrap, name).replace(f"from: {name}.in", f"from: /{name}[.]in.*/"))
    create_topic(bootstrap, f"{name}.in-too", 1)
    said, done = backfill(registry)
    assert done.returncode == 0, done.stderr
    assert [(part["topic"], part["end"]) for part in said["partitions"]] == [
        (f"{name}.in", 0),
        (f"{name}.in", 0),
        (f"{name}.in-too", 0),
    ]
