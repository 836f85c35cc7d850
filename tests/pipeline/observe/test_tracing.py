"""Spans as the SDK's in-memory exporter receives them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler
from opentelemetry.trace import SpanKind, StatusCode, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from pipeline.observe.tracing import LINKS_MAX, VIOLATIONS_MAX, TracingObserver
from schemas.errors import FencedError
from schemas.event import Batch, Headers
from schemas.outcome import Violation, ViolationKind
from tests.pipeline.observe.facts import LANE, ManualClock, batch, event, mixed, passed, report, violation

DOCS = Path(__file__).parents[3] / "docs" / "telemetry.md"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


class Traced:
    def __init__(self, sampler: Sampler = ALWAYS_ON) -> None:
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.clock = ManualClock()
        self.observer = TracingObserver(
            provider, server=("broker-1", 9092), digests={"enrich-order": "ab" * 32}, time_ns=self.clock.time_ns
        )

    def spans(self) -> dict[str, ReadableSpan]:
        return {span.name: span for span in self.exporter.get_finished_spans()}

    def process(self, of: Batch) -> ReadableSpan:
        self.observer.batch(LANE, of).end()
        return self.spans()["process shop.orders"]


@pytest.fixture
def traced() -> Traced:
    return Traced()


def with_contexts(contexts: Sequence[Headers]) -> Batch:
    return Batch(LANE.source, [event(i, headers) for i, headers in enumerate(contexts)])


def parent(span: int, trace: str = TRACE) -> tuple[str, bytes]:
    return ("traceparent", f"00-{trace}-{span:016x}-01".encode())


def linked(span: ReadableSpan) -> list[int]:
    return [link.context.span_id for link in span.links]


def test_a_batch_is_one_consumer_span_with_the_conventions_attributes(traced: Traced) -> None:
    span = traced.process(batch(5, first=40))
    assert (span.kind, span.parent, span.status.status_code) == (SpanKind.CONSUMER, None, StatusCode.UNSET)
    assert dict(span.attributes or {}) == {
        "messaging.system": "kafka",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "shop.orders",
        "messaging.destination.partition.id": "3",
        "messaging.consumer.group.name": "penstock-orders",
        "messaging.batch.message_count": 5,
        "penstock.route": "orders",
        "penstock.batch.first_offset": 40,
        "penstock.batch.last_offset": 44,
        "server.address": "broker-1",
        "server.port": 9092,
    }


def test_a_transformer_is_a_child_that_took_as_long_as_it_reported(traced: Traced) -> None:
    taken = batch(6)
    span = traced.observer.batch(LANE, taken)
    traced.clock.advance(0.5)
    span.transformed("enrich-order", taken, report(mixed(taken, [], dropped=2), elapsed_us=1_500, crossings=1))
    traced.clock.advance(0.25)
    span.end()
    process, child = traced.spans()["process shop.orders"], traced.spans()["transform enrich-order"]
    assert child.kind is SpanKind.INTERNAL
    assert child.parent is not None and process.context is not None and child.parent.span_id == process.context.span_id
    assert child.end_time == 1_000_500_000_000 and child.end_time - (child.start_time or 0) == 1_500_000
    assert (process.end_time or 0) - (process.start_time or 0) == 750_000_000
    assert dict(child.attributes or {}) == {
        "penstock.transformer.name": "enrich-order",
        "penstock.module.digest": "ab" * 32,
        "penstock.events": 6,
        "penstock.dropped": 2,
        "penstock.violations": 0,
        "penstock.crossings": 1,
        "penstock.memory_bytes_peak": 131_072,
    }


def test_links_go_to_each_context_once(traced: Traced) -> None:
    contexts: list[Headers] = [
        (parent(1),),
        (parent(2), parent(3)),
        (parent(1),),
        (),
        (("TraceParent", parent(4)[1]), ("tracestate", b"vendor=x")),
        (("traceparent", b"nonsense"),),
        (("traceparent", None),),
        (parent(0),),
    ]
    span = traced.process(with_contexts(contexts))
    assert linked(span) == [1, 2, 4]
    assert [f"{link.context.trace_id:032x}" for link in span.links] == [TRACE] * 3
    assert span.links[2].context.trace_state.get("vendor") == "x"


def test_links_are_bounded(traced: Traced) -> None:
    span = traced.process(with_contexts([(parent(i),) for i in range(1, 400)]))
    assert linked(span) == list(range(1, LINKS_MAX + 1))
    assert span.dropped_links == 0


def test_outgoing_headers_carry_the_span(traced: Traced) -> None:
    span = traced.observer.batch(LANE, batch(1))
    headers = span.headers()
    assert span.headers() is headers
    span.end()
    carrier = {name: (value or b"").decode() for name, value in headers}
    context = get_current_span(TraceContextTextMapPropagator().extract(carrier)).get_span_context()
    process = traced.spans()["process shop.orders"].context
    assert process is not None and set(carrier) == {"traceparent"}
    assert (context.trace_id, context.span_id, context.trace_flags.sampled) == (process.trace_id, process.span_id, True)


def test_an_unsampled_batch_leaves_records_in_their_own_traces() -> None:
    traced = Traced(ALWAYS_OFF)
    taken = with_contexts([(parent(1),)])
    span = traced.observer.batch(LANE, taken)
    span.transformed("enrich-order", taken, report(passed(taken)))
    assert span.headers() == ()
    span.end(FencedError("gone"))
    assert not traced.spans()


def test_violations_are_events_and_the_first_names_the_error(traced: Traced) -> None:
    taken = batch(5, first=70)
    bad = [violation(ViolationKind.REJECTED), violation(ViolationKind.TRAP)]
    span = traced.observer.batch(LANE, taken)
    span.transformed("enrich-order", taken, report(mixed(taken, bad, dropped=1), crossings=4))
    span.end()
    process, child = traced.spans()["process shop.orders"], traced.spans()["transform enrich-order"]
    assert [(e.name, dict(e.attributes or {})) for e in process.events] == [
        (
            "penstock.violation",
            {
                "penstock.violation": kind,
                "penstock.transformer.name": "enrich-order",
                "penstock.attempt": 2,
                "messaging.kafka.offset": offset,
            },
        )
        for kind, offset in (("rejected", 70), ("trap", 71))
    ]
    for each in (process, child):
        assert each.attributes is not None and each.attributes["error.type"] == "rejected"
        assert each.attributes["penstock.violations"] == 2
        assert each.status.status_code is StatusCode.ERROR
    assert child.status.description == "2 of 5 events could not pass"


def test_violation_events_are_bounded_and_their_number_is_true(traced: Traced) -> None:
    taken = batch(100)
    all_bad: list[Violation] = [violation()] * 100
    span = traced.observer.batch(LANE, taken)
    span.transformed("enrich-order", taken, report(all_bad))
    span.end()
    process = traced.spans()["process shop.orders"]
    assert len(process.events) == VIOLATIONS_MAX
    assert process.attributes is not None and process.attributes["penstock.violations"] == 100


def test_a_report_cut_short_is_no_problem(traced: Traced) -> None:
    taken = batch(10)
    span = traced.observer.batch(LANE, taken)
    span.transformed("enrich-order", taken, report(passed(taken)[:4]))
    span.end()
    assert "transform enrich-order" in traced.spans()


def test_a_failed_batch_says_what_failed(traced: Traced) -> None:
    span = traced.observer.batch(LANE, batch(1))
    span.end(FencedError("another process has the lane"))
    process = traced.spans()["process shop.orders"]
    assert process.attributes is not None and process.attributes["error.type"] == "fenced"
    assert process.status.status_code is StatusCode.ERROR
    (told,) = process.events
    assert told.name == "exception" and told.attributes is not None
    assert told.attributes["exception.message"] == "another process has the lane"


def test_digests_follow_what_is_loaded(traced: Traced) -> None:
    traced.observer.loaded({"mask-pii": "cd" * 32})
    taken = batch(1)
    span = traced.observer.batch(LANE, taken)
    for name in ("mask-pii", "enrich-order"):
        span.transformed(name, taken, report(passed(taken)))
    span.end()
    digests = {
        n: (s.attributes or {}).get("penstock.module.digest")
        for n, s in traced.spans().items()
        if n.startswith("transform")
    }
    assert digests == {"transform mask-pii": "cd" * 32, "transform enrich-order": None}


def test_every_attribute_is_in_the_docs(traced: Traced) -> None:
    taken = batch(3)
    fuelled = report(mixed(taken, [violation()], dropped=1))
    span = traced.observer.batch(LANE, taken)
    span.transformed(
        "enrich-order",
        taken,
        type(fuelled)(**{f: getattr(fuelled, f) for f in fuelled.__struct_fields__} | {"fuel_used": 9}),
    )
    span.end(RuntimeError("x"))
    finished = traced.exporter.get_finished_spans()
    ours = [e for s in finished for e in s.events if e.name != "exception"]
    used = {name for bearer in (*finished, *ours) for name in bearer.attributes or {}}
    documented = set(re.findall(r"`([a-z_]+(?:\.[a-z_]+)+)`", DOCS.read_text("utf-8")))
    assert "penstock.fuel_used" in used
    assert not used - documented
