"""One run of the demo: feeds the shop's stream to the real pipeline, reads every topic back meanwhile, and balances the account."""

from __future__ import annotations

import asyncio
import resource
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pipeline.app import Pipeline
from pipeline.demo.fates import Fate
from pipeline.demo.feed import Feed
from pipeline.demo.ledger import Account, Found, Ledger
from pipeline.demo.records import TopicReader
from pipeline.demo.shop import Shop
from pipeline.embedded import EmbeddedBroker
from pipeline.observe.stats import Latency, StatsObserver
from pipeline.ports import LaneState
from pipeline.registry import load_registry
from pipeline.workers import default_worker_count
from sandbox import Sandbox
from schemas.errors import PenstockError
from schemas.specs import Registry

WATCHED = {Fate.ENRICHED: b"@", Fate.DEADLINE: b""}
"""Of these the summary shows one event each: an order with an e-mail address, an endless loop."""
_TICK_S = 0.125
_RATE_S = 1.5
_IDLE_S = 0.02
"""How long the reader waits when nothing has arrived."""
_STALL_S = 20.0
"""Without any progress for so long, what is missing counts as lost. Deadlines and isolation take a second at most."""
_JOIN_S = 30.0
_DRAIN_S = 10.0


class DemoError(PenstockError):
    """The demo could not be run to its end."""

    code = "demo"


@dataclass(frozen=True, slots=True)
class Progress:
    """A moment of the run, for people to look at. `dropped` and the latencies are the pipeline's own word; the rest was read back."""

    phase: str
    total: int
    fed: int
    settled: int
    """Events whose end was found."""
    emitted: int
    dropped: int
    dead_lettered: int
    by_violation: Mapping[str, int]
    events_per_s: float
    """Of the last second or two; in the end, of the whole run."""
    latency: Mapping[str, Latency]
    seconds: float
    """Since the stream began; 0 before."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a run came to."""

    account: Account
    seconds: float
    """From the first event produced until the last one was accounted for."""
    startup_s: float
    """Compiling, connecting, joining the groups."""
    memory_bytes_peak: int
    """Resident memory of the whole process, broker included."""
    shown: Mapping[Fate, tuple[Found, Found]]
    """A source record and what became of it, by watched fate."""
    latency: Mapping[str, Latency]

    @property
    def events_per_s(self) -> float:
        """Events accounted for, over the whole run."""
        return self.account.produced / self.seconds if self.seconds else 0.0


def demo_registry(path: Path, broker: EmbeddedBroker) -> Registry:
    """The registry of this file, bound for the embedded broker. Raises ConfigError."""
    quick = {"kafka.client": {"fetch_max_wait_ms": 50}}  # the embedded broker lets an empty fetch wait to the end
    return load_registry(path, brokers=broker.address, overrides=quick)


