"""`make soak`: thirty million events through real Kafka, with violations in 1 of 1,000, reloads and a killed worker.

    python -m tests.soak --events 30000000

Ten million are enough for what is lost and doubled; lives of some minutes say whether memory grows.

The feed (a process of its own) runs a bounded number of events ahead of the verifier, which reads both topics with
read_committed and marks each order as it arrives; topics are kept small by retention. The service runs two workers. At 45 % it
is reloaded (SIGTERM, start), at 52 % a worker is killed. `tests.soak.lives` says how growth is judged. Writes `bench/results/soak.json`.
"""

from __future__ import annotations

import argparse
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil

from bench import results
from tests.e2e.stream import BAD_EVERY, registry_text
from tests.services.kafka import KafkaBroker, free_ports, missing_tools
from tests.services.topics import create_topic
from tests.soak.ledger import Ledger, expected
from tests.soak.lives import Life, first_and_last, judge
from tests.soak.verifier import Verifier
from tests.soak.watch import Watch

ROOT = Path(__file__).parents[2]
NAME = "soak"
PARTITIONS = 3
WORKERS = 2
AHEAD = 400_000
"""Events that may be on their way: a fraction of what retention keeps."""
RETENTION = {"retention.bytes": str(256 << 20), "segment.bytes": str(64 << 20)}
STALLED_S = 120.0
TOLD_EVERY_S = 5.0
SERIES_STEP = 8
"""Of the samples, one in so many is saved for a look at the whole life."""
REST_S = 5.0
"""Nothing to do for so long, at the end: what is still held then is leaked."""


