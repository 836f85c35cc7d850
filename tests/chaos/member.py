"""One `penstock run` (with or without workers) that a scenario starts, kills and asks to drain."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import psutil

_DRAIN_S = 40.0
_LOG_LINE = re.compile(r"\d\d:\d\d:\d\d\.\d{3} ")


class Member:
    """Its log goes on over restarts, in `log`. `close` leaves no process behind."""

    def __init__(self, name: str, registry: Path, *options: str, admin_port: int | None = None) -> None:
        self.name = name
        self.log = registry.parent / f"{name}.log"
        self.admin_port = admin_port
        admin = ("--admin", f"127.0.0.1:{admin_port}") if admin_port is not None else ()
        self._command = [sys.executable, "-m", "pipeline.cli", "run", str(registry), *options, *admin]
        self._process: subprocess.Popen[bytes] | None = None
        self._asked = False
        """Whether its end is wanted."""

    def start(self) -> None:
        """Start it; it must not be running."""
        assert not self.is_running, f"{self.name} runs already"
        self._asked = False
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, start_new_session=True
            )

    @property
    def is_running(self) -> bool:
        """Whether its (supervisor's) process is there."""
        return self._process is not None and self._process.poll() is None

    @property
    def workers(self) -> list[int]:
        """Process ids of a supervisor's workers."""
        try:
            return [child.pid for child in psutil.Process(self.pid).children()] if self.is_running else []
        except psutil.NoSuchProcess:
            return []

    def kill(self) -> None:
        """SIGKILL: the process and, when it is a supervisor, its workers."""
        self._asked = True
        for pid in (*self.workers, self.pid):
            send(pid, signal.SIGKILL)
        self._wait(10)

    def terminate(self) -> None:
        """SIGTERM and wait; it must drain and end with 0. Raises AssertionError."""
        self.ask_to_drain()
        self.await_drained()

    def ask_to_drain(self) -> None:
        """SIGTERM."""
        self._asked = True
        send(self.pid, signal.SIGTERM)

    def await_drained(self) -> None:
        """Wait for the end that was asked for. Raises AssertionError when it is another one or does not come."""
        try:
            code = self._wait(_DRAIN_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} did not drain within {_DRAIN_S:.0f} s\n{self.tail()}") from None
        assert code in (0, -signal.SIGTERM), f"{self.name} ended with {code}\n{self.tail()}"

    def reap(self) -> None:
        """Wait for an end that somebody else brings about."""
        self._asked = True
        assert self._process is not None
        self._process.wait()

    def close(self) -> None:
        """Whatever still runs is killed."""
        if self.is_running:
            self.kill()

    def check(self) -> None:
        """Raises AssertionError when it ended by itself."""
        process = self._process
        ended = process is not None and not self._asked and process.poll() is not None
        assert not ended, f"{self.name} ended by itself with {process and process.returncode}\n{self.tail()}"

    @property
    def is_ready(self) -> bool:
        """What `/readyz` says."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.admin_port}/readyz", timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def said(self, text: str) -> int:
        """How many times its log has `text`."""
        return self.log.read_text(errors="replace").count(text) if self.log.exists() else 0

    @property
    def has_traceback(self) -> bool:
        """Whether something of ours, or the event loop, complained with a traceback; what aiokafka logs is its own affair."""
        line_of = ""
        for line in self.log.read_text(errors="replace").splitlines() if self.log.exists() else ():
            if _LOG_LINE.match(line):
                line_of = line
            elif line.startswith("Traceback") and " aiokafka." not in line_of:
                return True
        return False

    def tail(self, lines: int = 25) -> str:
        """The end of its log."""
        found = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(f"{self.name} | {line}" for line in found[-lines:])

    @property
    def pid(self) -> int:
        """Of its (supervisor's) process."""
        assert self._process is not None, f"{self.name} was never started"
        return self._process.pid

    def _wait(self, seconds: float) -> int:
        assert self._process is not None
        return self._process.wait(seconds)


def send(pid: int, number: signal.Signals) -> None:
    """A signal to a process that may be gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def await_end(pid: int, seconds: float = 10.0) -> None:
    """Until the process is gone or a zombie of somebody else's to reap."""
    until = time.monotonic() + seconds
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < until, f"process {pid} did not end"
        time.sleep(0.02)
