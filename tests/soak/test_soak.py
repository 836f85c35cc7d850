"""A short soak: 200,000 events through five services in one process, after which it holds no more than before."""

from __future__ import annotations

import asyncio
import gc
import threading

import psutil

from pipeline import Pipeline
from pipeline.memory.broker import MemoryBroker
from pipeline.memory.transport import MemoryTransport
from pipeline.observe import NullObserver
from pipeline.ports import CommitFacts, LaneId
from sandbox import Sandbox
from schemas.limits import PROFILES
from schemas.specs import InstancePolicy, Registry, RouteSpec, TransformerSpec
from tests.e2e.stream import MODULES
from tests.soak.feed import order
from tests.soak.ledger import Ledger, expected

ROUNDS = 5
EVENTS = 40_000
PARTITIONS = 3
REGISTRY = Registry(
    transformers={
        "saboteur": TransformerSpec("saboteur", MODULES / "saboteur.wasm", limits=PROFILES["untrusted"]),
        "enrich-order": TransformerSpec(
            "enrich-order",
            MODULES / "enrich_order.wasm",
            limits=PROFILES["untrusted"],
            config={"currency": "EUR", "drop_statuses": ["draft"]},
            instance=InstancePolicy.REUSED,
        ),
    },
    routes={"r": RouteSpec("r", ("in",), ("saboteur", "enrich-order"), "out", "dead", "g")},
)


class Held:
    """What the process holds on to right now."""

    def __init__(self, sandbox: Sandbox) -> None:
        gc.collect()
        process = psutil.Process()
        self.guests = sandbox.stats().active_instances
        self.threads = threading.active_count()
        self.descriptors = process.num_fds()
        self.objects = len(gc.get_objects())
        self.rss_mib = process.memory_info().rss / (1 << 20)


class Done(NullObserver):
    """Set when so many events are committed."""

    def __init__(self, events: int) -> None:
        self._left = events
        self.event = asyncio.Event()

    def committed(self, lane: LaneId, facts: CommitFacts) -> None:
        tally = facts.tally
        self._left -= tally.emitted + tally.dropped + tally.dead_lettered + tally.passed_through
        if self._left <= 0:
            self.event.set()


def filled() -> MemoryBroker:
    broker = MemoryBroker()
    for topic in ("in", "out", "dead"):
        broker.create_topic(topic, PARTITIONS)
    for number in range(EVENTS):
        key, value = order(number)
        broker.produce("in", value, key=key, partition=number % PARTITIONS)
    return broker


async def serve(sandbox: Sandbox, broker: MemoryBroker) -> int:
    """One service's life; how many tasks it left behind."""
    done = Done(EVENTS)
    pipeline = Pipeline(REGISTRY, transport=MemoryTransport(REGISTRY, broker), observer=done, sandbox=sandbox)
    async with asyncio.timeout(120):
        running = asyncio.create_task(pipeline.run())
        waiting = asyncio.create_task(done.event.wait())
        await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
        pipeline.stop()
        await running
        await waiting
    return len(asyncio.all_tasks()) - 1


def verify(broker: MemoryBroker) -> None:
    ledger = Ledger(EVENTS)
    for topic in ("out", "dead"):
        for _, event in broker.records(topic):
            value = event.value or b""
            number = int(value[value.index(b'"id":') + 5 : value.index(b',"first_name"')])
            ledger.take(number, number % PARTITIONS, dead=topic == "dead")
    declared = expected(EVENTS)
    assert ledger.faults == []
    assert (ledger.emitted, ledger.dead, ledger.missing()) == (declared["emitted"], declared["dead"], 0)


def test_five_services_leave_nothing_behind() -> None:
    with Sandbox() as sandbox:
        held = []
        for _ in range(ROUNDS):
            broker = filled()
            assert asyncio.run(serve(sandbox, broker)) == 0
            verify(broker)
            del broker
            held.append(Held(sandbox))
    second, last = held[1], held[-1]
    assert last.guests == 0
    assert (last.threads, last.descriptors) == (second.threads, second.descriptors)
    assert last.objects - second.objects < 500, "objects that nobody let go of"
    # The allocators settle over twenty rounds or so; keeping one event in four of each round would be more than this.
    assert last.rss_mib - second.rss_mib < 24, [round(each.rss_mib) for each in held]
