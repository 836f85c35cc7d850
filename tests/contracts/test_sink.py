"""What every event sink promises to a lane: outputs and offset together, in order, or not at all."""

from __future__ import annotations

import asyncio
import gc
import random

import pytest
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.errors import KafkaError

from pipeline.kafka.sink import KafkaSink
from schemas.errors import FencedError, OversizeError
from schemas.event import Event, TopicPartition
from tests.contracts.clusters import Cluster, values
from tests.contracts.scenes import event, numbered, opened, outgoing, route, scenario, texts, transport, until


@scenario
async def test_outputs_and_offset_appear_together(honest_cluster: Cluster) -> None:
    cluster = honest_cluster
    topic, to, other = await cluster.topic("orders"), await cluster.topic("out"), await cluster.topic("other", 2)
    spec, zero = route([topic], to, also_to=(other,)), TopicPartition(topic, 0)
    made = transport(cluster, spec)
    async with opened(made, zero, made.source("orders")) as sink:
        assert (await sink.partition_count(to), await sink.partition_count(other)) == (4, 2)
        await sink.write([*outgoing(to, [event(b"a"), event(b"b")], 3), *outgoing(other, [event(b"c")], 1)])
        await cluster.arrived(sink)
        assert await cluster.visible(to) == [], "not yet committed"
        assert await cluster.committed(spec.group, topic) == {}
        await sink.commit(2)
        assert [(at, each.value) for at, each in await cluster.read(to)] == [(3, b"a"), (3, b"b")]
        assert [(at, each.value) for at, each in await cluster.read(other)] == [(1, b"c")]
        assert await cluster.committed(spec.group, topic) == {0: 2}

        await sink.commit(7)  # all of a batch was dropped
        assert await cluster.committed(spec.group, topic) == {0: 7}
        await sink.write(outgoing(to, [event(b"d")], 3))
        assert await cluster.committed(spec.group, topic) == {0: 7}, "offsets move only with a commit"
    assert values(await cluster.read(to)) == [b"a", b"b"]
    assert await cluster.committed(spec.group, topic) == {0: 7}


@scenario
async def test_what_was_not_committed_is_never_seen(honest_cluster: Cluster) -> None:
    cluster = honest_cluster
    topic, to = await cluster.topic("orders"), await cluster.topic("out")
    spec, zero = route([topic], to), TopicPartition(topic, 0)
    made = transport(cluster, spec)
    source = made.source("orders")
    async with opened(made, zero, source) as sink:
        await sink.write(outgoing(to, numbered(50)))
        await cluster.arrived(sink)
    async with opened(made, TopicPartition(topic, 1), source) as neighbour:
        await neighbour.write(outgoing(to, [event(b"of a neighbour")]))
        await neighbour.commit(1)
    assert values(await cluster.read(to)) == [b"of a neighbour"], "closing aborts: nothing holds readers back"
    async with opened(made, zero, source) as sink:
        await sink.write(outgoing(to, numbered(3, 100)))
        await sink.commit(3)
    assert values(await cluster.read(to)) == [b"of a neighbour", b"100", b"101", b"102"]
    await sink.close()  # again: never raises


@scenario
async def test_a_fenced_sink_leaves_no_complaint_behind(honest_cluster: Cluster) -> None:
    cluster = honest_cluster
    topic, to, other = await cluster.topic("orders"), await cluster.topic("out"), await cluster.topic("other")
    spec, zero = route([topic], to, also_to=(other,)), TopicPartition(topic, 0)
    zombie, living = transport(cluster, spec), transport(cluster, spec)
    complaints: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(str(context)))
    async with opened(zombie, zero, zombie.source("orders")) as old:
        await old.write(outgoing(to, [event(b"first")]))
        async with opened(living, zero, living.source("orders")) as new:
            with pytest.raises(FencedError):
                # A partition that is new to the transaction: its batches wait for a permission that does not come.
                await old.write(outgoing(other, [event(b"of the zombie")]))
                await old.write(outgoing(other, [event(b"and another")]))
                await old.commit(2)
            await new.commit(1)
    gc.collect()
    await asyncio.sleep(0)
    assert complaints == []


