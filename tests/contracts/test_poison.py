"""Records that a client or a broker chokes on: they cost themselves, or stop their own lane."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

import pytest

from pipeline.app import Pipeline
from pipeline.ports import LaneState
from sandbox import Sandbox
from schemas.dead_letter import read_dead_letter
from schemas.outcome import ViolationKind
from tests.contracts.clusters import KafkaCluster, values
from tests.contracts.scenes import event, scenario, until
from tests.contracts.streams import Progress, course, reached, running
from tests.services.damage import produce_damaged, produce_unreadable
from tests.services.topics import alter_topic

pytestmark = pytest.mark.services
DAY_MS = 86_400_000


DAMAGES = {
    "header name": (produce_unreadable, "utf-8"),
    "compressed payload": (produce_damaged, "DecompressionError"),
}


@pytest.mark.parametrize(("produce", "says"), DAMAGES.values(), ids=DAMAGES.keys())
@scenario
async def test_a_record_that_cannot_be_taken_apart_stops_its_lane_alone(
    kafka_cluster: KafkaCluster, sandbox: Sandbox, produce: Callable[[str, str, int], Awaitable[None]], says: str
) -> None:
    where, progress = await course(kafka_cluster, ["passthrough"]), Progress()
    before = [event(b"before %d" % number) for number in range(3)]
    await kafka_cluster.produce(where.topic, before, partition=1)
    await produce(kafka_cluster.bootstrap, where.topic, 1)
    for partition in (0, 2, 3):
        await kafka_cluster.produce(where.topic, [event(b"other %d" % n) for n in range(50)], partition=partition)
    pipeline = where.pipeline(sandbox, observer=progress)

    def stopped() -> list[str]:
        return [lane.reason for lane in pipeline.status() if lane.state is LaneState.STOPPED]

    async with running(pipeline) as task:
        await until(lambda: task.done() or bool(stopped()), "the lane stops")
        if task.done():
            task.result()
        (reason,) = stopped()
        assert "offset 3 of" in reason and says in reason
        await until(lambda: progress.done == 153, "all else is committed")
        await kafka_cluster.produce(where.topic, [event(b"later")], partition=2)
        await until(lambda: progress.done == 154, "the other lanes go on")
    out = values(await kafka_cluster.read(where.to))
    assert sorted(out) == sorted(
        [*(each.value for each in before), *[b"other %d" % n for n in range(50)] * 3, b"later"]
    )


@scenario
async def test_a_record_without_key_for_a_compacted_topic_is_dead_lettered(
    kafka_cluster: KafkaCluster, sandbox: Sandbox
) -> None:
    """The broker would refuse the whole batch for it, again and again."""
    roomy = {"max_message_bytes": "2000000"}
    where, progress = await course(kafka_cluster, ["passthrough"], dead_settings=roomy), Progress()
    alter_topic(kafka_cluster.bootstrap, where.to, {"cleanup.policy": "compact"})
    await kafka_cluster.produce(
        where.topic, [event(b"a"), event(b"keyless", key=None), event(b"b", key=b"k2")], partition=0
    )
    async with running(Pipeline(where.registry, sandbox=sandbox, observer=progress, worker_count=2)) as task:
        await reached(progress, 3, task)
    assert values(await kafka_cluster.read(where.to)) == [b"a", b"b"]
    ((_, found),) = await kafka_cluster.read(where.dead)
    letter = read_dead_letter(found.headers)
    assert letter is not None and found.value == b"keyless"
    assert letter.violation.kind is ViolationKind.BAD_OUTPUT and "compacted" in letter.violation.message


@scenario
async def test_a_timestamp_that_a_topic_refuses_costs_no_lane(kafka_cluster: KafkaCluster, sandbox: Sandbox) -> None:
    """Kafka 4 refuses the whole batch for one record that is more than an hour ahead of its clock."""
    roomy = {"max_message_bytes": "2000000"}
    where, progress = await course(kafka_cluster, ["saboteur"], dead_settings=roomy), Progress()
    topics = {where.topic: {"message.timestamp.after.max.ms": str((1 << 63) - 1)}}
    topics[where.to] = {"message.timestamp.before.max.ms": str(DAY_MS)}
    for topic, config in topics.items():
        alter_topic(kafka_cluster.bootstrap, topic, config)
    now = int(time.time() * 1e3)
    kept = [now - DAY_MS // 2, now, now + DAY_MS // 48]
    moved = [1, now - 2 * DAY_MS, now + 2 * DAY_MS, (1 << 63) - 1]
    stamped = [event(b"{}", timestamp=at) for at in (*moved, *kept)]
    reject = event(b'{"penstock_demo":"reject"}', timestamp=now + 2 * DAY_MS)
    await kafka_cluster.produce(where.topic, [*stamped, reject], partition=0)
    async with running(Pipeline(where.registry, sandbox=sandbox, observer=progress, worker_count=2)) as task:
        await reached(progress, len(stamped) + 1, task)
    out = [each.timestamp for _, each in await kafka_cluster.read(where.to)]
    assert out[len(moved) :] == kept
    assert all(abs(at - now) < DAY_MS // 24 for at in out[: len(moved)]), out
    ((_, found),) = await kafka_cluster.read(where.dead)
    letter = read_dead_letter(found.headers)
    assert letter is not None and abs(found.timestamp - now) < DAY_MS // 24
    assert dict(found.headers)["penstock.source.timestamp"] == str(reject.timestamp).encode()
