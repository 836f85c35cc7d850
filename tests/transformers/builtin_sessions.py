"""A built-in transformer with a config, run over change events."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from pipeline.registry import RegistryBuilder
from sandbox import Sandbox, Session
from schemas.event import Batch, Event, TopicPartition
from schemas.outcome import Emitted, Violation

SOURCE = TopicPartition("shop.public.rows", 0)


@contextmanager
def opened(
    sandbox: Sandbox, name: str, config: Mapping[str, Any], databases: Mapping[str, Any] | None = None, **entry: Any
) -> Iterator[Session]:
    """A session of the built-in; a config that its module refuses is its ModuleFault."""
    registry = RegistryBuilder(databases=databases or {})
    registry.register(name, builtin=name, config=config, **entry)
    registry.route("r", sources=SOURCE.topic, through=name, to="out")
    session = sandbox.load(registry.build().transformers[name]).session()
    try:
        yield session
    finally:
        session.close()


def batch(changes: Sequence[object]) -> Batch:
    """Records of these values, as JSON."""
    return Batch(
        SOURCE,
        [Event(offset, 0, b"k", json.dumps(change).encode(), ()) for offset, change in enumerate(changes)],
    )


def created(row: object, table: str = "rows") -> dict[str, Any]:
    """An insert."""
    return {"op": "c", "before": None, "after": row, "source": {"table": table}, "ts_ms": 1}


def verdict(outcome: object) -> str:
    """`passed`, `dropped`, or a rejection's code and message."""
    match outcome:
        case Emitted():
            return "passed"
        case Violation(code=code, message=message):
            return f"{code}: {message}"
        case _:
            return "dropped"
