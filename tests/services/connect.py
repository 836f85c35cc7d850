"""Kafka Connect with Debezium for tests: `connect.sh guard` behind an object. Knows no pytest.

The worker dies with the process that started it, however that ends: the script holds the reading end of a pipe.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.services.kafka import free_ports

SCRIPT = Path(__file__).with_name("connect.sh")
START_TIMEOUT_S = 120.0
"""Downloads included."""
RUN_TIMEOUT_S = 90.0


class Connect:
    """One worker; its state is in Kafka, so that `kill` and `start` go on where it was. A context manager."""

    def __init__(self, folder: Path, bootstrap: str, properties: str = "", plugins: Path | None = None) -> None:
        """`properties` are the worker's; its addresses and plugins (and further `plugins`) are this machine's whatever they say."""
        self.folder = folder
        self._properties = properties
        self._bootstrap = bootstrap
        self._plugins = plugins
        (self.port,) = free_ports(1)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start; returns when it has joined its group and answers."""
        assert self._process is None
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "base.properties").write_text(self._properties)
        environment = {
            "CONNECT_FOLDER": str(self.folder),
            "CONNECT_PORT": str(self.port),
            "KAFKA_BOOTSTRAP": self._bootstrap,
            "CONNECT_PLUGINS": str(self._plugins or ""),
        }
        with (self.folder / "guard.log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(SCRIPT), "guard"],
                stdin=subprocess.PIPE,  # held open: its end is the worker's end
                stdout=log,
                stderr=log,
                env=os.environ | environment,
                start_new_session=True,
            )
        self._wait("to start", START_TIMEOUT_S, lambda: self._ask("GET", "/connectors") is not None)

    def kill(self) -> None:
        """SIGKILL: a transaction under way stays open until its producer's successor fences it."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(OSError, ValueError):
            os.kill(int((self.folder / "connect.pid").read_text()), signal.SIGKILL)
        assert process.stdin is not None
        process.stdin.close()
        process.wait(30)

    def run(self, name: str, config: Mapping[str, str]) -> None:
        """Create the connector, or change it; returns when it and its task run."""
        self._wait(
            f"to take the connector {name}",
            RUN_TIMEOUT_S,
            lambda: self._ask("PUT", f"/connectors/{name}/config", config) is not None,
        )
        self.wait_until_running(name)

    def wait_until_running(self, name: str) -> None:
        """Returns when the connector and its task run. Raises RuntimeError with its trace when one of them failed."""
        self._wait(f"until {name} runs", RUN_TIMEOUT_S, lambda: self._runs(name))

    def __enter__(self) -> Connect:
        try:
            self.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def _runs(self, name: str) -> bool:
        status = self._ask("GET", f"/connectors/{name}/status") or {}
        parts = [status.get("connector", {}), *status.get("tasks", [])]
        failed = [part for part in parts if part.get("state") == "FAILED"]
        if failed:
            raise RuntimeError(f"{name} failed:\n{failed[0].get('trace', failed[0])}")
        return len(parts) > 1 and all(part.get("state") == "RUNNING" for part in parts)

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        """The answer, or None while there is none (starting, rebalancing, not known yet)."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"content-type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return json.loads(response.read() or b"{}")
        except urllib.error.HTTPError as error:
            said = error.read().decode(errors="replace")
            if error.code in (404, 409, 500, 503):
                return None
            raise RuntimeError(f"{method} {path}: {error.code}: {said}") from None
        except OSError:
            return None

    def _wait(self, what: str, seconds: float, done: Any) -> None:
        end = time.monotonic() + seconds
        while not done():
            if self._process is None or self._process.poll() is not None or time.monotonic() > end:
                logs = [self.folder / "guard.log", self.folder / "worker.log"]
                tails = "\n".join(log.read_text()[-3000:] for log in logs if log.exists())
                raise RuntimeError(f"Kafka Connect did not come {what} within {seconds:.0f} s:\n{tails}")
            time.sleep(0.1)
