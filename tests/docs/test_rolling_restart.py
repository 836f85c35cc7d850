"""The rolling restart of docs/delivery.md, as it is written there: three services, one after another, under load."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos.feed import Feed
from tests.chaos.member import Member, send
from tests.chaos.stage import Stage
from tests.chaos.verdict import Streams, faults
from tests.docs.mapped import DELIVERY_PAGE
from tests.e2e.stream import create_stream_topics, orders, registry_text
from tests.services.kafka import KafkaBroker, free_ports
from tests.services.topics import await_empty_group

pytestmark = pytest.mark.services

EVENTS = 10_000
_BLOCK = re.compile(r"## Operating: rolling restart.*?```sh\n(.*?)```", re.DOTALL)


def test_the_commands_restart_three_services_and_lose_nothing(
    kafka_broker: KafkaBroker, unique: Callable[[str], str], tmp_path: Path
) -> None:
    found = _BLOCK.search(DELIVERY_PAGE.read_text())
    assert found is not None
    commands, ports = found[1], free_ports(3)
    for written, port in zip(("9464", "9465", "9466"), ports, strict=True):
        assert commands.count(written) == 1
        commands = commands.replace(written, str(port))

    bootstrap, name = kafka_broker.bootstrap, unique("rolling")
    create_stream_topics(bootstrap, name, 3)
    registry = tmp_path / "registry.yaml"
    registry.write_text(registry_text(bootstrap, name))
    members = [Member(f"first-{port}", registry, admin_port=port) for port in ports]
    pids: list[int] = []
    try:
        for member in members:
            member.start()
            (tmp_path / f"penstock-{member.admin_port}.pid").write_text(str(member.pid))
            threading.Thread(target=member.reap, daemon=True).start()  # or `kill -0` finds it for ever
        feed = Feed(bootstrap, f"{name}.in", orders(EVENTS), EVENTS / 20)
        bin_folder = Path(sys.executable).parent
        ran = subprocess.run(
            ["bash", "-euc", commands],
            cwd=tmp_path,
            env={**os.environ, "PATH": f"{bin_folder}:{os.environ['PATH']}"},
            timeout=180,
            check=False,
        )
        assert ran.returncode == 0
        feed.finish()
        pids = [int((tmp_path / f"penstock-{port}.pid").read_text()) for port in ports]
        assert not {member.pid for member in members} & set(pids)
        streams = Streams(bootstrap, f"{name}-orders", (f"{name}.in",), f"{name}.out", f"{name}.dlq")
        Stage("rolling", 1, tmp_path, full=False, quiet=True).settle(streams)
        for pid in pids:
            send(pid, signal.SIGTERM)
        await_empty_group(bootstrap, streams.group)
        assert faults(streams) == []
        logs = "".join((tmp_path / f"penstock-{port}.log").read_text() for port in ports)
        assert "Traceback" not in logs
    finally:
        for pid in pids:
            send(pid, signal.SIGKILL)
        for member in members:
            member.close()
