"""What the observer is told is what Prometheus' parser reads."""

from __future__ import annotations

import asyncio
import threading

import msgspec
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from pipeline.clock import SystemClock
from pipeline.observe.catalogue import CATALOGUE
from pipeline.observe.exposition import Exposition
from pipeline.observe.meter import Meter
from pipeline.observe.metrics import ModuleInfo, PrometheusObserver
from pipeline.observe.resources import Resources
from pipeline.ports import LaneId, LaneState
from schemas.errors import TransportError
from schemas.event import TopicPartition
from schemas.outcome import HostUse, ViolationKind
from schemas.specs import InstancePolicy
from tests.pipeline.observe.facts import LANE, ManualClock, batch, commit, passed, report
from tests.pipeline.observe.scraping import Scrape, scrape, value

MESSAGING = {
    "messaging_system": "kafka",
    "messaging_consumer_group_name": "penstock-orders",
    "messaging_destination_name": "shop.orders",
}
OF_LANE = {"route": "orders", "topic": "shop.orders", "partition": "3"}


class Observed:
    def __init__(self, *routes: str) -> None:
        self.clock = ManualClock()
        self.meter = Meter()
        self.observer = PrometheusObserver(self.meter, self.clock.monotonic, routes)

    def transformed(
        self, count: int, *, elapsed_us: float = 1_000, memory_bytes: int = 65_536, crossings: int = 1
    ) -> None:
        taken = batch(count)
        done = report(passed(taken), elapsed_us=elapsed_us, memory_bytes=memory_bytes, crossings=crossings)
        self.observer.batch(LANE, taken).transformed("enrich", taken, done)

    def scrape(self) -> Scrape:
        return scrape(self.meter.samples)


@pytest.fixture
def observed() -> Observed:
    return Observed()


def test_outcomes_count_at_the_commit_only(observed: Observed) -> None:
    observed.transformed(15)
    assert value(observed.scrape(), "penstock_records_total", route="orders", outcome="emitted") is None
    observed.observer.committed(LANE, commit())
    observed.observer.committed(LANE, commit())
    scraped = observed.scrape()
    counts = {
        o: value(scraped, "penstock_records_total", route="orders", outcome=o)
        for o in ("emitted", "dropped", "dead_lettered")
    }
    assert counts == {"emitted": 20, "dropped": 6, "dead_lettered": 4}
    assert value(scraped, "penstock_violations_total", route="orders", kind="trap") == 2
    assert value(scraped, "penstock_records_out_total", route="orders") == 24
    sent = {"messaging_operation_name": "send", "messaging_system": "kafka"}
    assert value(scraped, "messaging_client_sent_messages_total", **sent) == 24


def test_counters_of_known_routes_are_there_before_anything_happens() -> None:
    scraped = Observed("orders", "customers").scrape()
    assert value(scraped, "penstock_records_total", route="customers", outcome="passed_through") == 0
    for kind in ViolationKind:
        assert value(scraped, "penstock_violations_total", route="orders", kind=kind.value) == 0


def test_the_event_histogram_is_weighted_by_the_batch(observed: Observed) -> None:
    observed.transformed(400, elapsed_us=1_200)  # 3 µs each
    observed.transformed(10, elapsed_us=700)  # 70 µs each
    scraped = observed.scrape()
    name = "penstock_transform_duration_seconds"
    assert value(scraped, f"{name}_count", transformer="enrich") == 410
    assert value(scraped, f"{name}_sum", transformer="enrich") == pytest.approx(0.0019)
    assert value(scraped, f"{name}_bucket", transformer="enrich", le="2.5e-06") == 0
    assert value(scraped, f"{name}_bucket", transformer="enrich", le="5e-06") == 400
    assert value(scraped, f"{name}_bucket", transformer="enrich", le="0.0001") == 410
    assert value(scraped, f"{name}_bucket", transformer="enrich", le="+Inf") == 410
    assert value(scraped, "penstock_transform_batch_duration_seconds_count", transformer="enrich") == 2
    assert value(scraped, "penstock_transform_batch_duration_seconds_bucket", transformer="enrich", le="0.001") == 1


def test_a_quarantined_transformer_did_not_run(observed: Observed) -> None:
    observed.transformed(5, elapsed_us=0, crossings=0)
    assert value(observed.scrape(), "penstock_transform_duration_seconds_count", transformer="enrich") is None


