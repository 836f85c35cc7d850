"""Entries to specs: profiles, defaults and what depends on other values filled in. Finds no faults and reads no files.

What a user did not write is fitted to what was written: a profile's allocation to a smaller memory, the batch to the transformers
it must fit into, the rebalance timeout to the deadlines it must leave room for. What was written is never changed; whether it
fits is for `pipeline.registry.relations` to say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.assets import builtin_module
from pipeline.registry.builtins import completed
from pipeline.registry.grants import databases, grants
from schemas.limits import PROFILES, Limits
from schemas.registry import (
    BatchEntry,
    ContractEntry,
    DedupeEntry,
    DefaultsEntry,
    FormatEntry,
    FormatSideEntry,
    KafkaEntry,
    LimitsEntry,
    QuarantineEntry,
    RegistryFile,
    RouteEntry,
    SchemaRegistryEntry,
    SecurityEntry,
    TransformerEntry,
)
from schemas.sealed import Sealed
from schemas.specs import (
    AtomicSpec,
    BatchPolicy,
    ContractSpec,
    CreateTopics,
    DedupeSpec,
    EngineSettings,
    FormatSpec,
    KafkaSpec,
    OnViolation,
    Quarantine,
    Registry,
    RouteSpec,
    SchemaRegistrySpec,
    Security,
    Tier,
    TransformerSpec,
)
from schemas.transactions import TRANSACTION_SUFFIX

ISOLATION_DEADLINES = 4
"""Taking a bad batch apart may cost this many deadlines of one transformer."""
REBALANCE_SHARE = 3
"""... and must fit into this fraction of the rebalance timeout, or partitions move before the verdict."""

STATE_DIR = ".penstock"

_LIMITS = {
    "memory": "memory_bytes",
    "deadline": "deadline_ms",
    "allocation": "allocation_bytes_max",
    "fuel": "fuel_per_event",
    "output": "output_bytes_per_event",
    "log": "log_bytes_per_batch",
    "stack": "stack_bytes",
    "table_elements": "table_elements",
    "tables": "tables",
    "instances": "instances",
    "memories": "memories",
}
_BATCH = {
    "events": "events_max",
    "bytes": "bytes_max",
    "linger": "linger_ms",
    "commit_interval": "commit_interval_ms",
    "commit_events": "commit_events_max",
    "in_flight": "in_flight_bytes_max",
}
_SECURITY = (
    "protocol",
    "mechanism",
    "username",
    "password",
    "key_password",
    "check_hostname",
    "token_endpoint",
    "client_id",
    "client_secret",
    "scope",
)
_SECURITY_FILES = {
    "ca": "ca_file",
    "cert": "cert_file",
    "key": "key_file",
    "token_file": "token_file",
    "client_secret_file": "client_secret_file",
    "token_ca": "token_ca_file",
}
_KAFKA_MS = ("transaction_timeout", "request_timeout", "rebalance_timeout", "max_poll_interval", "session_timeout")
_FEATURES = ("simd", "relaxed_simd", "bulk_memory", "reference_types", "multi_value", "threads", "tail_call")
_ENGINE = ("tier", "pooling", "debug", "nan_canonicalization")


def resolve(file: RegistryFile, base: Path, path: Path | None) -> Registry:
    """The registry that these entries amount to; relative paths start at `base`."""
    defaults = file.defaults or DefaultsEntry()
    declared, state_dir = databases(file.databases, base), base / (file.state or STATE_DIR)
    transformers = {
        name: replace(_transformer(name, entry, defaults, base), databases=declared, state_dir=state_dir)
        for name, entry in file.transformers.items()
    }
    kafka = file.kafka or KafkaEntry()
    group = kafka.group or KafkaSpec().group
    routes = {name: _route(name, entry, defaults, group, transformers, base) for name, entry in file.routes.items()}
    used = [transformers[name] for route in routes.values() for name in route.through if name in transformers]
    times = {"shutdown_timeout_s": file.shutdown_timeout, "retry_limit_s": file.retry_limit}
    return replace(
        Registry(transformers, routes, _kafka(kafka, used, base), create_topics=_create_topics(file), path=path),
        databases=declared,
        schema_registry=_schema_registry(file.schema_registry, base),
        state_dir=state_dir,
        **_given({"delivery": file.delivery}),
        **{name: value / 1000 for name, value in _given(times).items()},
    )


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _picked(entry: object, names: Iterable[str]) -> dict[str, Any]:
    return _given({name: getattr(entry, name) for name in names})


def _create_topics(file: RegistryFile) -> CreateTopics | None:
    if file.create_topics is None:
        return None
    return CreateTopics(**_picked(file.create_topics, ("partitions", "replication_factor")))


def _transformer(name: str, entry: TransformerEntry, defaults: DefaultsEntry, base: Path) -> TransformerSpec:
    return TransformerSpec(
        name=name,
        module=_module(entry, base),
        builtin=entry.builtin,
        sha256=entry.sha256,
        config=(entry.config or {}) if entry.builtin is None else completed(entry.builtin, entry.config or {}),
        instance=entry.instance or defaults.instance,
        limits=_limits(entry.limits, _limits(defaults.limits, Limits())),
        engine=_engine(entry, defaults),
        capabilities=grants(entry.capabilities or defaults.capabilities, base),
        on_violation=entry.on_violation or defaults.on_violation or OnViolation.DEAD_LETTER,
        quarantine=_quarantine(entry.quarantine, _quarantine(defaults.quarantine, Quarantine())),
        **_given(
            {
                "encoding": entry.encoding,
                "function": entry.function,
                "isolation": entry.isolation or defaults.isolation,
            }
        ),
    )


def _module(entry: TransformerEntry, base: Path) -> Path:
    if entry.builtin is not None:
        return builtin_module(entry.builtin)
    assert entry.module is not None, "an entry has a module or a builtin"
    return base / entry.module


def _limits(entry: LimitsEntry | None, inherited: Limits) -> Limits:
    if entry is None:
        return inherited
    base = PROFILES[entry.profile] if entry.profile else inherited
    changes = {_LIMITS[key]: getattr(entry, key) for key in entry.model_fields_set if key in _LIMITS}
    changes = {name: value for name, value in changes.items() if value is not None or name == "fuel_per_event"}
    limits = base.with_(**changes)
    if "allocation_bytes_max" not in changes and limits.allocation_bytes_max > limits.memory_bytes // 2:
        limits = limits.with_(allocation_bytes_max=limits.memory_bytes // 2)
    return limits


def _engine(entry: TransformerEntry, defaults: DefaultsEntry) -> EngineSettings:
    settings: dict[str, Any] = {"tier": Tier.OPTIMIZING}
    for source in (defaults, entry):
        settings.update(_picked(source, _ENGINE))
        if source.features is not None:
            settings.update(_picked(source.features, _FEATURES))
    return EngineSettings(**settings)


def _quarantine(entry: QuarantineEntry | None, inherited: Quarantine) -> Quarantine:
    if entry is None:
        return inherited
    rate: dict[str, Any] = {"after": entry.after.count, "window_s": entry.after.window_ms / 1000} if entry.after else {}
    return replace(inherited, **rate, **_given({"action": entry.action}))


def _route(
    name: str,
    entry: RouteEntry,
    defaults: DefaultsEntry,
    group: str,
    transformers: Mapping[str, TransformerSpec],
    base: Path,
) -> RouteSpec:
    pattern = pattern_of(entry)
    headers = entry.headers
    chain = [transformers[step] for step in entry.through if step in transformers]
    return RouteSpec(
        name=name,
        sources=() if pattern is not None else entry.sources,
        pattern=pattern,
        through=entry.through,
        to=entry.to,
        dead_letter=entry.dead_letter or f"{entry.to}.dead-letter",
        group=entry.group or f"{group}-{name}",
        also_to=entry.also_to or (),
        start=entry.start or "earliest",
        preserve_timestamps=entry.timestamps != "now",
        drop_headers=frozenset(headers.drop or ()) if headers else frozenset(),
        add_headers=tuple((key, value.encode()) for key, value in (headers.add or {}).items()) if headers else (),
        truncate_oversize=entry.oversize == "truncate",
        **_formats(entry.format, base),
        dedupe=_dedupe(entry.dedupe),
        atomic=_atomic(entry),
        contracts=tuple(_contract(one, base) for one in entry.contract or ()),
        batch=_batch((defaults.batch, entry.batch), chain),
    )


def _formats(entry: FormatEntry | None, base: Path) -> dict[str, FormatSpec]:
    source = _format(entry.source if entry else None, FormatSpec(), base)
    return {"format_in": source, "format_out": _format(entry.out if entry else None, source, base)}


def _format(entry: FormatSideEntry | None, otherwise: FormatSpec, base: Path) -> FormatSpec:
    if entry is None:
        return otherwise
    schema, key_schema = (None if one is None else base / one for one in (entry.schema_file, entry.key_schema))
    return FormatSpec(entry.name, schema, bool(entry.register_schema), key_schema)


def _schema_registry(entry: SchemaRegistryEntry | None, base: Path) -> SchemaRegistrySpec | None:
    if entry is None:
        return None
    spec = SchemaRegistrySpec(entry.url, ca_file=base / entry.ca if entry.ca is not None else None)
    if entry.timeout is not None:
        spec = replace(spec, timeout_ms=entry.timeout)
    if entry.auth is None:
        return spec
    password, token = (one and Sealed(one, spec.owner) for one in (entry.auth.password, entry.auth.token))
    return replace(spec, username=entry.auth.username, password=password, token=token)


def _contract(entry: ContractEntry, base: Path) -> ContractSpec:
    return ContractSpec(
        entry.schema_source,
        base,
        frozenset(entry.tables or ()),
        **_picked(entry, ("compatible", "on_break")),
    )


def _dedupe(entry: DedupeEntry | None) -> DedupeSpec | None:
    if entry is None:
        return None
    return DedupeSpec(entry.by, entry.window, **_given({"events": entry.events}))


def _atomic(entry: RouteEntry) -> AtomicSpec | None:
    """Without a transaction topic when none can be told: `relations` refuses that."""
    atomic = entry.atomic
    if atomic is None:
        return None
    named = [topic for topic in entry.sources if topic.endswith(TRANSACTION_SUFFIX)]
    topic = atomic.transactions or (named[0] if len(named) == 1 else "")
    spec = AtomicSpec(topic, **_given({"events_max": atomic.events, "size_bytes_max": atomic.size_bytes}))
    return spec if atomic.wait is None else replace(spec, wait_s=atomic.wait / 1e3)


def pattern_of(entry: RouteEntry) -> str | None:
    """The regular expression of a route that has one."""
    only = entry.sources[0] if len(entry.sources) == 1 else ""
    return only[1:-1] if len(only) > 2 and only.startswith("/") and only.endswith("/") else None


def batch_bytes_fitting(limits: Limits) -> int:
    """The largest batch that fits a transformer: one block for its frame, and room in memory for what is made of it."""
    return min(limits.allocation_bytes_max, limits.memory_bytes // 2)


def _batch(entries: Iterable[BatchEntry | None], chain: Iterable[TransformerSpec]) -> BatchPolicy:
    written: dict[str, Any] = {}
    for entry in entries:
        if entry is not None:
            written.update({_BATCH[key]: value for key, value in _picked(entry, _BATCH).items()})
    policy = replace(BatchPolicy(), **written)
    if "bytes_max" not in written:
        fitting = (batch_bytes_fitting(transformer.limits) // 4 for transformer in chain)
        policy = replace(policy, bytes_max=min(policy.bytes_max, *fitting, policy.in_flight_bytes_max))
    if "in_flight_bytes_max" not in written:
        policy = replace(policy, in_flight_bytes_max=max(policy.in_flight_bytes_max, policy.bytes_max))
    return policy


def rebalance_needed_ms(transformers: Iterable[TransformerSpec]) -> int:
    """The shortest rebalance timeout that leaves room for taking a bad batch apart."""
    slowest = max((transformer.limits.deadline_ms for transformer in transformers), default=0)
    return slowest * ISOLATION_DEADLINES * REBALANCE_SHARE


def _kafka(entry: KafkaEntry, used: Iterable[TransformerSpec], base: Path) -> KafkaSpec:
    plain = KafkaSpec()
    times = {f"{name}_ms": value for name, value in _picked(entry, _KAFKA_MS).items()}
    rebalance = times.setdefault("rebalance_timeout_ms", max(plain.rebalance_timeout_ms, rebalance_needed_ms(used)))
    times.setdefault("max_poll_interval_ms", max(plain.max_poll_interval_ms, rebalance))
    return replace(
        plain,
        **_picked(entry, ("brokers", "group", "client", "control_topic")),
        **times,
        compression=None if entry.compression == "none" else entry.compression or plain.compression,
        security=_security(entry.security or SecurityEntry(), base),
    )


def _security(entry: SecurityEntry, base: Path) -> Security:
    files = {name: base / getattr(entry, key) for key, name in _SECURITY_FILES.items() if getattr(entry, key)}
    return Security(**_picked(entry, _SECURITY), **files)