class Service:
    """`penstock run` under its supervisor, and what was seen of it."""

    def __init__(self, registry: Path, log: Path) -> None:
        self.watches: list[Watch] = []
        self._registry = registry
        self._log = log
        self._admin = f"127.0.0.1:{free_ports(1)[0]}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "pipeline.cli", "run", str(self._registry)]
        command += ["--processes", str(WORKERS), "--admin", self._admin, "--log-level", "warning"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, start_new_session=True)
        self.watches.append(Watch(self._process.pid, len(self.watches) + 1, self._admin))
        self.watches[-1].start()

    def stop(self) -> None:
        """SIGTERM; it must drain in good order."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(60)
        self.watches[-1].close()
        if code != 0:
            raise RuntimeError(f"the service ended with {code}:\n{self.log_tail()}")

    def reload(self) -> None:
        self.stop()
        self.start()

    def kill_a_worker(self) -> None:
        """SIGKILL; the supervisor starts another."""
        assert self._process is not None
        psutil.Process(self._process.pid).children()[0].kill()
        self.watches[-1].turn()

    def check(self) -> None:
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError(f"the service ended with {self._process.returncode}:\n{self.log_tail()}")

    def abandon(self) -> None:
        """Kill what is left, if anything is."""
        if self._process is not None and self._process.poll() is None:
            for child in psutil.Process(self._process.pid).children():
                child.kill()
            self._process.kill()
            self._process.wait(10)

    def log_tail(self) -> str:
        return self._log.read_text(errors="replace")[-4_000:]


def soak(events: int, folder: Path, broker: KafkaBroker) -> dict[str, Any]:
    """The whole run; what is to be saved of it."""
    for topic, more in ((f"{NAME}.in", {}), (f"{NAME}.out", {}), (f"{NAME}.dlq", {"max.message.bytes": "2000000"})):
        create_topic(broker.bootstrap, topic, PARTITIONS, RETENTION | more)
    registry = folder / "registry.yaml"
    registry.write_text(registry_text(broker.bootstrap, NAME))
    service, ledger = Service(registry, folder / "service.log"), Ledger(events)
    verifier = Verifier(broker.bootstrap, (f"{NAME}.out", f"{NAME}.dlq"), PARTITIONS, ledger)
    feed = _feed(broker.bootstrap, events)
    began = time.monotonic()
    try:
        service.start()
        _run(events, service, verifier, feed, began)
        seconds = time.monotonic() - began
        time.sleep(REST_S)
        resting = {name: values[-1][1] for name, values in service.watches[-1].gauges.items()}
        service.stop()
    finally:
        service.abandon()
        feed.kill()
        feed.wait(10)
        verifier.close()
    return _summary(events, seconds, service, ledger, resting)


def _feed(bootstrap: str, events: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.soak.feed", bootstrap, f"{NAME}.in", str(PARTITIONS), str(events)]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE)


def _run(events: int, service: Service, verifier: Verifier, feed: subprocess.Popen[bytes], began: float) -> None:
    """Until every order that should arrive has, with the reloads on the way."""
    share = expected(min(events, 100_000))
    arriving = (share["emitted"] + share["dead"]) / sum(share.values())
    goal = sum(expected(events).values()) - expected(events)["dropped"]
    plan: list[tuple[int, str, Callable[[], None]]] = [
        (goal * 45 // 100, "reload", service.reload),
        (goal * 52 // 100, "kill a worker", service.kill_a_worker),
    ]
    told = moved = began
    allowed = last = 0
    while verifier.ledger.arrived < goal:
        arrived = verifier.read()
        now = time.monotonic()
        moved, last = (now, arrived) if arrived != last else (moved, last)
        if now - moved > STALLED_S:
            raise RuntimeError(
                f"nothing arrived for {STALLED_S:.0f} s after {arrived} of {goal}:\n{service.log_tail()}"
            )
        service.check()
        if allowed < events and arrived / arriving + AHEAD > allowed + AHEAD / 4:
            allowed = min(events, int(arrived / arriving) + AHEAD)
            _allow(feed, allowed)
        if plan and arrived >= plan[0][0]:
            print(f"{arrived:,} arrived: {plan[0][1]}", file=sys.stderr, flush=True)
            plan.pop(0)[2]()
        if now - told > TOLD_EVERY_S:
            told = now
            print(f"{arrived:,} of {goal:,} arrived, {arrived / (now - began):,.0f}/s", file=sys.stderr, flush=True)
    verifier.read_to_end()


def _allow(feed: subprocess.Popen[bytes], count: int) -> None:
    assert feed.stdin is not None
    feed.stdin.write(b"%d\n" % count)
    feed.stdin.flush()


def _summary(
    events: int, seconds: float, service: Service, ledger: Ledger, resting: dict[str, float]
) -> dict[str, Any]:
    lives = [judge(name, samples) for watch in service.watches for name, samples in watch.samples.items()]
    declared = expected(events)
    missing = ledger.missing()
    gauges = {
        f"{name} {number + 1}": first_and_last([value for _, value in values[len(values) // 4 :]])
        for number, watch in enumerate(service.watches)
        for name, values in watch.gauges.items()
    }
    faults = ledger.faults + [fault for life in lives for fault in life.faults()]
    if (ledger.emitted, ledger.dead) != (declared["emitted"], declared["dead"]):
        faults.append(f"emitted {ledger.emitted}, dead-lettered {ledger.dead}, expected {dict(declared)}")
    if resting["penstock_guests"] > 0:
        faults.append(f"{resting['penstock_guests']:.0f} guests are alive with nothing to do")
    for name, (first, last) in gauges.items():
        if last > first * 1.1 + 2 and any(life.slope for life in lives):
            faults.append(f"{name}: {last} where there were {first}")
    return {
        "events": events,
        "bad_one_in": BAD_EVERY,
        "seconds": round(seconds, 1),
        "events_per_s": round(events / seconds),
        "emitted": ledger.emitted,
        "dropped": declared["dropped"],
        "dead_lettered": ledger.dead,
        "missing": missing,
        "duplicates": ledger.duplicates,
        "misplaced": ledger.misplaced,
        "out_of_order": ledger.out_of_order,
        "resting": resting,
        "gauges": gauges,
        "rows": [_row(life) for life in lives],
        "series": {
            name: [
                (round(sample.at_s - samples[0].at_s, 1), round(sample.rss_mib, 1)) for sample in samples[::SERIES_STEP]
            ]
            for watch in service.watches
            for name, samples in watch.samples.items()
        },
        "faults": faults,
    }


def _row(life: Life) -> dict[str, Any]:
    row = asdict(life)
    row["drift_mib"] = life.slope.drift(life.seconds) if life.slope else None
    row["faults"] = life.faults()
    return row


def tell(found: dict[str, Any]) -> None:
    """What a person wants to know."""
    print(
        f"{found['events']:,} events in {found['seconds']:.0f} s: {found['emitted']:,} emitted, "
        f"{found['dropped']:,} dropped by declaration, {found['dead_lettered']:,} dead-lettered; {found['missing']} lost, "
        f"{found['duplicates']} doubled, {found['misplaced']} misplaced, {found['out_of_order']} out of order"
    )
    for row in found["rows"]:
        grows = (
            "too short to tell"
            if row["slope"] is None
            else "{mean:+.2f} ({low:+.2f} to {high:+.2f}) MiB/min".format(**row["slope"])
        )
        print(
            f"{row['process']:>22}: {row['seconds']:5.0f} s, {row['rss_mib']:6.1f} MiB, {grows}, "
            f"threads {row['threads']}, descriptors {row['descriptors']}"
        )
    print(f"gauges, first and last third of each run: {found['gauges']}; at rest: {found['resting']}")
    typical = statistics.median(row["rss_mib"] for row in found["rows"] if row["process"].startswith("worker"))
    print(f"a worker's memory: {typical:.0f} MiB")
    for fault in found["faults"]:
        print(f"FAULT {fault}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=30_000_000)
    parser.add_argument("--dry", action="store_true", help="write no result")
    options = parser.parse_args()
    if missing := missing_tools():
        print(f"the soak needs real Kafka: {missing}", file=sys.stderr)
        return 2
    properties = {"log.retention.check.interval.ms": "5000", "log.segment.delete.delay.ms": "1000"}
    with (
        tempfile.TemporaryDirectory() as folder,
        KafkaBroker(Path(folder) / "kafka", properties=properties, heap="1g") as broker,
    ):
        found = soak(options.events, Path(folder), broker)
    tell(found)
    if not options.dry:
        print(f"written to {results.save('soak', found)}")
    return 1 if found["faults"] else 0


if __name__ == "__main__":
    sys.exit(main())
