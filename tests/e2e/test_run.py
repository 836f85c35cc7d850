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

from tests.e2e.stream import BAD_EVERY, account, create_stream_topics, fate, orders, registry_text
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
    # Small batches slow the service down enough to be killed in the middle.
    registry.write_text(registry_text(bootstrap, name, extra="batch: {events: 16, commit_interval: 20ms}"))
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


def lines_with(log: Path, text: str) -> int:
    return log.read_text().count(text) if log.exists() else 0


def test_a_broker_that_goes_away_and_comes_back_loses_nothing(
    start_broker: Callable[..., KafkaBroker], unique: Callable[[str], str], tmp_path: Path
) -> None:
    broker, name, events = start_broker(), unique("restart"), 30_000
    create_stream_topics(broker.bootstrap, name, PARTITIONS)
    produce(broker.bootstrap, f"{name}.in", orders(events))
    registry, log = tmp_path / "registry.yaml", tmp_path / "log"
    registry.write_text(registry_text(broker.bootstrap, name, extra="batch: {events: 64, commit_interval: 50ms}"))

    def done() -> int:
        return sum(committed_offsets(broker.bootstrap, f"{name}-orders", f"{name}.in").values())

    with service(registry, log=log) as process:
        wait_until(lambda: done() > events // 10, 60, process, log)
        broker.kill()
        broker.start()
        wait_until(lambda: done() == events, 120, process, log)
        process.terminate()
        assert process.wait(30) == 0, log.read_text()[-4000:]
    assert (
        account(read_topic(broker.bootstrap, f"{name}.out"), read_topic(broker.bootstrap, f"{name}.dlq")).faults(events)
        == []
    )


def test_a_stopped_lane_stays_stopped_until_it_is_resumed(
    kafka_broker: KafkaBroker, unique: Callable[[str], str], tmp_path: Path
) -> None:
    bootstrap, name = kafka_broker.bootstrap, unique("stop")
    create_stream_topics(bootstrap, name, 1)
    registry, log = tmp_path / "registry.yaml", tmp_path / "log"
    strict = registry_text(bootstrap, name).replace("  saboteur:", "  saboteur:\n    on_violation: stop")
    registry.write_text(strict)
    produce(
        bootstrap, f"{name}.in", list(orders(BAD_EVERY + 10))[BAD_EVERY - 10 :]
    )  # ten good ones, a trap, nine good ones

    for _ in range(2):  # the second start finds it stopped
        seen = lines_with(log, "is stopped")
        with service(registry, log=log) as process:
            wait_until(lambda seen=seen: lines_with(log, "is stopped") > seen, 60, process, log)
            process.terminate()
            assert process.wait(30) == 0
        assert len(read_topic(bootstrap, f"{name}.out")) == 10

    registry.write_text(registry_text(bootstrap, name))  # dead-letter instead: the operator's decision
    with service(registry, log=log) as process:
        seen = lines_with(log, "is stopped")
        wait_until(lambda: lines_with(log, "is stopped") >= seen, 60, process, log)
        command = [sys.executable, "-m", "pipeline.cli", "resume", str(registry), "orders", "--json"]
        told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        assert '"released":["orders:' in told.stdout
        wait_until(lambda: len(read_topic(bootstrap, f"{name}.out")) == 19, 60, process, log)
        process.terminate()
        assert process.wait(30) == 0
    (letter,) = read_topic(bootstrap, f"{name}.dlq")
    assert letter.value == list(orders(BAD_EVERY + 1))[-1][1]


def test_workers_drain_when_their_supervisor_is_killed(
    kafka_broker: KafkaBroker, unique: Callable[[str], str], tmp_path: Path
) -> None:
    bootstrap, name = kafka_broker.bootstrap, unique("orphans")
    create_stream_topics(bootstrap, name, 2)
    registry, log = tmp_path / "registry.yaml", tmp_path / "log"
    registry.write_text(registry_text(bootstrap, name))
    with service(registry, "--processes", "2", log=log) as process:
        wait_until(lambda: lines_with(log, "is running") >= 2, 60, process, log)
        workers = [psutil.Process(pid) for pid in _children(process.pid)]
        assert len(workers) == 2
        _kill(process.pid)
        _, alive = psutil.wait_procs(workers, timeout=30)
        assert not alive
    assert lines_with(log, "the supervisor is gone: draining") == 2


def test_a_second_signal_aborts_and_nothing_uncommitted_is_visible(
    kafka_broker: KafkaBroker, unique: Callable[[str], str], tmp_path: Path
) -> None:
    bootstrap, name, events = kafka_broker.bootstrap, unique("abort"), 20_000
    create_stream_topics(bootstrap, name, 1)
    registry, log = tmp_path / "registry.yaml", tmp_path / "log"
    # A commit takes longer than the test: whatever is downstream afterwards was committed by draining or by nobody.
    registry.write_text(registry_text(bootstrap, name, extra="batch: {events: 16, commit_interval: 20s}"))
    produce(bootstrap, f"{name}.in", orders(events))
    with service(registry, log=log) as process:
        wait_until(lambda: len(read_topic(bootstrap, f"{name}.out", committed=False)) > 100, 60, process, log)
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)
        code = process.wait(30)
    committed = sum(committed_offsets(bootstrap, f"{name}-orders", f"{name}.in").values())
    visible = account(read_topic(bootstrap, f"{name}.out"), read_topic(bootstrap, f"{name}.dlq"))
    assert visible.faults(committed) == []
    assert sum(visible.emitted.values()) + sum(visible.dead.values()) == sum(
        fate(n) != "dropped" for n in range(committed)
    )
    assert code in (0, 1), log.read_text()[-4000:]
