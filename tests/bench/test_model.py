"""The scaling model takes prices apart that were put together, and adds them up again."""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from typing import Any

import pytest

from bench.model import Constants, constants, event_us, memory_mb, need, prefetch_mb

PRICES = Constants(
    fetch_us=1.0,
    guest_us=2.0,
    produce_us=0.5,
    batch_loop_us=300.0,
    batch_guest_us=100.0,
    commit_us=2_000.0,
    loop_us_per_kb=0.5,
    guest_us_per_kb=1.5,
    broker_us=1.2,
    broker_us_per_kb=0.8,
    broker_commit_us=500.0,
    process_mb=90.0,
    lane_mb=0.75,
)


def point(
    partitions: int = 2,
    processes: int = 1,
    variant: str = "as it is",
    commits: int = 100,
    batches: int = 500,
    size_kb: float = 0.0,
    noise: float = 1.0,
) -> dict[str, Any]:
    """What the bench would have seen of a million events if `PRICES` were the truth."""
    price, events = PRICES, 1_000_000
    produced = 0.0 if variant == "all dropped" else price.produce_us
    loop = price.fetch_us + produced + size_kb * price.loop_us_per_kb
    loop += (batches * price.batch_loop_us + commits * price.commit_us) / events
    guest = price.guest_us + size_kb * price.guest_us_per_kb + batches * price.batch_guest_us / events
    broker = price.broker_us + size_kb * price.broker_us_per_kb + commits * price.broker_commit_us / events
    figures = {
        "events_per_s": 100_000.0,
        "cpu_us_per_event": noise * (loop + guest),
        "loop_us_per_event": noise * loop,
        "guest_us_per_event": noise * guest,
        "broker_us_per_event": noise * broker,
        "rss_mb_peak": memory_mb(price, partitions // processes),
    }
    shape = {"partitions": partitions, "processes": processes, "variant": variant, "events": events}
    return {**shape, "figures": figures, "commits": commits, "batches": batches, "commit_ms": 5.0}


def growth(noise: float = 1.0) -> dict[str, Any]:
    points = [
        point(noise=noise),
        point(8, noise=noise),
        point(64, commits=150, noise=noise),
        point(64, 4, commits=300, noise=noise),
        point(variant="all dropped", noise=noise),
        point(variant="a commit per batch", commits=500, noise=noise),
        point(variant="small batches", batches=5_000, commits=110, noise=noise),
        point(variant="large events", batches=700, commits=130, size_kb=1.2, noise=noise),
    ]
    return {"padding": 1_200, "points": points}


def test_the_prices_are_found_again() -> None:
    found = asdict(constants(growth()))
    wanted = asdict(PRICES)
    wanted["broker_us_per_kb"] = found["broker_us_per_kb"]  # the broker's commits of that run are within it
    assert found == pytest.approx(wanted)
    assert found["broker_us_per_kb"] == pytest.approx(PRICES.broker_us_per_kb, rel=0.02)


def test_a_round_that_was_disturbed_does_not_count() -> None:
    calm = growth()
    calm["points"] += growth()["points"] + growth(noise=3.0)["points"]
    assert constants(calm) == constants(growth())


def test_noise_makes_no_price_negative() -> None:
    upside_down = growth()
    for each in upside_down["points"]:
        if each["variant"] != "as it is":
            each["figures"] |= {key: 0.1 for key in each["figures"] if key.endswith("_us_per_event")}
    found = asdict(constants(upside_down))
    assert all(found[name] >= 0 for name in found)


def test_an_event_costs_the_sum_of_its_parts() -> None:
    loop, guest = event_us(PRICES, size_bytes=1_400, commits_per_event=1e-4, batch_events=1_000)
    assert loop == pytest.approx(1.0 + 0.5 + 0.3 + 0.2 + 0.5)
    assert guest == pytest.approx(2.0 + 0.1 + 1.5)


def test_what_a_load_needs() -> None:
    found = need(PRICES, events_per_s=500_000, size_bytes=400, partitions=96, headroom=0.7)
    # 1.65 µs of loop and 2.05 µs of guest an event, and 32 commits a second of 2 ms in each process
    assert found.processes == 2
    assert found.lanes_each == 48
    assert found.commit_interval_s == pytest.approx(1.5)
    assert found.transactions_per_s == pytest.approx(64)
    assert found.loop_share == pytest.approx(0.25 * 1.65 + 0.064)
    assert found.cores == pytest.approx(0.5 * (1.65 + 2.05) + 0.128)
    assert found.memory_mb_each == pytest.approx(90 + 48 * 0.75 + prefetch_mb(48))
    assert found.broker_cores == pytest.approx(0.6 + 64 * 500e-6)


def test_what_is_fetched_ahead_is_bounded() -> None:
    assert prefetch_mb(1) < prefetch_mb(2) <= prefetch_mb(16) == prefetch_mb(1_000) < 40


def test_fuller_loops_need_fewer_processes() -> None:
    def processes(headroom: float) -> int:
        return need(PRICES, events_per_s=1_000_000, size_bytes=400, partitions=64, headroom=headroom).processes

    assert processes(0.95) < processes(0.5)


def test_large_events_have_smaller_batches() -> None:
    # A megabyte holds ten of them, so each pays a tenth of a batch.
    found = need(PRICES, events_per_s=1_000, size_bytes=100_000, partitions=2)
    assert found.cpu_us > (PRICES.batch_loop_us + PRICES.batch_guest_us) / 11


def test_too_few_partitions_are_said() -> None:
    with pytest.raises(ValueError, match="2 partitions are too few for 5,000,000 events/s"):
        need(PRICES, events_per_s=5_000_000, size_bytes=400, partitions=2)


@pytest.mark.parametrize("price", [field.name for field in fields(Constants)])
def test_every_price_matters(price: str) -> None:
    def asked(prices: Constants) -> object:
        return need(prices, events_per_s=100_000, size_bytes=900, partitions=8)

    assert asked(replace(PRICES, **{price: getattr(PRICES, price) * 1.1})) != asked(PRICES)
