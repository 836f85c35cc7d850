"""Two lanes whose events all loop, beside a healthy one: real threads, real guests, real time. The healthy lane must hardly notice,
whether its transformer is another one or the very same.

Windows with and without the looping neighbours take turns in one run, so that whatever else the machine does weighs on both.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from statistics import quantiles

import pytest

from pipeline import Pipeline, RegistryBuilder
from pipeline.memory.broker import MemoryBroker
from pipeline.memory.transport import MemoryTransport
from pipeline.observe.null import NullObserver
from pipeline.ports import CommitFacts, LaneId
from schemas.specs import Registry
from tests.pipeline.rig import MODULES, misdeed

DEADLINE_S = 0.2
WINDOW_S = 0.6
PAIRS = 4
EVERY_S = 0.005
BATCH = {"commit_interval": "10ms"}
HEALTHY = b'{"after":{"id":1,"amount":"10.25","quantity":2,"first_name":"Zoe","note":"' + b"x" * 200 + b'"},"op":"c"}'


def strangers() -> Registry:
    """Three routes, each with one partition; the two misbehaving ones have transformers of their own."""
    made = builder()
    for name in ("first", "second", "healthy"):
        register(made, name)
        made.route(name, sources=f"{name}.in", through=name, to="out", dead_letter="dead", batch=BATCH)
    return made.build()


def siblings() -> Registry:
    """One route whose three partitions share a transformer."""
    made = builder()
    register(made, "shared")
    sources = ["first.in", "second.in", "healthy.in"]
    made.route("shared", sources=sources, through="shared", to="out", dead_letter="dead", batch=BATCH)
    return made.build()


def builder() -> RegistryBuilder:
    return RegistryBuilder(MODULES, shutdown_timeout="5s")


def register(made: RegistryBuilder, name: str) -> None:
    limits = {"profile": "untrusted", "deadline": f"{DEADLINE_S * 1e3:.0f}ms"}
    made.register(name, module="saboteur.wasm", limits=limits, quarantine={"after": "100000 in 1m", "action": "pause"})


class Latencies(NullObserver):
    """From when an event of the healthy route was produced until its commit was known."""

    def __init__(self) -> None:
        self.produced_at: list[float] = []
        self.committed_at: list[float] = []

    def committed(self, lane: LaneId, facts: CommitFacts) -> None:
        if lane.source.topic == "healthy.in":
            now = time.perf_counter()
            self.committed_at += [now] * (facts.offset - len(self.committed_at))

    def p99_s(self, first: int, last: int) -> float:
        """Of the events from `first` up to `last`, all of which are committed."""
        seconds = sorted(
            b - a for a, b in zip(self.produced_at[first:last], self.committed_at[first:last], strict=True)
        )
        return seconds[int(0.99 * (len(seconds) - 1))]


class Stage:
    """The broker, the pipeline over it, and who produces what."""

    def __init__(self) -> None:
        self.broker = MemoryBroker()
        for topic in ("first.in", "second.in", "healthy.in", "out", "dead"):
            self.broker.create_topic(topic, 1)
        self.latencies = Latencies()

    async def window(self, *, beside_loops: bool) -> float:
        """The healthy lane's p99 over one window."""
        first, until = len(self.latencies.produced_at), time.perf_counter() + WINDOW_S
        if beside_loops:
            for name in ("first", "second"):
                for _ in range(int(WINDOW_S / DEADLINE_S) + 1):
                    self.broker.produce(f"{name}.in", misdeed("loop"))
        while time.perf_counter() < until:
            self.latencies.produced_at.append(time.perf_counter())
            self.broker.produce("healthy.in", HEALTHY)
            await asyncio.sleep(EVERY_S)
        last = len(self.latencies.produced_at)
        changed = asyncio.Event()
        self.broker.listen(changed)
        async with asyncio.timeout(30):
            while len(self.latencies.committed_at) < last or self._loops_left():
                changed.clear()
                await changed.wait()
        return self.latencies.p99_s(first, last)

    def _loops_left(self) -> int:
        produced = sum(self.broker.topics[f"{name}.in"][0].end for name in ("first", "second"))
        return produced - len(self.broker.records("dead"))


def calm(windows: list[float]) -> float:
    """The lower quartile: others' load on the machine can only add to a window, and a lane that is held up is so in all of them."""
    return quantiles(windows, n=4)[0]


@pytest.mark.parametrize("registry", [strangers, siblings])
def test_a_healthy_lane_keeps_its_latency_beside_two_that_loop(registry: Callable[[], Registry]) -> None:
    stage = Stage()

    async def scenario() -> tuple[list[float], list[float]]:
        made = registry()
        pipeline = Pipeline(made, transport=MemoryTransport(made, stage.broker), observer=stage.latencies)
        running = asyncio.create_task(pipeline.run())
        await stage.window(beside_loops=True)  # everything has run once
        alone, beside = [], []
        for _ in range(PAIRS):
            alone.append(await stage.window(beside_loops=False))
            beside.append(await stage.window(beside_loops=True))
        pipeline.stop()
        await running
        return alone, beside

    alone, beside = asyncio.run(scenario())
    loops = len(stage.broker.records("dead"))
    assert loops >= 2 * PAIRS * int(WINDOW_S / DEADLINE_S), "the neighbours did loop"
    assert len(stage.broker.records("out")) == len(stage.latencies.produced_at)
    quiet, loud = calm(alone), calm(beside)
    print(f"p99 alone {quiet * 1e3:.1f} ms, beside two looping lanes {loud * 1e3:.1f} ms: {loud / quiet:.2f}x")
    assert loud / quiet <= 2, (alone, beside)
