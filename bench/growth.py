"""What an event costs as a service grows: 2 to 64 partitions, 1 to 4 processes, the same load; and what the cost is made of.

    python -m bench.growth [--events 2000000] [--rounds 3]

Each point drains the same number of ~400-byte orders through enrich-order, exactly once. All lanes are held back until every process
has joined, then released at once (`bench.hold`); the points of a round are taken in an order that turns. Then the same at two
partitions with one thing changed at a time, which takes the cost apart (`bench.model` adds it up again):

- everything is dropped by the guest: what remains in the event loop is fetching;
- a commit after every batch, batches a tenth the size, events four times as large.

Writes `results/growth.json`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from bench import results
from bench.contenders import MODULES, Figures, Progress, Setting, penstock, registry_text, watch
from bench.hold import Hold
from bench.orders import fill
from tests.services.kafka import KafkaBroker, free_ports
from tests.services.topics import create_topic

POINTS = ((2, 1), (8, 1), (32, 1), (64, 1), (8, 2), (8, 4), (64, 2), (64, 4))
"""Partitions and processes."""
PADDING = 1_200
SNAPSHOT_S = 2.0
"""Workers leave their samples for the supervisor about once a second."""
DROP_ALL = f"{{module: {MODULES}/enrich_order.wasm, config: {{currency: EUR, drop_statuses: [placed]}}}}"
VARIANTS: dict[str, dict[str, str]] = {
    "as it is": {},
    "all dropped": {"through": DROP_ALL},
    "a commit per batch": {"batch": "commit_events: 2000"},
    "small batches": {"batch": "events: 200"},
    "large events": {},
}


@dataclass(frozen=True, slots=True)
class Point:
    """One run."""

    partitions: int
    processes: int
    variant: str
    events: int
    figures: Figures
    commits: int
    """Over the whole run, all lanes."""
    batches: int
    commit_ms: float
    """How long one took, on average."""


def run(setting: Setting, name: str, processes: int, variant: str = "as it is") -> Point:
    """Drain the source once."""
    port = free_ports(1)[0]
    with setting.destination(name) as destination:
        path = setting.folder / f"{name}.yaml"
        path.write_text(registry_text(setting, name, destination, **VARIANTS[variant]))
        hold = Hold(setting, name)
        options = ["--admin", f"127.0.0.1:{port}", *(["--processes", str(processes)] if processes > 1 else [])]
        with penstock(path, *options) as process, Progress(setting, f"{name}-orders") as group:
            hold.release(group, min(processes, setting.partitions))
            figures = watch(setting, process, processes, group, lambda: running_lanes(port) == setting.partitions)
            time.sleep(SNAPSHOT_S if processes > 1 else 0)
            counted = scrape(port)
        hold.close()
    commits = counted["penstock_commit_duration_seconds_count"]
    return Point(
        setting.partitions,
        processes,
        variant,
        setting.events,
        figures,
        int(commits),
        int(counted["penstock_transform_batch_duration_seconds_count"]),
        1e3 * counted["penstock_commit_duration_seconds_sum"] / commits,
    )


def running_lanes(port: int) -> int:
    """By the admin port, asked no more than ten times a second."""
    time.sleep(0.1)
    return sum(
        int(sample.value)
        for family in _families(port)
        for sample in family.samples
        if sample.name == "penstock_lane_state" and sample.labels["state"] == "running"
    )


def scrape(port: int) -> Mapping[str, float]:
    """Every sample of the admin port, its labels summed up."""
    sums: dict[str, float] = {}
    for family in _families(port):
        for sample in family.samples:
            sums[sample.name] = sums.get(sample.name, 0.0) + sample.value
    return sums


def _families(port: int) -> Iterable[Metric]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return list(text_string_to_metric_families(answer.read().decode()))


def measure(settings: Mapping[int, Setting], large: Setting, rounds: int, points: list[tuple[int, int]]) -> list[Point]:
    """All points and variants, or these points only, round by round."""
    turns = [(settings[partitions], processes, "as it is") for partitions, processes in points or POINTS]
    turns += (
        []
        if points
        else [(large if name == "large events" else settings[2], 1, name) for name in VARIANTS if name != "as it is"]
    )
    taken: list[Point] = []
    for number in range(rounds):
        shift = number * 3 % len(turns)
        for place, (setting, processes, variant) in enumerate(turns[shift:] + turns[:shift]):
            taken.append(run(setting, f"growth{number}-{place}", processes, variant))
            print(f"round {number + 1} of {rounds}  {show(taken[-1])}", file=sys.stderr, flush=True)
    return taken


def show(point: Point) -> str:
    figures = point.figures
    return (
        f"{point.partitions:>3} partitions {point.processes} processes {point.variant:>18}: "
        f"{figures.events_per_s:8,.0f} events/s  {figures.cpu_us_per_event:5.2f} µs of CPU per event "
        f"(loop {figures.loop_us_per_event:.2f}, guests {figures.guest_us_per_event:.2f}, broker {figures.broker_us_per_event:.2f})  "
        f"{point.commits} commits of {point.commit_ms:.1f} ms, {point.batches} batches  {figures.rss_mb_peak:.0f} MB"
    )


def plain(point: Point) -> dict[str, Any]:
    return {**asdict(point), "figures": asdict(replace(point.figures, curve=[]))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=2_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--points", default="", help="only these, e.g. 2x1,64x4 (not saved)")
    options = parser.parse_args()
    points = [(int(p), int(n)) for p, _, n in (point.partition("x") for point in options.points.split(",") if point)]
    with tempfile.TemporaryDirectory() as folder, KafkaBroker(Path(folder) / "kafka", heap="1g") as broker:

        def source(partitions: int, events: int, padding: int = 0) -> Setting:
            topic = create_topic(broker.bootstrap, f"in.{partitions}.{padding}", partitions)
            fill(broker.bootstrap, topic, partitions, events, padding=padding)
            return Setting(broker, topic, partitions, events, Path(folder))

        settings = {count: source(count, options.events) for count in {2, *(count for count, _ in points or POINTS)}}
        large = source(2, 0 if points else options.events // 2, PADDING)
        taken = measure(settings, large, options.rounds, points)
    if not points:
        figures = {"events": options.events, "padding": PADDING, "rounds": options.rounds}
        print(f"written to {results.save('growth', {**figures, 'points': [plain(point) for point in taken]})}")
    else:
        print(json.dumps([plain(point) for point in taken]))


if __name__ == "__main__":
    main()
