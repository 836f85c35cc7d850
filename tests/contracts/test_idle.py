"""A member without work stays in its group, and one whose listener fails says so."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from confluent_kafka.admin import AdminClient

from pipeline.kafka.source import KafkaSource
from pipeline.observe.null import NullVitals
from sandbox import Sandbox
from schemas.event import TopicPartition
from tests.contracts.clusters import Cluster, EmbeddedCluster, KafkaCluster
from tests.contracts.scenes import (
    Listening,
    Member,
    collect,
    member,
    numbered,
    registry,
    route,
    scenario,
    take_up,
    texts,
    until,
)
from tests.contracts.streams import course


@scenario
async def test_an_empty_ask_keeps_the_poll_clock_running_and_drains_nothing(embedded_cluster: EmbeddedCluster) -> None:
    """What the source builds on: asking aiokafka for a partition that is never assigned. An upgrade may end that."""
    topic = await embedded_cluster.topic("orders")
    await embedded_cluster.produce(topic, numbered(3), partition=0)
    zero = TopicPartition(topic, 0)
    async with member(embedded_cluster, route([topic])) as we:
        assert isinstance(we.source, KafkaSource)
        consumer = we.source._live()
        await until(lambda: bool(consumer._fetcher._records), "something is prefetched")
        subscription = consumer._subscription
        subscription._last_fetch_ended -= 100.0
        assert subscription.fetcher_idle_time > 100.0
        assert await we.source.fetch((), 100, 0.0) == {}
        assert subscription.fetcher_idle_time < 50.0
        assert consumer._fetcher._records, "prefetched records stay"
        assert texts((await collect(we.source, [zero], 3))[zero]) == ["0", "1", "2"]


@pytest.mark.services
@scenario
async def test_a_member_without_work_stays_in_its_group(kafka_cluster: KafkaCluster) -> None:
    """Beyond `max_poll_interval_ms` aiokafka leaves the group, unless it is polled; then the lane would wander about."""
    topic = await kafka_cluster.topic("orders")
    spec = route([topic])
    plain = registry(kafka_cluster, spec)
    hasty = replace(plain, kafka=replace(plain.kafka, max_poll_interval_ms=1_500, session_timeout_ms=6_000))
    made = kafka_cluster.transport(hasty)
    source, listening = made.source(spec.name), Listening()
    assert isinstance(source, KafkaSource)
    admin = AdminClient({"bootstrap.servers": kafka_cluster.bootstrap})

    def members() -> int:
        return len(admin.describe_consumer_groups([spec.group])[spec.group].result(10).members)

    await source.start(listening)
    try:
        await take_up(Member(source, listening, made))
        loop = asyncio.get_running_loop()
        end = loop.time() + 2.2
        while loop.time() < end:
            assert await source.fetch((), 10, 0.0) == {}
            await asyncio.sleep(0.05)
        assert await asyncio.to_thread(members) == 1
        assert [what for what, held in listening.told if held] == ["assigned"]

        async def gone() -> bool:
            return await asyncio.to_thread(members) == 0

        await until(gone, "a member that is not polled is out: what the empty ask is for")
        heartbeat = source._live()._coordinator._heartbeat_task
        await until(lambda: heartbeat is None or heartbeat.done(), "the client has heard that it left")
    finally:
        await source.stop()


class _BrokenVitals(NullVitals):
    """Fails inside the rebalance, where clients swallow whatever is raised."""

    def joined(self, route: str) -> None:
        raise RuntimeError("a bug in a listener")


@scenario
async def test_what_a_listener_raises_ends_the_pipeline_loudly(honest_cluster: Cluster, sandbox: Sandbox) -> None:
    where = await course(honest_cluster)
    pipeline = where.pipeline(sandbox)
    pipeline._vitals = _BrokenVitals()
    with pytest.raises(RuntimeError, match="a bug in a listener"):
        await pipeline.run()
