"""The `penstock` command in a process of its own: how it ended, what it said, how long it took and how much memory it had."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
RSS_BYTES_MAX = 400 << 20
"""Python with everything imported and a compiled module has about 120 MiB."""


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    """Negative: the signal that killed it."""
    out: bytes
    err: bytes
    seconds: float
    rss_bytes_max: int

    @property
    def said(self) -> str:
        return self.err.decode(errors="replace")


def penstock(
    *arguments: str | bytes | Path,
    stdin: bytes = b"",
    environ: Mapping[str, str | bytes] | None = None,
    timeout_s: float = 60.0,
) -> Ended:
    """Run the command to its end. Fails when it does not come to one in time; standard input is a file and may be large."""
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write(stdin)
        given.seek(0)
        began = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-m", "pipeline.cli", *arguments],
            stdin=given,
            stdout=out,
            stderr=err,
            cwd=ROOT,
            env={**os.environb, **_bytes(environ or {})},
        )
        rss_kib = _wait(process, began + timeout_s)
        seconds = time.monotonic() - began
        out.seek(0)
        err.seek(0)
        return Ended(process.returncode, out.read(), err.read(), seconds, rss_kib << 10)


def refused(ended: Ended, *says: str) -> None:
    """A user's mistake: exit code 2, a message, no traceback, bounded memory."""
    assert ended.code == 2, (ended.code, ended.said[-2000:])
    harmless(ended)
    assert ended.said.strip()
    for each in says:
        assert each in ended.said, ended.said[-2000:]


def harmless(ended: Ended) -> None:
    """However it ended, it did so by itself, without a traceback, in bounded memory, and said little."""
    assert ended.code in (0, 1, 2), (ended.code, ended.said[-2000:])
    assert b"Traceback" not in ended.err, ended.said[-4000:]
    assert ended.rss_bytes_max < RSS_BYTES_MAX, ended.rss_bytes_max
    assert len(ended.err) < 1 << 20


def _wait(process: subprocess.Popen[bytes], until: float) -> int:
    """Peak memory in KiB, as far as it was seen: what `wait4` tells begins with the parent's own, so /proc is looked at instead."""
    peak_kib = 0
    while process.poll() is None:
        peak_kib = max(peak_kib, _peak_kib(process.pid))
        if time.monotonic() > until:
            process.kill()
            process.wait()
            raise AssertionError(f"{process.args!r} did not come to an end")
        time.sleep(0.005)
    return peak_kib


def _peak_kib(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)


def _bytes(environ: Mapping[str, str | bytes]) -> dict[bytes, bytes]:
    return {name.encode(): os.fsencode(value) for name, value in environ.items()}


def ends(arguments: Sequence[str | bytes | Path]) -> Ended:
    """Run it; whatever it is told, it must end harmlessly."""
    ended = penstock(*arguments)
    harmless(ended)
    return ended