@scenario
async def test_a_producer_that_died_by_itself_leaves_no_complaint_behind(honest_cluster: Cluster) -> None:
    topic = await honest_cluster.topic("orders")
    spec, zero = route([topic], topic), TopicPartition(topic, 0)
    made = transport(honest_cluster, spec)
    complaints: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(str(context)))
    async with opened(made, zero, made.source("orders")) as sink:
        await sink.write(outgoing(topic, [event(b"a")]))
        if isinstance(sink, KafkaSink):
            # Offsets on their way that nobody waits for any more; then what the background task does when all is over.
            transactions = sink._live()._txn_manager
            transactions.add_offsets_to_txn({KafkaPartition(*zero): 1}, spec.group)
            error = KafkaError("Unexpected error during batch delivery")
            asyncio.get_running_loop().call_soon(transactions.fatal_error, error)
    del sink
    gc.collect()
    await asyncio.sleep(0)
    assert complaints == []


@scenario
async def test_a_new_owner_fences_the_old_one(honest_cluster: Cluster) -> None:
    cluster = honest_cluster
    topic, to = await cluster.topic("orders"), await cluster.topic("out")
    spec, zero = route([topic], to), TopicPartition(topic, 0)
    zombie, living = transport(cluster, spec), transport(cluster, spec)
    async with opened(zombie, zero, zombie.source("orders")) as old:
        await old.write(outgoing(to, [event(b"first")]))
        await old.commit(1)
        await old.write(outgoing(to, [event(b"of the zombie")]))
        await cluster.arrived(old)
        async with opened(living, zero, living.source("orders")) as new:
            await new.write(outgoing(to, [event(b"second")]))
            await new.commit(2)
            with pytest.raises(FencedError):
                await old.write(outgoing(to, [event(b"of the zombie")]))
                await old.commit(1)
            await new.write(outgoing(to, [event(b"third")]))
            await new.commit(3)
            assert values(await cluster.read(to)) == [b"first", b"second", b"third"]
            assert await cluster.committed(spec.group, topic) == {0: 3}


@scenario
async def test_a_killed_owner_leaves_nothing_behind(honest_cluster: Cluster) -> None:
    cluster = honest_cluster
    topic, to = await cluster.topic("orders"), await cluster.topic("out")
    spec, zero = route([topic], to), TopicPartition(topic, 0)
    made = transport(cluster, spec)
    killed = made.sink("orders", zero, made.source("orders"))
    await killed.open()
    await killed.write(outgoing(to, [event(b"done")]))
    await killed.commit(5)
    await killed.write(outgoing(to, [event(b"half done")]))
    await cluster.arrived(killed)
    await cluster.kill(killed)()
    async with opened(made, zero, made.source("orders")) as sink:
        assert values(await cluster.read(to)) == [b"done"], "its transaction ended when the lane was taken over"
        assert await cluster.committed(spec.group, topic) == {0: 5}
        await sink.write(outgoing(to, [event(b"done again")]))
        await sink.commit(6)
    assert values(await cluster.read(to)) == [b"done", b"done again"]


@scenario
async def test_lanes_do_not_fence_each_other(honest_cluster: Cluster) -> None:
    cluster = honest_cluster
    topic, to = await cluster.topic("orders"), await cluster.topic("out")
    spec = route([topic], to)
    made = transport(cluster, spec)
    source = made.source("orders")
    async with (
        opened(made, TopicPartition(topic, 0), source) as zero,
        opened(made, TopicPartition(topic, 1), source) as one,
    ):
        await zero.write(outgoing(to, [event(b"0")], 0))
        await one.write(outgoing(to, [event(b"1")], 1))
        await one.commit(4)

        async def one_is_there() -> bool:
            return values(await cluster.visible(to)) == [b"1"]

        await until(one_is_there, "lanes commit by themselves")
        await zero.commit(9)
    assert values(await cluster.read(to)) == [b"0", b"1"]
    assert await cluster.committed(spec.group, topic) == {0: 9, 1: 4}


