"""A real schema registry for tests: `schema_registry.sh guard` behind an object. Knows no pytest.

The server dies with the process that started it, however that ends: the script holds the reading end of a pipe.
"""

from __future__ import annotations

import base64
import contextlib
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

from tests.services.kafka import free_ports

SCRIPT = Path(__file__).with_name("schema_registry.sh")
START_TIMEOUT_S = 180.0
"""Downloads included."""


class ApicurioRegistry:
    """One registry, in memory. A context manager."""

    def __init__(self, folder: Path, user: str = "", password: str = "", port: int | None = None) -> None:
        self.folder = folder
        self._user, self._password = user, password
        self.port = port or free_ports(1)[0]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it speaks Confluent's API."""
        return f"http://127.0.0.1:{self.port}/apis/ccompat/v7"

    @property
    def own_url(self) -> str:
        """Where it speaks its own."""
        return f"http://127.0.0.1:{self.port}/apis/registry/v3"

    def start(self) -> None:
        """Start, empty; returns when it answers."""
        assert self._process is None
        self.folder.mkdir(parents=True, exist_ok=True)
        environment = {
            "REGISTRY_FOLDER": str(self.folder),
            "REGISTRY_PORT": str(self.port),
            "REGISTRY_USER": self._user,
            "REGISTRY_PASSWORD": self._password,
        }
        with (self.folder / "guard.log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(SCRIPT), "guard"],
                stdin=subprocess.PIPE,  # held open: its end is the registry's end
                stdout=log,
                stderr=log,
                env=os.environ | environment,
                start_new_session=True,
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self.kill()
            raise

    def kill(self) -> None:
        """SIGKILL; what was registered is gone."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(OSError, ValueError):
            os.kill(int((self.folder / "registry.pid").read_text()), signal.SIGKILL)
        assert process.stdin is not None
        process.stdin.close()
        process.wait(30)

    def __enter__(self) -> ApicurioRegistry:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def _wait_until_ready(self) -> None:
        assert self._process is not None
        end = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > end:
                logs = [self.folder / "guard.log", self.folder / "registry.log"]
                tails = "\n".join(log.read_text(errors="replace")[-3000:] for log in logs if log.exists())
                raise RuntimeError(f"the schema registry did not start:\n{tails}")
            time.sleep(0.1)

    def _answers(self) -> bool:
        credentials = base64.b64encode(f"{self._user}:{self._password}".encode()).decode()
        headers = {"authorization": f"Basic {credentials}"} if self._user else {}
        try:
            with urllib.request.urlopen(urllib.request.Request(f"{self.url}/subjects", headers=headers), timeout=10):
                return True
        except (urllib.error.URLError, OSError):
            return False


def converters() -> Path:
    """The folder with Apicurio's converters for Kafka Connect, downloaded when it is not there."""
    done = subprocess.run([str(SCRIPT), "converters"], capture_output=True, text=True, timeout=600, check=True)
    return Path(done.stdout.strip().splitlines()[-1])
