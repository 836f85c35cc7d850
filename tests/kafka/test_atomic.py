"""An atomic route on a real broker: killed again and again, and after each time readers find whole transactions only."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline import Pipeline
from schemas.event import Event
from schemas.specs import AtomicSpec, KafkaSpec, Registry, RouteSpec, TransformerSpec
from tests.pipeline.atomic.test_gathering import logs, members, transaction
from tests.services.kafka import KafkaBroker
from tests.services.topics import create_topic, produce_full, read_topic

MODULE = Path(__file__).parents[2] / "transformers" / "modules" / "saboteur.wasm"

pytestmark = pytest.mark.services


def test_after_every_kill_readers_find_whole_transactions_only(
    kafka_broker: KafkaBroker, unique: Callable[[str], str]
) -> None:
    bootstrap, source, prefix = kafka_broker.bootstrap, logs(), unique("shop")
    renamed = {topic: prefix + topic.removeprefix("shop") for topic in {at.topic for at in source}}
    for topic, name in renamed.items():
        create_topic(bootstrap, name, 1 + max(at.partition for at in source if at.topic == topic))
    for at, log in source.items():
        records = ({"key": event.key, "value": event.value} for event in log if event.key or event.value)
        produce_full(bootstrap, renamed[at.topic], records, at.partition)
    out, dead = (create_topic(bootstrap, unique(name)) for name in ("out", "dead"))
    control = create_topic(bootstrap, unique("control"), config={"cleanup.policy": "compact"})
    route = RouteSpec(
        "r",
        tuple(renamed.values()),
        ("saboteur",),
        out,
        dead,
        unique("g"),
        truncate_oversize=True,
        atomic=AtomicSpec(prefix + ".transaction"),
    )
    kafka = KafkaSpec(brokers=(bootstrap,), control_topic=control)
    registry = Registry({"saboteur": TransformerSpec("saboteur", MODULE)}, {"r": route}, kafka=kafka)
    expected, chance = members(source), random.Random(5)

    def visible() -> Counter[str]:
        read = [kept.value for topic in (out, dead) for kept in read_topic(bootstrap, topic) if kept.value]
        return Counter(key for value in read if (key := transaction(Event(0, 0, None, value))) is not None)

    async def killed_after(seconds: float) -> None:
        task = asyncio.create_task(Pipeline(registry).run())
        await asyncio.wait({task}, timeout=seconds)
        assert not task.done() or task.exception() is None
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def scenario() -> None:
        for _ in range(4):
            await killed_after(chance.uniform(0.5, 4.0))
            assert {key: expected[key] for key in visible()} == visible()
        pipeline = Pipeline(registry)
        task = asyncio.create_task(pipeline.run())
        async with asyncio.timeout(60):
            while await asyncio.to_thread(visible) != expected:
                assert not task.done()
        pipeline.stop()
        await task

    asyncio.run(scenario())
    assert visible() == expected
