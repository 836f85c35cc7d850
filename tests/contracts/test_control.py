"""What every control log promises: small documents by key, the same for every process, and remembered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from pipeline.ports import ControlLog
from tests.contracts.clusters import Cluster, KafkaCluster, fresh
from tests.contracts.scenes import WAIT_S, registry, route, scenario, until
from tests.services.kafka import KafkaBroker
from tests.services.topics import alter_topic

Changes = list[tuple[str, bytes | None]]


@asynccontextmanager
async def process(cluster: Cluster) -> AsyncIterator[tuple[ControlLog, Mapping[str, bytes]]]:
    """One process' log, and what it found when it opened it."""
    log = cluster.transport(registry(cluster, route(["nowhere"]))).control()
    try:
        yield log, await log.open()
    finally:
        await log.close()


async def heard(log: ControlLog, count: int) -> Changes:
    """The next changes."""
    changes: Changes = []
    async with asyncio.timeout(WAIT_S):
        while len(changes) < count:
            changes += await log.changes(1.0)
    return changes


@scenario
async def test_documents_are_kept_replaced_and_deleted(cluster: Cluster) -> None:
    a, b, c = fresh("a"), fresh("b"), fresh("c")
    async with process(cluster) as (log, found):
        assert not {a, b, c} & found.keys()
        await log.put(a, b"1")
        await log.put(b, b"2")
        await log.put(a, b"\x00 3")
        await log.put(c, b"4")
        await log.put(b, None)
        assert await heard(log, 5) == [(a, b"1"), (b, b"2"), (a, b"\x00 3"), (c, b"4"), (b, None)]
        assert await log.changes(0.01) == [], "each change is told once"
    async with process(cluster) as (_, found):
        assert (found.get(a), found.get(c)) == (b"\x00 3", b"4") and b not in found


@scenario
async def test_processes_hear_of_each_other(cluster: Cluster) -> None:
    key, other = fresh("key"), fresh("other")
    async with process(cluster) as (one, _):
        await one.put(key, b"before")
        async with process(cluster) as (two, found):
            assert found.get(key) == b"before"
            listening = asyncio.create_task(heard(one, 3))
            await two.put(key, b"after")
            await two.put(other, b"new")
            assert await listening == [(key, b"before"), (key, b"after"), (other, b"new")], "in one order for all"
            assert await heard(two, 2) == [(key, b"after"), (other, b"new")], "what it found is not told again"
            await one.put(key, None)
            assert await heard(two, 1) == [(key, None)]


@pytest.mark.services
@scenario
async def test_compaction_forgets_nothing_that_counts(start_broker: Callable[..., KafkaBroker]) -> None:
    broker = await asyncio.to_thread(start_broker, properties={"log.cleaner.backoff.ms": "50"})
    try:
        cluster = KafkaCluster(broker)
        topic = cluster.kafka.control_topic
        eager = {"segment.ms": "50", "min.cleanable.dirty.ratio": "0.001", "delete.retention.ms": "0"}
        await asyncio.to_thread(alter_topic, broker.bootstrap, topic, eager)
        async with process(cluster) as (log, _):
            for number in range(40):
                await log.put(f"key {number % 4}", str(number).encode())
            await log.put("key 0", None)

            async def compacted() -> bool:
                await log.put("key 3", b"last")  # only closed segments are compacted, and a record closes an old one
                kept = [event.value for _, event in await cluster.read(topic)]
                return b"5" not in kept and b"37" in kept

            await until(compacted, "the log was compacted")
        async with process(cluster) as (_, found):
            assert found == {"key 1": b"37", "key 2": b"38", "key 3": b"last"}
    finally:
        await asyncio.to_thread(broker.close)


@pytest.mark.services
@scenario
async def test_a_cluster_where_nothing_ever_ran_remembers_nothing(kafka_cluster: KafkaCluster) -> None:
    spec = registry(kafka_cluster, route(["nowhere"]))
    elsewhere = replace(spec, kafka=replace(spec.kafka, control_topic=fresh("never.made")))
    log = kafka_cluster.transport(elsewhere).control()
    try:
        assert await log.open() == {}
    finally:
        await log.close()