@scenario
async def test_records_keep_every_byte(cluster: Cluster) -> None:
    topic, to = await cluster.topic("orders"), await cluster.topic("out")
    spec = route([topic], to)
    made = transport(cluster, spec)
    written = [
        event(b"\x00\xff", key=b"\xfe", headers=(("a", b"1"), ("a", b"2"), ("none", None), ("empty", b""))),
        event(None, key=b"tombstone"),
        event(None, key=None),  # a delete on a table without a key
        event(b"", key=b""),
        event("ünïcode".encode(), key=None, headers=(("ключ", b"\x00"),)),
    ]
    async with opened(made, TopicPartition(topic, 0), made.source("orders")) as sink:
        await sink.write(outgoing(to, written, 2))
        await sink.commit(1)
    found = await cluster.read(to)
    assert [(at, each.key, each.value, each.headers) for at, each in found] == [
        (2, each.key, each.value, each.headers) for each in written
    ]


@scenario
async def test_timestamps_are_kept_or_replaced(honest_cluster: Cluster) -> None:
    cluster = honest_cluster
    topic, to = await cluster.topic("orders"), await cluster.topic("out", retention_ms="-1")
    spec = route([topic], to)
    made = transport(cluster, spec)
    stamps = [1_600_000_000_123, 1_500_000_000_000, 1_700_000_000_999]
    written = [event(b"x", timestamp=stamp) for stamp in stamps]
    async with opened(made, TopicPartition(topic, 0), made.source("orders")) as sink:
        await sink.write([*outgoing(to, written), *outgoing(to, written, timestamp=1_650_000_000_000)])
        await sink.commit(1)
    assert [each.timestamp for _, each in await cluster.read(to)] == [*stamps, *[1_650_000_000_000] * 3]


@scenario
async def test_order_holds_over_many_batches(cluster: Cluster) -> None:
    topic, to = await cluster.topic("orders"), await cluster.topic("out")
    made = transport(cluster, route([topic], to))
    chance = random.Random(7)
    written = [event(f"{number}:".encode() + chance.randbytes(900)) for number in range(3_000)]
    async with opened(made, TopicPartition(topic, 0), made.source("orders")) as sink:
        for first in range(0, 3_000, 1_500):  # each write more than one batch of the client
            await sink.write([*outgoing(to, written[first : first + 1_500], 1), *outgoing(to, numbered(10, first), 0)])
        await sink.commit(1)
    found = await cluster.read(to)
    assert [each.value for at, each in found if at == 1] == [each.value for each in written]
    assert texts(each for at, each in found if at == 0) == [str(n) for n in (*range(10), *range(1_500, 1_510))]


@scenario
async def test_too_large_is_refused_before_anything_is_sent(cluster: Cluster) -> None:
    topic, to = await cluster.topic("orders"), await cluster.topic("out")
    spec = route([topic], to)
    made = transport(cluster, spec, sizes={to: 10_000})
    async with opened(made, TopicPartition(topic, 0), made.source("orders")) as sink:
        await sink.write(outgoing(to, [event(b"before")]))
        large = Event(41, 0, b"k", random.Random(1).randbytes(10_001))
        with pytest.raises(OversizeError) as raised:
            await sink.write([*outgoing(to, [event(b"beside")], 1), *outgoing(to, [event(b"beside"), large])])
        assert (raised.value.topic, raised.value.offset) == (to, 41)
        assert raised.value.size_bytes > 10_000 >= raised.value.size_bytes_max
        await sink.write(outgoing(to, [event(random.Random(1).randbytes(9_500))]))
        await sink.commit(1)
    found = values(await cluster.read(to))
    assert found[0] == b"before" and len(found) == 2, "nothing of the refused write"