def test_memory_is_the_peak(observed: Observed) -> None:
    for memory_bytes in (65_536, 262_144, 131_072):
        observed.transformed(1, memory_bytes=memory_bytes)
    assert value(observed.scrape(), "penstock_wasm_memory_bytes", transformer="enrich") == 262_144


def test_isolation_is_what_exceeds_a_healthy_batch(observed: Observed) -> None:
    observed.transformed(8)
    assert value(observed.scrape(), "penstock_isolation_crossings_total", transformer="enrich") == 0
    observed.transformed(8, crossings=4)
    assert value(observed.scrape(), "penstock_isolation_crossings_total", transformer="enrich") == 3
    observed.observer.loaded([ModuleInfo("enrich", "ab" * 32, InstancePolicy.PER_EVENT)])
    observed.transformed(8, crossings=8)
    assert value(observed.scrape(), "penstock_isolation_crossings_total", transformer="enrich") == 3


def test_host_calls_are_counted_by_capability_and_never_by_what_they_touched(observed: Observed) -> None:
    taken = batch(4)
    uses = [
        HostUse("network-client", "api.example.com", 3, 1, 400, 1_500_000),
        HostUse("network-client", "other.example.com", 1, 0, 100, 500_000),
        HostUse("clock", "", 7, 0, 0, 2),
    ]
    done = msgspec.structs.replace(report(passed(taken)), uses=uses, escape_attempts=2)
    for _ in range(2):
        observed.observer.batch(LANE, taken).transformed("enrich", taken, done)
    scraped = observed.scrape()
    network = {"transformer": "enrich", "capability": "network-client"}
    assert value(scraped, "penstock_host_calls_total", **network, result="allowed") == 8
    assert value(scraped, "penstock_host_calls_total", **network, result="denied") == 2
    assert value(scraped, "penstock_host_call_bytes_total", **network) == 1_000
    assert value(scraped, "penstock_host_call_seconds_total", **network) == pytest.approx(4.0)
    assert value(scraped, "penstock_host_calls_total", transformer="enrich", capability="clock", result="allowed") == 14
    events = {"transformer": "enrich"}
    assert value(scraped, "penstock_security_events_total", **events, type="capability_denied") == 2
    assert value(scraped, "penstock_security_events_total", **events, type="escape_attempt") == 4
    assert not any("example.com" in text for _, labels in scraped for _, text in labels)


def test_module_info_follows_what_is_loaded(observed: Observed) -> None:
    observed.observer.loaded([ModuleInfo("enrich", "aa"), ModuleInfo("mask", "bb")])
    observed.observer.loaded([ModuleInfo("enrich", "cc")])
    info = {labels for name, labels in observed.scrape() if name == "penstock_module_info"}
    assert info == {frozenset({("transformer", "enrich"), ("digest", "cc")})}


def test_a_batch_is_timed_until_it_is_written(observed: Observed) -> None:
    span = observed.observer.batch(LANE, batch(20))
    observed.clock.advance(0.06)
    span.end()
    failing = observed.observer.batch(LANE, batch(20))
    failing.end(TransportError("broker gone"))
    scraped = observed.scrape()
    name, process = "messaging_process_duration_seconds", {"messaging_operation_name": "process", **MESSAGING}
    assert value(scraped, f"{name}_sum", **process, error_type="") == pytest.approx(0.06)
    assert value(scraped, f"{name}_bucket", **process, error_type="", le="0.05") == 0
    assert value(scraped, f"{name}_bucket", **process, error_type="", le="0.075") == 1
    assert value(scraped, f"{name}_count", **process, error_type="transport") == 1
    consumed = {"messaging_operation_name": "poll", **MESSAGING}
    assert value(scraped, "messaging_client_consumed_messages_total", **consumed) == 40


def test_lag_and_commit_time(observed: Observed) -> None:
    observed.observer.committed(LANE, commit(lag=41, seconds=0.003))
    observed.observer.committed(LANE, commit(lag=None))
    scraped = observed.scrape()
    assert value(scraped, "penstock_consumer_lag_records", **OF_LANE) == 41
    assert value(scraped, "penstock_commit_duration_seconds_bucket", route="orders", le="0.005") == 1
    assert value(scraped, "penstock_commit_duration_seconds_count", route="orders") == 2


