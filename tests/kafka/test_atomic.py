"""An atomic route on a real broker: killed again and again, and after each time readers find whole transactions only."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
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


@dataclass
class Scene:
    """An atomic route over what real Debezium wrote, in topics of its own."""

    bootstrap: str
    registry: Registry
    topics: Mapping[str, str]
    """From names in the fixture to names on the broker."""

    def feed(self) -> None:
        for at, log in logs().items():
            records = ({"key": event.key, "value": event.value} for event in log if event.key or event.value)
            produce_full(self.bootstrap, self.topics[at.topic], records, at.partition)

    def visible(self) -> Counter[str]:
        """How many events of each source transaction readers find."""
        route = self.registry.routes["r"]
        read = [kept.value for topic in (route.to, route.dead_letter) for kept in read_topic(self.bootstrap, topic)]
        found = (transaction(Event(0, 0, None, value)) for value in read if value)
        return Counter(key for key in found if key is not None)


@pytest.fixture
def scene(kafka_broker: KafkaBroker, unique: Callable[[str], str]) -> Scene:
    bootstrap, source, prefix = kafka_broker.bootstrap, logs(), unique("shop")
    renamed = {topic: prefix + topic.removeprefix("shop") for topic in {at.topic for at in source}}
    for topic, name in renamed.items():
        create_topic(bootstrap, name, 1 + max(at.partition for at in source if at.topic == topic))
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
    kafka = KafkaSpec(brokers=(bootstrap,), control_topic=control, session_timeout_ms=6_000)
    registry = Registry({"saboteur": TransformerSpec("saboteur", MODULE)}, {"r": route}, kafka=kafka)
    return Scene(bootstrap, registry, renamed)


def test_after_every_kill_readers_find_whole_transactions_only(scene: Scene) -> None:
    scene.feed()
    expected, chance = members(logs()), random.Random(5)

    async def killed_after(seconds: float) -> None:
        task = asyncio.create_task(Pipeline(scene.registry).run())
        await asyncio.wait({task}, timeout=seconds)
        assert not task.done() or task.exception() is None
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def scenario() -> None:
        for _ in range(4):
            await killed_after(chance.uniform(0.5, 4.0))
            visible = scene.visible()
            assert {key: expected[key] for key in visible} == visible
        pipeline = Pipeline(scene.registry)
        task = asyncio.create_task(pipeline.run())
        async with asyncio.timeout(60):
            while await asyncio.to_thread(scene.visible) != expected:
                assert not task.done()
        pipeline.stop()
        await task

    asyncio.run(scenario())
    assert scene.visible() == expected


def test_one_of_two_processes_works_and_the_other_takes_over(scene: Scene) -> None:
    expected = members(logs())

    async def scenario() -> None:
        pipelines = [Pipeline(scene.registry) for _ in range(2)]
        tasks = [asyncio.create_task(pipeline.run()) for pipeline in pipelines]
        async with asyncio.timeout(60):
            while sorted(bool(pipeline.status()) for pipeline in pipelines) != [False, True]:
                await asyncio.to_thread(time.sleep, 0.1)
        (worker,) = (index for index, pipeline in enumerate(pipelines) if pipeline.status())
        scene.feed()
        async with asyncio.timeout(60):
            while not await asyncio.to_thread(scene.visible):
                assert not any(task.done() for task in tasks)
        tasks[worker].cancel()
        await asyncio.gather(tasks[worker], return_exceptions=True)
        async with asyncio.timeout(90):
            while await asyncio.to_thread(scene.visible) != expected or not pipelines[1 - worker].status():
                assert not tasks[1 - worker].done()
        pipelines[1 - worker].stop()
        await tasks[1 - worker]

    asyncio.run(scenario())
    assert scene.visible() == expected
