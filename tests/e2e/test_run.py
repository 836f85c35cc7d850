"""`penstock run` on real Kafka, with its workers killed under it."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.e2e.stream import account, create_stream_topics, fate, orders, registry_text
from tests.services.kafka import KafkaBroker
from tests.services.topics import committed_offsets, produce, read_topic

pytestmark = pytest.mark.services

EVENTS = 100_000
PARTITIONS = 3


@contextmanager
def service(registry: Path, *options: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`penstock run` in a process group of its own, which does not outlive the test."""
    command = [sys.executable, "-m", "pipeline.cli", "run", str(registry), *options]
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
    try:
        yield process
    finally:
        for child in (*_children(process.pid), process.pid):
            _kill(child)
        process.wait(10)


def _children(pid: int) -> list[int]:
    try:
        return [child.pid for child in psutil.Process(pid).children()]
    except psutil.NoSuchProcess:
        return []


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def wait_until(condition: Callable[[], bool], seconds: float, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, f"the service ended with {process.returncode}:\n{log.read_text()[-4000:]}"
        assert time.monotonic() < until, f"not within {seconds} s:\n{log.read_text()[-4000:]}"
        time.sleep(0.1)


def test_three_kills_lose_and_double_nothing(
    kafka_broker: KafkaBroker, unique: Callable[[str], str], tmp_path: Path
) -> None:
    bootstrap, name = kafka_broker.bootstrap, unique("kills")
    create_stream_topics(bootstrap, name, PARTITIONS)
    assert produce(bootstrap, f"{name}.in", orders(EVENTS)) == EVENTS
    registry, log = tmp_path / "registry.yaml", tmp_path / "log"
    registry.write_text(registry_text(bootstrap, name, extra="batch: {events: 256, commit_interval: 50ms}"))
    chance = random.Random(11)

    def done() -> int:
        return sum(committed_offsets(bootstrap, f"{name}-orders", f"{name}.in").values())

    with service(registry, "--processes", "2", log=log) as process:
        for kill in range(3):
            wait_until(lambda kill=kill: done() > EVENTS * (kill + 1) // 8, 90, process, log)
            victims = _children(process.pid)
            assert victims
            _kill(chance.choice(victims))
            assert done() < EVENTS, "killed too late to matter"
        wait_until(lambda: done() == EVENTS, 120, process, log)
        process.terminate()
        assert process.wait(30) == 0, log.read_text()[-4000:]

    result = account(read_topic(bootstrap, f"{name}.out"), read_topic(bootstrap, f"{name}.dlq"))
    assert result.faults(EVENTS) == []
    misbehaving = [fate(number) for number in range(EVENTS) if fate(number) not in ("emitted", "dropped")]
    assert result.kinds == {
        "trap": misbehaving.count("trap"),
        "rejected": misbehaving.count("reject"),
        "bad-output": misbehaving.count("bad-output"),
        "memory": misbehaving.count("memory"),
        "stack": misbehaving.count("stack"),
    }
    assert log.read_text().count("starting it again") == 3
