"""A real PostgreSQL server for tests: a cluster of its own in a folder of its own, on loopback. Knows no pytest but `required`.

The server dies with the process that started it, however that ends: a shell holds the reading end of a pipe and stops the server
when the pipe closes.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from tests.services.kafka import free_ports

START_TIMEOUT_S = 60.0
OWNER = "postgres"
"""PostgreSQL does not run as root: then it runs as this user, which its package makes."""
GUARD = '"$@" & server=$!; read -r _; kill -INT "$server" 2>/dev/null; wait "$server"'
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "fsync": "off",
    "full_page_writes": "off",
    "timezone": "Asia/Tokyo",  # not UTC: what comes out must not depend on it
    "max_connections": "40",
    "unix_socket_directories": "",
}


def binaries() -> Path | None:
    """The folder of `initdb` and `postgres`, the newest version's; None when PostgreSQL is not installed."""
    packaged = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[4]))
    if packaged:
        return packaged[-1].parent
    found = shutil.which("initdb")
    return Path(found).resolve().parent if found else None


def missing() -> str | None:
    """What this machine lacks, as half a sentence; None when nothing is missing."""
    if binaries() is None:
        return "there is no PostgreSQL (no initdb)"
    if os.geteuid() == 0:
        try:
            pwd.getpwnam(OWNER)
        except KeyError:
            return f"this is root, and there is no user `{OWNER}` for PostgreSQL to run as"
    return None


class Postgres:
    """One server; a context manager that leaves neither process nor data behind."""

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        """`settings` are the server's, besides `SETTINGS`."""
        self._settings = dict(settings or {})
        self.folder = Path(tempfile.mkdtemp(prefix="penstock-postgres-"))
        (self.port,) = free_ports(1)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def dsn(self) -> str:
        """Of the superuser, without a password."""
        return self.dsn_of("postgres")

    def dsn_of(self, user: str, database: str = "postgres") -> str:
        """The same as another user, for another database."""
        return f"host=127.0.0.1 port={self.port} dbname={database} user={user}"

    def __enter__(self) -> Postgres:
        try:
            self._create()
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Start, on the data that is there; returns when it answers."""
        bin_folder = binaries()
        assert bin_folder is not None and self._process is None
        options = [
            f"--{name}={value}" for name, value in (SETTINGS | self._settings | {"port": str(self.port)}).items()
        ]
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                _as_owner(["sh", "-c", GUARD, "guard", str(bin_folder / "postgres"), "-D", str(self._data), *options]),
                stdin=subprocess.PIPE,  # held open: its end is the server's end
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=self.folder,
            )
        self._wait_until_ready()

    def stop(self) -> None:
        """End the server at once; its data stays."""
        if self._process is None:
            return
        process, self._process = self._process, None
        assert process.stdin is not None
        process.stdin.close()
        process.wait(30)

    def kill(self) -> None:
        """SIGKILL to the server and all it started: it finds out at its next start what was committed."""
        for pid in self._family():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.stop()

    def stand_still(self, *, still: bool) -> None:
        """Freeze every process of the server, or let them go on: it accepts connections and answers nothing."""
        for pid in self._family():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP if still else signal.SIGCONT)

    def close(self) -> None:
        """Stop and delete the data."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def psql(self, script: str, user: str = "postgres", database: str = "postgres") -> str:
        """Run statements, unaligned tuples out."""
        bin_folder = binaries()
        assert bin_folder is not None
        command = [
            str(bin_folder / "psql"),
            "-X",
            "-q",
            "-At",
            "-v",
            "ON_ERROR_STOP=1",
            "-d",
            self.dsn_of(user, database),
        ]
        done = subprocess.run(command, input=script, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr)
        return done.stdout.strip()

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _family(self) -> set[int]:
        """The postmaster and what it started; each has a session of its own."""
        with contextlib.suppress(OSError, ValueError):
            parent = int((self._data / "postmaster.pid").read_text().splitlines()[0])
            found = subprocess.run(
                ["ps", "-o", "pid=", "--ppid", str(parent)], capture_output=True, text=True, check=False
            )
            return {parent, *map(int, found.stdout.split())}
        return set()

    def _create(self) -> None:
        bin_folder = binaries()
        assert bin_folder is not None
        if os.geteuid() == 0:
            shutil.chown(self.folder, OWNER)
        command = [str(bin_folder / "initdb"), "-D", str(self._data), "-U", "postgres", "-A", "trust", "-N"]
        done = subprocess.run(
            _as_owner([*command, "-E", "UTF8", "--locale=C.UTF-8"]),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            cwd=self.folder,
        )
        if done.returncode:
            raise RuntimeError(f"initdb failed:\n{done.stderr}")

    def _wait_until_ready(self) -> None:
        assert self._process is not None
        end = time.monotonic() + START_TIMEOUT_S
        while True:
            if self._process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"PostgreSQL did not start:\n{(self.folder / 'server.log').read_text()[-3000:]}")
            with contextlib.suppress(OSError, RuntimeError), socket.create_connection(("127.0.0.1", self.port), 1):
                self.psql("select 1")
                return
            time.sleep(0.05)


def _as_owner(command: list[str]) -> list[str]:
    return ["runuser", "-u", OWNER, "--", *command] if os.geteuid() == 0 else command
