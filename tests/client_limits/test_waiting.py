"""Traps that wait for ever, go on by themselves, or say nothing: rows E, F, K, L, M, P, Q, S, AA and AB."""

from __future__ import annotations

import asyncio
import inspect
import json
from dataclasses import replace

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaConnectionError, KafkaError, UnknownError
from confluent_kafka import Consumer, KafkaException
from confluent_kafka import TopicPartition as LibrdkafkaPartition

from pipeline.embedded import CLIENT_SILENCE, EmbeddedBroker
from pipeline.kafka.client import consumer_options, kafka_faults
from pipeline.kafka.cluster import NewTopic as OurTopic
from pipeline.kafka.cluster import open_cluster
from pipeline.kafka.probe import probe
from pipeline.kafka.source import KafkaSource
from pipeline.kafka.topics import ensure_topics
from schemas.errors import ConfigError, TransportError
from schemas.event import TopicPartition
from schemas.specs import KafkaSpec
from tests.client_limits.plain import consumer, producer
from tests.client_limits.trap import Trap
from tests.contracts.clusters import EmbeddedCluster, KafkaCluster, fresh
from tests.contracts.scenes import (
    collect,
    event,
    member,
    numbered,
    opened,
    outgoing,
    registry,
    route,
    scenario,
    texts,
    until,
)
from tests.services.kafka import free_ports


class _Counting(ConsumerRebalanceListener):  # type: ignore[misc]
    def __init__(self) -> None:
        self.assignments = 0

    async def on_partitions_revoked(self, revoked: object) -> None:
        return

    async def on_partitions_assigned(self, assigned: object) -> None:
        self.assignments += 1


async def _poll(client: AIOKafkaConsumer) -> None:
    while True:
        await client.getmany(timeout_ms=100)


@pytest.mark.services
@scenario
async def test_two_members_with_one_instance_id_rejoin_for_ever(kafka_cluster: KafkaCluster) -> None:
    trap = Trap("E", "refusing group_instance_id (kafka_faults)")
    topic, group, listener = await kafka_cluster.topic("in", 1), fresh("group"), _Counting()
    options = {"group_id": group, "group_instance_id": "one", "heartbeat_interval_ms": 100}
    clients = [
        AIOKafkaConsumer(bootstrap_servers=kafka_cluster.bootstrap, session_timeout_ms=2_000, **options)
        for _ in range(2)
    ]
    for client in clients:
        client.subscribe([topic], listener=listener)
    try:
        polling = []
        for client in clients:
            await client.start()
            polling.append(asyncio.create_task(_poll(client)))
        try:
            await until(lambda: listener.assignments >= 8 or any(t.done() for t in polling), "they rejoin", 25)
            failures = [task.exception() for task in polling if task.done()]
            # now and then a broker's answer that the client has no name for ends one of them (bare, or wrapped by its
            # join): that is no word about the cause
            said = all(
                repr(UnknownError()) in (repr(failure), *map(str, failure.args)) for failure in failures if failure
            )
            trap.holds(said and None not in failures, f"one of them fails: {failures}")
        except AssertionError:
            trap.holds(False, f"{listener.assignments} assignments in 25 s")
        finally:
            for task in polling:
                task.cancel()
            await asyncio.gather(*polling, return_exceptions=True)
    finally:
        await asyncio.gather(*(client.stop() for client in clients), return_exceptions=True)
    (fault,) = kafka_faults(KafkaSpec(client={"group_instance_id": "one"}))
    assert fault.path == "kafka.client.group_instance_id"


@scenario
async def test_a_deserializer_that_raises_sticks_the_consumer(embedded_cluster: EmbeddedCluster) -> None:
    trap = Trap("F", "refusing deserializers (kafka_faults)")
    topic = await embedded_cluster.topic("in")
    await embedded_cluster.produce(topic, [event(b"no json"), event(b"1")], partition=0)
    async with consumer(embedded_cluster.bootstrap, value_deserializer=json.loads) as client:
        client.assign([KafkaPartition(topic, 0)])
        for _ in range(3):
            with trap.raises(json.JSONDecodeError):
                await asyncio.wait_for(client.getone(), 10)
    async with member(embedded_cluster, route([topic])) as we:
        zero = TopicPartition(topic, 0)
        assert texts((await collect(we.source, [zero], 2))[zero]) == ["no json", "1"]


