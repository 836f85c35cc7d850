"""`Pipeline` inside a program's own loop, over the in-memory broker, with real threads."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from pipeline import Pipeline, RegistryBuilder
from pipeline.app import commit_interval_s
from pipeline.memory.broker import MemoryBroker
from pipeline.memory.transport import MemoryTransport
from pipeline.ports import LaneState
from sandbox import Sandbox
from schemas.errors import ConfigError, TransportError
from schemas.event import TopicPartition
from schemas.specs import BatchPolicy, Delivery, Registry
from tests.pipeline.rig import MODULES, Faults, RiggedTransport, misdeed

VALUES = [b'{"id":%d}' % number for number in range(2_000)]


def build(**route: object) -> Registry:
    made = RegistryBuilder(MODULES, shutdown_timeout="5s")
    made.register("saboteur", module="saboteur.wasm", limits={"profile": "untrusted", "deadline": "100ms"})
    made.register("uppercase", module="uppercase.wasm")
    made.route("loud", sources="in", through=["saboteur", "uppercase"], to="loud", dead_letter="dead", **route)
    made.route("same", sources="in", through="saboteur", to="same", dead_letter="dead")
    return made.build()


def topics(broker: MemoryBroker) -> None:
    for topic in ("in", "loud", "same", "dead"):
        broker.create_topic(topic, 3)


async def until_committed(broker: MemoryBroker) -> None:
    groups = ("penstock-loud", "penstock-same")
    places = [(group, TopicPartition("in", number)) for group in groups for number in range(3)]
    changed = asyncio.Event()
    broker.listen(changed)
    async with asyncio.timeout(30):
        while any(broker.committed.get(at, 0) < broker.partition(at[1]).end for at in places):
            changed.clear()
            await changed.wait()


def test_two_routes_run_side_by_side_and_stop_in_good_order() -> None:
    broker = MemoryBroker()
    topics(broker)
    for number, value in enumerate(VALUES):
        broker.produce("in", misdeed("loop", number) if number == 700 else value, partition=number % 3)

    async def scenario() -> None:
        registry = build()
        pipeline = Pipeline(registry, transport=MemoryTransport(registry, broker), worker_count=4)
        running = asyncio.create_task(pipeline.run())
        await until_committed(broker)
        assert {status.state for status in pipeline.status()} == {LaneState.RUNNING}
        assert len(pipeline.status()) == 6
        pipeline.stop()
        async with asyncio.timeout(10):
            await running

    asyncio.run(scenario())
    good = [value for number, value in enumerate(VALUES) if number != 700]
    for topic, made in (("loud", bytes.upper), ("same", bytes)):
        assert sorted(event.value or b"" for _, event in broker.records(topic)) == sorted(map(made, good))
        for number, log in enumerate(broker.topics[topic]):
            assert [event.value for event in log.events] == [made(v) for v in VALUES[number::3] if v in good]
    assert [event.value for _, event in broker.records("dead")] == [misdeed("loop", 700)] * 2


def test_stopped_before_it_runs_it_starts_nothing() -> None:
    broker = MemoryBroker()
    topics(broker)

    async def scenario() -> None:
        registry = build()
        pipeline = Pipeline(registry, transport=MemoryTransport(registry, broker))
        pipeline.stop()
        async with asyncio.timeout(10):
            await pipeline.run()

    asyncio.run(scenario())
    assert broker.committed == {}


def test_cancelled_it_commits_nothing_more_and_lets_go() -> None:
    broker = MemoryBroker()
    topics(broker)
    broker.produce("in", VALUES[0], partition=0)

    async def scenario() -> None:
        registry = build()
        running = asyncio.create_task(Pipeline(registry, transport=MemoryTransport(registry, broker)).run())
        await until_committed(broker)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(scenario())


def test_a_refused_module_is_a_config_error_before_anything_starts() -> None:
    broker = MemoryBroker()
    made = RegistryBuilder(MODULES).register("up", module="uppercase.wasm", function="no_such_export")
    registry = made.route("r", sources="in", through="up", to="out").build()
    pipeline = Pipeline(registry, transport=MemoryTransport(registry, broker))
    with pytest.raises(ConfigError, match="no_such_export"):
        asyncio.run(pipeline.run())
    assert broker.committed == {}


def test_every_refused_module_is_told_with_its_place_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "registry.yaml"
    file.write_text(
        f"""version: 1
transformers:
  up: {{module: {MODULES}/uppercase.wasm, function: no_such_export}}
  good: {{module: {MODULES}/passthrough.wasm}}
  down: {{module: {MODULES}/uppercase.wasm, function: nor_this_one}}
routes:
  r: {{from: in, through: [up, good, down], to: out}}
"""
    )
    pipeline = Pipeline(file, transport=MemoryTransport(build(), MemoryBroker()))
    with pytest.raises(ConfigError) as refused:
        asyncio.run(pipeline.run())
    assert [(fault.path, fault.line) for fault in refused.value.faults] == [
        ("transformers.up.module", 3),
        ("transformers.down.module", 5),
    ]
    assert all(name in str(refused.value) for name in ("no_such_export", "nor_this_one"))


def test_what_ended_it_is_raised_not_a_group(sandbox: Sandbox) -> None:
    broker, faults = MemoryBroker(), Faults()
    topics(broker)
    broker.produce("in", VALUES[0], partition=0)
    registry = build()
    faults.plan("write", TransportError("not authorized", retriable=False))
    pipeline = Pipeline(registry, transport=RiggedTransport(registry, broker, {}, faults), sandbox=sandbox)
    with pytest.raises(TransportError, match="not authorized"):
        asyncio.run(pipeline.run())


@pytest.mark.parametrize(
    ("delivery", "lanes", "caught_up", "seconds"),
    [
        (Delivery.EXACTLY_ONCE, 2, False, 0.1),
        (Delivery.EXACTLY_ONCE, 2, True, 0.02),  # hidden until the commit, so sooner when that costs no throughput
        (Delivery.AT_LEAST_ONCE, 2, True, 0.1),  # visible at once
        (Delivery.EXACTLY_ONCE, 8, True, 0.08),  # a hundred commits a second in all
        (Delivery.EXACTLY_ONCE, 64, True, 0.64),
        (Delivery.EXACTLY_ONCE, 64, False, 2.0),  # a third of it while there is something to catch up with,
    ],
)
def test_how_often_a_lane_commits(delivery: Delivery, lanes: int, caught_up: bool, seconds: float) -> None:
    assert commit_interval_s(BatchPolicy(), delivery, lanes, caught_up=caught_up) == pytest.approx(seconds)
