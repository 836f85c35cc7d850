"""A real Apache Kafka broker for tests: `kafka.sh guard` behind an object. Knows no pytest.

The broker dies with the process that started it, however that ends: the script holds the reading end of a pipe.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

SCRIPT = Path(__file__).with_name("kafka.sh")
BASE = Path(os.environ.get("KAFKA_BASE") or SCRIPT.parents[2] / ".services")
VERSION = os.environ.get("KAFKA_VERSION", "4.3.1")
START_TIMEOUT_S = 90.0


def missing_tools() -> str | None:
    """What this machine lacks to run Kafka, as half a sentence; None when nothing is missing."""
    version = _java_version()
    if version is None:
        return "there is no java"
    if version < 17:
        return f"java is version {version}"
    if shutil.which("mvn") is None and not (BASE / f"libs-{VERSION}" / ".complete").exists():
        return "there is no mvn"
    return None


def _java_version() -> int | None:
    try:
        said = subprocess.run(["java", "-version"], capture_output=True, text=True, timeout=60, check=True).stderr
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r'version "(?:1\.)?(\d+)', said)
    return int(found[1]) if found else None


class KafkaBroker:
    """One broker with data of its own in `folder`; a context manager that leaves neither process nor data behind."""

    def __init__(
        self,
        folder: Path,
        *,
        listeners: Sequence[str] = (),
        advertised: Mapping[str, str] | None = None,
        properties: Mapping[str, str] | None = None,
        format_args: Sequence[str] = (),
        heap: str = "512m",
    ) -> None:
        """`listeners` names security protocols (SSL, SASL_SSL, ...) to listen on besides PLAINTEXT.

        `advertised` replaces the `localhost:port` that a listener tells its clients.
        `properties` go into server.properties last, so they win. `format_args` are for the storage tool, without spaces
        inside one (`--add-scram`, `SCRAM-SHA-512=[name=shop,password=secret]`).
        """
        self.folder = folder
        self._names = ("PLAINTEXT", *listeners)
        self._advertised = dict(advertised or {})
        self._properties = dict(properties or {})
        self._format_args = tuple(format_args)
        self._heap = heap
        self._ports = dict(zip((*self._names, "CONTROLLER"), free_ports(len(self._names) + 1), strict=True))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        """`host:port` of the PLAINTEXT listener."""
        return self.address("PLAINTEXT")

    def address(self, listener: str, host: str = "localhost") -> str:
        """`host:port` of a listener. The broker listens on 127.0.0.1 and advertises `localhost`."""
        return f"{host}:{self._ports[listener]}"

    def start(self) -> None:
        """Start, on the data that is there; returns when every listener answers."""
        assert self._process is None
        self.folder.mkdir(parents=True, exist_ok=True)
        extra = self.folder / "extra.properties"
        extra.write_text("".join(f"{key}={value}\n" for key, value in self._all_properties().items()))
        with (self.folder / "guard.log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(SCRIPT), "guard"],
                stdin=subprocess.PIPE,  # held open: its end is the broker's end
                stdout=log,
                stderr=log,
                env=os.environ | self._environment(extra),
                start_new_session=True,  # Ctrl-C ends the tests first, and they end the broker
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self.kill()
            raise

    def kill(self) -> None:
        """SIGKILL: nothing is flushed, nothing is said. `start` goes on with what is on the disk."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """A clean shutdown; data stays."""
        self._end(signal.SIGTERM)

    def restart(self, properties: Mapping[str, str] | None = None) -> None:
        """Stop and start again on the same ports, with these properties changed."""
        self.stop()
        self._properties |= properties or {}
        self.start()

    def close(self) -> None:
        """Kill and delete the data."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> KafkaBroker:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _all_properties(self) -> dict[str, str]:
        bound = [f"{name}://127.0.0.1:{self._ports[name]}" for name in self._names]
        advertised = [f"{name}://{self._advertised.get(name, self.address(name))}" for name in self._names]
        return {
            "listeners": ",".join((*bound, f"CONTROLLER://127.0.0.1:{self._ports['CONTROLLER']}")),
            "advertised.listeners": ",".join(advertised),
            **self._properties,
        }

    def _environment(self, extra: Path) -> dict[str, str]:
        return {
            "KAFKA_BASE": str(BASE),
            "KAFKA_DATA": str(self.folder),
            "KAFKA_PORT": str(self._ports["PLAINTEXT"]),
            "KAFKA_CONTROLLER_PORT": str(self._ports["CONTROLLER"]),
            "KAFKA_HEAP": self._heap,
            "KAFKA_EXTRA": str(extra),
            "KAFKA_FORMAT_ARGS": " ".join(self._format_args),
        }

    def _wait_until_ready(self) -> None:
        assert self._process is not None
        waiting = [self._ports[name] for name in self._names]
        installed = (BASE / f"libs-{VERSION}" / ".complete").exists()
        end = time.monotonic() + (START_TIMEOUT_S if installed else 10 * START_TIMEOUT_S)
        while waiting:
            if self._process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"the Kafka broker did not start:\n{self.log_tail()}")
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", waiting[0]), 1):
                waiting.pop(0)
                continue
            time.sleep(0.05)

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        process, self._process = self._process, None
        with contextlib.suppress(OSError, ValueError):
            os.kill(int((self.folder / "kafka.pid").read_text()), how)
        assert process.stdin is not None
        try:
            if how == signal.SIGTERM:
                process.wait(30)
        except subprocess.TimeoutExpired:
            pass  # closing the pipe below kills it
        finally:
            process.stdin.close()
            process.wait(30)

    def log_tail(self, lines: int = 30) -> str:
        """The last lines of what the script and the broker wrote."""
        texts = [
            (self.folder / name).read_text(errors="replace")
            for name in ("guard.log", "server.log")
            if (self.folder / name).exists()
        ]
        return "\n".join("\n".join(text.splitlines()[-lines:]) for text in texts)


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on, below the range that outgoing connections take theirs from."""
    ports: list[int] = []
    while len(ports) < count:
        port = random.randrange(15_000, 32_000)
        if port not in ports and _is_free(port):
            ports.append(port)
    return ports


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
