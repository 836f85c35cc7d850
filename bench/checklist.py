"""The reference document's performance checklist, measured on the demo's stream with the real registry and sandbox.

    python -m bench.checklist [--events 20000] [--rounds 7] [--json]

Every figure says what it compares. The sides of a comparison take turns, on one thread, and each is judged by its fastest
round, which other work on the machine disturbed least. Misbehaving events are left out: they cost deadlines.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import msgspec
import psutil

from bench.bare import Bare
from pipeline.assets import shop_registry
from pipeline.demo.shop import TOPICS, Shop
from pipeline.registry import load_checked
from sandbox import Sandbox, Session, Transformer
from sandbox.results import Rules, judge
from schemas import abi
from schemas.event import Batch, Event, TopicPartition
from schemas.outcome import Emitted, Report, Violation

BATCH = 512
STARTS = 10
WORKERS = 4
LANE = TopicPartition(TOPICS["orders"], 0)
FUEL = 50_000_000
STARTED_MS = 1_760_000_000_000


@dataclass(frozen=True)
class Figure:
    """One line of the checklist."""

    name: str
    measured: float
    unit: str
    mark: float | None
    """What the reference wants; None when it wants the number only."""
    above: bool
    """The mark is to be exceeded, not kept below."""
    method: str

    @property
    def is_met(self) -> bool | None:
        """None without a mark."""
        if self.mark is None:
            return None
        return self.measured > self.mark if self.above else self.measured < self.mark


def stream(count: int) -> dict[str, list[Batch]]:
    """The stream's healthy events by topic, in batches."""
    events: dict[str, list[Event]] = {topic: [] for topic in TOPICS.values()}
    for one in Shop(count, started_ms=STARTED_MS):
        if one.fate.violation is None:
            lane = events[one.topic]
            lane.append(Event(len(lane), STARTED_MS, one.key, one.value, one.headers))
    return {
        topic: [Batch(TopicPartition(topic, 0), lane[at : at + BATCH]) for at in range(0, len(lane), BATCH)]
        for topic, lane in events.items()
    }


def measure(events: int, rounds: int, whole_way_us: float) -> list[Figure]:
    """The whole checklist; `whole_way_us` is what `demo_us` measured."""
    batches = stream(events)
    orders = batches[LANE.topic]
    process = psutil.Process()
    with tempfile.TemporaryDirectory() as folder:
        hits = cache_hits(Path(folder))
        gc.collect()
        before = process.memory_info().rss
        with Sandbox(workers=WORKERS, cache_dir=Path(folder)) as sandbox:
            registry, transformers = load_checked(shop_registry(), sandbox, environ={})
            through = [transformers[name] for name in registry.routes["orders"].through]
            enrich = transformers["enrich-order"]
            batched, linear = chain_us(through, orders, rounds)
            alone, _ = chain_us(through, [Batch(LANE, [event]) for event in orders[0].events], rounds)
            grown = process.memory_info().rss - before
            stages = [
                stage
                for route in registry.routes.values()
                for stage in stages_of([transformers[name] for name in route.through], batches[route.sources[0]])
            ]
            return [
                *overhead(stages, events, whole_way_us, rounds),
                validation(enrich, orders[0].events[0], rounds),
                hits,
                utilisation(sandbox, through, orders),
                Figure("total per event", batched, "µs", 1000, False, f"route orders, in batches of {BATCH}"),
                Figure("total per event, alone", alone, "µs", 1000, False, "route orders, in batches of one"),
                Figure("memory of a guest", linear / 1024, "KiB", None, False, "the most linear memory used"),
                Figure("memory overhead", grown / 2**20, "MiB", None, False, "resident memory added by all of it"),
                fuel(sandbox, enrich, orders, rounds),
            ]


def demo_us(events: int) -> float:
    """Microseconds of one event's whole way through `penstock demo`, in a process of its own."""
    command = [sys.executable, "-m", "pipeline.cli", "demo", "--json", "--events", str(events)]
    ran = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    return 1e6 / float(json.loads(ran.stdout)["events_per_s"])


Stage = tuple[Transformer, Sequence[Batch]]


def stages_of(through: Sequence[Transformer], batches: Sequence[Batch]) -> Iterator[Stage]:
    """Each transformer of a route with the batches that reach it."""
    for transformer in through:
        yield transformer, batches
        session = transformer.session()
        batches = [emitted(session.run(batch), batch.source) for batch in batches]
        session.close()


def emitted(report: Report, source: TopicPartition) -> Batch:
    """What the next transformer sees."""
    assert not any(isinstance(one, Violation) for one in report.outcomes), "a healthy event was condemned"
    passed = [event for one in report.outcomes if isinstance(one, Emitted) for event in one.events]
    return Batch(source, [msgspec.structs.replace(event, to=None) for event in passed])


def overhead(stages: Sequence[Stage], events: int, whole_way_us: float, rounds: int) -> list[Figure]:
    """What the sandbox adds to running the same modules on the same frames, over the whole stream."""
    plain = whole = 0.0
    for transformer, batches in stages:
        bare, session = Bare(transformer.spec, batches[0].source), transformer.session()
        took = in_turns(rounds, partial(each_bare, bare, batches), partial(each, session, batches))
        plain, whole = plain + took[0], whole + took[1]
        bare.close()
        session.close()
    added = 1e6 * (whole - plain) / events
    way = f"{added:.1f} µs added to the {whole_way_us:.0f} µs of an event's way through the demo"
    crossing = f"{added:.1f} µs added to the {1e6 * plain / events:.1f} µs of the same modules, bare"
    return [
        Figure("execution overhead", 100 * added / whole_way_us, "%", 5, False, way),
        Figure("  of the crossing alone", 100 * (whole / plain - 1), "%", 5, False, crossing),
    ]


