"""The one list of metrics: names, kinds, units, labels, meanings. `docs/telemetry.md` is checked against it.

Names follow Prometheus (one prefix, base units, `_total` on counters); those that begin with `messaging_` are the
OpenTelemetry messaging conventions as Prometheus spells them. A label's values are bounded by the registry, by the
partitions assigned, or by a closed list; no key, offset or tenant is ever one.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from enum import StrEnum


class MetricKind(StrEnum):
    """How a metric behaves, in Prometheus' words."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Merge(StrEnum):
    """What the samples of several processes with equal labels amount to. Counters and histograms always add up."""

    SUM = "sum"
    MAX = "max"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric of the catalogue."""

    name: str
    kind: MetricKind
    unit: str
    labels: tuple[str, ...]
    meaning: str
    buckets: tuple[float, ...] = ()
    """Upper bounds of a histogram, ascending, without +Inf."""
    merge: Merge = Merge.SUM


EVENT_BUCKETS = (
    *(1e-6, 2.5e-6, 5e-6, 10e-6, 25e-6, 50e-6),
    *(100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3, 500e-3, 1.0),
)
"""Seconds. A guest takes microseconds per event, hence the decade and a half below 50 µs, where a batch begins."""
BATCH_BUCKETS = (
    50e-6,
    100e-6,
    250e-6,
    500e-6,
    1e-3,
    2.5e-3,
    5e-3,
    10e-3,
    25e-3,
    50e-3,
    100e-3,
    250e-3,
    500e-3,
    1.0,
    5.0,
    30.0,
)
"""Seconds. The two beyond 1 s are where isolation and the longest deadlines of the profiles show."""
MESSAGING_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""Seconds, as the OpenTelemetry messaging conventions advise."""
COMMIT_BUCKETS = (1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3, 500e-3, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Seconds."""

_MESSAGING = (
    "messaging_operation_name",
    "messaging_system",
    "messaging_consumer_group_name",
    "messaging_destination_name",
)
_LANE = ("route", "topic", "partition")

RECORDS = Metric(
    "penstock_records_total",
    MetricKind.COUNTER,
    "records",
    ("route", "outcome"),
    "Source records by outcome: emitted, dropped, dead_lettered or passed_through. Counted at the commit, each once.",
)
RECORDS_OUT = Metric(
    "penstock_records_out_total",
    MetricKind.COUNTER,
    "records",
    ("route",),
    "Records written and committed, dead letters included. One source record may become several.",
)
VIOLATIONS = Metric(
    "penstock_violations_total",
    MetricKind.COUNTER,
    "violations",
    ("route", "kind"),
    "Violations by kind, whatever `on_violation` made of them. Counted at the commit.",
)
TRANSFORM_DURATION = Metric(
    "penstock_transform_duration_seconds",
    MetricKind.HISTOGRAM,
    "seconds",
    ("transformer",),
    "Time in the sandbox per event. Each event counts with its batch's mean: `_count` is events, `_sum` is time.",
    EVENT_BUCKETS,
)
TRANSFORM_BATCH_DURATION = Metric(
    "penstock_transform_batch_duration_seconds",
    MetricKind.HISTOGRAM,
    "seconds",
    ("transformer",),
    "Time in the sandbox per batch, isolation of misbehaving events included. Batches that a quarantine kept out "
    "are not counted.",
    BATCH_BUCKETS,
)
ISOLATION_CROSSINGS = Metric(
    "penstock_isolation_crossings_total",
    MetricKind.COUNTER,
    "crossings",
    ("transformer",),
    "Sandbox crossings beyond those of a healthy batch (one; one per event with `instance: per-event`).",
)
WASM_MEMORY = Metric(
    "penstock_wasm_memory_bytes",
    MetricKind.GAUGE,
    "bytes",
    ("transformer",),
    "The most linear memory that a guest has used since the process started.",
    merge=Merge.MAX,
)
MODULE_INFO = Metric(
    "penstock_module_info",
    MetricKind.GAUGE,
    "",
    ("transformer", "digest"),
    "Always 1; says which module (sha256) a transformer runs.",
    merge=Merge.MAX,
)
_HOST_CALL = ("transformer", "capability")
HOST_CALLS = Metric(
    "penstock_host_calls_total",
    MetricKind.COUNTER,
    "calls",
    (*_HOST_CALL, "result"),
    "Calls of host functions that need a capability, by result: allowed or denied. Those of batches that are run again "
    "count again.",
)
HOST_CALL_BYTES = Metric(
    "penstock_host_call_bytes_total",
    MetricKind.COUNTER,
    "bytes",
    _HOST_CALL,
    "Bytes of their requests and answers, and of what was read, written, sent or received for them.",
)
HOST_CALL_SECONDS = Metric(
    "penstock_host_call_seconds_total",
    MetricKind.COUNTER,
    "seconds",
    _HOST_CALL,
    "Time spent in them.",
)
SECURITY_EVENTS = Metric(
    "penstock_security_events_total",
    MetricKind.COUNTER,
    "events",
    ("transformer", "type"),
    "What a guest tried and may not: capability_denied, a host call that its grants do not cover; escape_attempt, a range "
    "outside its memory that it handed to the host. What costs an event is in `penstock_violations_total`, too.",
)
CONSUMER_LAG = Metric(
    "penstock_consumer_lag_records",
    MetricKind.GAUGE,
    "records",
    _LANE,
    "Records between the committed offset and the end of the partition, as of the last commit.",
    merge=Merge.MAX,
)
IN_FLIGHT_BYTES = Metric(
    "penstock_inflight_bytes",
    MetricKind.GAUGE,
    "bytes",
    ("route",),
    "Keys, values and headers of records that were fetched and not yet written.",
)
IN_FLIGHT_RECORDS = Metric(
    "penstock_inflight_records",
    MetricKind.GAUGE,
    "records",
    ("route",),
    "Records that were fetched and not yet written.",
)
LANE_STATE = Metric(
    "penstock_lane_state",
    MetricKind.GAUGE,
    "",
    (*_LANE, "state"),
    "1 for the state that the lane is in (starting, running, retrying, paused, stopped), 0 for the others. "
    "Gone when the lane is.",
    merge=Merge.MAX,
)
COMMIT_DURATION = Metric(
    "penstock_commit_duration_seconds",
    MetricKind.HISTOGRAM,
    "seconds",
    ("route",),
    "Time of one commit: offsets and outputs together.",
    COMMIT_BUCKETS,
)
PROCESS_DURATION = Metric(
    "messaging_process_duration_seconds",
    MetricKind.HISTOGRAM,
    "seconds",
    (*_MESSAGING, "error_type"),
    "OpenTelemetry `messaging.process.duration`: one batch from its start until it is written. `error_type` is empty "
    "unless the batch as a whole failed.",
    MESSAGING_BUCKETS,
)
CONSUMED = Metric(
    "messaging_client_consumed_messages_total",
    MetricKind.COUNTER,
    "messages",
    _MESSAGING,
    "OpenTelemetry `messaging.client.consumed.messages`: records handed to a lane's transformers, each delivery again.",
)
SENT = Metric(
    "messaging_client_sent_messages_total",
    MetricKind.COUNTER,
    "messages",
    ("messaging_operation_name", "messaging_system"),
    "OpenTelemetry `messaging.client.sent.messages`, counted at the commit: what was aborted is not in it.",
)

GUESTS = Metric(
    "penstock_guests",
    MetricKind.GAUGE,
    "guests",
    (),
    "WebAssembly instances of transformers that are alive; at rest 0, or one for each reused instance.",
)
TASKS = Metric(
    "penstock_tasks",
    MetricKind.GAUGE,
    "tasks",
    (),
    "asyncio tasks that have not ended. A number that only grows is a leak.",
)
THREADS = Metric(
    "penstock_threads",
    MetricKind.GAUGE,
    "threads",
    (),
    "Python's threads: guests run in them.",
)

CATALOGUE: tuple[Metric, ...] = (
    RECORDS,
    RECORDS_OUT,
    VIOLATIONS,
    TRANSFORM_DURATION,
    TRANSFORM_BATCH_DURATION,
    ISOLATION_CROSSINGS,
    WASM_MEMORY,
    MODULE_INFO,
    HOST_CALLS,
    HOST_CALL_BYTES,
    HOST_CALL_SECONDS,
    SECURITY_EVENTS,
    CONSUMER_LAG,
    IN_FLIGHT_BYTES,
    IN_FLIGHT_RECORDS,
    LANE_STATE,
    COMMIT_DURATION,
    PROCESS_DURATION,
    CONSUMED,
    SENT,
    GUESTS,
    TASKS,
    THREADS,
)


def markdown_table() -> str:
    """The catalogue as the table in `docs/telemetry.md`; `python -m pipeline.observe.catalogue` prints it."""
    rows = ["| metric | kind | unit | labels | meaning |", "|---|---|---|---|---|"]
    for metric in CATALOGUE:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        rows.append(f"| `{metric.name}` | {metric.kind} | {metric.unit or '–'} | {labels} | {metric.meaning} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    sys.stdout.write(markdown_table())
