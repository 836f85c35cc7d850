"""The same lanes without transactions: nothing is lost, and no offset crosses a rebalance."""

from __future__ import annotations

import random

import pytest

from schemas.errors import FencedError, OversizeError
from schemas.event import TopicPartition
from schemas.specs import Delivery
from tests.contracts.clusters import Cluster, values
from tests.contracts.scenes import event, member, opened, outgoing, route, scenario, transport, until

ALO = Delivery.AT_LEAST_ONCE


@scenario
async def test_offsets_move_only_with_a_commit(cluster: Cluster) -> None:
    topic, to = await cluster.topic("orders"), await cluster.topic("out")
    spec, zero = route([topic], to), TopicPartition(topic, 0)
    await cluster.produce(topic, [event(b"x")] * 5, partition=0)
    async with member(cluster, spec, ALO) as we:
        async with opened(we.transport, zero, we.source) as sink:
            await sink.write(outgoing(to, [event(b"a"), event(None, key=None)]))
            assert await cluster.committed(spec.group, topic) == {}
            await sink.commit(2)
            assert values(await cluster.read(to)) == [b"a", None]
            assert await cluster.committed(spec.group, topic) == {0: 2}
            await sink.write(outgoing(to, [event(b"b")]))
        assert await cluster.committed(spec.group, topic) == {0: 2}, "closing commits nothing"
        async with opened(we.transport, zero, we.source) as sink:
            assert (await we.source.locate(zero)).committed == 2
            await sink.write(outgoing(to, [event(b"b")]))
            await sink.commit(3)
    assert set(values(await cluster.read(to))) == {b"a", None, b"b"}
    assert await cluster.committed(spec.group, topic) == {0: 3}


@scenario
async def test_order_holds_over_many_batches(honest_cluster: Cluster) -> None:
    cluster = honest_cluster
    topic, to = await cluster.topic("orders"), await cluster.topic("out")
    chance = random.Random(5)
    written = [event(f"{number}:".encode() + chance.randbytes(900)) for number in range(3_000)]
    async with (
        member(cluster, route([topic], to), ALO) as we,
        opened(we.transport, TopicPartition(topic, 0), we.source) as sink,
    ):
        for first in range(0, 3_000, 1_500):
            await sink.write(outgoing(to, written[first : first + 1_500], 1))
        await sink.commit(0)
    assert values(await cluster.read(to)) == [each.value for each in written]


@scenario
async def test_too_large_is_refused_before_anything_is_sent(honest_cluster: Cluster) -> None:
    cluster = honest_cluster
    topic, to = await cluster.topic("orders"), await cluster.topic("out")
    spec = route([topic], to)
    async with member(cluster, spec, ALO) as we:
        made = transport(cluster, spec, ALO, sizes={to: 10_000})
        async with opened(made, TopicPartition(topic, 0), we.source) as sink:
            with pytest.raises(OversizeError):
                await sink.write(outgoing(to, [event(b"beside"), event(random.Random(1).randbytes(10_001))]))
            await sink.write(outgoing(to, [event(b"after")]))
            await sink.commit(0)
    assert values(await cluster.read(to)) == [b"after"]


@scenario
async def test_a_killed_owner_leaves_the_offset_where_it_was(honest_cluster: Cluster) -> None:
    cluster = honest_cluster
    topic, to = await cluster.topic("orders"), await cluster.topic("out")
    spec, zero = route([topic], to), TopicPartition(topic, 0)
    await cluster.produce(topic, [event(b"x")] * 5, partition=0)
    async with member(cluster, spec, ALO) as we:
        killed = we.transport.sink("orders", zero, we.source)
        await killed.open()
        await killed.write(outgoing(to, [event(b"a")]))
        await killed.commit(1)
        await killed.write(outgoing(to, [event(b"b")]))
        await cluster.arrived(killed)
        await cluster.kill(killed)()
        assert await cluster.committed(spec.group, topic) == {0: 1}
        async with opened(we.transport, zero, we.source) as sink:
            assert (await we.source.locate(zero)).committed == 1
            await sink.write(outgoing(to, [event(b"b")]))
            await sink.commit(2)
    assert set(values(await cluster.read(to))) == {b"a", b"b"}, "nothing is lost; doubles may be"


@scenario
async def test_no_commit_crosses_a_rebalance(honest_cluster: Cluster) -> None:
    cluster = honest_cluster
    topic, to = await cluster.topic("orders"), await cluster.topic("out")
    spec = route([topic], to)
    await cluster.produce(topic, [event(b"x")] * 9, partition=0)
    async with member(cluster, spec, ALO) as first:
        zero = TopicPartition(topic, 0)
        async with opened(first.transport, zero, first.source) as sink:
            await sink.write(outgoing(to, [event(b"a")]))
            async with member(cluster, spec, ALO):
                await until(lambda: len(first.held) == 2, "half of it was given up")
                with pytest.raises(FencedError):
                    await sink.commit(9)
                assert await cluster.committed(spec.group, topic) == {}
            await until(lambda: len(first.held) == 4, "all of it came back")
            with pytest.raises(FencedError):
                await sink.commit(9)  # it is ours again, but somebody else may have been further
        assert await cluster.committed(spec.group, topic) == {}
        async with opened(first.transport, zero, first.source) as sink:
            await sink.commit(1)
    assert await cluster.committed(spec.group, topic) == {0: 1}