@scenario
async def test_every_reason_not_to_connect_is_the_same() -> None:
    trap = Trap("K", "probing each layer (pipeline/kafka/probe.py)")
    (port,) = free_ports(1)
    address = f"localhost:{port}"
    with trap.raises(KafkaConnectionError, match="Unable to bootstrap"):
        async with producer(address):
            pass
    with pytest.raises(TransportError, match="connection refused: nothing listens there"):
        await probe(KafkaSpec(brokers=(address,)))


@pytest.mark.services
@scenario
async def test_a_topic_that_cannot_be_is_a_silence(kafka_cluster: KafkaCluster) -> None:
    trap = Trap("L", "checking names before anything is asked (topic_rules.name_fault)")
    async with producer(kafka_cluster.bootstrap, request_timeout_ms=1_500) as client:
        began = asyncio.get_running_loop().time()
        with trap.raises(KafkaError):
            await client.send("no good", b"v")
        trap.holds(asyncio.get_running_loop().time() - began > 1.0, "it is refused at once")
    topic = await kafka_cluster.topic("in", 1)
    with pytest.raises(ConfigError, match="'no good' is not a topic name"):
        await ensure_topics(registry(kafka_cluster, route([topic], "no good")))


@scenario
async def test_a_pause_throws_away_what_was_prefetched(embedded_cluster: EmbeddedCluster) -> None:
    trap = Trap("M", "not asking for a full lane instead of pausing it (RouteRunner._turn)")
    topic = await embedded_cluster.topic("in")
    await embedded_cluster.produce(topic, numbered(5), partition=0)
    zero = KafkaPartition(topic, 0)
    async with consumer(embedded_cluster.bootstrap) as client:
        client.assign([zero])
        assert await client.getmany(timeout_ms=10_000, max_records=1)
        assert zero in client._fetcher._records
        client.pause(zero)
        assert await client.getmany(timeout_ms=0) == {}
        trap.holds(zero not in client._fetcher._records, "they are kept")


class _Failing(_Counting):
    async def on_partitions_assigned(self, assigned: object) -> None:
        raise RuntimeError("swallowed")


@pytest.mark.services
@scenario
async def test_what_a_listener_raises_is_swallowed(kafka_cluster: KafkaCluster) -> None:
    trap = Trap("P", "keeping what a listener raised, to raise it (RouteRunner.assigned)")
    trap.holds(inspect.signature(AIOKafkaConsumer).parameters["rebalance_timeout_ms"].default is None)
    assert consumer_options(KafkaSpec())["rebalance_timeout_ms"] == 30_000
    topic = await kafka_cluster.topic("in", 1)
    client = AIOKafkaConsumer(bootstrap_servers=kafka_cluster.bootstrap, group_id=fresh("group"))
    client.subscribe([topic], listener=_Failing())
    await client.start()
    try:
        assert await asyncio.wait_for(client.getmany(timeout_ms=50), 10) == {}
        assert len(client.assignment()) == 1
    except (KafkaError, RuntimeError) as error:
        trap.holds(False, f"{error!r}")
    finally:
        await client.stop()


@pytest.mark.services
@scenario
async def test_a_creation_that_fails_raises_nothing(kafka_cluster: KafkaCluster) -> None:
    trap = Trap("Q", "reading each topic's answer (Cluster.create)")
    name = fresh("t")
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_cluster.bootstrap)
    await admin.start()
    try:
        answer = await admin.create_topics([NewTopic(name, 1, 7)])  # seven replicas on one broker
    except KafkaError as error:
        trap.holds(False, f"{error!r}")
    else:
        assert answer.topic_errors[0][1] != 0
    finally:
        await admin.close()
    async with open_cluster(kafka_cluster.kafka) as cluster:
        refused = await cluster.create([OurTopic(name, 1, 7, {})])
    assert "InvalidReplicationFactor" in str(refused[name])


