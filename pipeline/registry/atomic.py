"""What must hold of an atomic route."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.registry.document import Document
from schemas.errors import ConfigError, Fault
from schemas.specs import Delivery, Registry, RouteSpec
from schemas.transactions import TRANSACTION_SUFFIX


def atomic_faults(document: Document, route: RouteSpec, registry: Registry) -> Iterator[Fault]:
    """Why this route could not emit source transactions whole."""
    atomic, steps = route.atomic, ("routes", route.name, "atomic")
    if atomic is None:
        return
    if registry.delivery is not Delivery.EXACTLY_ONCE:
        yield document.fault(
            steps,
            "delivery is at-least-once, and without Kafka transactions nothing is written whole",
            "set delivery: exactly-once, or leave atomic out",
        )
    if route.pattern is not None:
        yield document.fault(
            steps,
            "the sources are a regular expression, and a transaction is complete when the events of known topics are there",
            "list the topics in from",
        )
    elif atomic.transaction_topic not in route.sources or not atomic.transaction_topic.endswith(TRANSACTION_SUFFIX):
        yield document.fault(
            steps,
            "no topic with BEGIN and END is among the sources",
            "add {topic.prefix}.transaction to from (and set provide.transaction.metadata=true on the connector); "
            "of several, say which in atomic.transactions",
        )
    elif strange := [one for one in route.sources if not one.startswith(f"{atomic.prefix}.")]:
        yield document.fault(
            steps,
            f"{', '.join(strange)} cannot be counted by {atomic.transaction_topic}: the topics of one connector begin alike",
            f"read what begins with {atomic.prefix}. here, and the others by routes of their own",
        )
    if route.format_in.name != "debezium-json":
        yield document.fault(
            steps,
            f"transactions cannot be read from the format {route.format_in.name}",
            "write the sources with Debezium's JSON converter, or leave atomic out",
        )
    if route.dedupe is not None:
        yield document.fault(
            steps,
            "dedupe looks back in single partitions, and would take events out of whole transactions",
            "use one of the two",
        )


def refuse_bounded(registry: Registry) -> None:
    """The end of a bounded run may lie within a source transaction, and half of one is never written. Raises ConfigError."""
    _refuse(
        registry,
        "an atomic route has no end of its own: the last source transaction may go on behind it",
        "run it without --until-end, or leave atomic out",
    )


def refuse_shared(registry: Registry) -> None:
    """Processes that share the partitions out have a part of each transaction, and none could write. Raises ConfigError."""
    _refuse(
        registry,
        "an atomic route needs all its partitions in one process",
        "run it with --processes 1, in a registry of its own if the other routes need more",
    )


def _refuse(registry: Registry, problem: str, remedy: str) -> None:
    faults = [
        Fault(problem, remedy, path=f"routes.{route.name}.atomic")
        for route in registry.routes.values()
        if route.atomic is not None
    ]
    if faults:
        raise ConfigError(*faults)
