"""A record that the broker refuses fails the commit (a client that does not await it would commit all the same), and only
a fresh sink works after it."""

from __future__ import annotations

import random

import pytest

from schemas.errors import TransportError
from schemas.event import Event, TopicPartition
from schemas.specs import Delivery
from tests.contracts.clusters import KafkaCluster, values
from tests.contracts.scenes import event, member, opened, outgoing, route, scenario
from tests.services.topics import alter_topic

pytestmark = pytest.mark.services

_LARGE = event(random.Random(3).randbytes(50_000))
_KEYLESS = event(b"a compacted topic wants a key", key=None)
both_deliveries = pytest.mark.parametrize("delivery", list(Delivery))


async def _is_refused(cluster: KafkaCluster, to: str, refused: Event, delivery: Delivery) -> TransportError:
    """Write it among others; nothing may be committed, and a fresh sink goes on."""
    topic = await cluster.topic("orders")
    zero = TopicPartition(topic, 0)
    spec = route([topic], to)
    async with member(cluster, spec, delivery) as we:
        async with opened(we.transport, zero, we.source) as sink:
            with pytest.raises(TransportError) as raised:
                await sink.write(outgoing(to, [event(b"innocent")], 1))
                await sink.write(outgoing(to, [refused], 0))
                await sink.write(outgoing(to, [event(b"innocent")], 2))
                await sink.commit(3)
        assert await cluster.committed(spec.group, topic) == {}
        if delivery is Delivery.EXACTLY_ONCE:
            assert await cluster.read(to) == []
        before = len(await cluster.read(to))
        async with opened(we.transport, zero, we.source) as sink:
            await sink.write(outgoing(to, [event(b"the next"), event(b"after that")], 0))
            await sink.commit(3)
        assert await cluster.committed(spec.group, topic) == {0: 3}
        found = await cluster.read(to)
        assert len(found) == before + 2
        assert values(found)[:2] == [b"the next", b"after that"], "partition 0 holds no refused record"
    return raised.value


@both_deliveries
@scenario
async def test_the_topic_takes_less_than_it_did(kafka_cluster: KafkaCluster, delivery: Delivery) -> None:
    to = await kafka_cluster.topic("out")
    alter_topic(kafka_cluster.bootstrap, to, {"max.message.bytes": "2000"})
    error = await _is_refused(kafka_cluster, to, _LARGE, delivery)
    assert not error.retriable and error.topic == to
    assert "max.message.bytes" in str(error)


@both_deliveries
@scenario
async def test_a_compacted_topic_wants_a_key(kafka_cluster: KafkaCluster, delivery: Delivery) -> None:
    to = await kafka_cluster.topic("out", cleanup_policy="compact")
    error = await _is_refused(kafka_cluster, to, _KEYLESS, delivery)
    assert error.topic == to
