"""Batches as OpenTelemetry spans, named and attributed by the messaging conventions (semantic conventions 1.44).

One `process TOPIC` span per batch, linked to the contexts of its events, and one `transform NAME` child per transformer.
Where the spans go is `exporters`' business. Everything that costs time per event is done for sampled batches only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, get_current_span, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from pipeline.observe.error_type import error_type
from pipeline.observe.null import NullObserver
from pipeline.observe.propagation import trace_context
from pipeline.ports import BatchSpan, LaneId
from schemas.dead_letter import VERSION
from schemas.event import Batch, Headers
from schemas.outcome import Report, Violation
from schemas.records import offset_at

LINKS_MAX = 128
"""Links of one span, each to a context of its own; collectors and the SDK cut at about this number."""
VIOLATIONS_MAX = 32
"""Violations told as events of one span; the attribute `penstock.violations` has the true number."""
_PROPAGATOR = TraceContextTextMapPropagator()


class TracingObserver(NullObserver):
    """Implements `pipeline.ports.Observer`.

    `server` is host and port of the first broker; `digests` gives the sha256 of each transformer's module; `time_ns`
    returns nanoseconds since the epoch. Does not end or flush the provider: whoever made it does.
    """

    def __init__(
        self,
        provider: TracerProvider,
        *,
        server: tuple[str, int] | None = None,
        digests: Mapping[str, str] | None = None,
        time_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._tracer = provider.get_tracer("penstock", VERSION)
        self._server: dict[str, str | int] = {"server.address": server[0], "server.port": server[1]} if server else {}
        self._digests = dict(digests or {})
        self._time_ns = time_ns

    def loaded(self, digests: Mapping[str, str]) -> None:
        """These are the modules' sha256 from now on, by transformer."""
        self._digests = dict(digests)

    def batch(self, lane: LaneId, batch: Batch) -> BatchSpan:
        """Start a span. It has no parent, because the events of a batch come from many traces: it links to them."""
        attributes: dict[str, str | int] = {
            "messaging.system": "kafka",
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.destination.name": lane.source.topic,
            "messaging.destination.partition.id": str(lane.source.partition),
            "messaging.consumer.group.name": lane.group,
            "messaging.batch.message_count": len(batch.events),
            "penstock.route": lane.route,
            "penstock.batch.first_offset": offset_at(batch.events, 0) if batch.events else -1,
            "penstock.batch.last_offset": offset_at(batch.events, -1) if batch.events else -1,
            **self._server,
        }
        span = self._tracer.start_span(
            f"process {lane.source.topic}",
            context=Context(),
            kind=SpanKind.CONSUMER,
            attributes=attributes,
            start_time=self._time_ns(),
        )
        if span.is_recording():
            _link(span, batch)
        return _TracedBatch(span, self._tracer, self._digests, self._time_ns)


class _TracedBatch:
    """Implements `pipeline.ports.BatchSpan` over one process span."""

    __slots__ = ("_digests", "_first_kind", "_headers", "_span", "_time_ns", "_told", "_tracer", "_violations")

    def __init__(self, span: Span, tracer: Tracer, digests: Mapping[str, str], time_ns: Callable[[], int]) -> None:
        self._span = span
        self._tracer = tracer
        self._digests = digests
        self._time_ns = time_ns
        self._headers: Headers | None = None
        self._violations = 0
        self._told = 0
        self._first_kind = ""

    def headers(self) -> Headers:
        """The span's own context. Empty when the batch is not sampled: then the records stay in the traces they came in."""
        if self._headers is None:
            self._headers = _inject(self._span) if self._span.is_recording() else ()
        return self._headers

    def transformed(self, transformer: str, batch: Batch, report: Report) -> None:
        if not self._span.is_recording():
            return
        violations = report.violations()
        now = self._time_ns()
        child = self._tracer.start_span(
            f"transform {transformer}",
            context=set_span_in_context(self._span, Context()),
            kind=SpanKind.INTERNAL,
            attributes=self._of_transformer(transformer, batch, report, len(violations)),
            start_time=now - report.elapsed_ns,
        )
        for index, violation in violations:
            self._tell(offset_at(batch.events, index), violation, now)
        if violations:
            _fail(child, violations[0][1].kind.value, f"{len(violations)} of {len(batch.events)} events could not pass")
        child.end(now)

    def end(self, error: BaseException | None = None) -> None:
        span = self._span
        if span.is_recording():
            if self._violations:
                span.set_attribute("penstock.violations", self._violations)
            if error is not None:
                span.record_exception(error, timestamp=self._time_ns())
                _fail(span, error_type(error), str(error))
            elif self._violations:
                _fail(span, self._first_kind, f"{self._violations} violations")
        span.end(self._time_ns())

    def _of_transformer(self, name: str, batch: Batch, report: Report, violations: int) -> dict[str, str | int]:
        attributes: dict[str, str | int] = {
            "penstock.transformer.name": name,
            "penstock.events": len(batch.events),
            "penstock.dropped": report.dropped,
            "penstock.violations": violations,
            "penstock.crossings": report.crossings,
            "penstock.memory_bytes_peak": report.memory_bytes_peak,
        }
        if digest := self._digests.get(name):
            attributes["penstock.module.digest"] = digest
        if report.fuel_used is not None:
            attributes["penstock.fuel_used"] = report.fuel_used
        return attributes

    def _tell(self, offset: int, violation: Violation, now: int) -> None:
        self._violations += 1
        self._first_kind = self._first_kind or violation.kind.value
        if self._told == VIOLATIONS_MAX:
            return
        self._told += 1
        attributes = {
            "penstock.violation": violation.kind.value,
            "penstock.transformer.name": violation.transformer,
            "penstock.attempt": violation.attempt,
            "messaging.kafka.offset": offset,
        }
        self._span.add_event("penstock.violation", attributes, timestamp=now)


def _link(span: Span, batch: Batch) -> None:
    """Link to each distinct context of the events, up to the maximum."""
    seen: set[tuple[str, str]] = set()
    for event in batch.events:
        context = trace_context(event.headers) if event.headers else None
        if context is None or context in seen:
            continue
        seen.add(context)
        carrier = {"traceparent": context[0], "tracestate": context[1]}
        linked = get_current_span(_PROPAGATOR.extract(carrier, Context())).get_span_context()
        if linked.is_valid:
            span.add_link(linked)
        if len(seen) == LINKS_MAX:
            return


def _inject(span: Span) -> Headers:
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier, set_span_in_context(span, Context()))
    return tuple((name, value.encode()) for name, value in carrier.items())


def _fail(span: Span, kind: str, description: str) -> None:
    span.set_attribute("error.type", kind)
    span.set_status(Status(StatusCode.ERROR, description))
