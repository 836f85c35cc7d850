"""What a cluster needs for a given load, from what one machine measured.

    python -m bench.model --events-per-s 500000 --bytes 400 --partitions 96

The constants come out of `results/growth.json` (`bench.growth`): each variant there changes one thing, and the difference to the run
without the change is the price of that thing. docs/scaling.md explains the model; `bench.report` writes its tables.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bench import results
from bench.orders import BYTES
from pipeline.app import commit_interval_s
from pipeline.kafka.source import PARTITION_BYTES, PREFETCH_BYTES
from schemas.specs import BatchPolicy, Delivery

BATCH = BatchPolicy()
HEADROOM = 0.7
"""How busy an event loop should be: the rest is for catching up after a rebalance."""
Figure = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Cell:
    """One point of the growth, the median of its rounds."""

    partitions: int
    processes: int
    cpu_us: float
    loop_us: float
    guest_us: float
    broker_us: float
    rss_mb: float
    """Of the largest process."""
    commits_per_event: float
    batches_per_event: float
    commit_ms: float
    events_per_s: float


@dataclass(frozen=True, slots=True)
class Constants:
    """Prices, in microseconds of CPU unless said otherwise."""

    fetch_us: float
    """Of an event, on the event loop."""
    guest_us: float
    """Of an event, in the guests' threads."""
    produce_us: float
    """Of an emitted event, on the event loop."""
    batch_loop_us: float
    """Of a batch, however small, on the event loop."""
    batch_guest_us: float
    """Of a batch, in the guests' threads: a fresh guest, the crossing."""
    commit_us: float
    """Of a transaction, on the event loop."""
    loop_us_per_kb: float
    guest_us_per_kb: float
    broker_us: float
    """Of an event, read and written once, without replication."""
    broker_us_per_kb: float
    broker_commit_us: float
    process_mb: float
    lane_mb: float
    """Besides what is fetched ahead."""


@dataclass(frozen=True, slots=True)
class Need:
    """What a load asks for."""

    processes: int
    cores: float
    """Busy, of all processes together."""
    loop_share: float
    """How busy each event loop is, of one core."""
    events_per_s_each: float
    lanes_each: int
    commit_interval_s: float
    transactions_per_s: float
    memory_mb_each: float
    broker_cores: float
    cpu_us: float
    """Of one event, everything of penstock's."""


def cells(growth: Figure, variant: str = "as it is") -> list[Cell]:
    """The points of one variant, smallest first."""
    found: dict[tuple[int, int], list[Figure]] = {}
    for point in growth["points"]:
        if point["variant"] == variant:
            found.setdefault((point["processes"], point["partitions"]), []).append(point)
    return [_cell(found[at]) for at in sorted(found)]


def _cell(rounds: Sequence[Figure]) -> Cell:
    def median(of: Callable[[Figure], float]) -> float:
        return statistics.median(map(of, rounds))

    return Cell(
        rounds[0]["partitions"],
        rounds[0]["processes"],
        median(lambda one: one["figures"]["cpu_us_per_event"]),
        median(lambda one: one["figures"]["loop_us_per_event"]),
        median(lambda one: one["figures"]["guest_us_per_event"]),
        median(lambda one: one["figures"]["broker_us_per_event"]),
        median(lambda one: one["figures"]["rss_mb_peak"]),
        median(lambda one: one["commits"] / one["events"]),
        median(lambda one: one["batches"] / one["events"]),
        median(lambda one: one["commit_ms"]),
        median(lambda one: one["figures"]["events_per_s"]),
    )


def constants(growth: Figure) -> Constants:
    """Take the cost apart. A price that came out below nothing (the machine was noisy) is nothing."""
    grown = cells(growth)
    base = grown[0]
    assert (base.partitions, base.processes) == (2, 1), "the smallest point is the one that variants are compared with"
    dropped, often, small, large = (
        cells(growth, name)[0] for name in ("all dropped", "a commit per batch", "small batches", "large events")
    )
    commits = often.commits_per_event - base.commits_per_event
    commit_us = _price(often.loop_us - base.loop_us, commits)
    batches, fewer = small.batches_per_event - base.batches_per_event, small.commits_per_event - base.commits_per_event
    batch_loop_us = _price(small.loop_us - base.loop_us - fewer * commit_us, batches)
    batch_guest_us = _price(small.guest_us - base.guest_us, batches)

    def loop_alone(cell: Cell) -> float:
        return cell.loop_us - cell.batches_per_event * batch_loop_us - cell.commits_per_event * commit_us

    def guest_alone(cell: Cell) -> float:
        return cell.guest_us - cell.batches_per_event * batch_guest_us

    fetch_us, loop_us = max(0.0, loop_alone(dropped)), loop_alone(base)
    larger_kb = growth["padding"] / 1e3
    broker_commit_us = _price(often.broker_us - base.broker_us, commits)
    alone = [cell for cell in grown if cell.processes == 1]
    lane_mb = _slope([(cell.partitions, cell.rss_mb - prefetch_mb(cell.partitions)) for cell in alone])
    process_mb = statistics.fmean(
        cell.rss_mb - prefetch_mb(cell.partitions) - cell.partitions * lane_mb for cell in alone
    )
    return Constants(
        fetch_us=fetch_us,
        guest_us=guest_alone(base),
        produce_us=max(0.0, loop_us - fetch_us),
        batch_loop_us=batch_loop_us,
        batch_guest_us=batch_guest_us,
        commit_us=commit_us,
        loop_us_per_kb=_price(loop_alone(large) - loop_us, larger_kb),
        guest_us_per_kb=_price(guest_alone(large) - guest_alone(base), larger_kb),
        broker_us=base.broker_us - base.commits_per_event * broker_commit_us,
        broker_us_per_kb=_price(large.broker_us - base.broker_us, larger_kb),
        broker_commit_us=broker_commit_us,
        process_mb=process_mb,
        lane_mb=lane_mb,
    )


