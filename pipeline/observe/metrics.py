"""Counts and durations for Prometheus. Knows the catalogue and the meter, not the client library (`exposition`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pipeline.observe import catalogue
from pipeline.observe.error_type import error_type
from pipeline.observe.meter import Meter
from pipeline.observe.null import NullSpan
from pipeline.ports import BatchSpan, CommitFacts, LaneId, LaneState, Tally
from schemas.event import Batch
from schemas.outcome import HostUse, Report, ViolationKind
from schemas.specs import InstancePolicy

_SENT = ("send", "kafka")
_STATES = tuple(state for state in LaneState if state is not LaneState.CLOSED)
_NS = 1e-9


@dataclass(frozen=True, slots=True)
class ModuleInfo:
    """A transformer as it was loaded."""

    transformer: str
    sha256: str
    """Of the module's bytes, lower-case hex."""
    instance: InstancePolicy = InstancePolicy.PER_BATCH


class PrometheusObserver:
    """Implements `pipeline.ports.Observer` on a Meter. `monotonic` returns seconds."""

    def __init__(self, meter: Meter, monotonic: Callable[[], float], routes: Iterable[str] = ()) -> None:
        self._meter = meter
        self._monotonic = monotonic
        self._per_event: frozenset[str] = frozenset()
        for route in routes:
            self._show_zeros(route)

    def loaded(self, modules: Iterable[ModuleInfo]) -> None:
        """These transformers run from now on, and no others."""
        modules = list(modules)
        self._meter.forget(catalogue.MODULE_INFO)
        for module in modules:
            self._meter.set(catalogue.MODULE_INFO, (module.transformer, module.sha256), 1)
        self._per_event = frozenset(m.transformer for m in modules if m.instance is InstancePolicy.PER_EVENT)

    def batch(self, lane: LaneId, batch: Batch) -> BatchSpan:
        """Count a delivery and time the batch."""
        labels = ("poll", "kafka", lane.group, lane.source.topic)
        self._meter.add(catalogue.CONSUMED, labels, len(batch.events))
        return _TimedBatch(self, lane)

    def committed(self, lane: LaneId, facts: CommitFacts) -> None:
        """Count outcomes."""
        meter, route = self._meter, lane.route
        for outcome, count in _outcomes(facts.tally):
            meter.add(catalogue.RECORDS, (route, outcome), count)
        for kind, count in facts.tally.by_violation.items():
            meter.add(catalogue.VIOLATIONS, (route, kind), count)
        meter.add(catalogue.RECORDS_OUT, (route,), facts.records_out)
        meter.add(catalogue.SENT, _SENT, facts.records_out)
        meter.observe(catalogue.COMMIT_DURATION, (route,), facts.seconds)
        if facts.lag is not None:
            meter.set(catalogue.CONSUMER_LAG, _lane_labels(lane), facts.lag)

    def lane(self, lane: LaneId, state: LaneState, reason: str) -> None:
        """Show the lane's state; a closed lane's gauges go, for the partition may be someone else's now."""
        labels = _lane_labels(lane)
        if state is LaneState.CLOSED:
            self._meter.forget(catalogue.LANE_STATE, *labels)
            self._meter.forget(catalogue.CONSUMER_LAG, *labels)
            return
        for each in _STATES:
            self._meter.set(catalogue.LANE_STATE, (*labels, each.value), int(each is state))

    def in_flight(self, route: str, size_bytes: int, events: int) -> None:
        """Set the route's gauges."""
        self._meter.set(catalogue.IN_FLIGHT_BYTES, (route,), size_bytes)
        self._meter.set(catalogue.IN_FLIGHT_RECORDS, (route,), events)

    def transformed(self, transformer: str, events: int, report: Report) -> None:
        """One transformer ran; a quarantined one did not, and shows only in the outcomes."""
        if not report.crossings or not events:
            return
        meter, labels = self._meter, (transformer,)
        seconds = report.elapsed_ns * _NS
        meter.observe(catalogue.TRANSFORM_BATCH_DURATION, labels, seconds)
        meter.observe(catalogue.TRANSFORM_DURATION, labels, seconds / events, events)
        meter.raise_to(catalogue.WASM_MEMORY, labels, report.memory_bytes_peak)
        healthy = events if transformer in self._per_event else 1
        meter.add(catalogue.ISOLATION_CROSSINGS, labels, max(0, report.crossings - healthy))
        if report.uses:
            self._used(transformer, report.uses)
        if report.escape_attempts:
            meter.add(catalogue.SECURITY_EVENTS, (transformer, "escape_attempt"), report.escape_attempts)

    def processed(self, lane: LaneId, started: float, error: str) -> None:
        """A batch ended; `error` is its `error.type`, empty when it succeeded."""
        labels = ("process", "kafka", lane.group, lane.source.topic, error)
        self._meter.observe(catalogue.PROCESS_DURATION, labels, self._monotonic() - started)

    def _used(self, transformer: str, uses: Iterable[HostUse]) -> None:
        """By capability; what was touched (`HostUse.scope`) is no label, for it need not be one of few."""
        meter = self._meter
        for use in uses:
            labels = (transformer, use.capability)
            meter.add(catalogue.HOST_CALLS, (*labels, "allowed"), use.allowed)
            meter.add(catalogue.HOST_CALLS, (*labels, "denied"), use.denied)
            meter.add(catalogue.HOST_CALL_BYTES, labels, use.bytes)
            meter.add(catalogue.HOST_CALL_SECONDS, labels, use.elapsed_us * 1e-6)
            if use.denied:
                meter.add(catalogue.SECURITY_EVENTS, (transformer, "capability_denied"), use.denied)

    def now(self) -> float:
        """Seconds of the observer's clock."""
        return self._monotonic()

    def _show_zeros(self, route: str) -> None:
        """A counter that is there from the start lets `rate()` see its first increment."""
        for outcome, count in _outcomes(Tally()):
            self._meter.add(catalogue.RECORDS, (route, outcome), count)
        for kind in ViolationKind:
            self._meter.add(catalogue.VIOLATIONS, (route, kind.value), 0)
        self._meter.add(catalogue.RECORDS_OUT, (route,), 0)


class _TimedBatch(NullSpan):
    """Implements `pipeline.ports.BatchSpan`. A dead-lettered event is no error of the batch: it has its own counter."""

    __slots__ = ("_lane", "_observer", "_started")

    def __init__(self, observer: PrometheusObserver, lane: LaneId) -> None:
        self._observer = observer
        self._lane = lane
        self._started = observer.now()

    def transformed(self, transformer: str, batch: Batch, report: Report) -> None:
        self._observer.transformed(transformer, len(batch.events), report)

    def end(self, error: BaseException | None = None) -> None:
        self._observer.processed(self._lane, self._started, error_type(error))


def _outcomes(tally: Tally) -> tuple[tuple[str, int], ...]:
    return (
        ("emitted", tally.emitted),
        ("dropped", tally.dropped),
        ("dead_lettered", tally.dead_lettered),
        ("passed_through", tally.passed_through),
    )


def _lane_labels(lane: LaneId) -> tuple[str, str, str]:
    return (lane.route, lane.source.topic, str(lane.source.partition))
