"""What must hold between values: each rule is one small generator that yields a fault per place that breaks it.

Rules look at the resolved registry and point into the document. They only blame what a user wrote: values that were filled in
were fitted by `pipeline.registry.resolve`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from pipeline.registry.atomic import atomic_faults
from pipeline.registry.document import Document, Steps
from pipeline.registry.grants import grant_faults
from pipeline.registry.resolve import ISOLATION_DEADLINES, REBALANCE_SHARE, batch_bytes_fitting, rebalance_needed_ms
from pipeline.registry.shape import did_you_mean
from schemas.errors import Fault
from schemas.limits import format_bytes
from schemas.specs import EngineSettings, Registry, RouteSpec, Tier, TransformerSpec
from schemas.units import format_duration

_CONFIG_INTEGERS = range(-(1 << 63), 1 << 64)


def relation_faults(document: Document, registry: Registry, declared: Collection[str]) -> Iterator[Fault]:
    """Every broken rule but those of topics and of the cluster. `declared` are all names of transformers, refused ones too."""
    for transformer in registry.transformers.values():
        yield from _limits(document, transformer)
        yield from _engine(document, transformer)
        yield from _config(document, ("transformers", transformer.name, "config"), transformer.config)
    yield from grant_faults(document, registry)
    yield from _chains(document, declared)
    for route in registry.routes.values():
        yield from _batch(document, route, registry)
        yield from atomic_faults(document, route, registry)
    yield from _times(document, registry)


def _limits(document: Document, transformer: TransformerSpec) -> Iterator[Fault]:
    limits, steps = transformer.limits, _nearest(document, ("transformers", transformer.name, "limits", "allocation"))
    if limits.allocation_bytes_max > limits.memory_bytes:
        yield document.fault(
            steps,
            f"allocation {format_bytes(limits.allocation_bytes_max)} is larger than the memory {format_bytes(limits.memory_bytes)}",
            "lower allocation, or raise memory",
        )
    if not transformer.function.isprintable() or len(transformer.function) > 256:
        yield document.fault(
            ("transformers", transformer.name, "function"), "is not an export's name", "up to 256 printable characters"
        )


def _nearest(document: Document, steps: Steps) -> Steps:
    """The transformer's own key, or the one it inherits from `defaults`."""
    if steps not in document.values and ("defaults", *steps[2:]) in document.values:
        return ("defaults", *steps[2:])
    return steps


def _engine(document: Document, transformer: TransformerSpec) -> Iterator[Fault]:
    """Combinations that the engine cannot be built with; some would abort the whole process."""
    for keys, problem, remedy in _engine_conflicts(transformer.engine):
        steps = _nearest(document, ("transformers", transformer.name, *keys))
        yield document.fault(steps, problem, remedy)


def _engine_conflicts(engine: EngineSettings) -> Iterator[tuple[tuple[str, ...], str, str]]:
    if engine.relaxed_simd and not engine.simd:
        yield ("features", "relaxed_simd"), "relaxed_simd needs simd", "set simd: true, or relaxed_simd: false"
    if engine.tier is Tier.BASELINE and engine.relaxed_simd:
        yield (
            ("features", "relaxed_simd"),
            "the baseline tier has no relaxed_simd",
            "use tier: optimizing, or relaxed_simd: false",
        )
    if engine.tier is Tier.BASELINE and engine.nan_canonicalization:
        yield (
            ("nan_canonicalization",),
            "the baseline tier would not honour it",
            "use tier: optimizing, or nan_canonicalization: false",
        )
    if engine.tier is Tier.INTERPRETER and engine.threads:
        yield ("features", "threads"), "the interpreter tier has no threads", "use tier: optimizing, or threads: false"


def _config(document: Document, steps: Steps, value: object) -> Iterator[Fault]:
    """The config travels as msgpack: text keys, and integers of at most 64 bits."""
    match value:
        case dict():
            for key, item in value.items():
                if isinstance(key, str):
                    yield from _config(document, (*steps, key), item)
                else:
                    yield document.fault(steps, "has a key that is not text", "put the key in quotes")
        case list() | tuple():
            for index, item in enumerate(value):
                yield from _config(document, (*steps, index), item)
        case int() if value not in _CONFIG_INTEGERS:
            yield document.fault(
                steps, "an integer is wider than 64 bits", "put it in quotes and parse it in the guest"
            )
        case str() | int() | float() | bool() | bytes() | None:
            return
        case _:
            yield document.fault(
                steps, f"a {type(value).__name__} cannot be handed to a guest", "use text, numbers, lists, mappings"
            )


