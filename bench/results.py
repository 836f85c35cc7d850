"""Where a bench leaves its figures: `bench/results/NAME.json`, with the machine they were taken on. `bench.report` reads them."""

from __future__ import annotations

import json
import os
import platform
import time
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "results"
_LOAD_BEFORE = os.getloadavg()[0]
"""Of the last minute before this process: what else the machine was busy with."""


def save(name: str, figures: dict[str, Any], *, folder: Path = FOLDER) -> Path:
    """Write `figures` (plain JSON values) under `name`, replacing what was there."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.json"
    entries = {"machine": machine(), **figures}.items()
    lines = [f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in entries]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    return path


def load(name: str, *, folder: Path = FOLDER) -> dict[str, Any] | None:
    """What was saved last; None when that bench has not been run."""
    path = folder / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def is_busy(figures: dict[str, Any]) -> bool:
    """Whether the machine had more to do than it has cores before the bench began."""
    return bool(figures["machine"]["load_average"] > figures["machine"]["cores"])


def machine() -> dict[str, Any]:
    """What a reader needs to know of where and when figures were taken."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu": _cpu(),
        "python": platform.python_version(),
        "taken": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "load_average": round(_LOAD_BEFORE, 2),
    }


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
