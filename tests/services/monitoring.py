"""What watches penstock's metrics, for tests: a real Prometheus. Knows no pytest."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from tests.services.kafka import free_ports


class Prometheus:
    """One server with data of its own in `folder`; a context manager."""

    def __init__(self, folder: Path, configuration: str) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "prometheus.yml").write_text(configuration)
        (self.port,) = free_ports(1)

    @staticmethod
    def missing() -> str | None:
        """What this machine lacks, as half a sentence; None when nothing is missing."""
        return None if shutil.which("prometheus") else "there is no prometheus"

    def __enter__(self) -> Prometheus:
        command = [
            "prometheus",
            f"--config.file={self._folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={self._folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
        ]
        self._log = (self._folder / "log").open("wb")
        self._process = subprocess.Popen(command, stdout=self._log, stderr=self._log)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait(10)
        self._log.close()

    def ask(self, expression: str) -> list[dict[str, Any]]:
        """The samples of an instant query; empty while it has none, or does not answer yet."""
        url = f"http://127.0.0.1:{self.port}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=10) as answer:
            found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
            return found
        return []

    def wait_for(self, expression: str, seconds: float) -> list[dict[str, Any]]:
        """The samples of an instant query, as soon as there are any. Raises RuntimeError with its log when there are none in time."""
        until = time.monotonic() + seconds
        while not (found := self.ask(expression)):
            if time.monotonic() > until:
                raise RuntimeError(f"Prometheus has no {expression}:\n{(self._folder / 'log').read_text()[-2000:]}")
            time.sleep(0.2)
        return found
