"""The hostile guests, compiled from `tests/guests/*.wat`, and the means to drive them without waiting."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wasmtime import wat2wasm

from sandbox import Limits, Sandbox, Transformer
from sandbox.calls import CallsName
from sandbox.epoch import EpochTicker
from sandbox.host import HostImport, Services
from schemas.event import Batch, Event, TopicPartition
from schemas.outcome import Emitted, Outcome, Violation
from schemas.specs import EngineSettings, InstancePolicy, TransformerSpec

FOLDER = Path(__file__).parent.parent / "guests"
LIMITS = Limits(memory_bytes=4 << 20, deadline_ms=100, allocation_bytes_max=2 << 20)
LANE = TopicPartition("shop.public.orders", 0)


@functools.cache
def guest(name: str) -> bytes:
    """The module `tests/guests/{name}.wat`, with its includes."""
    text = (FOLDER / f"{name}.wat").read_text()
    text = re.sub(r"\(;include (\w+);\)", lambda match: (FOLDER / f"{match[1]}.wat").read_text(), text)
    return wat(text)


@functools.cache
def wat(text: str) -> bytes:
    """A module from its text."""
    return bytes(wat2wasm(text))


def spec(name: str = "guest", **changes: Any) -> TransformerSpec:
    return TransformerSpec(**{"name": name, "module": Path("guest.wasm"), "limits": LIMITS} | changes)


def events(values: Iterable[bytes | None], headers: tuple[tuple[str, bytes | None], ...] = ()) -> list[Event]:
    return [Event(7 * n, 1_700_000_000_000 + n, b"key-%d" % n, value, headers) for n, value in enumerate(values)]


def batch(values: Iterable[bytes | None]) -> Batch:
    return Batch(LANE, events(values))


def kinds(outcomes: Iterable[Outcome]) -> list[str]:
    """`emitted`, `dropped` or the violation's kind, for each."""
    return [str(one.kind) if isinstance(one, Violation) else type(one).__name__.lower() for one in outcomes]


def violation(outcome: Outcome) -> Violation:
    assert isinstance(outcome, Violation), outcome
    return outcome


def values(outcome: Outcome) -> list[bytes | None]:
    assert isinstance(outcome, Emitted), outcome
    return [event.value for event in outcome.events]


@dataclass
class Bench:
    """A sandbox whose time moves only when a guest calls `test.tick`, and whose guests ask `test.act` what to do."""

    calls: CallsName
    act: Callable[[int], int] = lambda phase: 0
    cursor: Callable[[int, int], int] = lambda index, count: index
    now_ns: int = 0
    ticks: list[int] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.sandbox = Sandbox(
            calls=self.calls,
            ticker=EpochTicker(auto=False),
            clock_ns=lambda: self.now_ns,
            services=Services(
                now_ms=lambda: 1_700_000_000_123,
                monotonic_ns=lambda: 42,
                random_bytes=lambda count: bytes(range(256))[:count] if count <= 256 else b"\x07" * count,
            ),
            extra_imports=(
                HostImport("act", ("i32",), "i32", lambda state, memory, phase: self.act(phase), module="test"),
                HostImport("tick", ("i32",), None, lambda state, memory, ms: self.tick(ms), module="test"),
                HostImport(
                    "cursor",
                    ("i32", "i32"),
                    "i32",
                    lambda state, memory, index, count: self.cursor(index, count),
                    module="test",
                ),
                *self.options.pop("extra_imports", ()),
            ),
            **{"cache": False, "isolation_budget_ms": 4 * LIMITS.deadline_ms} | self.options,
        )

    def tick(self, milliseconds: int) -> None:
        """Let time pass."""
        self.now_ns += milliseconds * 1_000_000
        self.sandbox.advance_epoch(milliseconds)

    def load(self, name: str, **changes: Any) -> Transformer:
        return self.sandbox.load(spec(name, **changes), guest(name))


REUSED = InstancePolicy.REUSED
PER_EVENT = InstancePolicy.PER_EVENT
UNPOOLED = EngineSettings(pooling=False)
