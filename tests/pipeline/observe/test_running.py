"""A whole pipeline, watched by everything at once: the numbers, the spans and the records must tell one story."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from pipeline import Pipeline
from pipeline.memory.broker import MemoryBroker
from pipeline.memory.transport import MemoryTransport
from pipeline.observe import Health, HealthReport, Meter, NullObserver, PrometheusObserver, StatsObserver, combine
from pipeline.observe.tracing import TracingObserver
from pipeline.ports import CommitFacts, LaneId
from sandbox import Sandbox
from schemas.event import Headers
from schemas.limits import Limits
from schemas.specs import Registry, RouteSpec, TransformerSpec
from tests.pipeline.observe.scraping import scrape, value

MODULE = Path(__file__).parents[3] / "transformers" / "modules" / "saboteur.wasm"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
LIMITS = Limits(memory_bytes=4 << 20, deadline_ms=2_000, allocation_bytes_max=2 << 20)
MISDEEDS = ("", "drop", "", "reject", "trap", "bad-output", "")


class UntilCommitted(NullObserver):
    """Stops the pipeline when so many events are committed."""

    def __init__(self, events: int) -> None:
        self.left = events
        self.stop = asyncio.Event()

    def committed(self, lane: LaneId, facts: CommitFacts) -> None:
        tally = facts.tally
        self.left -= tally.emitted + tally.dropped + tally.dead_lettered + tally.passed_through
        if self.left <= 0:
            self.stop.set()


class Watched:
    """One run over `MISDEEDS`, every event in a trace of its own."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.registry = Registry(
            transformers={"saboteur": TransformerSpec(name="saboteur", module=MODULE, limits=LIMITS)},
            routes={"r": RouteSpec("r", ("in",), ("saboteur",), "out", "dead", "g")},
        )
        self.broker = MemoryBroker()
        for topic in ("in", "out", "dead"):
            self.broker.create_topic(topic)
        for number, misdeed in enumerate(MISDEEDS):
            headers: Headers = (("TraceParent", _parent(number + 1)), ("tracestate", b"shop=1"), ("kept", b"yes"))
            document = f'{{"id":{number},"penstock_demo":"{misdeed}"}}' if misdeed else f'{{"id":{number}}}'
            self.broker.produce("in", document.encode(), key=b"k", headers=headers)
        self.meter = Meter()
        self.stats = StatsObserver(time.monotonic)
        self.health = Health(["r"], time.monotonic)
        self.exporter = InMemorySpanExporter()
        self.healthy: HealthReport | None = None
        asyncio.run(self._run(sandbox))

    async def _run(self, sandbox: Sandbox) -> None:
        provider = TracerProvider(sampler=ALWAYS_ON, shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        done = UntilCommitted(len(MISDEEDS))
        metrics = PrometheusObserver(self.meter, time.monotonic, ["r"])
        pipeline = Pipeline(
            self.registry,
            transport=MemoryTransport(self.registry, self.broker),
            observer=combine(metrics, TracingObserver(provider), self.stats, self.health, done),
            vitals=self.health,
            sandbox=sandbox,
        )
        async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
            running = tasks.create_task(pipeline.run())
            stopping = tasks.create_task(done.stop.wait())
            await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
            self.healthy = self.health.report()
            pipeline.stop()
            stopping.cancel()

    def process_spans(self) -> list[ReadableSpan]:
        return [span for span in self.exporter.get_finished_spans() if span.name == "process in"]


def _parent(span: int) -> bytes:
    return f"00-{TRACE}-{span:016x}-01".encode()


@pytest.fixture(scope="module")
def watched(sandbox: Sandbox) -> Watched:
    return Watched(sandbox)


def test_metrics_tell_what_the_topics_hold(watched: Watched) -> None:
    scraped = scrape(watched.meter.samples)
    counted = {
        o: value(scraped, "penstock_records_total", route="r", outcome=o)
        for o in ("emitted", "dropped", "dead_lettered")
    }
    assert counted == {"emitted": 3, "dropped": 1, "dead_lettered": 3}
    kinds = {
        k: value(scraped, "penstock_violations_total", route="r", kind=k)
        for k in ("rejected", "trap", "bad-output", "deadline")
    }
    assert kinds == {"rejected": 1, "trap": 1, "bad-output": 1, "deadline": 0}
    held = len(watched.broker.records("out")), len(watched.broker.records("dead"))
    assert held == (3, 3)
    assert value(scraped, "penstock_records_out_total", route="r") == sum(held)
    assert value(scraped, "penstock_consumer_lag_records", route="r", topic="in", partition="0") in (0, None)
    assert (value(scraped, "penstock_isolation_crossings_total", transformer="saboteur") or 0) >= 2
    assert (value(scraped, "penstock_wasm_memory_bytes", transformer="saboteur") or 0) >= 65_536
    assert value(scraped, "penstock_inflight_bytes", route="r") == 0


def test_stats_agree_with_the_metrics(watched: Watched) -> None:
    stats = watched.stats.stats()
    assert (stats.emitted, stats.dropped, stats.dead_lettered, stats.records_out) == (3, 1, 3, 6)
    assert stats.by_violation == {"rejected": 1, "trap": 1, "bad-output": 1}
    assert stats.latency["saboteur"].events == 7
    assert stats.latency["saboteur"].p50_us > 0


def test_spans_link_to_every_event_and_tell_every_violation(watched: Watched) -> None:
    spans = watched.process_spans()
    assert sorted(link.context.span_id for span in spans for link in span.links) == list(range(1, len(MISDEEDS) + 1))
    told = [event for span in spans for event in span.events if event.name == "penstock.violation"]
    assert sorted(str((event.attributes or {})["penstock.violation"]) for event in told) == [
        "bad-output",
        "rejected",
        "trap",
    ]
    offsets = sorted(int(str((event.attributes or {})["messaging.kafka.offset"])) for event in told)
    assert offsets == [3, 4, 5]


def test_emitted_records_go_on_in_the_batchs_trace(watched: Watched) -> None:
    own = {f"00-{s.context.trace_id:032x}-{s.context.span_id:016x}" for s in watched.process_spans() if s.context}
    for _, event in watched.broker.records("out"):
        names = [name.lower() for name, _ in event.headers]
        assert sorted(names) == ["kept", "traceparent"]
        parent = dict(event.headers)["traceparent"] or b""
        assert parent.decode().rpartition("-")[0] in own  # what follows are flags


def test_dead_letters_keep_the_context_they_came_with(watched: Watched) -> None:
    parents = [dict(event.headers)["TraceParent"] for _, event in watched.broker.records("dead")]
    assert parents == [_parent(4), _parent(5), _parent(6)]


def test_it_was_alive_and_ready_and_is_neither_stuck_nor_joined_now(watched: Watched) -> None:
    assert watched.healthy is not None and watched.healthy.ready and watched.healthy.live
    after = watched.health.report()
    assert after.live and not after.ready and not after.lanes