def _price(more: float, of: float) -> float:
    return max(0.0, more / of) if of > 0 else 0.0


def _slope(points: Sequence[tuple[float, float]]) -> float:
    """Least squares; never below nothing."""
    x_mean, y_mean = (statistics.fmean(each) for each in zip(*points, strict=True))
    spread = sum((x - x_mean) ** 2 for x, _ in points)
    return _price(sum((x - x_mean) * (y - y_mean) for x, y in points), spread)


def prefetch_mb(lanes: int) -> float:
    """What a process fetches ahead for so many lanes, at most."""
    return min(lanes * PARTITION_BYTES, PREFETCH_BYTES) / 1e6


def memory_mb(prices: Constants, lanes: int) -> float:
    """Resident memory of one process at its busiest."""
    return prices.process_mb + lanes * prices.lane_mb + prefetch_mb(lanes)


def event_us(
    prices: Constants, *, size_bytes: int = BYTES, commits_per_event: float, batch_events: int = BATCH.events_max
) -> tuple[float, float]:
    """CPU of one event: on the event loop, and in the guests' threads."""
    more_kb = (size_bytes - BYTES) / 1e3
    loop_us = prices.fetch_us + prices.produce_us + prices.batch_loop_us / batch_events
    loop_us += commits_per_event * prices.commit_us + more_kb * prices.loop_us_per_kb
    return loop_us, prices.guest_us + prices.batch_guest_us / batch_events + more_kb * prices.guest_us_per_kb


def need(
    prices: Constants, *, events_per_s: float, size_bytes: int, partitions: int, headroom: float = HEADROOM
) -> Need:
    """What this load asks for, with full batches, no event loop busier than `headroom`. Raises ValueError when partitions are too few."""
    for processes in range(1, partitions + 1):
        found = _need(prices, events_per_s, size_bytes, partitions, processes)
        if found.loop_share <= headroom:
            return found
    raise ValueError(
        f"{partitions} partitions are too few for {events_per_s:,.0f} events/s of {size_bytes} bytes: "
        "a partition is one process's; add partitions"
    )


def _need(prices: Constants, events_per_s: float, size_bytes: int, partitions: int, processes: int) -> Need:
    lanes, each = math.ceil(partitions / processes), events_per_s / processes
    interval_s = commit_interval_s(BATCH, Delivery.EXACTLY_ONCE, lanes, caught_up=False)
    commits_per_s = max(lanes / interval_s, each / BATCH.commit_events_max)
    batch_events = max(1, min(BATCH.events_max, BATCH.bytes_max // size_bytes))
    loop_us, guest_us = event_us(
        prices, size_bytes=size_bytes, commits_per_event=commits_per_s / each, batch_events=batch_events
    )
    broker_us = prices.broker_us + (size_bytes - BYTES) / 1e3 * prices.broker_us_per_kb
    return Need(
        processes=processes,
        cores=events_per_s * (loop_us + guest_us) / 1e6,
        loop_share=each * loop_us / 1e6,
        events_per_s_each=each,
        lanes_each=lanes,
        commit_interval_s=interval_s,
        transactions_per_s=commits_per_s * processes,
        memory_mb_each=memory_mb(prices, lanes),
        broker_cores=(events_per_s * broker_us + commits_per_s * processes * prices.broker_commit_us) / 1e6,
        cpu_us=loop_us + guest_us,
    )


def show(found: Need) -> str:
    """For a terminal."""
    return (
        f"{found.processes} processes, {found.lanes_each} partitions and {found.events_per_s_each:,.0f} events/s each\n"
        f"{found.cores:.1f} cores busy ({found.cpu_us:.1f} µs an event; each event loop {found.loop_share:.0%} of a core)\n"
        f"{found.memory_mb_each:.0f} MB of memory each\n"
        f"{found.transactions_per_s:.0f} transactions/s (each lane commits every {found.commit_interval_s * 1e3:.0f} ms)\n"
        f"{found.broker_cores:.1f} cores of the brokers, before replication"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events-per-s", type=float, required=True)
    parser.add_argument("--bytes", type=int, default=BYTES, help="of one value")
    parser.add_argument("--partitions", type=int, default=64)
    parser.add_argument("--headroom", type=float, default=HEADROOM, help="how busy an event loop may be")
    options = parser.parse_args()
    if options.events_per_s <= 0 or options.bytes < 1 or options.partitions < 1 or not 0 < options.headroom <= 1:
        parser.error("--events-per-s, --bytes and --partitions are positive, --headroom is above 0 and at most 1")
    growth = results.load("growth")
    if growth is None:
        sys.exit("nothing was measured yet: run python -m bench.growth first")
    try:
        found = need(
            constants(growth),
            events_per_s=options.events_per_s,
            size_bytes=options.bytes,
            partitions=options.partitions,
            headroom=options.headroom,
        )
    except ValueError as error:
        sys.exit(str(error))
    print(show(found))


if __name__ == "__main__":
    main()
