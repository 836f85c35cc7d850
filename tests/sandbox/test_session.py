"""How a batch becomes crossings, and what a report says about them."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from sandbox import Limits, Sandbox
from sandbox.calls import CallsName
from sandbox.pace import UNLIMITED, Pace
from schemas.event import Batch, TopicPartition
from tests.sandbox.guests import LIMITS, Bench, batch, events, guest, kinds, spec, violation


def test_a_batch_is_one_crossing(sandbox: Sandbox) -> None:
    report = sandbox.load(spec(), guest("saboteur")).run(batch([b"k", b"r", b"d", b"j", b"e"] * 50))
    assert report.crossings == 1
    assert len(report.outcomes) == 250


def test_a_frame_stays_well_below_the_memory(sandbox: Sandbox) -> None:
    """64 events of 100 KB against 4 MiB of memory: an eighth of it at a time."""
    limits = LIMITS.with_(deadline_ms=5_000)  # a crossing that a busy machine stops is asked again, event by event
    report = sandbox.load(spec(limits=limits), guest("saboteur")).run(batch([b"k" * 100_000] * 64))
    assert kinds(report.outcomes) == ["emitted"] * 64
    assert 64 * 100_000 / (4 << 20) * 8 <= report.crossings <= 16


def test_a_frame_stays_below_the_largest_allocation(sandbox: Sandbox) -> None:
    transformer = sandbox.load(spec(limits=LIMITS.with_(allocation_bytes_max=10_000)), guest("saboteur"))
    report = transformer.run(batch([b"k" * 3_000] * 9))
    assert kinds(report.outcomes) == ["emitted"] * 9
    assert report.crossings == 3


def test_a_large_event_among_small_ones_crosses_alone(sandbox: Sandbox) -> None:
    values = [b"k"] * 10 + [b"k" * 1_500_000] + [b"r"] * 10
    report = sandbox.load(spec(), guest("saboteur")).run(batch(values))
    assert kinds(report.outcomes) == ["emitted"] * 21


def test_a_result_too_large_for_one_frame_is_asked_for_in_parts(sandbox: Sandbox) -> None:
    """Four events of 2 MiB output each: each within its own limit, together beyond the frame's."""
    limits = Limits(memory_bytes=64 << 20, output_bytes_per_event=3 << 20)
    report = sandbox.load(spec(limits=limits), guest("saboteur")).run(batch([b"9"] * 4))
    assert kinds(report.outcomes) == ["emitted"] * 4
    assert report.crossings > 1


def test_outcomes_are_in_the_order_of_the_events(sandbox: Sandbox) -> None:
    values = [b"k", b"U", b"d", b"j", b"#", b"r"] * 5
    expected = ["emitted", "trap", "dropped", "rejected", "bad-output", "emitted"] * 5
    assert kinds(sandbox.load(spec(), guest("saboteur")).run(batch(values)).outcomes) == expected


def test_a_session_takes_batches_of_several_partitions(sandbox: Sandbox) -> None:
    session = sandbox.load(spec(), guest("saboteur")).session()
    for partition in (0, 1, 0):
        report = session.run(Batch(TopicPartition("orders", partition), events([b"r"])))
        assert kinds(report.outcomes) == ["emitted"]
    session.close()


def test_stats_add_up(sandbox: Sandbox) -> None:
    transformer = sandbox.load(spec(), guest("saboteur"))
    before = sandbox.stats()
    reports = [transformer.run(batch([b"k", b"U"])) for _ in range(3)]
    after = sandbox.stats()
    assert after.crossings - before.crossings == sum(report.crossings for report in reports)
    assert after.instances_created - before.instances_created == sum(report.crossings for report in reports)
    assert after.active_instances == 0


def test_crossings_are_traced_when_asked(calls: CallsName, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="penstock.sandbox")
    for trace, lines in ((False, 0), (True, 3)):
        with Sandbox(calls=calls, cache=False, trace_execution=trace) as sandbox:
            sandbox.load(spec("traced"), guest("saboteur")).run(batch([b"k", b"U"]))
        assert len(caplog.records) == lines
    assert "traced: 2 events from shop.public.orders/0@0 in " in caplog.messages[0]
    assert caplog.messages[0].endswith("in trouble")
    assert "key-0" not in caplog.text, "events' contents are nobody's business"


def test_debug_mode_does_not_change_verdicts(calls: CallsName) -> None:
    with Sandbox(calls=calls, cache=False, debug_mode=True) as sandbox:
        report = sandbox.load(spec(), guest("saboteur")).run(batch([b"k", b"U"]))
    assert kinds(report.outcomes) == ["emitted", "trap"]
    assert "work" in violation(report.outcomes[1]).backtrace


def test_a_closed_sandbox_runs_nothing(calls: CallsName) -> None:
    sandbox = Sandbox(calls=calls, cache=False)
    transformer = sandbox.load(spec(), guest("saboteur"))
    sandbox.close()
    sandbox.close()
    with pytest.raises(RuntimeError, match="closed"):
        transformer.run(batch([b"k"]))


def test_the_pace_halves_and_doubles() -> None:
    pace = Pace()
    pace.shrink(100)
    pace.shrink(200)
    assert pace.events_max == 100
    for _ in range(7):
        pace.healthy(100, 1, 1000)
    assert pace.events_max == 100
    pace.healthy(100, 1, 1000)
    assert pace.events_max == 200
    pace.healthy(100, 600, 1000)
    assert pace.events_max == 50
    for _ in range(1000):
        pace.healthy(100, 1, 1000)
    assert pace.events_max == UNLIMITED
    for _ in range(20):
        pace.healthy(100, 300, 1000)
    assert pace.events_max == UNLIMITED


def test_a_crossing_is_not_grown_into_the_deadline(make_bench: Callable[..., Bench]) -> None:
    """10 ms an event and 100 ms in all: the batch must not be doubled beyond half of the deadline."""
    session = make_bench().load("clockwork").session()
    for _ in range(30):
        report = session.run(batch([b"t\x0a"] * 16))
    assert session.events_max <= 8
    assert report.crossings <= 16
    session.close()