@scenario
async def test_with_the_broker_away_a_send_waits_for_ever() -> None:
    trap = Trap("S", "a timeout around every call (pipeline/kafka/source.py::within)")
    broker = EmbeddedBroker()
    topic = "orders"
    broker.create_topics([topic])
    kafka = replace(KafkaSpec(), brokers=(broker.address,), request_timeout_ms=1_000)
    plain_options = {"enable_idempotence": True, "request_timeout_ms": 1_000, "retry_backoff_ms": 50}
    spec = route([topic], topic)
    cluster = EmbeddedCluster(broker)
    made = cluster.transport(replace(registry(cluster, spec), kafka=kafka))
    client_context = producer(broker.address, **plain_options)
    client = await client_context.__aenter__()
    async with opened(made, TopicPartition(topic, 0), made.source("orders")) as sink:
        await client.send_and_wait(topic, b"first", partition=0)
        await sink.write(outgoing(topic, [event(b"first")]))
        await sink.commit(1)
        cluster = None  # type: ignore[assignment]
        broker.close()
        sent = await client.send(topic, b"second", partition=0)
        with pytest.raises(TransportError):
            await sink.write(outgoing(topic, [event(b"second")]))
            await sink.commit(2)
        done, _ = await asyncio.wait([sent], timeout=3.0)
        trap.holds(not done, "the batch has expired")
        with Trap("SS", "giving up on a producer that does not stop (KafkaSink.close)").raises(TimeoutError):
            await asyncio.wait_for(client.stop(), 2.0)
        began = asyncio.get_running_loop().time()
        await sink.close()
        assert asyncio.get_running_loop().time() - began < 15.0
    client._sender.sender_task.cancel()
    await asyncio.wait([client._sender.sender_task])
    await client.client.close()
    client._closed = True
    sent.cancel()


@scenario
async def test_a_cancelled_getmany_ends_the_poll_clock(embedded_cluster: EmbeddedCluster) -> None:
    trap = Trap("AA", "counting out a fetch that failed or was cancelled (KafkaSource._getmany)")
    topic = await embedded_cluster.topic("in")
    async with consumer(embedded_cluster.bootstrap) as client:
        client.assign([KafkaPartition(topic, 0)])
        waiting = asyncio.create_task(client.getmany(timeout_ms=60_000))
        await until(lambda: client._subscription._fetch_count == 1, "it waits")
        waiting.cancel()
        await asyncio.wait([waiting])
        client._subscription._last_fetch_ended -= 100.0
        trap.holds(client._subscription.fetcher_idle_time == 0, "it runs on")

    async with member(embedded_cluster, route([topic])) as we:
        assert isinstance(we.source, KafkaSource)
        subscription, zero = we.source._live()._subscription, TopicPartition(topic, 0)
        fetching = asyncio.create_task(we.source.fetch([zero], 1, 60.0))
        await until(lambda: subscription._fetch_count == 1, "it waits")
        fetching.cancel()
        await asyncio.wait([fetching])
        assert subscription._fetch_count == 0
        subscription._last_fetch_ended -= 100.0
        assert subscription.fetcher_idle_time >= 100.0


@pytest.mark.services
@scenario
async def test_librdkafka_waits_for_an_open_transaction(kafka_cluster: KafkaCluster) -> None:
    """The other way round than row Y, and why tests that look from outside give it time."""
    trap = Trap("AB", "waiting in tests until a killed owner's transaction is over", "confluent-kafka")
    topic, group = await kafka_cluster.topic("in", 1), fresh("group")
    zero = KafkaPartition(topic, 0)
    settings = {"bootstrap.servers": kafka_cluster.bootstrap, "group.id": group, **CLIENT_SILENCE}
    asking = [LibrdkafkaPartition(topic, 0)]
    async with producer(kafka_cluster.bootstrap, transactional_id=fresh("x")) as client:
        await client.begin_transaction()
        await client.send_offsets_to_transaction({zero: 1}, group)
        outsider = Consumer(settings)
        with trap.raises(KafkaException):
            await asyncio.to_thread(outsider.committed, asking, 1.5)
        async with consumer(kafka_cluster.bootstrap, group_id=group) as reader:
            assert await asyncio.wait_for(reader.committed(zero), 5) is None
        await client.commit_transaction()
        found = await asyncio.to_thread(outsider.committed, asking, 10)
        assert found[0].offset == 1
        outsider.close()
