"""A group does not wait for a worker that was killed, and nobody waits for one that is told to stop while it joins."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient

from tests.chaos.member import Member, send
from tests.e2e.stream import create_stream_topics, registry_text
from tests.services.kafka import KafkaBroker, free_ports

pytestmark = pytest.mark.services

SESSION_S = 45
SOON_S = 20.0
"""A start and a join on a busy machine; less than half of the session timeout, so that nobody waited for that."""


def within(seconds: float, condition: Callable[[], bool], member: Member) -> None:
    until = time.monotonic() + seconds
    while not condition():
        member.check()
        assert time.monotonic() < until, f"not within {seconds} s\n{member.tail(40)}"
        time.sleep(0.05)


def members_of(bootstrap: str, group: str) -> set[str]:
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 3})
    described = admin.describe_consumer_groups([group])[group].result(10)
    return {member.client_id for member in described.members}


@pytest.fixture
def registry(kafka_broker: KafkaBroker, unique: Callable[[str], str], tmp_path: Path) -> tuple[Path, str]:
    """A registry with a long session timeout, and its group."""
    name = unique("group")
    create_stream_topics(kafka_broker.bootstrap, name, 2)
    path = tmp_path / "registry.yaml"
    text = registry_text(kafka_broker.bootstrap, name)
    path.write_text(text.replace("session_timeout: 6s", f"session_timeout: {SESSION_S}s, rebalance_timeout: 60s"))
    return path, f"{name}-orders"


def test_a_killed_worker_is_taken_out_of_the_group_at_once(
    kafka_broker: KafkaBroker, registry: tuple[Path, str]
) -> None:
    (port,) = free_ports(1)
    member = Member("service", registry[0], "--processes", "2", admin_port=port)
    try:
        member.start()
        within(60, lambda: member.is_ready, member)
        before = members_of(kafka_broker.bootstrap, registry[1])
        assert len(before) == 2
        send(member.workers[0], signal.SIGKILL)
        within(SOON_S, lambda: not member.is_ready, member)
        within(SOON_S, lambda: member.is_ready, member)
        after = members_of(kafka_broker.bootstrap, registry[1])
        assert len(after) == 2 and len(after & before) == 1
        assert member.said("worker-0.1 ") and member.said("worker-1.2 ") and member.said("starting it again") == 1
        member.terminate()
    finally:
        member.close()


def test_sigterm_while_joining_does_not_wait_for_the_group(
    kafka_broker: KafkaBroker, registry: tuple[Path, str]
) -> None:
    gone, late = Member("gone", registry[0]), Member("late", registry[0])
    try:
        gone.start()
        within(60, lambda: gone.said("is running") == 2, gone)
        gone.kill()
        late.start()
        within(
            30,
            lambda: len(members_of(kafka_broker.bootstrap, registry[1])) == 2 or _waits(kafka_broker, registry[1]),
            late,
        )
        assert not late.said("is running"), "the group did not wait for the member that is gone"
        began = time.monotonic()
        late.ask_to_drain()
        late.await_drained()
        assert time.monotonic() - began < 8, late.tail()
    except subprocess.TimeoutExpired:
        pytest.fail(late.tail())
    finally:
        gone.close()
        late.close()


def _waits(broker: KafkaBroker, group: str) -> bool:
    admin = AdminClient({"bootstrap.servers": broker.bootstrap, "log_level": 3})
    state = admin.describe_consumer_groups([group])[group].result(10).state
    return state.name == "PREPARING_REBALANCING"