class Demo:
    """`run` once. Everything happens in the caller's event loop, beside the pipeline's own worker threads."""

    def __init__(self, registry: Registry, broker: EmbeddedBroker, events: int, *, seed: int = 7) -> None:
        self._address = broker.address
        self._registry = registry
        self._shop = Shop(events, seed=seed, started_ms=int(time.time() * 1e3))
        self._ledger = Ledger(registry.routes.values(), WATCHED)
        self._partitions = broker.create_topics([*self._ledger.topics, registry.kafka.control_topic])
        self._stats = StatsObserver(time.monotonic)
        self._sandbox = Sandbox(workers=default_worker_count())
        self._pipeline = Pipeline(registry, observer=self._stats, sandbox=self._sandbox)
        self._moved = asyncio.Event()
        self._drained = False
        self._phase = "compiling modules, joining consumer groups (takes this broker 3 s)"
        self._began = 0.0
        self._ended = 0.0
        self._moments: deque[tuple[float, int]] = deque()

    async def run(self, show: Callable[[Progress], None]) -> Result:
        """Until every event is accounted for, or nothing moves any more. Raises what the pipeline raises, DemoError, TransportError."""
        started = time.monotonic()
        reader = TopicReader(self._address, {topic: self._partitions[topic] for topic in self._ledger.topics})
        try:
            async with asyncio.TaskGroup() as tasks:
                showing = tasks.create_task(self._show(show), name="show progress")
                running = tasks.create_task(self._pipeline.run(), name="pipeline")
                tasks.create_task(self._read_back(reader), name="read back")
                await self._conduct(running)
                showing.cancel()
        except BaseExceptionGroup as group:
            raise _first(group) from group
        finally:
            reader.close()
            self._sandbox.close()
        show(self._progress())
        return Result(
            account=self._ledger.account(),
            seconds=self._ended - self._began,
            startup_s=self._began - started,
            memory_bytes_peak=_memory_bytes_peak(),
            shown=self._ledger.shown,
            latency=self._stats.stats().latency,
        )

    async def _conduct(self, running: asyncio.Task[None]) -> None:
        await self._joined()
        self._phase, self._began = "running", time.monotonic()
        self._moments.clear()
        self._moments.append((self._began, 0))
        await Feed(self._address, self._ledger).run(self._shop, self._moving)
        await self._settled()
        self._phase, self._ended = "draining", time.monotonic()
        self._pipeline.stop(_DRAIN_S)
        await running
        self._drained = True

    async def _joined(self) -> None:
        """Every lane is up, so that what is measured is the stream and not the start."""
        try:
            async with asyncio.timeout(_JOIN_S):
                while not self._is_running():  # noqa: ASYNC110 - nobody announces it
                    await asyncio.sleep(_IDLE_S)
        except TimeoutError as error:
            raise DemoError(f"the pipeline did not start within {_JOIN_S:g} s") from error

    def _is_running(self) -> bool:
        self._check_lanes()
        running = sum(lane.state is LaneState.RUNNING for lane in self._pipeline.status())
        return running == sum(
            self._partitions[topic] for route in self._registry.routes.values() for topic in route.sources
        )

    async def _settled(self) -> None:
        """Everything that must come out was found, and the pipeline says it is through with the rest; or nothing moves any more.

        The pipeline's word only ends the waiting. (The embedded broker forgets offsets that a transaction commits, so they cannot be asked for.)
        """
        moved_at, before = time.monotonic(), -1
        while self._ledger.outstanding or self._stats.stats().events < self._shop.events:
            now, settled = time.monotonic(), self._ledger.found.total()
            if settled != before:
                moved_at, before = now, settled
            if now - moved_at > _STALL_S:
                return
            await self._moving()

    async def _read_back(self, reader: TopicReader) -> None:
        while True:
            found = reader.read()
            for record in found:
                self._ledger.take(record)
            if found:
                self._moved.set()
                await asyncio.sleep(0)
            elif self._drained and await asyncio.to_thread(reader.is_at_end):
                return
            elif self._drained and time.monotonic() > self._ended + _DRAIN_S + _STALL_S:
                raise DemoError("the topics could not be read back to their ends")
            else:
                await asyncio.sleep(_IDLE_S)

    async def _moving(self) -> None:
        """Something was read back. Raises DemoError when a lane has stopped, so that nobody waits for it."""
        self._moved.clear()
        try:
            async with asyncio.timeout(_TICK_S):
                await self._moved.wait()
        except TimeoutError:
            self._check_lanes()

    def _check_lanes(self) -> None:
        for lane in self._pipeline.status():
            if lane.state in (LaneState.STOPPED, LaneState.PAUSED):
                raise DemoError(f"lane {lane.identity} is {lane.state}: {lane.reason}")

    async def _show(self, show: Callable[[Progress], None]) -> None:
        while True:
            show(self._progress())
            await asyncio.sleep(_TICK_S)

    def _progress(self) -> Progress:
        stats, ledger, now = self._stats.stats(), self._ledger, time.monotonic()
        found = ledger.found
        settled = found.total() + stats.dropped
        return Progress(
            phase=self._phase,
            total=self._shop.events,
            fed=ledger.expected,
            settled=settled,
            emitted=found["emitted"],
            dropped=stats.dropped,
            dead_lettered=found["dead_lettered"],
            by_violation=dict(ledger.by_violation),
            events_per_s=self._rate(now, settled),
            latency=stats.latency,
            seconds=(self._ended or now) - self._began if self._began else 0.0,
        )

    def _rate(self, now: float, settled: int) -> float:
        """Of the last moments while it runs (outcomes arrive commit by commit: a shorter while shows jumps), in the end of the whole run."""
        if self._ended:
            return settled / (self._ended - self._began)
        self._moments.append((now, settled))
        while len(self._moments) > 2 and now - self._moments[1][0] >= _RATE_S:
            self._moments.popleft()
        then, before = self._moments[0]
        return (settled - before) / (now - then) if now > then else 0.0


def _memory_bytes_peak() -> int:
    """Linux' `ru_maxrss` begins with what the parent process had, so the kernel's own mark of this program is asked first."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) << 10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak << 10  # macOS counts bytes, Linux KiB


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What ended the run: an error of ours that says why, before what came in its wake."""
    leaves: list[BaseException] = []
    pending: list[BaseException] = [group]
    while pending:
        error = pending.pop(0)
        if isinstance(error, BaseExceptionGroup):
            pending += error.exceptions
        else:
            leaves.append(error)
    return next((leaf for leaf in leaves if isinstance(leaf, PenstockError)), leaves[0])
