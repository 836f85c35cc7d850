"""The control topic with whatever anyone wrote into it, and trace headers with whatever producers sent: read past, never fatal."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import TracerProvider

from pipeline.clock import SystemClock
from pipeline.control import Control, LaneNote, note_key
from pipeline.memory.broker import MemoryBroker
from pipeline.memory.transport import MemoryControlLog
from pipeline.observe.propagation import TRACE_HEADERS, replace_trace_headers, trace_context
from pipeline.observe.tracing import TracingObserver
from pipeline.ports import LaneId, LaneState
from sandbox import Sandbox
from schemas.event import Batch, Event, Headers, TopicPartition
from tests.fuzz.effort import examples
from tests.pipeline.rig import Rig
from tests.pipeline.virtual_time import run, until

LANE = LaneId("r", TopicPartition("in", 0), "g")
KEYS = st.sampled_from([note_key(LANE), "lane:", "lane:g:in:0:0", "lane:\0", "other", ""]) | st.text(max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
GOOD: dict[str, Any] = {
    "route": "r",
    "topic": "in",
    "partition": 0,
    "group": "g",
    "state": "running",
    "reason": "",
    "since_ms": 1,
    "quarantined": {"saboteur": "because"},
    "kinds": {"saboteur": "trap"},
}
MUTATED = st.tuples(st.sampled_from([*GOOD, "unknown"]), JSON).map(lambda change: {**GOOD, change[0]: change[1]})
DOCUMENTS = (
    st.none()
    | st.binary(max_size=100)
    | JSON.map(lambda value: json.dumps(value).encode(errors="replace"))
    | MUTATED.map(lambda value: json.dumps(value).encode(errors="replace"))
)
ENTRIES = st.lists(st.tuples(KEYS, DOCUMENTS), max_size=8)


async def opened(entries: Iterable[tuple[str, bytes | None]]) -> Control:
    log = MemoryControlLog(MemoryBroker())
    for key, document in entries:
        await log.put(key, document)
    control = Control(log, SystemClock())
    await control.open()
    return control


@examples(300)
@given(entries=ENTRIES)
def test_notes_of_any_kind(entries: list[tuple[str, bytes | None]]) -> None:
    async def scenario() -> None:
        control = await opened(entries)
        for note in control.notes():
            assert isinstance(note, LaneNote)
            msgspec.json.encode(note)
        await control.remember(LANE, LaneNote(**{**GOOD, "state": LaneState.STOPPED}))
        assert control.note(LANE) is not None

    asyncio.run(scenario())


@examples(40)
@given(document=MUTATED)
def test_a_lane_comes_up_whatever_its_note_says(box: Sandbox, document: dict[str, Any]) -> None:
    """It runs, or it is halted and can be released; never an error."""
    rig = Rig(box)
    rig.produce(b"{}")

    async def scenario() -> None:
        log = rig._transport.control()
        await log.open()
        await log.put(note_key(LANE), json.dumps(document).encode(errors="replace"))
        async with rig.running() as runner:
            await until(lambda: rig.is_dry() or rig.state(runner) in (LaneState.STOPPED, LaneState.PAUSED))
            await log.put(note_key(LANE), None)
            await until(rig.is_dry)

    run(scenario())


NAMES = st.sampled_from(["traceparent", "Traceparent", "TRACEPARENT", "tracestate", "baggage", "x", ""])
GOOD_PARENT = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
VALUES = (
    st.none()
    | st.binary(max_size=80)
    | st.sampled_from(
        [GOOD_PARENT, GOOD_PARENT[:-1], GOOD_PARENT.upper(), GOOD_PARENT + b"-x", b"00" + b"-" * 53, b"a=" * 600]
    )
    | st.tuples(st.integers(0, 54), st.integers(0, 255)).map(
        lambda change: GOOD_PARENT[: change[0]] + bytes([change[1]]) + GOOD_PARENT[change[0] + 1 :]
    )
)
HEADERS = st.lists(st.tuples(NAMES, VALUES), max_size=6).map(tuple)


@pytest.fixture(scope="module")
def observer() -> TracingObserver:
    return TracingObserver(TracerProvider())


@examples(300)
@given(records=st.lists(HEADERS, max_size=4))
def test_trace_headers_of_any_kind(observer: TracingObserver, records: list[Headers]) -> None:
    events = [Event(number, 0, None, b"", headers) for number, headers in enumerate(records)]
    span = observer.batch(LANE, Batch(LANE.source, events))
    own = span.headers()
    assert [name for name, _ in own] == ["traceparent"]
    for headers in records:
        trace_context(headers)
        sent = replace_trace_headers(headers, own)
        assert [header for header in sent if header[0].lower() in TRACE_HEADERS] == list(own), (
            "the forged ones are gone"
        )
        assert [header for header in sent if header not in own] == [
            h for h in headers if h[0].lower() not in TRACE_HEADERS
        ]
    span.end()


def test_thousands_of_contexts_link_to_no_more_than_the_maximum(observer: TracingObserver) -> None:
    parents = [b"00-%032x-%016x-01" % (number + 1, number + 1) for number in range(5_000)]
    events = [Event(n, 0, None, b"", (("traceparent", parent),)) for n, parent in enumerate(parents)]
    span = observer.batch(LANE, Batch(LANE.source, events))
    span.end()
    assert len(span._span.links) == 128  # type: ignore[attr-defined]
