"""Languages in tests: what has a template, and what to do where a toolchain is missing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from pipeline.assets import sdk_folder
from pipeline.workshop.errors import MissingToolchainError
from pipeline.workshop.languages import available, language

ROOT = Path(__file__).resolve().parents[2]
GUESTS = ROOT / "transformers" / "guests"
MODULES = ROOT / "transformers" / "modules"


def templated() -> list[str]:
    """Languages that `penstock new` can make a project of."""
    return [name for name in available() if (sdk_folder(name) / "template" / "guest.toml").is_file()]


def need(name: str) -> None:
    """Skip, and say so, where this language's tools are missing; fail where they must not be (PENSTOCK_REQUIRE_SERVICES=1)."""
    missing = language(name).missing()
    if missing:
        _absent(f"{name} needs: {'; '.join(missing)}")


def absent(error: MissingToolchainError) -> NoReturn:
    """The same, when it turned out during a fetch."""
    _absent(str(error))


def _absent(what: str) -> NoReturn:
    if os.environ.get("PENSTOCK_REQUIRE_SERVICES") == "1":
        pytest.fail(f"PENSTOCK_REQUIRE_SERVICES=1, but {what}", pytrace=False)
    pytest.skip(what)


def penstock(*arguments: str, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """The command as a user runs it, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "pipeline.cli", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200", **environ},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