def test_a_lane_is_in_one_state_and_gone_when_closed(observed: Observed) -> None:
    neighbour = LaneId("orders", TopicPartition("shop.orders", 30), LANE.group)
    for lane in (LANE, neighbour):
        observed.observer.lane(lane, LaneState.STARTING, "")
        observed.observer.lane(lane, LaneState.PAUSED, "quarantined")
        observed.observer.committed(lane, commit())
    states = {s.value: value(observed.scrape(), "penstock_lane_state", **OF_LANE, state=s.value) for s in LaneState}
    assert states == {"starting": 0, "running": 0, "retrying": 0, "paused": 1, "stopped": 0, "closed": None}
    observed.observer.lane(LANE, LaneState.CLOSED, "revoked")
    scraped = observed.scrape()
    assert value(scraped, "penstock_lane_state", **OF_LANE, state="paused") is None
    assert value(scraped, "penstock_consumer_lag_records", **OF_LANE) is None
    assert value(scraped, "penstock_lane_state", **{**OF_LANE, "partition": "30"}, state="paused") == 1
    assert value(scraped, "penstock_records_total", route="orders", outcome="emitted") == 20


def test_in_flight_is_as_last_said(observed: Observed) -> None:
    observed.observer.in_flight("orders", 9_000, 12)
    observed.observer.in_flight("orders", 4_096, 5)
    scraped = observed.scrape()
    assert value(scraped, "penstock_inflight_bytes", route="orders") == 4_096
    assert value(scraped, "penstock_inflight_records", route="orders") == 5


def test_every_metric_of_the_catalogue_is_measured(observed: Observed) -> None:
    """Nothing is documented that nothing feeds, and both formats parse."""
    observed.observer.loaded([ModuleInfo("enrich", "aa")])
    observed.transformed(3)
    taken = batch(1)
    denied = msgspec.structs.replace(report(passed(taken)), uses=[HostUse("clock", "", 1, 1, 0, 0)])
    observed.observer.batch(LANE, taken).transformed("enrich", taken, denied)
    observed.observer.batch(LANE, taken).end()
    observed.observer.committed(LANE, commit())
    observed.observer.lane(LANE, LaneState.RUNNING, "")
    observed.observer.in_flight("orders", 1, 1)
    asyncio.run(sampled(observed.meter))
    exposition = Exposition(lambda: observed.meter.samples)
    plain, plain_type = exposition.render()
    families = list(text_string_to_metric_families(plain.decode()))
    assert plain_type.startswith("text/plain")
    assert {f.name for f in families if f.samples} == {m.name.removesuffix("_total") for m in CATALOGUE}
    strict, strict_type = exposition.render("application/openmetrics-text; version=1.0.0")
    assert strict_type.startswith("application/openmetrics-text")
    assert [f.name for f in parse_openmetrics(strict.decode())] == [m.name.removesuffix("_total") for m in CATALOGUE]


async def sampled(meter: Meter, guests: int = 0) -> None:
    Resources(meter, lambda: guests, SystemClock()).sample()


def test_what_a_process_holds_on_to(observed: Observed) -> None:
    async def beside(others: int) -> None:
        tasks = [asyncio.create_task(asyncio.Event().wait()) for _ in range(others)]
        await sampled(observed.meter, guests=7)
        for task in tasks:
            task.cancel()

    ended = threading.Event()
    thread = threading.Thread(target=ended.wait)
    thread.start()
    asyncio.run(beside(3))
    ended.set()
    thread.join()
    scraped = observed.scrape()
    assert value(scraped, "penstock_guests") == 7
    assert value(scraped, "penstock_tasks") == 4
    assert (value(scraped, "penstock_threads") or 0) == threading.active_count() + 1


def test_hostile_label_values_survive_the_text_format(observed: Observed) -> None:
    topic = 'a"b\\c\nd é'
    observed.observer.committed(LaneId("orders", TopicPartition(topic, 0), "g"), commit(lag=5))
    assert value(observed.scrape(), "penstock_consumer_lag_records", route="orders", topic=topic, partition="0") == 5


def test_a_duration_on_a_bound_belongs_to_its_bucket(observed: Observed) -> None:
    observed.transformed(1, elapsed_us=50)
    bucket = "penstock_transform_batch_duration_seconds_bucket"
    assert value(observed.scrape(), bucket, transformer="enrich", le="5e-05") == 1
    observed.transformed(1, elapsed_us=60_000_000)
    assert value(observed.scrape(), bucket, transformer="enrich", le="30.0") == 1
    assert value(observed.scrape(), bucket, transformer="enrich", le="+Inf") == 2
