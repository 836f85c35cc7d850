"""What is run side by side, each in processes of its own: penstock, and loops that print `started` and `done`.

A loop's time runs from the first event it took to the last one it made durable. penstock is watched from outside: from when
every partition has been committed to, until all is, without the events before. CPU is user and system, over the same span.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from tests.services.kafka import KafkaBroker
from tests.services.topics import create_topic, delete_topic

ROOT = Path(__file__).parents[1]
MODULES = ROOT / "transformers" / "modules"
POLL_S = 0.02
CURVE_EVERY_S = 0.1
PATIENCE_S = 60.0
"""Without any progress."""


@dataclass(frozen=True, slots=True)
class Figures:
    """One run of one contender."""

    events_per_s: float
    cpu_us_per_event: float
    broker_us_per_event: float
    rss_mb_peak: float
    loop_us_per_event: float = 0.0
    """Of the CPU, what the main threads (event loops) used."""
    guest_us_per_event: float = 0.0
    """Of the CPU, what all other threads used."""
    processes_rss_mb: tuple[float, ...] = ()
    """Each worker's own peak."""
    curve: list[tuple[float, int]] = field(default_factory=list)
    """Seconds, and records that a read_committed reader could see by then."""


@dataclass(frozen=True, slots=True)
class Spent:
    """CPU seconds so far."""

    own: float
    loop: float
    broker: float

    def per_event(self, since: Spent, events: int) -> tuple[float, float, float]:
        """Microseconds of an event: own, loop, broker."""
        return (
            (self.own - since.own) / events * 1e6,
            (self.loop - since.loop) / events * 1e6,
            (self.broker - since.broker) / events * 1e6,
        )


@dataclass(frozen=True)
class Setting:
    """One broker with the topics of one bench."""

    broker: KafkaBroker
    source: str
    partitions: int
    events: int
    folder: Path

    @property
    def bootstrap(self) -> str:
        return self.broker.bootstrap

    @contextmanager
    def destination(self, name: str, *, keep: bool = False) -> Iterator[str]:
        """An empty output topic, and one for its dead letters; deleted afterwards unless it is to be read back."""
        topics = [create_topic(self.bootstrap, f"{name}.out", self.partitions)]
        topics.append(create_topic(self.bootstrap, f"{name}.dead", self.partitions, {"max.message.bytes": "2000000"}))
        try:
            yield topics[0]
        finally:
            for topic in topics if not keep else ():
                delete_topic(self.bootstrap, topic)


def registry_text(
    setting: Setting, name: str, destination: str, *, top: str = "", kafka: str = "", through: str = "", batch: str = ""
) -> str:
    """The registry of a run: enrich-order, unless `through` is the YAML of another transformer."""
    work = through or f"{{module: {MODULES}/enrich_order.wasm, config: {{currency: EUR, drop_statuses: [draft]}}}}"
    return f"""
version: 1
{top}
kafka: {{brokers: "{setting.bootstrap}", group: "{name}", control_topic: "{name}.control", {kafka}}}
create_topics: {{partitions: 1, replication_factor: 1}}
transformers:
  work: {work}
routes:
  orders:
    {{from: {setting.source}, through: [work], to: "{destination}", dead_letter: "{name}.dead", batch: {{{batch}}}}}
"""


