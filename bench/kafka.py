"""End to end on real Kafka: penstock, exactly once, one process, the Rust JSON transformer, beside three unsandboxed loops
that compute the same fields; in one run, round after round, in an order that turns, over the same input.

    python -m bench.kafka [--events 1000000] [--rounds 10]

The loops: `bench.plain` (aiokafka, json, `send`, all defaults), `bench.tuned` (aiokafka by hand, exactly once) and
`bench.confluent` (confluent-kafka by hand, at least once). Besides: `bench.confluent` with `produce_batch`, which
can carry no timestamps, and penstock with the copying C transformer.
Every contender's first output is read back with read_committed and compared, record by record, with what is expected.
`bench.contenders` says what is timed. Ratios are of paired rounds, with 95 % bounds. Writes `results/kafka.json`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from bench import results
from bench.bounds import Bounds, ratio
from bench.contenders import MODULES, Figures, Setting, run_loop, run_penstock
from bench.orders import enrich, fill, order
from tests.services.kafka import KafkaBroker
from tests.services.topics import create_topic, delete_topic, read_topic

PARTITIONS = 2
SOURCE = "bench.in"
BARS = {"plain": 5.0, "tuned": 1.2, "confluent": 1.4, "confluent-batch": None}
"""How many times as fast penstock is to be; None when it is only told."""
COPY_BAR = 150_000
"""Events a second of the copying transformer."""

Run = Callable[..., Figures]
CONTENDERS: dict[str, Run] = {
    "penstock": run_penstock,
    "plain": lambda *run, keep=False: run_loop(*run, "bench.plain", keep=keep),
    "tuned": lambda *run, keep=False: run_loop(*run, "bench.tuned", keep=keep),
    "confluent": lambda *run, keep=False: run_loop(*run, "bench.confluent", keep=keep),
    "confluent-batch": lambda *run, keep=False: run_loop(*run, "bench.confluent", "batch", keep=keep),
    "copy": partial(run_penstock, through=f"{{module: {MODULES}/passthrough.wasm}}"),
}


def measure(setting: Setting, rounds: int, contenders: Mapping[str, Run]) -> dict[str, list[Figures]]:
    """Figures of each contender, round by round, after one round that warms up the broker and checks every output."""
    names = list(contenders)
    taken: dict[str, list[Figures]] = {name: [] for name in names}
    for number in range(rounds + 1):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            figures = contenders[name](setting, f"{name}{number}", keep=number == 0)
            if number == 0:
                check(setting, name, f"{name}0")
            else:
                taken[name].append(figures)
            print(f"round {number} of {rounds}  {show(name, figures)}", file=sys.stderr, flush=True)
    return taken


def check(setting: Setting, name: str, run: str) -> None:
    """Every event is downstream once with the fields it should have: a bench that lost some would measure nothing."""
    at_least_once = name in ("plain", "confluent", "confluent-batch")
    seen = bytearray(setting.events)
    for record in read_topic(setting.bootstrap, f"{run}.out"):
        change = json.loads(record.value or b"")
        number = change["after"]["id"]
        if change != expected(number, enriched=name != "copy"):
            raise RuntimeError(f"{name} made something else of order {number}: {change}")
        if seen[number] and not at_least_once:
            raise RuntimeError(f"{name} emitted order {number} twice")
        seen[number] = 1
    if not all(seen):
        raise RuntimeError(f"{name} lost {setting.events - sum(seen)} of {setting.events} orders")
    for topic in (f"{run}.out", f"{run}.dead"):
        delete_topic(setting.bootstrap, topic)


def expected(number: int, *, enriched: bool) -> dict[str, Any]:
    """The order as it should arrive."""
    change: dict[str, Any] = json.loads(order(number)[1])
    if enriched:
        enrich(change)
    return change


def summary(events: int, taken: dict[str, list[Figures]]) -> dict[str, Any]:
    """What is saved: every round's figures (one curve each), the ratios, and the marks they are to reach."""
    rounds = {
        name: [{**asdict(each), "curve": each.curve if number == 0 else []} for number, each in enumerate(runs)]
        for name, runs in taken.items()
    }
    ours = [each.events_per_s for each in taken["penstock"]]
    ratios = {
        name: {**asdict(ratio(ours, [each.events_per_s for each in taken[name]])), "bar": bar}
        for name, bar in BARS.items()
        if name in taken
    }
    return {"events": events, "partitions": PARTITIONS, "ratios": ratios, "copy_bar": COPY_BAR, "rounds": rounds}


def verdict(found: dict[str, Any]) -> str:
    """Whether the mark is reached, and by the lower bound too."""
    if found["bar"] is None:
        return ""
    return f"(bar {found['bar']:g}: {'met' if found['mean'] >= found['bar'] else 'not met'})"


def show(name: str, figures: Figures) -> str:
    """One line."""
    return (
        f"{name:>15}: {figures.events_per_s:9,.0f} events/s  {figures.cpu_us_per_event:5.1f} µs of CPU per event "
        f"(broker {figures.broker_us_per_event:.1f})  {figures.rss_mb_peak:.0f} MB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--only", nargs="+", choices=[*CONTENDERS], default=[*CONTENDERS], help="with penstock")
    options = parser.parse_args()
    names = [name for name in CONTENDERS if name in ("penstock", *options.only)]
    with tempfile.TemporaryDirectory() as folder, KafkaBroker(Path(folder) / "kafka", heap="1g") as broker:
        create_topic(broker.bootstrap, SOURCE, PARTITIONS)
        fill(broker.bootstrap, SOURCE, PARTITIONS, options.events)
        setting = Setting(broker, SOURCE, PARTITIONS, options.events, Path(folder))
        figures = summary(options.events, measure(setting, options.rounds, {name: CONTENDERS[name] for name in names}))
    for name, found in figures["ratios"].items():
        print(
            f"{name:>15}: penstock is {Bounds(found['mean'], found['low'], found['high'])} times as fast {verdict(found)}"
        )
    if set(names) == set(CONTENDERS):
        print(f"written to {results.save('kafka', figures)}")


if __name__ == "__main__":
    main()
