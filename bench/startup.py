"""How long `penstock run` takes from exec until its first output can be read, on real Kafka, with a warm module cache.

    python -m bench.startup [--runs 12] [--routes 1]

The group and the topics are there, and one event waits. The clock runs from exec to the moment a read_committed reader,
which was waiting at the end of the output topic, has the event. `group.initial.rebalance.delay.ms` is the broker's and is 0
here; with Kafka's default an empty group waits 3 s on top of all of this, whatever joins it. Each run is one process and then
two under a supervisor, in turn. Where the time goes is told by the log, whose lines have the time of day. Writes
`results/startup.json`.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil
from confluent_kafka import Consumer, TopicPartition

from bench import results
from bench.contenders import MODULES
from tests.services.kafka import KafkaBroker
from tests.services.topics import await_empty_group, create_topic, produce

PARTITIONS = 2
PATIENCE_S = 60.0
STAGES = {
    "imported": "the registry is",
    "modules loaded": "the registry is checked and its modules are loaded",
    "cluster checked": "the topics are as the registry needs them",
    "lane running": "is running",
}
"""What the log says when each stage is over, first time."""
REGISTRY = """
version: 1
kafka: {{brokers: "{bootstrap}", group: startup, control_topic: startup.control, session_timeout: 6s}}
transformers:
  enrich-order: {{module: {modules}/enrich_order.wasm, config: {{currency: EUR, drop_statuses: [draft]}}}}
routes:
{routes}
"""
ROUTE = "  r{n}: {{from: r{n}.in, through: [enrich-order], to: r{n}.out, dead_letter: startup.dead}}\n"
ORDER = b'{"before":null,"after":{"id":1,"amount":"1.25","status":"placed"},"op":"c","ts_ms":1}'


class Reader:
    """Waits at the end of the first route's output."""

    def __init__(self, bootstrap: str) -> None:
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "startup-reader",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": 5,
            }
        )
        places = [TopicPartition("r0.out", partition) for partition in range(PARTITIONS)]
        ends = [self._consumer.get_watermark_offsets(place, PATIENCE_S)[1] for place in places]
        self._consumer.assign([TopicPartition(p.topic, p.partition, end) for p, end in zip(places, ends, strict=True)])
        self._consumer.poll(0.2)  # the first fetch is on its way

    def wait(self) -> float:
        """Time of day at which the next record was here."""
        message = self._consumer.poll(PATIENCE_S)
        if message is None or message.error():
            raise RuntimeError("nothing came out")
        return time.time()

    def close(self) -> None:
        self._consumer.close()


@dataclass(frozen=True, slots=True)
class Start:
    """One start. Milliseconds."""

    total: float
    """Until the first output could be read."""
    cpu: float
    """User and system time of all its processes by then: what is left of `total` on a machine with nothing else to do, but for
    waiting."""
    stages: dict[str, float]
    """Until each stage was over."""


def start(bootstrap: str, registry: Path, log: Path, processes: int) -> Start:
    """Start it, wait for its first output, stop it, and wait until it has left its groups."""
    reader = Reader(bootstrap)
    produce(bootstrap, "r0.in", [(b"1", ORDER)])
    command = [sys.executable, "-m", "pipeline.cli", "run", str(registry), "--processes", str(processes)]
    with log.open("wb") as stderr:
        began = time.time()
        process = subprocess.Popen([*command, "--log-level", "debug"], stderr=stderr)
    try:
        total = reader.wait() - began
        cpu = cpu_s(process.pid)
    finally:
        process.terminate()
        process.wait(PATIENCE_S)
        reader.close()
    groups = re.findall(r"^  (r\d+):", registry.read_text(), re.MULTILINE)
    for route in groups:
        await_empty_group(bootstrap, f"startup-{route}")
    told = {name: (at - began) * 1e3 for name, at in stages(log.read_text(), began)}
    return Start(total * 1e3, cpu * 1e3, told)


def cpu_s(pid: int) -> float:
    """Of a process and its children."""
    whole = psutil.Process(pid)
    return sum(sum(each.cpu_times()[:2]) for each in (whole, *whole.children(recursive=True)))


def stages(log: str, began: float) -> Iterator[tuple[str, float]]:
    """When each stage was over first. The log has no date: it is today's, or the run's last midnight was in it."""
    today = datetime.fromtimestamp(began, UTC).date()
    for name, words in STAGES.items():
        found = re.search(rf"^(\d\d:\d\d:\d\d\.\d{{3}}) .*{re.escape(words)}", log, re.MULTILINE)
        if found is not None:
            moment = datetime.combine(today, datetime.strptime(found[1], "%H:%M:%S.%f").time(), UTC)
            yield name, moment.timestamp()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--runs", type=int, default=12)
    parser.add_argument("--routes", type=int, default=1)
    options = parser.parse_args()
    taken: dict[str, list[Start]] = {"one process": [], "two processes": []}
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder, KafkaBroker(Path(folder) / "kafka") as broker:
        registry = Path(folder) / "registry.yaml"
        routes = "".join(ROUTE.format(n=n) for n in range(options.routes))
        registry.write_text(REGISTRY.format(bootstrap=broker.bootstrap, modules=MODULES, routes=routes))
        for n in range(options.routes):
            create_topic(broker.bootstrap, f"r{n}.in", PARTITIONS)
            create_topic(broker.bootstrap, f"r{n}.out", PARTITIONS)
        create_topic(broker.bootstrap, "startup.dead", PARTITIONS, {"max.message.bytes": "2000000"})
        for run in range(options.runs + 1):
            for processes, (name, figures) in enumerate(taken.items(), 1):
                found = start(broker.bootstrap, registry, Path(folder) / "log", processes)
                if run:  # the first one warms the cache, makes the group and the control topic
                    figures.append(found)
                    print(f"{name}: {line(found)}", file=sys.stderr, flush=True)
    summary = {name: figures_of(figures) for name, figures in taken.items()}
    print(json.dumps(summary, indent=1))
    results.save("startup", {"routes": options.routes, "runs": options.runs, **summary})


def line(start: Start) -> str:
    """One start."""
    stages = "  ".join(f"{name} {at:.0f}" for name, at in start.stages.items())
    return f"{start.total:.0f} ms ({start.cpu:.0f} of CPU)  {stages}"


def figures_of(starts: list[Start]) -> dict[str, object]:
    """Milliseconds: of the first output the median and both ends; of the rest the median."""
    totals = [each.total for each in starts]
    return {
        "median_ms": round(statistics.median(totals)),
        "least_ms": round(min(totals)),
        "most_ms": round(max(totals)),
        "cpu_ms": round(statistics.median(each.cpu for each in starts)),
        "stages_ms": {
            name: round(statistics.median(each.stages[name] for each in starts))
            for name in STAGES
            if all(name in each.stages for each in starts)
        },
    }


if __name__ == "__main__":
    main()