@contextmanager
def penstock(registry: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """`penstock run`, until the block ends; it must then drain in good order. What it logs is told when it does not."""
    command = [sys.executable, "-m", "pipeline.cli", "run", str(registry), "--log-level", "warning", *options]
    log = registry.with_suffix(".log")
    with log.open("wb") as errors, subprocess.Popen(command, cwd=ROOT, stderr=errors) as process:
        try:
            yield process
            process.terminate()
            if process.wait(60) != 0:
                raise RuntimeError(f"penstock ended with exit code {process.returncode}")
        except BaseException:
            process.kill()
            print(log.read_text(errors="replace")[-4_000:], file=sys.stderr)
            raise


def run_penstock(setting: Setting, name: str, *, keep: bool = False, **registry: str) -> Figures:
    """`penstock run` over the whole source, from its start."""
    with setting.destination(name, keep=keep) as destination:
        path = setting.folder / f"{name}.yaml"
        path.write_text(registry_text(setting, name, destination, **registry))
        with (
            penstock(path) as process,
            Progress(setting, f"{name}-orders") as done,
            Curve(setting.bootstrap, destination, setting.partitions) as curve,
        ):
            figures = watch(setting, process, 1, done)
        return _with_curve(figures, curve)


def run_loop(setting: Setting, name: str, module: str, *kind: str, keep: bool = False) -> Figures:
    """One of the loops, over the whole source, from its start."""
    with setting.destination(name, keep=keep) as destination:
        command = [
            sys.executable,
            "-m",
            module,
            setting.bootstrap,
            setting.source,
            destination,
            str(setting.events),
            *kind,
        ]
        with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            try:
                with Curve(setting.bootstrap, destination, setting.partitions) as curve:
                    figures = _time_loop(setting, process)
                process.communicate(b"\n", timeout=60)
            except BaseException:
                process.kill()
                raise
        return _with_curve(figures, curve)


def _time_loop(setting: Setting, process: subprocess.Popen[bytes]) -> Figures:
    assert process.stdout is not None
    watched = [psutil.Process(process.pid)]
    _expect(process, b"started\n")
    began, before = time.perf_counter(), spent(watched, setting.broker)
    _expect(process, b"done\n")
    seconds, after = time.perf_counter() - began, spent(watched, setting.broker)
    return _figures(setting.events, seconds, before, after, watched)


def _expect(process: subprocess.Popen[bytes], line: bytes) -> None:
    assert process.stdout is not None
    got = process.stdout.readline()
    if got != line:
        raise RuntimeError(f"{process.args!r} ended early: {got!r} where {line!r} was expected")


def watch(
    setting: Setting,
    process: subprocess.Popen[bytes],
    processes: int,
    done: Progress,
    has_begun: Callable[[], bool] | None = None,
) -> Figures:
    """From when all lanes have begun (opening a lane's producer is not what an event costs) to the last commit.

    Without `has_begun` that is when every partition has been committed to. Where lanes begin so late that nearly all is through
    by then (a slow machine, few events), it is from the first commit seen.
    """
    give_up, last, has_all = time.monotonic() + PATIENCE_S, 0, False
    began: tuple[int, float, Spent] | None = None
    while last < setting.events:
        if process.poll() is not None or time.monotonic() > give_up:
            raise RuntimeError(f"penstock ended early, or stands still at {last} of {setting.events} events")
        now = done()
        if now > last:
            last, give_up = now, time.monotonic() + PATIENCE_S
        if now and not has_all and now < setting.events * 0.9:
            has_all = has_begun() if has_begun else done.all_begun
            if began is None or has_all:
                began = now, time.perf_counter(), spent(workers(process.pid, processes), setting.broker)
        if now < setting.events:
            time.sleep(POLL_S)
    if began is None or began[0] > setting.events * 0.75:
        raise RuntimeError("nearly all was through before it could be timed: take more events")
    watched = workers(process.pid, processes)
    seconds, after = time.perf_counter() - began[1], spent(watched, setting.broker)
    return _figures(setting.events - began[0], seconds, began[2], after, watched)


def workers(pid: int, processes: int) -> list[psutil.Process]:
    """The processes that do the work: the one there is, or the supervisor's workers."""
    parent = psutil.Process(pid)
    return [parent] if processes == 1 else parent.children()


def spent(watched: Sequence[psutil.Process], broker: KafkaBroker) -> Spent:
    own = loop = 0.0
    for process in watched:
        times = process.cpu_times()
        own += times.user + times.system
        main = next(thread for thread in process.threads() if thread.id == process.pid)
        loop += main.user_time + main.system_time
    times = psutil.Process(int((broker.folder / "kafka.pid").read_text())).cpu_times()
    return Spent(own, loop, times.user + times.system)


def _figures(events: int, seconds: float, before: Spent, after: Spent, watched: Sequence[psutil.Process]) -> Figures:
    own, loop, broker = after.per_event(before, events)
    peaks = tuple(rss_mb_peak(process.pid) for process in watched)
    return Figures(events / seconds, own, broker, max(peaks), loop, own - loop, peaks)


def _with_curve(figures: Figures, curve: Curve) -> Figures:
    figures.curve.extend(curve.points)
    return figures


def rss_mb_peak(pid: int) -> float:
    """The most memory that was ever resident."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024 / 1e6
    raise RuntimeError(f"process {pid} is gone")


class Progress:
    """How many events a group has committed. One light client: watching must not cost what is watched."""

    def __init__(self, setting: Setting, group: str) -> None:
        self.all_begun = False
        """Whether every partition had a commit, at the last look."""
        self._last = 0
        self._group = group
        self._admin = AdminClient({"bootstrap.servers": setting.bootstrap, "log_level": 3})
        self._consumer = Consumer(
            {"bootstrap.servers": setting.bootstrap, "group.id": group, "enable.auto.commit": False}
        )
        self._partitions = [TopicPartition(setting.source, number) for number in range(setting.partitions)]

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def __call__(self) -> int:
        try:
            offsets = [max(0, at.offset) for at in self._consumer.committed(self._partitions, 10.0)]
            self.all_begun, self._last = all(offsets), sum(offsets)
            return self._last
        except KafkaException as error:
            return self._last if error.args[0].code() == KafkaError._TIMED_OUT else _not_yet(error)

    def members(self) -> int:
        """Members of the group that hold partitions."""
        try:
            found = self._admin.describe_consumer_groups([self._group])[self._group].result(10.0)
        except KafkaException as error:
            return _not_yet(error)
        return sum(bool(member.assignment.topic_partitions) for member in found.members)


def _not_yet(error: KafkaException) -> int:
    """Nothing, in the first seconds of a broker or a group; anything else is an error."""
    code = error.args[0].code()
    if code in (KafkaError.NOT_COORDINATOR, KafkaError.COORDINATOR_LOAD_IN_PROGRESS, KafkaError.GROUP_ID_NOT_FOUND):
        return 0
    raise error


class Curve(threading.Thread):
    """What a read_committed reader could see of a topic, over time: its last stable offsets (markers included: a few)."""

    def __init__(self, bootstrap: str, topic: str, partitions: int) -> None:
        super().__init__(daemon=True)
        self.points: list[tuple[float, int]] = []
        self._admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 3})
        self._ask = {TopicPartition(topic, number): OffsetSpec.latest() for number in range(partitions)}
        self._ended = threading.Event()

    def __enter__(self) -> Curve:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.join()

    def run(self) -> None:
        began = time.perf_counter()
        while not self._ended.wait(CURVE_EVERY_S):
            answers = self._admin.list_offsets(self._ask, isolation_level=IsolationLevel.READ_COMMITTED)
            seen = sum(answer.result(10.0).offset for answer in answers.values())
            if seen or self.points:
                self.points.append((round(time.perf_counter() - began, 3), seen))
