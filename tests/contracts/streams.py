"""Whole pipelines for the suite: a numbered stream in which some events ask for trouble, and where each of them must end."""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pipeline.app import Pipeline
from pipeline.observe.null import NullObserver
from pipeline.ports import BatchSpan, CommitFacts, ControlLog, EventSink, EventSource, LaneId, Transport
from pipeline.registry import RegistryBuilder
from sandbox import Sandbox
from schemas.dead_letter import read_dead_letter
from schemas.event import Batch, Event, TopicPartition
from schemas.specs import Delivery, Registry
from tests.contracts.clusters import PARTITIONS, Cluster, fresh

MODULES = Path(__file__).parents[2] / "transformers" / "modules"
KEYS = 23
DEEDS = {"trap": "trap", "reject": "rejected", "bad-output": "bad-output", "memory": "memory", "stack": "stack"}
"""What the saboteur is asked for, and the violation it amounts to."""


def deed(number: int) -> str:
    """What event `number` asks the saboteur for."""
    if number % 101 == 17:
        return list(DEEDS)[number // 101 % len(DEEDS)]
    return "drop" if number % 20 == 7 else "pass"


def stream(count: int, first: int = 0) -> list[Event]:
    return [
        Event(0, 0, _key(number), _value(number), (("n", str(number).encode()),))
        for number in range(first, first + count)
    ]


def _key(number: int) -> bytes:
    return f"customer-{number % KEYS}".encode()


def _value(number: int) -> bytes:
    return json.dumps({"id": number, "penstock_demo": deed(number)}, separators=(",", ":")).encode()


@dataclass(frozen=True)
class Course:
    """The topics of one pipeline and its registry."""

    cluster: Cluster
    registry: Registry
    topic: str
    to: str
    dead: str

    @property
    def group(self) -> str:
        return self.registry.routes["orders"].group

    def pipeline(
        self, sandbox: Sandbox, transport: Transport | None = None, observer: NullObserver | None = None
    ) -> Pipeline:
        return Pipeline(
            self.registry,
            transport=transport or self.cluster.transport(self.registry),
            observer=observer,
            sandbox=sandbox,
            worker_count=2,
        )


async def course(
    cluster: Cluster,
    through: Sequence[str] = ("saboteur", "uppercase"),
    partitions_out: int = PARTITIONS,
    **settings: Any,
) -> Course:
    """Topics and a registry for them; `settings` are those of `registry`."""
    topic, to, dead = (
        await cluster.topic("in"),
        await cluster.topic("out", partitions_out),
        await cluster.topic("dead", **({} if cluster.is_memory else settings.pop("dead_settings", {}))),
    )
    return Course(cluster, registry(cluster, topic, to, dead, through, **settings), topic, to, dead)


def registry(
    cluster: Cluster,
    topic: str,
    to: str,
    dead: str,
    through: Sequence[str],
    *,
    delivery: Delivery = Delivery.EXACTLY_ONCE,
    on_violation: str = "dead-letter",
    commit_interval: str = "20ms",
    group: str = "",
) -> Registry:
    """Checked by the rules of a registry file; then pointed at the cluster."""
    group = group or fresh("g")
    builder = RegistryBuilder(kafka={"group": group}, delivery=str(delivery), shutdown_timeout="15s", retry_limit="60s")
    calm = {"after": "100000 in 1m", "action": "pause"}
    for name in ("saboteur", "uppercase", "passthrough", "enrich_order"):
        builder.register(
            name.replace("_", "-"),
            module=MODULES / f"{name}.wasm",
            limits={"profile": "untrusted", "deadline": "300ms"},
            on_violation=on_violation,
            quarantine=calm,
        )
    batch = {
        "events": 100,
        "commit_interval": commit_interval,
        "commit_events": 400,
    }  # many commits, however fast it goes
    builder.route("orders", sources=topic, through=list(through), to=to, dead_letter=dead, batch=batch)
    return replace(builder.build(), kafka=replace(cluster.kafka, group=group))


class Progress(NullObserver):
    """What was committed, by lane; and how many batches were written, committed or not."""

    def __init__(self) -> None:
        self.offsets: dict[TopicPartition, int] = {}
        self.batches = 0
        self.changed = asyncio.Event()

    def batch(self, lane: LaneId, batch: Batch) -> BatchSpan:
        self.batches += 1
        return super().batch(lane, batch)

    def committed(self, lane: LaneId, facts: CommitFacts) -> None:
        self.offsets[lane.source] = facts.offset
        self.changed.set()

    @property
    def done(self) -> int:
        """Events behind a committed offset, where no topic has gaps."""
        return sum(self.offsets.values())


@asynccontextmanager
async def running(pipeline: Pipeline) -> AsyncIterator[asyncio.Task[None]]:
    """The pipeline at work; drained at the end."""
    task = asyncio.create_task(pipeline.run())
    try:
        yield task
    except BaseException:
        task.cancel()
        await asyncio.wait([task])
        raise
    pipeline.stop()
    await task


async def reached(progress: Progress, count: int, *tasks: asyncio.Task[None], seconds: float = 30.0) -> None:
    """Return as soon as so many events are committed; a pipeline that ends before fails at once, with its reason."""
    try:
        async with asyncio.timeout(seconds):
            while progress.done < count:
                progress.changed.clear()
                changed = asyncio.ensure_future(progress.changed.wait())
                await asyncio.wait({changed, *tasks}, return_when=asyncio.FIRST_COMPLETED)
                changed.cancel()
                for task in tasks:
                    if task.done():
                        task.result()
                        raise AssertionError("the pipeline ended by itself")
    except TimeoutError:
        raise AssertionError(f"{progress.done} of {count} events were committed within {seconds:g} s") from None


@dataclass
class Mortal:
    """A transport whose clients can be killed as a process is: all at once, without a word."""

    cluster: Cluster
    transport: Transport
    clients: list[EventSource | EventSink] = field(default_factory=list)

    def source(self, route: str) -> EventSource:
        self.clients.append(source := self.transport.source(route))
        return source

    def sink(self, route: str, partition: TopicPartition, source: EventSource) -> EventSink:
        self.clients.append(sink := self.transport.sink(route, partition, source))
        return sink

    def control(self) -> ControlLog:
        return self.transport.control()

    async def kill(self, task: asyncio.Task[None]) -> None:
        """End the pipeline that runs over this transport."""
        torn = [self.cluster.kill(client) for client in self.clients]
        task.cancel()
        with suppress(BaseException):
            await task
        for tear_down in torn:
            await tear_down()


@dataclass(frozen=True)
class Account:
    """Where the stream ended."""

    out: list[tuple[int, Event]]
    dead: list[tuple[int, Event]]

    def numbers(self) -> Counter[int]:
        return Counter(int((event.headers[0][1] or b"").decode()) for _, event in (*self.out, *self.dead))

    def faults(self, count: int, *, doubles_allowed: bool = False) -> list[str]:
        """Everything that is not as declared; empty when each event ended exactly once where it should, in order per key."""
        found = [
            f"{event.value!r} is no output" for _, event in self.out if event.value != _value(_number(event)).upper()
        ]
        emitted, dead = (Counter(_number(event) for _, event in side) for side in (self.out, self.dead))
        for number in range(count):
            does = deed(number)
            expected = (int(does == "pass"), int(does in DEEDS))
            got = emitted[number], dead[number]
            if doubles_allowed:
                got = min(got[0], 1), min(got[1], 1)
            if got != expected:
                found.append(f"event {number} ({does}): emitted and dead-lettered {got}, expected {expected}")
        return found + self._disorder() + self._letters()

    def _disorder(self) -> list[str]:
        """Within a key, each event comes for the first time after those before it."""
        first: dict[bytes | None, dict[int, None]] = defaultdict(dict)
        for _, event in self.out:
            first[event.key].setdefault(_number(event))
        return [f"{key!r} is out of order" for key, numbers in first.items() if list(numbers) != sorted(numbers)]

    def _letters(self) -> list[str]:
        """Each dead letter is the original record, and says what became of it."""
        found = []
        for _, event in self.dead:
            number, letter = _number(event), read_dead_letter(event.headers)
            same = (event.key, event.value) == (_key(number), _value(number))
            if not same or letter is None or letter.violation.kind != DEEDS[deed(number)]:
                found.append(
                    f"event {number} ({deed(number)}): its dead letter says {letter and letter.violation.kind}, {event.value!r}"
                )
        return found


def _number(event: Event) -> int:
    return int((event.headers[0][1] or b"").decode())


async def account(where: Course) -> Account:
    return Account(await where.cluster.read(where.to), await where.cluster.read(where.dead))
