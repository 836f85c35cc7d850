"""End to end on real Kafka: penstock, exactly once, one process, the Rust JSON transformer, beside a plain unsandboxed
aiokafka loop that does the same work; in one run, in turn, on the same input.

    python -m bench.kafka [--events 300000] [--rounds 3] [--json]

Both sides are processes of their own that read the same topic of ~400-byte Debezium orders (two partitions) from the
start. The time runs from the first event taken up to the last one committed (plain: flushed); start-up is not in it. CPU
is the process's own, user and system, over the same span. Machines differ and are shared: only the ratio means anything.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
from confluent_kafka import Consumer, TopicPartition

from tests.services.kafka import KafkaBroker
from tests.services.topics import create_topic, produce, read_topic

ROOT = Path(__file__).parents[1]
PARTITIONS = 2


@dataclass(frozen=True)
class Figures:
    """One run of one side."""

    events_per_s: float
    cpu_us_per_event: float
    rss_mb_peak: float


def order(number: int) -> tuple[bytes, bytes]:
    """Key and value of one order, about 400 bytes."""
    after = {
        "id": number,
        "first_name": "Ada",
        "last_name": "Lovelace",
        "amount": f"{number % 9000}.25",
        "quantity": 3,
        "status": "placed",
        "note": "n" * 60,
        "created_at": "2026-01-02T00:00:01.123456Z",
    }
    source = {"version": "3.7.0.Final", "connector": "postgresql", "name": "shop", "table": "orders", "lsn": number}
    envelope = {"before": None, "after": after, "source": source, "op": "c", "ts_ms": 1_795_353_061_265}
    return str(number % 5_000).encode(), json.dumps(envelope, separators=(",", ":")).encode()


REGISTRY = """
version: 1
kafka: {{brokers: "{bootstrap}", group: "{name}", control_topic: "{name}.control"}}
transformers:
  enrich-order:
    module: {modules}/enrich_order.wasm
    config: {{currency: EUR, drop_statuses: [draft]}}
routes:
  orders: {{from: bench.in, through: [enrich-order], to: "{name}.out"}}
"""


def run_penstock(bootstrap: str, name: str, events: int, folder: Path) -> Figures:
    create_topic(bootstrap, f"{name}.out", PARTITIONS)
    create_topic(bootstrap, f"{name}.out.dead-letter", PARTITIONS, {"max.message.bytes": "2000000"})
    registry = folder / f"{name}.yaml"
    registry.write_text(REGISTRY.format(bootstrap=bootstrap, name=name, modules=ROOT / "transformers" / "modules"))
    command = [sys.executable, "-m", "pipeline.cli", "run", str(registry), "--log-level", "warning"]

    with subprocess.Popen(command, cwd=ROOT) as process:
        figures = watch(process, events, Progress(bootstrap, f"{name}-orders"))
        process.terminate()
        assert process.wait(30) == 0
    return figures


def run_plain(bootstrap: str, name: str, events: int, folder: Path) -> Figures:
    create_topic(bootstrap, f"{name}.out", PARTITIONS)
    command = [sys.executable, "-m", "bench.plain", bootstrap, "bench.in", f"{name}.out", str(events)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"started\n"
        watched = psutil.Process(process.pid)
        began, cpu = time.perf_counter(), cpu_s(watched)
        assert process.stdout.readline() == b"done\n"
        seconds, used = time.perf_counter() - began, cpu_s(watched) - cpu
        rss = watched.memory_info().rss / 1e6
        process.wait(30)
    return Figures(events / seconds, used / events * 1e6, rss)


class Progress:
    """How many events a group has committed. One light client for the whole run: watching must not cost what is watched."""

    def __init__(self, bootstrap: str, group: str) -> None:
        self._consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group, "enable.auto.commit": False})
        self._partitions = [TopicPartition("bench.in", number) for number in range(PARTITIONS)]

    def __call__(self) -> int:
        return sum(max(0, at.offset) for at in self._consumer.committed(self._partitions, 10.0))


def watch(process: subprocess.Popen[bytes], events: int, done: Progress) -> Figures:
    """From the first commit seen to the last; the events before the first are not counted."""
    watched, first, rss = psutil.Process(process.pid), 0, 0.0
    began = cpu = 0.0
    while True:
        assert process.poll() is None, "penstock ended early"
        now = done()
        rss = max(rss, watched.memory_info().rss / 1e6)
        if first == 0 and now:
            first, began, cpu = now, time.perf_counter(), cpu_s(watched)
        if now >= events:
            break
        time.sleep(0.05)
    seconds, used = time.perf_counter() - began, cpu_s(watched) - cpu
    return Figures((events - first) / seconds, used / (events - first) * 1e6, rss)


def cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def check(bootstrap: str, name: str, events: int) -> None:
    """Every event is downstream once: a bench that lost some would measure nothing."""
    out = read_topic(bootstrap, f"{name}.out")
    assert len({json.loads(record.value or b"")["after"]["id"] for record in out}) == len(out) == events


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=300_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    events, results = arguments.events, {"penstock": [], "plain": []}
    with tempfile.TemporaryDirectory() as folder, KafkaBroker(Path(folder) / "kafka") as broker:
        bootstrap = broker.bootstrap
        create_topic(bootstrap, "bench.in", PARTITIONS)
        produce(bootstrap, "bench.in", (order(number) for number in range(events)))
        for number in range(arguments.rounds):
            results["penstock"].append(run_penstock(bootstrap, f"penstock{number}", events, Path(folder)))
            results["plain"].append(run_plain(bootstrap, f"plain{number}", events, Path(folder)))
            print(
                f"round {number + 1} of {arguments.rounds}: {results['penstock'][-1]} {results['plain'][-1]}",
                file=sys.stderr,
            )
        check(bootstrap, "penstock0", events)
    ratios = [a.events_per_s / b.events_per_s for a, b in zip(results["penstock"], results["plain"], strict=True)]
    if arguments.json:
        rounds = {side: [asdict(figures) for figures in runs] for side, runs in results.items()}
        print(json.dumps({"events": events, "ratio_median": statistics.median(ratios), "ratios": ratios, **rounds}))
        return
    for side, runs in results.items():
        speed = statistics.median(run.events_per_s for run in runs)
        cpu = statistics.median(run.cpu_us_per_event for run in runs)
        print(
            f"{side:>9}: {speed:9,.0f} events/s  {cpu:5.1f} µs of CPU per event  {max(r.rss_mb_peak for r in runs):.0f} MB"
        )
    print(f"    ratio: {statistics.median(ratios):.2f} (of {', '.join(f'{ratio:.2f}' for ratio in ratios)})")


if __name__ == "__main__":
    main()