def validation(transformer: Transformer, event: Event, rounds: int) -> Figure:
    """Everything that is checked of one event's answer: range, shape, types, count, size, topic."""
    session = transformer.session(allowed_topics=frozenset({"orders.enriched", "orders.flagged"}))
    (outcome,) = session.run(Batch(LANE, [event])).outcomes
    session.close()
    assert isinstance(outcome, Emitted)
    bare = Bare(transformer.spec, LANE)
    frame = abi.encode_config([[1, outcome.events[0].value]])
    rules = Rules(transformer.name, transformer.sha256, "", transformer.limits.output_bytes_per_event, None)
    address, length = bare.place(frame)

    def check() -> None:
        for _ in range(1000):
            answer = bare.seat.memory.read(address, length)
            judge([event], abi.decode_results(answer, 1), rules)

    seconds = min(timed(check) for _ in range(rounds))
    bare.close()
    return Figure("validation", seconds * 1e6 / 1000, "µs", 100, False, f"an answer of one event, {length} bytes")


def cache_hits(folder: Path) -> Figure:
    """Modules taken from the cache over several starts of the registry, the first of them cold."""
    hits = misses = 0
    for _ in range(STARTS):
        with Sandbox(cache_dir=folder) as sandbox:
            load_checked(shop_registry(), sandbox, environ={})
            stats = sandbox.stats()
        hits, misses = hits + stats.cache_hits, misses + stats.cache_misses
    return Figure("cache hits", 100 * hits / (hits + misses), "%", 80, True, f"{STARTS} starts, the first cold")


def utilisation(sandbox: Sandbox, through: Sequence[Transformer], batches: Sequence[Batch]) -> Figure:
    """Pool slots in use while every worker is busy: the mean of many looks."""
    looks: list[float] = []
    with ThreadPoolExecutor(WORKERS) as threads:
        lanes = [threads.submit(work, through, batches) for _ in range(WORKERS)]
        while not all(lane.done() for lane in lanes):
            stats = sandbox.stats()
            looks.append(stats.active_instances / max(1, stats.pool_slots))
            time.sleep(0.0005)
    for lane in lanes:
        lane.result()
    method = f"mean, {WORKERS} workers busy, {sandbox.stats().pool_slots} slots"
    return Figure("pool utilisation", 100 * statistics.mean(looks), "%", 70, True, method)


def work(through: Sequence[Transformer], batches: Sequence[Batch]) -> None:
    """What a lane's thread does."""
    for transformer in through:
        session = transformer.session()
        each(session, batches)
        session.close()


def chain_us(through: Sequence[Transformer], batches: Sequence[Batch], rounds: int) -> tuple[float, int]:
    """Microseconds an event spends in all transformers, each fed by the one before; and the most memory a guest used."""
    sessions = [transformer.session() for transformer in through]
    took, peak = [], 0
    for _ in range(rounds):
        total_ns = 0
        for batch in batches:
            step = batch
            for session in sessions:
                report = session.run(step)
                total_ns += report.elapsed_ns
                peak = max(peak, report.memory_bytes_peak)
                step = emitted(report, batch.source)
        took.append(total_ns / 1e3)
    for session in sessions:
        session.close()
    return min(took) / sum(len(batch.events) for batch in batches), peak


def fuel(sandbox: Sandbox, transformer: Transformer, batches: Sequence[Batch], rounds: int) -> Figure:
    """The same work with and without metering."""
    spec = replace(transformer.spec, limits=transformer.limits.with_(fuel_per_event=FUEL))
    metered, plain = sandbox.load(spec).session(), transformer.session()
    try:
        with_fuel, without = in_turns(rounds, lambda: each(metered, batches), lambda: each(plain, batches))
    finally:
        metered.close()
        plain.close()
    return Figure("fuel cost", 100 * (with_fuel / without - 1), "%", None, False, "enrich-order, metered against not")


def each_bare(bare: Bare, batches: Sequence[Batch]) -> None:
    """All batches, unguarded."""
    for batch in batches:
        bare.run(batch)


def each(session: Session, batches: Sequence[Batch]) -> None:
    """All batches, guarded."""
    for batch in batches:
        report = session.run(batch)
        assert len(report.outcomes) == len(batch.events), "a healthy batch was not finished"


def in_turns(rounds: int, *works: Callable[[], object]) -> list[float]:
    """The fastest seconds of each, taken in turns; a first turn warms up."""
    turns = [[timed(work) for work in works] for _ in range(rounds + 1)]
    return [min(of_one) for of_one in zip(*turns[1:], strict=True)]


def timed(work: Callable[[], object]) -> float:
    """Seconds."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def show(figure: Figure) -> str:
    """One line of the table."""
    mark = "" if figure.mark is None else f"{'>' if figure.above else '<'} {figure.mark:g} {figure.unit}"
    verdict = {None: "", True: "met", False: "not met"}[figure.is_met]
    return f"{figure.name:<26}{figure.measured:>9.1f} {figure.unit:<4}{mark:>10}  {verdict:<9}{figure.method}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    figures = measure(arguments.events, arguments.rounds, demo_us(arguments.events))
    if arguments.json:
        print(json.dumps([{**asdict(figure), "is_met": figure.is_met} for figure in figures], ensure_ascii=False))
        return
    for figure in figures:
        print(show(figure))


if __name__ == "__main__":
    main()
