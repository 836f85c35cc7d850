"""`dedupe:` drops what came before, by the log alone: whatever was killed, and wherever reading it began."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import PipelineDriver
from pipeline.registry import load_located
from pipeline.steps.dedupe import Dedupe
from sandbox import Sandbox
from schemas.errors import TransportError
from schemas.event import Batch, Event, TopicPartition
from schemas.formats.debezium import DebeziumJson
from schemas.outcome import Dropped, Outcome
from schemas.specs import BatchPolicy, DedupeSpec
from tests.pipeline.rig import MODULES, Rig, spec
from tests.pipeline.virtual_time import run

LANE = TopicPartition("in", 0)
BY_LSN = DedupeSpec(("source.lsn",), 600_000, 20)


def value(lsn: object, op: str = "u", **after: object) -> bytes:
    return json.dumps({"op": op, "before": None, "after": after, "source": {"lsn": lsn}, "ts_ms": 1}).encode()


def event(offset: int, data: bytes | None, key: bytes | None = b"k", timestamp: int = 0, **headers: bytes) -> Event:
    return Event(offset, timestamp, key, data, tuple(headers.items()))


def dropped(events: list[Event], policy: DedupeSpec = BY_LSN) -> list[int]:
    """Indexes of what a step that begins with the first of these drops."""
    outcomes = Dedupe(policy, DebeziumJson()).run(Batch(LANE, events)).outcomes
    return [index for index, outcome in enumerate(outcomes) if isinstance(outcome, Dropped)]


def test_the_second_is_dropped() -> None:
    assert dropped([event(0, value(7)), event(1, value(8)), event(2, value(7)), event(3, value(7))]) == [2, 3]


def test_what_else_must_be_equal() -> None:
    assert dropped([event(0, value(7, "d"), b"old"), event(1, value(7, "c"), b"new")]) == [], (
        "a key update is two events"
    )
    assert dropped([event(0, value(7)), event(1, value(7), b"other")]) == []
    two_tables = [json.dumps({"op": "t", "source": {"lsn": 7, "table": name}}).encode() for name in ("a", "b", "a")]
    assert dropped([event(index, data, None) for index, data in enumerate(two_tables)]) == [2]
    assert dropped([event(0, value(7)), event(1, value("7"))]) == [], "a text is no number"


def test_what_does_not_say_what_it_is_passes() -> None:
    nothing: list[bytes | None] = [None, b"no json", b'{"op":"c"}', value(None), b'{"ts_ms":1}']
    assert dropped([event(index, data) for index, data in enumerate(nothing * 2)]) == []


def test_rows_of_one_record_are_not_each_others_doubles() -> None:
    assert dropped([event(3, value(7)), event(3, value(7)), event(4, value(7))]) == [2]


def test_the_window_ends_by_time_and_by_offsets() -> None:
    def at(*times: int) -> list[Event]:
        return [event(index, value(7), timestamp=time) for index, time in enumerate(times)]

    assert dropped(at(0, 600_000)) == [1]
    assert dropped(at(0, 600_001)) == []
    assert dropped(at(0, 500_000, 1_000_000)) == [1, 2], "counted from the last one, dropped or not"
    assert dropped(at(700_000, 0)) == [1], "producers' clocks run backwards"
    assert dropped([event(0, value(7)), event(20, value(7))]) == [1]
    assert dropped([event(0, value(7)), event(21, value(7))]) == []


def test_by_several_members_and_headers() -> None:
    policy = DedupeSpec(("after.id", "headers.id"), 1_000)
    first = event(0, value(1, id=5), id=b"x")
    assert dropped([first, event(1, value(2, id=5), id=b"x"), event(2, value(2, id=5), id=b"y")], policy) == [1]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 400), st.integers(1, 6)), max_size=40), st.integers(0, 40))
def test_the_verdict_depends_on_the_log_alone(log: list[tuple[int, int, int]], cut: int) -> None:
    """Whoever begins in the middle, with the window before it read again, comes to the same verdicts as who began at the start."""
    policy = DedupeSpec(("source.lsn",), 100, 7)
    events, offset = [], 0
    for lsn, timestamp, gap in log:
        offset += gap
        events.append(event(offset, value(lsn), timestamp=timestamp))

    def verdicts(begin: int) -> list[Outcome]:
        step = Dedupe(policy, DebeziumJson())
        if begin < len(events):
            reach = events[begin].offset - policy.events
            step.run(Batch(LANE, [one for one in events[:begin] if one.offset >= reach]))
        return list(step.run(Batch(LANE, events[begin:])).outcomes)

    whole = verdicts(0)
    assert verdicts(min(cut, len(events))) == whole[cut:]
    expected = []
    for at, one in enumerate(events):
        same = [
            other for other in events[:at] if other.value == one.value and other.offset >= one.offset - policy.events
        ]
        expected.append(bool(same) and one.timestamp - same[-1].timestamp <= policy.window_ms)
    assert [isinstance(outcome, Dropped) for outcome in whole] == expected


LSNS = [1, 2, 1, 3, 3, 4, 1, 5, 2, 6, 6, 6, 7, 1, 8, 9, 8]
KEPT = [1, 2, 3, 4, 5, 6, 7, 8, 9]


def lsns(rig: Rig) -> list[int]:
    return [json.loads(data or b"")["source"]["lsn"] for data in rig.values()]


@pytest.mark.parametrize("fault", ["write", "commit", "committed", "fetch", "open"])
@pytest.mark.parametrize("after", range(4))
def test_a_lane_that_fails_remembers_what_its_log_says(sandbox: Sandbox, fault: str, after: int) -> None:
    async def scenario() -> None:
        batch = BatchPolicy(events_max=3, commit_interval_ms=1)
        rig = Rig(sandbox, spec("passthrough"), dedupe=BY_LSN, batch=batch)
        rig.produce(*map(value, LSNS))
        rig.faults.plan(fault, *[None] * after, TransportError("the network"))
        await rig.run_dry()
        assert lsns(rig) == KEPT

    run(scenario())


def test_another_process_remembers_too(sandbox: Sandbox) -> None:
    async def scenario() -> None:
        rig = Rig(sandbox, spec("passthrough"), dedupe=BY_LSN)
        for lsn in LSNS:
            rig.produce(value(lsn))
            await rig.run_dry()
        assert lsns(rig) == KEPT
        dropped_in_all = sum(facts.tally.dropped for facts in rig.observer.commits)
        assert dropped_in_all == len(LSNS) - len(KEPT), "and history is not counted again"

    run(scenario())


REGISTRY = f"""
version: 1
transformers:
  copy: {{module: {MODULES}/passthrough.wasm}}
routes:
  r: {{from: in, through: copy, to: out, dead_letter: dead, dedupe: DEDUPE}}
"""


def write(folder: Path, dedupe: str) -> Path:
    path = folder / "registry.yaml"
    path.write_text(REGISTRY.replace("DEDUPE", dedupe))
    return path


def test_in_the_driver(tmp_path: Path) -> None:
    with PipelineDriver(write(tmp_path, "{by: source.lsn, window: 10m}"), environ={}) as driver:
        for lsn in LSNS:
            driver.send("in", value(lsn), key=b"k")
        assert [json.loads(record.value or b"")["source"]["lsn"] for record in driver.read("out")] == KEPT


def test_as_the_registry_has_it(tmp_path: Path) -> None:
    path = write(tmp_path, "{by: [source.lsn, headers.id], window: 10m, events: 5000}")
    found = load_located(path, environ={}).registry.routes["r"].dedupe
    assert found == DedupeSpec(("source.lsn", "headers.id"), 600_000, 5_000)
