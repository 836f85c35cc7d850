"""Workers' samples and health as their supervisor sees them."""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.observe.fleet import Fleet, SnapshotFile
from pipeline.observe.health import Health
from pipeline.observe.meter import Meter, Samples, lasting, merge
from pipeline.observe.metrics import PrometheusObserver
from pipeline.ports import LaneState
from tests.pipeline.observe.facts import LANE, ManualClock, batch, commit, passed, report
from tests.pipeline.observe.scraping import scrape, value


class Worker:
    """A worker's side, in this process."""

    def __init__(self, fleet: Fleet, name: str, clock: ManualClock) -> None:
        self.meter = Meter()
        self.observer = PrometheusObserver(self.meter, clock.monotonic)
        self.health = Health(["orders"], clock.monotonic)
        self.file = SnapshotFile(fleet.path(name), self.meter, self.health, clock)
        fleet.started(name)


class Fleets:
    def __init__(self, directory: Path) -> None:
        self.clock = ManualClock()
        self.fleet = Fleet(directory, 2, self.clock.monotonic)

    def worker(self, name: str) -> Worker:
        return Worker(self.fleet, name, self.clock)


@pytest.fixture
def fleets(tmp_path: Path) -> Fleets:
    return Fleets(tmp_path)


def test_counters_add_up_and_gauges_merge_by_their_rule(fleets: Fleets) -> None:
    for name, memory, in_flight in (("a", 65_536, 100), ("b", 131_072, 30)):
        worker = fleets.worker(name)
        taken = batch(5)
        worker.observer.batch(LANE, taken).transformed("enrich", taken, report(passed(taken), memory_bytes=memory))
        worker.observer.committed(LANE, commit(lag=9))
        worker.observer.in_flight("orders", in_flight, 1)
        worker.file.write()
    scraped = scrape(fleets.fleet.samples())
    assert value(scraped, "penstock_records_total", route="orders", outcome="emitted") == 20
    assert value(scraped, "penstock_transform_duration_seconds_count", transformer="enrich") == 10
    assert value(scraped, "penstock_wasm_memory_bytes", transformer="enrich") == 131_072
    assert value(scraped, "penstock_inflight_bytes", route="orders") == 130
    assert value(scraped, "penstock_consumer_lag_records", route="orders", topic="shop.orders", partition="3") == 9


def test_counters_never_fall_when_a_worker_is_replaced(fleets: Fleets) -> None:
    for name in ("a.1", "a.2", "a.3"):
        worker = fleets.worker(name)
        worker.observer.committed(LANE, commit())
        worker.observer.in_flight("orders", 100, 1)
        worker.file.write()
        fleets.fleet.ended(name)
    last = fleets.worker("a.4")
    scraped = scrape(fleets.fleet.samples())
    assert value(scraped, "penstock_records_total", route="orders", outcome="emitted") == 30
    assert value(scraped, "penstock_commit_duration_seconds_count", route="orders") == 3
    assert value(scraped, "penstock_inflight_bytes", route="orders") is None
    last.observer.committed(LANE, commit())
    last.file.write()
    first, second = (scrape(fleets.fleet.samples()) for _ in range(2))
    assert value(first, "penstock_records_total", route="orders", outcome="emitted") == 40
    assert first == second, "reading must not add up"


def test_ready_when_all_workers_are_there_and_ready(fleets: Fleets) -> None:
    assert fleets.fleet.health().reasons == ["2 of 2 workers missing"]
    workers = [fleets.worker(name) for name in ("a", "b")]
    assert set(fleets.fleet.health().reasons) == {"a: starting", "b: starting"}
    for worker in workers:
        worker.health.joined("orders")
        worker.file.write()
    assert fleets.fleet.health().ready
    fleets.fleet.ended("a")
    report_ = fleets.fleet.health()
    assert (report_.live, report_.ready, report_.reasons) == (True, False, ["1 of 2 workers missing"])


