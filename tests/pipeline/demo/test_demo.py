"""`penstock demo` itself: the command, the real pipeline, the real registry, as a user runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from schemas.outcome import ViolationKind

COMMAND = [sys.executable, "-m", "pipeline.cli", "demo"]


@contextmanager
def running(*options: str) -> Iterator[subprocess.Popen[str]]:
    environ = {**os.environ, "COLUMNS": "100", "PYTHONWARNINGS": "error"}
    process = subprocess.Popen(
        [*COMMAND, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environ,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def summary() -> dict[str, Any]:
    with running("--events", "2000", "--json") as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    parsed: dict[str, Any] = json.loads(out)
    return parsed


def test_every_event_is_accounted_for(summary: dict[str, Any]) -> None:
    assert summary["produced"] == 2_000
    assert summary["emitted"] + summary["dropped"] + summary["dead_lettered"] == 2_000
    assert [summary[name] for name in ("lost", "duplicated", "unexpected", "out_of_order")] == [0, 0, 0, 0]
    assert summary["examples"] == []


def test_every_misdeed_became_its_own_dead_letter(summary: dict[str, Any]) -> None:
    kinds = ViolationKind
    misdeeds = {kinds.DEADLINE, kinds.MEMORY, kinds.STACK, kinds.TRAP, kinds.BAD_OUTPUT, kinds.REJECTED}
    assert set(summary["by_violation"]) == {kind.value for kind in misdeeds}
    assert sum(summary["by_violation"].values()) == summary["dead_lettered"]


def test_expensive_orders_were_copied(summary: dict[str, Any]) -> None:
    copies = summary["side_topic"]
    assert copies["found"] == copies["expected"] > 0
    assert copies["lost"] == copies["duplicated"] == 0


def test_the_measurements_are_there(summary: dict[str, Any]) -> None:
    assert summary["seconds"] > 0
    assert summary["events_per_s"] == pytest.approx(summary["produced"] / summary["seconds"], rel=0.01)
    assert 0 < summary["memory_bytes_peak"] < 400 * 10**6


def test_people_see_an_order_a_dead_letter_and_the_balance_within_100_columns() -> None:
    with running("--events", "500") as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    told = out[out.index("One order, before and after") :]
    for expected in ("amount_cents", "full_name", "endless loop", "deadline=200ms", "500 produced =", "0 lost"):
        assert expected in told
    assert "penstock try" in told
    assert max(map(len, told.splitlines())) <= 100
    assert err == ""


def test_keep_keeps_the_broker_until_interrupted() -> None:
    with running("--events", "100", "--json", "--keep") as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("For example"):
                break
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert json.loads(out)["produced"] == 100
    assert "Traceback" not in err


def test_an_interrupted_run_ends_cleanly() -> None:
    with running("--events", "200000") as process:
        assert process.stdout is not None
        for line in process.stdout:
            if " events  " in line:  # the stream has begun
                break
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert err == ""


def test_too_few_events_are_a_usage_error() -> None:
    with running("--events", "5") as process:
        _, err = process.communicate(timeout=20)
    assert process.returncode == 2
    assert "--events" in err
