"""When a process is alive, and when it is ready."""

from __future__ import annotations

import pytest

from pipeline.observe.health import Health
from pipeline.ports import LaneState
from tests.pipeline.observe.facts import LANE, ManualClock


class Process:
    def __init__(self, *routes: str) -> None:
        self.clock = ManualClock()
        self.health = Health(routes, self.clock.monotonic, stuck_after_s=60)

    def verdict(self) -> tuple[bool, bool, list[str]]:
        report = self.health.report()
        return report.live, report.ready, list(report.reasons)


@pytest.fixture
def process() -> Process:
    return Process("orders", "customers")


def test_ready_when_every_route_has_joined(process: Process) -> None:
    process.health.joined("orders")
    assert process.verdict() == (True, False, ["route customers has not joined its consumer group"])
    process.health.joined("customers")
    assert process.verdict() == (True, True, [])
    process.health.left("orders")
    assert process.verdict() == (True, False, ["route orders has not joined its consumer group"])


def test_not_live_when_fetching_stops(process: Process) -> None:
    process.health.joined("orders")
    process.health.joined("customers")
    process.clock.advance(50)
    process.health.progressed("customers")
    assert process.verdict()[0]
    process.clock.advance(20)
    assert process.verdict() == (False, False, ["route orders has not fetched for 70 s"])
    process.health.progressed("orders")
    assert process.verdict() == (True, True, [])


def test_joining_may_take_its_time(process: Process) -> None:
    process.clock.advance(3_600)
    process.health.progressed("orders")
    process.clock.advance(3_600)
    assert process.verdict()[0], "nothing is expected of a route before it has joined"


def test_a_route_that_left_is_not_stuck(process: Process) -> None:
    process.health.joined("orders")
    process.health.left("orders")
    process.clock.advance(3_600)
    assert process.verdict()[0]


def test_draining_is_not_ready(process: Process) -> None:
    process.health.joined("orders")
    process.health.joined("customers")
    process.health.draining()
    assert process.verdict() == (True, False, ["draining before the exit"])


def test_lanes_are_shown_and_do_not_judge() -> None:
    process = Process()
    process.health.lane(LANE, LaneState.PAUSED, "enrich-order is quarantined")
    report = process.health.report()
    assert (report.live, report.ready) == (True, True)
    assert [(lane.lane, lane.state, lane.reason) for lane in report.lanes] == [
        ("orders:shop.orders/3", "paused", "enrich-order is quarantined")
    ]
    process.health.lane(LANE, LaneState.CLOSED, "revoked")
    assert not process.health.report().lanes
