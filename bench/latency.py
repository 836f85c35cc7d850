"""How long an event is on its way at a steady 1,000 events a second: from the hands of its producer to a read_committed reader's.

    python -m bench.latency [--seconds 60] [--rate 1000]

Real Kafka, two partitions, one process of penstock, enrich-order. Producer and reader are processes of their own (`bench.paced`,
`bench.arrivals`); the first seconds are left out. Both ways of delivery with the defaults, then exactly-once with other
commit intervals. Writes `results/latency.json`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

from bench import results
from bench.contenders import ROOT, Progress, Setting, penstock, registry_text, spent
from tests.services.kafka import KafkaBroker
from tests.services.topics import create_topic, delete_topic

PARTITIONS = 2
WARM_UP_S = 5
BIN_MS = 0.5
TARGETS = {"at-least-once": (8.0, 25.0), "exactly-once": (40.0, 90.0)}
"""Median and 99th percentile that the defaults are to keep below, in milliseconds."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to run it."""

    delivery: str
    batch: str = ""
    """Settings under `batch`; empty is the defaults."""

    @property
    def name(self) -> str:
        return f"{self.delivery} {self.batch or 'defaults'}"


VARIANTS = (
    Variant("at-least-once"),
    Variant("exactly-once"),
    Variant("exactly-once", "commit_interval: 250ms"),
    Variant("exactly-once", "commit_interval: 500ms"),
    Variant("exactly-once", "commit_interval: 1s"),
)
"""A lane that has caught up commits at a fifth of the interval; two lanes never more often than every 20 ms."""


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds, over one run."""

    delivery: str
    batch: str
    p50_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float
    commits_per_s: float
    """Transactions, of all lanes together; 0 where there are none."""
    cpu_percent: float
    """Of one core."""
    late_ms_p99: float
    """The producer's own."""
    histogram: dict[str, int] = field(default_factory=dict)
    """Events by latency, in bins of `BIN_MS`; the key is where a bin begins."""


def run(setting: Setting, variant: Variant, number: int, rate: int) -> Latency:
    """One variant over a source of its own."""
    name = f"latency{number}"
    with setting.destination(name) as destination:
        path = setting.folder / f"{name}.yaml"
        path.write_text(
            registry_text(setting, name, destination, top=f"delivery: {variant.delivery}", batch=variant.batch)
        )
        with penstock(path) as process, Progress(setting, f"{name}-orders") as group:
            while not group.members():
                time.sleep(0.05)
            watched = [psutil.Process(process.pid)]
            reading = _start("bench.arrivals", setting.bootstrap, destination, PARTITIONS, setting.events)
            assert reading.stdout is not None and reading.stdout.readline() == b"ready\n", "the reader did not start"
            before, began = spent(watched, setting.broker), time.perf_counter()
            sending = _start("bench.paced", setting.bootstrap, setting.source, rate, setting.events)
            came, paced = _json_of(reading), _json_of(sending)
            seconds, after = time.perf_counter() - began, spent(watched, setting.broker)
    latencies = sorted(us / 1e3 for order, us in came["arrivals"] if order >= WARM_UP_S * rate)
    bins = Counter(int(ms / BIN_MS) for ms in latencies)
    return Latency(
        variant.delivery,
        variant.batch,
        percentile(latencies, 50),
        percentile(latencies, 99),
        percentile(latencies, 99.9),
        latencies[-1],
        came["markers"] / seconds,
        100 * (after.own - before.own) / seconds,
        paced["late_ms_p99"],
        {f"{place * BIN_MS:g}": bins[place] for place in sorted(bins)},
    )


def percentile(ordered: list[float], percent: float) -> float:
    """The smallest value that `percent` of all are not above."""
    place = -(-len(ordered) * percent // 100)
    return ordered[max(0, int(place) - 1)]


def _start(module: str, *arguments: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", module, *map(str, arguments)], cwd=ROOT, stdout=subprocess.PIPE)


def _json_of(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    output, _ = process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"{process.args!r} ended with exit code {process.returncode}")
    said: dict[str, Any] = json.loads(output)
    return said


def show(found: Latency) -> str:
    return (
        f"{found.delivery:>13} {found.batch or 'defaults':>24}: p50 {found.p50_ms:5.1f}  p99 {found.p99_ms:6.1f}  "
        f"p99.9 {found.p999_ms:6.1f} ms  {found.commits_per_s:5.1f} transactions/s  {found.cpu_percent:4.1f} % of a core  "
        f"(producer late by {found.late_ms_p99:.1f})"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60, help="after the warm-up")
    parser.add_argument("--rate", type=int, default=1_000)
    parser.add_argument("--defaults-only", action="store_true")
    options = parser.parse_args()
    events, runs = (WARM_UP_S + options.seconds) * options.rate, list[Latency]()
    variants = [each for each in VARIANTS if not (options.defaults_only and each.batch)]
    with tempfile.TemporaryDirectory() as folder, KafkaBroker(Path(folder) / "kafka") as broker:
        for number, variant in enumerate(variants):
            source = create_topic(broker.bootstrap, f"in{number}", PARTITIONS)
            setting = Setting(broker, source, PARTITIONS, events, Path(folder))
            runs.append(run(setting, variant, number, options.rate))
            print(show(runs[-1]), flush=True)
            delete_topic(broker.bootstrap, source)
    if not options.defaults_only:
        figures = {"rate": options.rate, "seconds": options.seconds, "bin_ms": BIN_MS, "targets": TARGETS}
        print(f"written to {results.save('latency', {**figures, 'runs': [asdict(each) for each in runs]})}")


if __name__ == "__main__":
    main()
