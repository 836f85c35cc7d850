"""What must hold of an atomic route."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.registry.document import Document
from schemas.errors import Fault
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
