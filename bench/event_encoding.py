"""What `encoding: event` costs: the same orders through the same work in either encoding, on real Kafka, exactly once, one process.

    python -m bench.event_encoding [--events 1000000] [--rounds 10]

Three ways to enrich an order, in one run, round after round, in an order that turns, over the same input:

- `raw`: enrich-order, which scans Debezium's JSON by hand (what `bench.kafka` measures),
- `raw-change`: `enrich-order-event`, the same work written over change events, in `encoding: raw`,
- `event`: that very module in `encoding: event`.

After a round that is not counted each output is read back with read_committed and compared, record by record, with what is expected. Ratios are
of paired rounds, with 95 % bounds. Besides, without Kafka: what one event of a batch of 2,000 costs in `Session.run`, as records and one
by one (which is the way of everything that the host's codec leaves to Python). The module is built first, unless `--module` names
one. Writes `results/event_encoding.json`.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from bench import results
from bench.bounds import Bounds, ratio
from bench.contenders import MODULES, ROOT, Figures, Setting, run_penstock
from bench.kafka import PARTITIONS, SOURCE, measure
from bench.orders import fill, order
from pipeline.workshop.build import compile_project
from pipeline.workshop.project import read_project
from sandbox import Sandbox, Session
from schemas.event import Batch, Event, TopicPartition
from schemas.limits import Limits
from schemas.outcome import Carried
from schemas.records import Records
from schemas.specs import TransformerSpec
from tests.records.batches import records_of
from tests.services.kafka import KafkaBroker
from tests.services.topics import create_topic

BAR = 0.6
"""Throughput in event encoding, as a part of that in raw encoding."""
GUEST = ROOT / "transformers" / "guests" / "rust" / "enrich-order-event"
CONFIG = {"currency": "EUR", "drop_statuses": ["draft"]}
BATCH = 2_000
CROSSINGS = 30


def contenders(module: Path) -> dict[str, tuple[Path, str]]:
    """Module and encoding of each way."""
    return {"raw": (MODULES / "enrich_order.wasm", "raw"), "raw-change": (module, "raw"), "event": (module, "event")}


def built(folder: Path) -> Path:
    """The module of the guest over change events."""
    module = folder / "enrich_order_event.wasm"
    module.write_bytes(compile_project(read_project(GUEST))[0])
    return module


def runs(ways: dict[str, tuple[Path, str]]) -> dict[str, Callable[..., Figures]]:
    """What takes a round of each."""
    config = "{currency: EUR, drop_statuses: [draft]}"
    return {
        name: partial(run_penstock, through=f"{{module: {module}, encoding: {encoding}, config: {config}}}")
        for name, (module, encoding) in ways.items()
    }


def crossings(ways: dict[str, tuple[Path, str]]) -> dict[str, dict[str, float]]:
    """Microseconds of CPU for one event of a batch, by way: as records, and as single events."""
    with ExitStack() as held:
        sandbox = held.enter_context(Sandbox(workers=1))
        sessions = {name: held.enter_context(closing(_session(sandbox, *way))) for name, way in ways.items()}
        events = [Event(number, 1_795_353_061_768, *order(number), ()) for number in range(BATCH)]
        batches = {"records": records_of(events, 500), "single": events}
        taken: dict[str, dict[str, list[float]]] = {name: {kind: [] for kind in batches} for name in sessions}
        for _ in range(CROSSINGS):
            for name, session in sessions.items():
                for kind, batch in batches.items():
                    taken[name][kind].append(_cross(session, batch))
        return {
            name: {kind: statistics.median(times) for kind, times in kinds.items()} for name, kinds in taken.items()
        }


def _session(sandbox: Sandbox, module: Path, encoding: str) -> Session:
    limits = Limits().with_(deadline_ms=5_000)
    spec = TransformerSpec(name="enrich-order", module=module, config=CONFIG, limits=limits, encoding=encoding)
    return sandbox.load(spec).session()


def _cross(session: Session, events: Records | list[Event]) -> float:
    batch = Batch(TopicPartition("shop.public.orders", 0), events)
    began = time.thread_time_ns()
    outcomes = session.run(batch).outcomes
    spent = time.thread_time_ns() - began
    assert isinstance(outcomes, Carried) == isinstance(events, Records), "records stay records"
    return spent / len(events) / 1e3


def summary(events: int, taken: dict[str, list[Figures]]) -> dict[str, Any]:
    """What is saved: every round's figures, and the ratios of event encoding to the two ways in raw."""
    rounds = {name: [{**asdict(each), "curve": []} for each in figures] for name, figures in taken.items()}
    speeds = {name: [each.events_per_s for each in figures] for name, figures in taken.items()}
    ratios = {name: asdict(ratio(speeds["event"], speeds[name])) for name in ("raw", "raw-change")}
    return {"events": events, "partitions": PARTITIONS, "bar": BAR, "ratios": ratios, "rounds": rounds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--module", type=Path, help="enrich-order-event as it was built before")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        ways = contenders((options.module or built(Path(folder))).resolve())
        costs = crossings(ways)
        print(costs, file=sys.stderr)
        with KafkaBroker(Path(folder) / "kafka", heap="1g") as broker:
            create_topic(broker.bootstrap, SOURCE, PARTITIONS)
            fill(broker.bootstrap, SOURCE, PARTITIONS, options.events)
            setting = Setting(broker, SOURCE, PARTITIONS, options.events, Path(folder))
            figures = summary(options.events, measure(setting, options.rounds, runs(ways)))
    for name, found in figures["ratios"].items():
        bounds = Bounds(found["mean"], found["low"], found["high"])
        verdict = f" (bar {BAR:g}: {'met' if found['mean'] >= BAR else 'not met'})" if name == "raw" else ""
        print(f"{name:>15}: event encoding has {bounds} of its throughput{verdict}")
    figures["crossing_us"] = costs
    print(f"written to {results.save('event_encoding', figures)}")


if __name__ == "__main__":
    main()
