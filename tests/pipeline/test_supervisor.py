"""The supervisor over tiny real processes: who gets which signal, and what the exit code is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

_SUPERVISE = """
import asyncio, signal, sys
from pipeline.clock import SystemClock
from pipeline.supervisor import Supervisor

async def main():
    supervisor = Supervisor(
        [sys.executable, "-c", sys.argv[1]], 2, shutdown_timeout_s=5, clock=SystemClock(), environ=lambda name: {},
        on_end=lambda name, code: None,
    )
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, supervisor.stop)
    return await supervisor.run()

sys.exit(asyncio.run(main()))
"""
_COUNTS_SIGNALS = """
import signal, sys, time
seen = []
signal.signal(signal.SIGINT, lambda *_: seen.append("INT"))
signal.signal(signal.SIGTERM, lambda *_: seen.append("TERM"))
print("up", flush=True)
while not seen:
    signal.sigtimedwait([], 0.01)
signal.sigtimedwait([], 0.3)
sys.exit(0 if seen == ["TERM"] else 3)
"""
_HAS_NO_HANDLERS = """
import sys
print("up", flush=True)
sys.stdin.read()
"""


def _ended(worker: str, number: signal.Signals) -> int:
    """The exit code after the supervisor's whole process group got this signal, as a terminal sends it."""
    process = subprocess.Popen(
        [sys.executable, "-c", _SUPERVISE, worker],
        start_new_session=True,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout is not None
    try:
        assert [process.stdout.readline() for _ in range(2)] == [b"up\n", b"up\n"]
        os.killpg(process.pid, number)
        return process.wait(20)
    finally:
        process.kill()
        process.communicate()


def test_ctrl_c_in_a_terminal_is_one_signal_for_each_worker() -> None:
    assert _ended(_COUNTS_SIGNALS, signal.SIGINT) == 0


def test_a_worker_terminated_before_it_began_is_no_failure() -> None:
    assert _ended(_HAS_NO_HANDLERS, signal.SIGTERM) == 0