def _chains(document: Document, declared: Collection[str]) -> Iterator[Fault]:
    """Names in `through`, also of routes that were refused for something else."""
    routes = document.data.get("routes") if declared else None
    for route, entry in routes.items() if isinstance(routes, dict) else ():
        through = entry.get("through") if isinstance(entry, dict) else None
        for index, name in enumerate(
            [through] if isinstance(through, str) else through if isinstance(through, list) else []
        ):
            if isinstance(name, str) and name and name not in declared:
                steps = ("routes", route, "through", index)
                yield document.fault(
                    steps, "{shown} is not a transformer of this registry", did_you_mean(name, declared)
                )


def _batch(document: Document, route: RouteSpec, registry: Registry) -> Iterator[Fault]:
    batch, steps = route.batch, ("routes", route.name, "batch")
    for transformer in _transformers(route, registry):
        fitting = batch_bytes_fitting(transformer.limits)
        if batch.bytes_max > fitting:
            yield document.fault(
                _inherited(document, (*steps, "bytes")),
                f"a batch of {format_bytes(batch.bytes_max)} does not fit transformer {transformer.name}: "
                f"at most {format_bytes(fitting)} (its allocation, and half of its memory)",
                "lower batch.bytes, or raise the transformer's memory and allocation",
            )
    if batch.bytes_max > batch.in_flight_bytes_max:
        problem = f"in_flight {format_bytes(batch.in_flight_bytes_max)} is less than one batch of {format_bytes(batch.bytes_max)}"
        yield document.fault(
            _inherited(document, (*steps, "in_flight")), problem, "raise in_flight, or lower batch.bytes"
        )
    if batch.events_max > batch.commit_events_max:
        problem = f"commit_events {batch.commit_events_max} is less than one batch of {batch.events_max} events"
        yield document.fault(
            _inherited(document, (*steps, "commit_events")), problem, "raise commit_events, or lower batch.events"
        )
    if 2 * batch.commit_interval_ms > registry.kafka.transaction_timeout_ms:
        yield document.fault(
            _inherited(document, (*steps, "commit_interval")),
            f"commit_interval {format_duration(batch.commit_interval_ms)} is more than half of the transaction timeout "
            f"{format_duration(registry.kafka.transaction_timeout_ms)}: the broker would abort the transaction before its commit",
            "lower commit_interval, or raise kafka.transaction_timeout",
        )


def _inherited(document: Document, steps: Steps) -> Steps:
    """The route's own key, or the one it inherits from `defaults`, or the one it derives from."""
    inherited = ("defaults", *steps[2:])
    return inherited if steps not in document.values and inherited in document.values else steps


def _transformers(route: RouteSpec, registry: Registry) -> list[TransformerSpec]:
    return [registry.transformers[name] for name in route.through if name in registry.transformers]


def _times(document: Document, registry: Registry) -> Iterator[Fault]:
    kafka = registry.kafka
    used = [transformer for route in registry.routes.values() for transformer in _transformers(route, registry)]
    needed = rebalance_needed_ms(used)
    if kafka.rebalance_timeout_ms < needed:
        slowest = max(used, key=lambda transformer: transformer.limits.deadline_ms)
        yield document.fault(
            ("kafka", "rebalance_timeout"),
            f"rebalance_timeout {format_duration(kafka.rebalance_timeout_ms)} is too short for the deadline "
            f"{format_duration(slowest.limits.deadline_ms)} of transformer {slowest.name}: taking a bad batch apart may cost "
            f"{ISOLATION_DEADLINES} deadlines, which must fit into 1/{REBALANCE_SHARE} of it",
            f"raise it to {format_duration(needed)}, lower the deadline, or leave the key out: it is then chosen to fit",
        )
    for shorter, longer in (
        ("session_timeout", "rebalance_timeout"),
        ("rebalance_timeout", "max_poll_interval"),
        ("request_timeout", "transaction_timeout"),
    ):
        low, high = getattr(kafka, f"{shorter}_ms"), getattr(kafka, f"{longer}_ms")
        if low > high:
            problem = f"{shorter} {format_duration(low)} is longer than {longer} {format_duration(high)}"
            at = (
                shorter if ("kafka", shorter) in document.values or ("kafka", longer) not in document.values else longer
            )
            yield document.fault(("kafka", at), problem, f"lower {shorter}, or raise {longer}")
