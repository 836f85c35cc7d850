"""Traps that lose, double or reorder records: rows A to D, H, I, N, O, T, W and Y."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace

import pytest
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, OutOfOrderSequenceNumber, ProducerFenced

from schemas.errors import FencedError, TransportError
from schemas.event import TopicPartition
from schemas.specs import Delivery
from tests.client_limits.plain import SMALL, TOO_LARGE, consumer, producer
from tests.client_limits.trap import Trap
from tests.contracts.clusters import KafkaCluster, fresh, values
from tests.contracts.scenes import (
    Listening,
    Member,
    event,
    member,
    opened,
    outgoing,
    registry,
    route,
    scenario,
    take_up,
    transport,
    until,
)
from tests.services.topics import await_empty_group

pytestmark = pytest.mark.services


@scenario
async def test_a_commit_succeeds_though_a_record_was_refused(kafka_cluster: KafkaCluster) -> None:
    trap = Trap("A", "awaiting every produce future before the commit (KafkaSink._settle)")
    to = await kafka_cluster.topic("out", 2, **SMALL)
    async with producer(kafka_cluster.bootstrap, transactional_id=fresh("x")) as client:
        await client.begin_transaction()
        await client.send(to, b"kept", partition=0)
        refused = await client.send(to, TOO_LARGE, partition=1)
        try:
            await client.commit_transaction()
        except KafkaError as error:
            trap.holds(False, f"the commit fails: {error!r}")
        assert isinstance(refused.exception(), MessageSizeTooLargeError)
    assert values(await kafka_cluster.read(to)) == [b"kept"]

    ours, topic = await kafka_cluster.topic("out", 2, **SMALL), await kafka_cluster.topic("in")
    spec, zero = route([topic], ours), TopicPartition(topic, 0)
    async with member(kafka_cluster, spec) as we, opened(we.transport, zero, we.source) as sink:
        await sink.write([*outgoing(ours, [event(b"kept")]), *outgoing(ours, [event(TOO_LARGE)], 1)])
        with pytest.raises(TransportError, match=r"max\.message\.bytes"):
            await sink.commit(1)
    assert await kafka_cluster.read(ours) == []
    assert await kafka_cluster.committed(spec.group, topic) == {}


@scenario
async def test_a_producer_is_useless_after_one_refusal(kafka_cluster: KafkaCluster) -> None:
    trap = Trap("B", "discarding a producer that saw an error (Passage, KafkaControlLog._or_discard)")
    to = await kafka_cluster.topic("out", 1, **SMALL)
    async with producer(kafka_cluster.bootstrap, enable_idempotence=True) as client:
        await client.send_and_wait(to, b"1", partition=0)
        with pytest.raises(MessageSizeTooLargeError):
            await client.send_and_wait(to, TOO_LARGE, partition=0)
        for _ in range(3):
            with trap.raises(OutOfOrderSequenceNumber):
                await client.send_and_wait(to, b"2", partition=0)

    ours, topic = await kafka_cluster.topic("out", 1, **SMALL), await kafka_cluster.topic("in")
    zero = TopicPartition(topic, 0)
    async with member(kafka_cluster, route([topic], ours)) as we:
        async with opened(we.transport, zero, we.source) as sink:
            await sink.write(outgoing(ours, [event(TOO_LARGE)]))
            with pytest.raises(TransportError):
                await sink.commit(1)
        async with opened(we.transport, zero, we.source) as sink:
            await sink.write(outgoing(ours, [event(b"2")]))
            await sink.commit(2)
    assert values(await kafka_cluster.read(ours)) == [b"2"]


@scenario
async def test_a_strangers_transaction_moves_a_live_groups_offset_back(kafka_cluster: KafkaCluster) -> None:
    trap = Trap("C", "a transactional producer for each lane (transactional_id_of)")
    topic, group = await kafka_cluster.topic("in", 1), fresh("group")
    await kafka_cluster.produce(topic, [event(b"x")] * 5, partition=0)
    zero = KafkaPartition(topic, 0)
    async with consumer(kafka_cluster.bootstrap, topic, group_id=group) as live:
        await live.getmany(timeout_ms=10_000)
        await live.commit({zero: 5})
        async with producer(kafka_cluster.bootstrap, transactional_id=fresh("zombie")) as zombie:
            await zombie.begin_transaction()
            try:
                await zombie.send_offsets_to_transaction({zero: 1}, group)
                await zombie.commit_transaction()
            except KafkaError as error:
                trap.holds(False, f"{error!r}")
        trap.holds(await kafka_cluster.committed(group, topic) == {0: 1}, "the offset stayed")

    spec, lane = route([topic], await kafka_cluster.topic("out", 1)), TopicPartition(topic, 0)
    old, new = transport(kafka_cluster, spec), transport(kafka_cluster, spec)
    async with opened(old, lane, old.source("orders")) as zombie_sink:
        await zombie_sink.write(outgoing(spec.to, [event(b"of the zombie")]))
        async with opened(new, lane, new.source("orders")) as sink:
            await sink.commit(5)
            with pytest.raises(FencedError):
                await zombie_sink.commit(1)
    assert await kafka_cluster.committed(spec.group, topic) == {0: 5}


@scenario
async def test_a_stalled_consumer_rewinds_the_group(kafka_cluster: KafkaCluster) -> None:
    trap = Trap("D", "the assignment epoch (KafkaSource.commit)")
    topic, group = await kafka_cluster.topic("in", 1), fresh("group")
    await kafka_cluster.produce(topic, [event(b"x")] * 5, partition=0)
    zero = KafkaPartition(topic, 0)
    options = {"group_id": group, "session_timeout_ms": 3_000, "heartbeat_interval_ms": 200}
    async with consumer(kafka_cluster.bootstrap, topic, max_poll_interval_ms=800, **options) as stalled:
        assert await stalled.getmany(timeout_ms=10_000)
        await asyncio.to_thread(await_empty_group, kafka_cluster.bootstrap, group)
        async with consumer(kafka_cluster.bootstrap, topic, **options) as heir:
            assert await heir.getmany(timeout_ms=10_000)
            await heir.commit({zero: 5})
        try:
            await stalled.commit({zero: 1})
        except KafkaError as error:
            trap.holds(False, f"the commit fails: {error!r}")
    trap.holds(await kafka_cluster.committed(group, topic) == {0: 1}, "the offset stayed")


@pytest.mark.parametrize("delivery", list(Delivery))
@scenario
async def test_a_stalled_penstock_does_not(kafka_cluster: KafkaCluster, delivery: Delivery) -> None:
    """Row D beside the plain client: the lane that stalled commits nothing any more, in whatever way its group is left."""
    topic = await kafka_cluster.topic("in", 1)
    await kafka_cluster.produce(topic, [event(b"x")] * 5, partition=0)
    spec, zero = route([topic], await kafka_cluster.topic("out", 1)), TopicPartition(topic, 0)
    settings = registry(kafka_cluster, spec, delivery)
    hasty = replace(settings, kafka=replace(settings.kafka, max_poll_interval_ms=1_500))
    made = kafka_cluster.transport(hasty)
    source, listening = made.source(spec.name), Listening()
    await source.start(listening)
    try:
        await until(lambda: bool(listening.held), "partitions are assigned")
        await take_up(Member(source, listening, made))
        async with opened(made, zero, source) as sink:
            await sink.write(outgoing(spec.to, [event(b"late")]))
            await asyncio.to_thread(await_empty_group, kafka_cluster.bootstrap, spec.group)
            async with (
                member(kafka_cluster, spec, delivery) as heir,
                opened(heir.transport, zero, heir.source) as other,
            ):
                await other.commit(5)
            with pytest.raises(FencedError):
                await sink.commit(1)
    finally:
        await source.stop()
    assert await kafka_cluster.committed(spec.group, topic) == {0: 5}


@scenario
async def test_fencing_and_a_timeout_are_one_error_and_then_an_assertion(kafka_cluster: KafkaCluster) -> None:
    trap = Trap("H", "taking the assertion for a fencing (errors.translate), and refusing python -O")
    topic, ident = await kafka_cluster.topic("out", 1), fresh("x")
    async with producer(kafka_cluster.bootstrap, transactional_id=ident) as zombie:
        await zombie.begin_transaction()
        await zombie.send_and_wait(topic, b"1", partition=0)
        async with producer(kafka_cluster.bootstrap, transactional_id=ident):
            with trap.raises(ProducerFenced):
                await zombie.commit_transaction()
            with trap.raises(AssertionError, match="FATAL_ERROR"):
                await zombie.begin_transaction()
    async with producer(kafka_cluster.bootstrap, transactional_id=ident, transaction_timeout_ms=1_000) as slow:
        await slow.begin_transaction()
        await slow.send_and_wait(topic, b"2", partition=0)
        await kafka_cluster.read(topic)  # waits until the broker has aborted it
        with trap.raises(ProducerFenced):
            await slow.commit_transaction()
        with trap.raises(AssertionError, match="FATAL_ERROR"):
            await slow.begin_transaction()

    source, to = await kafka_cluster.topic("in", 1), await kafka_cluster.topic("out", 1)
    spec, zero = route([source], to), TopicPartition(source, 0)
    settings = registry(kafka_cluster, spec)
    made = kafka_cluster.transport(replace(settings, kafka=replace(settings.kafka, transaction_timeout_ms=1_000)))
    async with opened(made, zero, made.source("orders")) as sink:
        await sink.write(outgoing(to, [event(b"late")]))
        await kafka_cluster.arrived(sink)
        assert await kafka_cluster.read(to) == []
        with pytest.raises(FencedError):
            await sink.commit(1)
        with pytest.raises(FencedError):
            await sink.write(outgoing(to, [event(b"later")]))
            await sink.commit(2)
    async with opened(made, zero, made.source("orders")) as sink:
        await sink.write(outgoing(to, [event(b"anew")]))
        await sink.commit(1)
    assert values(await kafka_cluster.read(to)) == [b"anew"]


@scenario
async def test_a_transaction_within_a_transaction_is_an_assertion(kafka_cluster: KafkaCluster) -> None:
    trap = Trap("I", "one open transaction per producer (KafkaSink._begin)")
    async with producer(kafka_cluster.bootstrap, transactional_id=fresh("x")) as client:
        await client.begin_transaction()
        with trap.raises(AssertionError):
            await client.begin_transaction()
        await client.abort_transaction()


@scenario
async def test_a_commit_without_offsets_commits_what_was_only_handed_out(kafka_cluster: KafkaCluster) -> None:
    trap = Trap("N", "giving every commit its offsets (KafkaSource.commit)")
    topic, group = await kafka_cluster.topic("in", 1), fresh("group")
    await kafka_cluster.produce(topic, [event(b"x")] * 3, partition=0)
    async with consumer(kafka_cluster.bootstrap, topic, group_id=group) as client:
        assert await client.getmany(timeout_ms=10_000)  # and nothing is done with it
        await client.commit()
    trap.holds(await kafka_cluster.committed(group, topic) == {0: 3})


@scenario
async def test_the_end_is_the_last_stable_offset(kafka_cluster: KafkaCluster) -> None:
    trap = Trap("O", "taking the lag from the high watermark (KafkaSource.high_watermark)")
    topic = await kafka_cluster.topic("in", 1)
    await kafka_cluster.produce(topic, [event(b"x")], partition=0)
    zero = KafkaPartition(topic, 0)
    async with producer(kafka_cluster.bootstrap, transactional_id=fresh("x")) as client:
        await client.begin_transaction()
        await client.send_and_wait(topic, b"open", partition=0)
        options = {"isolation_level": "read_committed"}
        async with consumer(kafka_cluster.bootstrap, **options) as reader:
            reader.assign([zero])
            assert await reader.getmany(timeout_ms=10_000)
            trap.holds((await reader.end_offsets([zero]))[zero] == 1)
            assert reader.highwater(zero) == 2
        await client.abort_transaction()


@scenario
async def test_concurrent_batches_reorder_and_a_commit_takes_part_of_them(kafka_cluster: KafkaCluster) -> None:
    trap = Trap("T", "one owner task per producer, which awaits in sequence (Passage._write)")
    count, seen = 40, 0
    async with producer(kafka_cluster.bootstrap, transactional_id=fresh("x"), linger_ms=0) as client:
        for round_ in range(60):
            to = await kafka_cluster.topic("out", 1)
            await client.begin_transaction()
            tasks = []
            for number in range(count):
                tasks.append(asyncio.create_task(_send(client, to, number)))
                # some begin just when a slot is free, and overtake those that wait: how soon that is, machines differ in
                await asyncio.sleep(0.0003 * (round_ % 10))
            await asyncio.gather(*tasks)
            await client.commit_transaction()
            found = [int(value or b"") for value in values(await kafka_cluster.read(to))]
            seen += sum(later < earlier for earlier, later in itertools.pairwise(found))
            if seen:
                break
        trap.holds(seen, f"{60 * count} concurrent batches kept their order")
        to = await kafka_cluster.topic("out", 1)
        await client.begin_transaction()
        tasks = [asyncio.create_task(_send(client, to, number)) for number in range(count)]
        await asyncio.sleep(0)
        await client.commit_transaction()
        trap.holds(len(await kafka_cluster.read(to)) < count, "the commit waited for all of them")
        await asyncio.gather(*tasks, return_exceptions=True)

    source, to = await kafka_cluster.topic("in", 1), await kafka_cluster.topic("out", 1)
    async with (
        member(kafka_cluster, route([source], to)) as we,
        opened(we.transport, TopicPartition(source, 0), we.source) as sink,
    ):
        for number in range(count):
            await sink.write(outgoing(to, [event(b"%d" % number)]))
        await sink.commit(1)
    assert values(await kafka_cluster.read(to)) == [b"%d" % number for number in range(count)]


async def _send(client: object, topic: str, number: int) -> None:
    batch = client.create_batch()  # type: ignore[attr-defined]
    batch.append(timestamp=None, key=None, value=b"%d" % number)
    await client.send_batch(batch, topic, partition=0)  # type: ignore[attr-defined]


@scenario
async def test_an_acknowledged_record_may_still_be_aborted(kafka_cluster: KafkaCluster) -> None:
    trap = Trap("W", "counting outcomes at the commit only (Passage._commit)")
    to = await kafka_cluster.topic("out", 1)
    async with producer(kafka_cluster.bootstrap, transactional_id=fresh("x"), linger_ms=200) as client:
        await client.begin_transaction()
        sent = await client.send(to, b"aborted", partition=0)
        await client.abort_transaction()
        trap.holds(sent.done() and sent.exception() is None, "the abort did not flush")
    assert await kafka_cluster.read(to) == []


@scenario
async def test_committed_may_be_the_offset_before(kafka_cluster: KafkaCluster) -> None:
    trap = Trap("Y", "reading the committed offset only once the lane's producer is open (Passage.run)")
    topic, group = await kafka_cluster.topic("in", 1), fresh("group")
    zero, stale = KafkaPartition(topic, 0), 0
    async with (
        producer(kafka_cluster.bootstrap, transactional_id=fresh("x")) as client,
        consumer(kafka_cluster.bootstrap, group_id=group) as reader,
    ):
        reader.assign([zero])
        for offset in range(1, 301):
            await client.begin_transaction()
            await client.send_offsets_to_transaction({zero: offset}, group)
            await client.commit_transaction()
            stale += await reader.committed(zero) != offset
            if stale:
                break
    trap.holds(stale, "300 commits were seen at once")

    spec, lane = route([topic], await kafka_cluster.topic("out", 1)), TopicPartition(topic, 0)
    async with member(kafka_cluster, spec) as we:
        for offset in range(1, 31):
            async with opened(we.transport, lane, we.source) as sink:
                assert (await we.source.locate(lane)).committed == (offset - 1 or None)
                await sink.commit(offset)
