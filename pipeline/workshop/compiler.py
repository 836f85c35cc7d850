"""Runs a compiler: what it says is kept for the user, and a failure is a BuildError."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.workshop.errors import BuildError

BUILD_SECONDS_MAX = 900
TEXT_CHARACTERS_MAX = 100_000


def run_compiler(
    command: Sequence[str | Path], *, cwd: Path, environ: Mapping[str, str] | None = None, what: str = "the compiler"
) -> str:
    """What the command printed. Raises BuildError with that text when it fails, cannot be started or takes longer than 15 minutes."""
    line = [str(part) for part in command]
    try:
        done = subprocess.run(
            line,
            cwd=cwd,
            env=dict(os.environ if environ is None else environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=BUILD_SECONDS_MAX,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise BuildError(f"{what} took longer than {BUILD_SECONDS_MAX // 60} minutes") from None
    except OSError as error:
        raise BuildError(f"{what} cannot be started: {error.strerror} ({line[0]})") from None
    said = done.stdout[-TEXT_CHARACTERS_MAX:]
    if done.returncode:
        how = f"exit code {done.returncode}" if done.returncode > 0 else f"signal {-done.returncode}"
        raise BuildError(f"{what} failed ({how})", said.strip())
    return said
