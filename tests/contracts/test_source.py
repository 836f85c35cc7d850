"""What every event source promises to a lane."""

from __future__ import annotations

import asyncio

import pytest

from pipeline.ports import Position
from schemas.errors import FencedError, OffsetOutOfRangeError
from schemas.event import Event, TopicPartition
from schemas.specs import Delivery
from tests.contracts.clusters import PARTITIONS, Cluster, fresh
from tests.contracts.scenes import (
    Listening,
    collect,
    event,
    member,
    numbered,
    opened,
    route,
    scenario,
    take_up,
    texts,
    transport,
    until,
)


@scenario
async def test_fetches_what_was_asked_for_and_keeps_the_rest(cluster: Cluster) -> None:
    topic = await cluster.topic("orders")
    zero, one, two, three = (TopicPartition(topic, number) for number in range(PARTITIONS))
    for number in range(PARTITIONS):
        await cluster.produce(topic, numbered(5, 10 * number), partition=number)
    async with member(cluster, route([topic])) as we:
        assert we.held == {zero, one, two, three}
        assert await we.source.fetch((), 100, 0.0) == {}

        got = await collect(we.source, [one], 5, events_max=2)
        assert {at: texts(events) for at, events in got.items()} == {one: ["10", "11", "12", "13", "14"]}
        assert await we.source.fetch((), 100, 0.0) == {}, "an empty ask means nothing, never everything"
        assert await we.source.fetch([one], 100, 0.05) == {}, "nothing is handed out twice"

        got = await collect(we.source, [zero, two], 10)
        assert {at: texts(events) for at, events in got.items()} == {
            zero: ["0", "1", "2", "3", "4"],
            two: ["20", "21", "22", "23", "24"],
        }
        assert texts((await collect(we.source, [three], 5))[three]) == ["30", "31", "32", "33", "34"]

        assert we.source.high_watermark(one) == 5
        assert we.source.high_watermark(TopicPartition(topic, 99)) is None


@scenario
async def test_a_seek_discards_what_was_prefetched(honest_cluster: Cluster) -> None:
    cluster = honest_cluster
    topic = await cluster.topic("orders")
    await cluster.produce(topic, numbered(10), partition=0)
    await cluster.produce(topic, numbered(20)[10:], partition=0)
    zero = TopicPartition(topic, 0)
    async with member(cluster, route([topic])) as we:
        got = await collect(we.source, [zero], 2, events_max=2)
        assert texts(got[zero]) == ["0", "1"]
        we.source.seek(zero, 15)
        assert texts((await collect(we.source, [zero], 5))[zero]) == ["15", "16", "17", "18", "19"]
        we.source.seek(zero, 1)
        assert texts((await collect(we.source, [zero], 19))[zero])[:3] == ["1", "2", "3"]
        with pytest.raises(FencedError):
            we.source.seek(TopicPartition(topic, 99), 0)


@scenario
async def test_a_partition_without_a_position_hands_out_nothing(cluster: Cluster) -> None:
    """A fetch that waits across a rebalance still names partitions that were dealt out anew, before their lanes have sought."""
    topic = await cluster.topic("orders")
    zero, one = TopicPartition(topic, 0), TopicPartition(topic, 1)
    await cluster.produce(topic, numbered(3), partition=0)
    spec = route([topic])
    source, listening = transport(cluster, spec).source(spec.name), Listening()
    await source.start(listening)
    try:
        await until(lambda: bool(listening.held), "partitions are assigned")
        assert await source.fetch([zero, one], 100, 0.5) == {}
        source.seek(zero, 0)
        assert texts((await collect(source, [zero], 3))[zero]) == ["0", "1", "2"]
    finally:
        await source.stop()


@scenario
async def test_a_cancelled_fetch_loses_nothing(cluster: Cluster) -> None:
    topic = await cluster.topic("orders")
    zero = TopicPartition(topic, 0)
    async with member(cluster, route([topic])) as we:
        producing = asyncio.create_task(_drip(cluster, topic, 300))
        got: list[Event] = []
        rounds = cancelled = 0
        async with asyncio.timeout(20):
            while len(got) < 300:
                fetching = asyncio.create_task(we.source.fetch([zero], 7, 0.5))
                rounds += 1
                for _ in range(rounds % 23):
                    await asyncio.sleep(0)
                if rounds % 3:
                    fetching.cancel()
                try:
                    got += (await fetching).get(zero, ())
                except asyncio.CancelledError:
                    cancelled += 1
        await producing
    assert texts(got) == [str(number) for number in range(300)]
    assert cancelled


