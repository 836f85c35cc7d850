"""`enrich-order` in every language, side by side: what an event costs in a batch of 256, fresh guests and reused ones.

    python -m bench.guests [--rounds 9]

The same 256 orders of about 400 bytes for all, raw encoding, through `Session.run` under the limits of a pipeline: frame, crossing, outcome
checks and all. CPU of the calling thread; the languages take turns, and the median of the rounds counts. Modules are those of
`transformers/modules/languages`; Python's is not committed, and left out unless `make guests ONLY=python` has built it here.
Starting is what the first event of a fresh instance takes beyond the second. Writes `results/guests.json`.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from bench import results
from bench.orders import order
from sandbox import Sandbox, Session
from schemas.event import Batch, Event, TopicPartition
from schemas.limits import Limits
from schemas.outcome import Emitted
from schemas.specs import InstancePolicy, TransformerSpec

FOLDER = Path(__file__).parents[1] / "transformers" / "modules" / "languages"
SIZE = 256
ROUND_NS = 50_000_000
STARTS = 11
CONFIG = {"currency": "EUR", "drop_statuses": ["draft"]}
MEMORY = {"go": 16 << 20, "python": 64 << 20}
ALWAYS_REUSED = ("python",)
"""Components: a fresh instance for every batch is no choice there."""
MARKS: dict[str, tuple[str, float]] = {
    "rust": ("117 KB", 2.0),
    "c": ("6 KB", 2.0),
    "zig": ("96 KB", 10.0),
    "typescript": ("70 KB", 6.0),
    "javascript": ("1.1 MB", 30.0),
    "go": ("3.3 MB", 62.0),
    "python": ("18 MB", 81.0),
}
"""Size and µs per event that were measured before there were SDKs (the slower end): to be reached or better."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    modules = {path.stem.removeprefix("enrich_order_"): path for path in sorted(FOLDER.glob("enrich_order_*.wasm"))}
    found = measure({name: modules[name] for name in MARKS if name in modules}, options.rounds)
    for name, row in found.items():
        print(name, row, file=sys.stderr)
    print(f"written to {results.save('guests', {'rounds': options.rounds, 'batch': SIZE, 'rows': found})}")


def measure(modules: dict[str, Path], rounds: int) -> dict[str, dict[str, Any]]:
    """One row for each language."""
    batch = _batch()
    with ExitStack() as held:
        sandbox = held.enter_context(Sandbox(workers=1))
        sessions = {
            (name, policy): held.enter_context(closing(_session(sandbox, name, path, policy)))
            for name, path in modules.items()
            for policy in (InstancePolicy.PER_BATCH, InstancePolicy.REUSED)
            if policy is InstancePolicy.REUSED or name not in ALWAYS_REUSED
        }
        times = {key: _times(session, batch) for key, session in sessions.items()}
        taken: dict[tuple[str, InstancePolicy], list[float]] = {key: [] for key in sessions}
        keys = list(sessions)
        for turn in range(rounds):
            for key in keys[turn % len(keys) :] + keys[: turn % len(keys)]:
                taken[key].append(_round(sessions[key], batch, times[key]))
        return {name: _row(sandbox, name, path, batch, taken) for name, path in modules.items()}


def _batch() -> Batch:
    records = [order(number) for number in range(SIZE)]
    events = [Event(number, 1_795_353_061_768, key, value, ()) for number, (key, value) in enumerate(records)]
    return Batch(TopicPartition("shop.public.orders", 0), events)


def _session(sandbox: Sandbox, name: str, path: Path, policy: InstancePolicy) -> Session:
    limits = Limits().with_(deadline_ms=5_000, memory_bytes=MEMORY.get(name, 4 << 20))
    return sandbox.load(
        TransformerSpec(name="enrich-order", module=path, config=CONFIG, limits=limits, instance=policy)
    ).session()


def _times(session: Session, batch: Batch) -> int:
    """Batches in a round; warms up, and sees that the guest does its work."""
    outcomes = session.run(batch).outcomes
    assert sum(isinstance(outcome, Emitted) for outcome in outcomes) > SIZE // 2
    began = time.thread_time_ns()
    session.run(batch)
    return max(1, -(-ROUND_NS // max(1, time.thread_time_ns() - began)))


def _round(session: Session, batch: Batch, times: int) -> float:
    """µs per event."""
    began = time.thread_time_ns()
    for _ in range(times):
        session.run(batch)
    return (time.thread_time_ns() - began) / times / SIZE / 1e3


def _row(
    sandbox: Sandbox, name: str, path: Path, batch: Batch, taken: dict[tuple[str, InstancePolicy], list[float]]
) -> dict[str, Any]:
    one, starts, peak = Batch(batch.source, batch.events[:1]), [], 0
    for _ in range(STARTS):
        with closing(_session(sandbox, name, path, InstancePolicy.REUSED)) as session:
            first = _clocked(session, one)
            starts.append(first - _clocked(session, one))
            peak = max(peak, session.run(batch).memory_bytes_peak)
    fresh = taken.get((name, InstancePolicy.PER_BATCH))
    size, mark_us = MARKS[name]
    return {
        "module_bytes": path.stat().st_size,
        "fresh_us": None if fresh is None else statistics.median(fresh),
        "reused_us": statistics.median(taken[name, InstancePolicy.REUSED]),
        "start_us": max(0.0, statistics.median(starts)),
        "memory_bytes": peak,
        "mark_size": size,
        "mark_us": mark_us,
    }


def _clocked(session: Session, batch: Batch) -> float:
    began = time.perf_counter_ns()
    session.run(batch)
    return (time.perf_counter_ns() - began) / 1e3


if __name__ == "__main__":
    main()