def test_a_worker_whose_snapshots_stop_is_stuck(fleets: Fleets) -> None:
    for name in ("a", "b"):
        worker = fleets.worker(name)
        worker.health.joined("orders")
        worker.observer.lane(LANE, LaneState.RUNNING, "")
        worker.health.lane(LANE, LaneState.RUNNING, "")
        worker.file.write()
    fleets.clock.advance(10)
    worker.file.write()
    assert fleets.fleet.health().live
    fleets.clock.advance(10)
    found = fleets.fleet.health()
    assert not found.live and not found.ready
    assert found.reasons == ["a: no sign of life for 20 s, its event loop is stuck"]
    assert len(found.lanes) == 2


def test_a_worker_that_never_says_anything_is_stuck(fleets: Fleets) -> None:
    fleets.worker("a")
    fleets.clock.advance(16)
    assert not fleets.fleet.health().live


def test_draining_is_alive_but_not_ready(fleets: Fleets) -> None:
    fleets.fleet.draining()
    found = fleets.fleet.health()
    assert (found.live, found.ready, found.reasons) == (True, False, ["draining before the exit"])


def test_the_last_counts_arrive_when_the_relay_is_cancelled(fleets: Fleets) -> None:
    worker = fleets.worker("a")

    async def run() -> None:
        relay = asyncio.create_task(worker.file.relay())
        await asyncio.sleep(0)
        worker.observer.committed(LANE, commit())
        relay.cancel()
        await asyncio.gather(relay, return_exceptions=True)
        assert relay.cancelled()

    asyncio.run(run())
    assert value(scrape(fleets.fleet.samples()), "penstock_records_out_total", route="orders") == 12


def test_a_directory_that_is_gone_is_logged_and_survived(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock()
    fleet = Fleet(tmp_path / "gone", 1, clock.monotonic)
    worker = Worker(fleet, "a", clock)
    with caplog.at_level(logging.WARNING):
        asyncio.run(_relay_rounds(worker, clock, 3))
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [
        "metrics and health cannot be handed to the supervisor"
    ]


async def _relay_rounds(worker: Worker, clock: ManualClock, rounds: int) -> None:
    clock.stop_after = rounds
    with pytest.raises(asyncio.CancelledError):
        await worker.file.relay()


def test_a_worker_in_another_process_is_read(fleets: Fleets, tmp_path: Path) -> None:
    """The real thing: another interpreter writes, and is killed before it could say goodbye."""
    fleets.fleet.started("a")
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from pipeline.clock import SystemClock\n"
        "from pipeline.observe import Health, Meter, PrometheusObserver, SnapshotFile\n"
        "from tests.pipeline.observe.facts import LANE, commit\n"
        "clock, meter = SystemClock(), Meter()\n"
        "PrometheusObserver(meter, clock.monotonic).committed(LANE, commit())\n"
        "SnapshotFile(Path(sys.argv[1]), meter, Health(['orders'], clock.monotonic), clock).write()\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )

    async def run() -> int:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, str(fleets.fleet.path("a")), cwd=Path(__file__).parents[3]
        )
        return await process.wait()

    assert asyncio.run(run()) == -9
    fleets.fleet.ended("a")
    assert value(scrape(fleets.fleet.samples()), "penstock_records_out_total", route="orders") == 12


def _meter(counts: list[int], durations: list[float]) -> Samples:
    meter = Meter()
    observer = PrometheusObserver(meter, ManualClock().monotonic)
    for count in counts:
        observer.committed(LANE, commit(records_out=count, lag=count))
    for seconds in durations:
        observer.committed(LANE, commit(seconds=seconds))
    return meter.samples


SAMPLES = st.builds(
    _meter,
    st.lists(st.integers(0, 1_000), max_size=4),
    st.lists(st.sampled_from([0.0, 0.001, 0.5, 2.0, 90.0]), max_size=4),
)


@settings(deadline=None)
@given(SAMPLES, SAMPLES, SAMPLES)
def test_merging_is_associative_and_leaves_its_parts_alone(a: Samples, b: Samples, c: Samples) -> None:
    before = scrape(a)
    assert scrape(merge((merge((a, b)), c))) == pytest.approx(scrape(merge((a, merge((b, c))))))
    assert scrape(merge((a, b))) == pytest.approx(scrape(merge((b, a))))
    assert scrape(merge((a,))) == scrape(a) == before
    assert "penstock_consumer_lag_records" not in lasting(a).values