async def _drip(cluster: Cluster, topic: str, count: int) -> None:
    for first in range(0, count, 20):
        await cluster.produce(topic, numbered(20, first), partition=0)
        await asyncio.sleep(0.005)


@scenario
async def test_locates_the_commit_and_both_ends_of_the_log(cluster: Cluster) -> None:
    topic, to = await cluster.topic("orders"), await cluster.topic("out")
    await cluster.produce(topic, numbered(6), partition=0)
    zero = TopicPartition(topic, 0)
    async with member(cluster, route([topic], to), Delivery.AT_LEAST_ONCE) as we:
        assert await we.source.locate(zero) == Position(committed=None, earliest=0, latest=6, start=0)
        async with opened(we.transport, zero, we.source) as sink:
            await sink.commit(4)
        assert await we.source.locate(zero) == Position(committed=4, earliest=0, latest=6, start=0)


@pytest.mark.parametrize(
    ("start", "expected"), [("earliest", 2), ("latest", 6), ("1700000000004", 4), ("1800000000000", 6)]
)
@scenario
async def test_a_first_start_begins_where_the_route_says(honest_cluster: Cluster, start: str, expected: int) -> None:
    topic = await honest_cluster.topic("orders", retention_ms="-1")
    stamped = [event(b"x", timestamp=1_700_000_000_000 + number) for number in range(6)]
    await honest_cluster.produce(topic, stamped, partition=0)
    await honest_cluster.forget_before(topic, 0, 2)
    async with member(honest_cluster, route([topic], start=start)) as we:
        found = await we.source.locate(TopicPartition(topic, 0))
    assert found == Position(committed=None, earliest=2, latest=6, start=expected)


@scenario
async def test_a_position_beyond_the_log_is_out_of_range(cluster: Cluster) -> None:
    topic = await cluster.topic("orders")
    await cluster.produce(topic, numbered(3), partition=1)
    one, two = TopicPartition(topic, 1), TopicPartition(topic, 2)
    async with member(cluster, route([topic])) as we:
        we.source.seek(one, 50)
        with pytest.raises(OffsetOutOfRangeError) as raised:
            await collect(we.source, [one, two], 1)
        assert raised.value.partitions == {one}
        we.source.seek(one, 1)
        assert texts((await collect(we.source, [one, two], 2))[one]) == ["1", "2"], "a seek lifts it"


@scenario
async def test_a_position_taken_by_retention_is_out_of_range(honest_cluster: Cluster) -> None:
    topic = await honest_cluster.topic("orders")
    await honest_cluster.produce(topic, numbered(10), partition=0)
    await honest_cluster.forget_before(topic, 0, 5)
    zero = TopicPartition(topic, 0)
    async with member(honest_cluster, route([topic])) as we:
        we.source.seek(zero, 2)
        with pytest.raises(OffsetOutOfRangeError) as raised:
            await collect(we.source, [zero], 1)
        assert raised.value.partitions == {zero}


@scenario
async def test_a_pattern_must_match_the_whole_name(cluster: Cluster) -> None:
    shop = fresh("shop")
    wanted = [await cluster.topic(f"{shop}.orders"), await cluster.topic(f"{shop}.lines")]
    others = [await cluster.topic(f"not.{shop}.orders"), await cluster.topic(wanted[0])]
    for topic in (*wanted, *others):
        await cluster.produce(topic, [event(topic.encode())], partition=0)
    async with member(
        cluster, route([], pattern=shop.replace(".", r"\.") + r"\.(orders|lines)\.\d+\.[0-9a-f]{6}")
    ) as we:
        assert {at.topic for at in we.held} == set(wanted)
        got = await collect(we.source, we.held, 2)
    assert sorted(texts(each for events in got.values() for each in events)) == sorted(wanted)


@scenario
async def test_members_share_partitions_and_give_up_before_they_take(honest_cluster: Cluster) -> None:
    topic = await honest_cluster.topic("orders")
    everything = {TopicPartition(topic, number) for number in range(PARTITIONS)}
    spec = route([topic])
    async with member(honest_cluster, spec) as first:
        assert first.held == everything
        async with member(honest_cluster, spec) as second:
            await until(lambda: len(first.held) == 2, "the first member gave half of it up")
            assert first.held | second.held == everything and not first.held & second.held
            told = [what for what, _ in first.listening.told if _]
            assert told == ["assigned", "revoked", "assigned"]
            await take_up(first)
            await honest_cluster.produce(topic, [event(b"mine")], partition=min(first.held).partition)
            assert texts((await collect(first.source, first.held, 1))[min(first.held)]) == ["mine"]
        await until(lambda: first.held == everything, "the first member has it all again")
