"""What each level of isolation costs: `python -m bench.isolation [--rounds 5]`. Writes `results/isolation.json`.

256 JSON events through enrich-order, a fresh guest for each batch. Each round measures every level in a process of its own, in an order that
turns; figures are medians of the rounds. Time per event is the wall's, because part of the work is in another process, and beside it the
CPU of both. The compiled module comes from the cache on disk. *start* is `Sandbox.load`, which runs a guest once; *again* is the first batch
after a breach: for `process` the process was killed, for the others there is nothing to start but the fresh guest that each batch has anyway.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from bench import results
from bench.sandbox import LANE, load, orders
from pipeline.service import tune_process
from sandbox import Sandbox
from sandbox.process.guest import ProcessPlan
from schemas.event import Batch
from schemas.specs import IsolationLevel

EVENTS = 256
BATCHES = 200
AGAIN = 3


def measure(level: IsolationLevel, cache: Path) -> dict[str, Any]:
    """One level, in this process."""
    tune_process()
    batch = Batch(LANE, orders(EVENTS))
    with Sandbox(cache_dir=cache) as sandbox:
        began = time.perf_counter()
        transformer = load(sandbox, "enrich_order", isolation=level)
        start_ms = (time.perf_counter() - began) * 1e3
        session = transformer.session()
        guests = transformer._plan.guests
        pids = guests.processes.pids if isinstance(guests, ProcessPlan) else list
        for _ in range(20):
            session.run(batch)
        began, cpu = time.perf_counter(), cpu_s(pids())
        for _ in range(BATCHES):
            session.run(batch)
        count = BATCHES * EVENTS
        wall_us, cpu_us = (time.perf_counter() - began) / count * 1e6, (cpu_s(pids()) - cpu) / count * 1e6
        rss = [psutil.Process(pid).memory_info() for pid in pids()]
        found = {
            "start_ms": start_ms,
            "wall_us": wall_us,
            "cpu_us": cpu_us,
            "host_rss_mb": psutil.Process().memory_info().rss / 1e6,
            "process_rss_mb": max((one.rss / 1e6 for one in rss), default=0.0),
            "process_own_mb": max(((one.rss - one.shared) / 1e6 for one in rss), default=0.0),
        }
        again = []
        for _ in range(AGAIN):
            for pid in pids():
                os.kill(pid, signal.SIGKILL)
            began = time.perf_counter()
            session.run(batch)
            again.append((time.perf_counter() - began) * 1e3)
        session.close()
        return found | {"again_ms": statistics.median(again)}


def cpu_s(pids: list[int]) -> float:
    """Of this process and these."""
    return sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in (os.getpid(), *pids))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--level", choices=[*IsolationLevel], help="measure one level here, and print it")
    parser.add_argument("--cache", type=Path)
    options = parser.parse_args()
    if options.level is not None:
        print(json.dumps(measure(IsolationLevel(options.level), options.cache)))
        return
    taken: dict[str, list[dict[str, float]]] = {level.value: [] for level in IsolationLevel}
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder:
        for number in range(options.rounds + 1):
            names = list(taken)
            for name in names[number % len(names) :] + names[: number % len(names)]:
                command = [sys.executable, "-m", "bench.isolation", "--level", name, "--cache", f"{folder}/cache"]
                found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
                if number:  # the first round fills the cache
                    taken[name].append(found)
    levels = {
        name: {figure: statistics.median(one[figure] for one in runs) for figure in runs[0]}
        for name, runs in taken.items()
    }
    print(json.dumps(levels, indent=1))
    results.save("isolation", {"rounds": options.rounds, "events": EVENTS, "levels": levels})


if __name__ == "__main__":
    main()
