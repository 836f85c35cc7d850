"""Whole pipelines with real guests: where events end, and what they look like there."""

from __future__ import annotations

import hashlib
import json

from pipeline.memory.clock import ManualClock
from sandbox import Sandbox
from schemas.dead_letter import PREFIX, read_dead_letter
from schemas.event import TopicPartition
from schemas.outcome import ViolationKind
from tests.contracts.clusters import Cluster, values
from tests.contracts.scenes import event, scenario
from tests.contracts.streams import MODULES, Progress, account, course, reached, running, stream


@scenario
async def test_every_event_ends_exactly_once_and_in_order(cluster: Cluster, sandbox: Sandbox) -> None:
    where, progress = await course(cluster), Progress()
    await cluster.produce(where.topic, stream(1_500))
    async with running(where.pipeline(sandbox, observer=progress)) as task:
        await reached(progress, 1_500, task)
        await cluster.produce(where.topic, stream(500, first=1_500))
        await reached(progress, 2_000, task)
    ended = await account(where)
    assert ended.faults(2_000) == []
    source = {each.headers[0][1]: at for at, each in await cluster.read(where.topic)}
    assert all(source[each.headers[0][1]] == at for at, each in (*ended.out, *ended.dead)), "each keeps its partition"


@scenario
async def test_a_dead_letter_is_the_original_and_says_why(honest_cluster: Cluster, sandbox: Sandbox) -> None:
    cluster = honest_cluster
    where, progress = await course(cluster, ["passthrough", "saboteur"]), Progress()
    value = b'\xff\x00 not even text {"penstock_demo":"trap"} \xfe'
    original = event(value, key=b"\x00key", headers=(("a", b"\xff"), ("none", None), ("a", b"again")))
    await cluster.produce(where.topic, [event(b"before"), original, event(b"after")], partition=2)
    async with running(where.pipeline(sandbox, observer=progress)) as task:
        await reached(progress, 3, task)
    assert values(await cluster.read(where.to)) == [b"before", b"after"]
    ((at, found),) = await cluster.read(where.dead)
    assert (at, found.key, found.value) == (2, original.key, original.value)
    assert found.headers[:3] == original.headers and len(found.headers) > 3
    assert all(name.startswith(PREFIX) for name, _ in found.headers[3:])
    letter = read_dead_letter(found.headers)
    assert letter is not None
    assert (letter.source, letter.offset, letter.headers) == (TopicPartition(where.topic, 2), 1, original.headers)
    assert letter.violation.kind is ViolationKind.TRAP and letter.violation.transformer == "saboteur"
    assert letter.violation.module_sha256 == hashlib.sha256((MODULES / "saboteur.wasm").read_bytes()).hexdigest()
    assert "trap" in letter.violation.backtrace and "deadline=300ms" in letter.violation.limits


@scenario
async def test_tombstones_pass_as_they_came(honest_cluster: Cluster, sandbox: Sandbox) -> None:
    cluster = honest_cluster
    where, progress = await course(cluster), Progress()
    tombstones = [
        event(None, key=b"row 1", headers=(("h", None),)),
        event(None, key=None),  # what a delete on a table without key leaves
        event(None, key=b""),
    ]
    await cluster.produce(where.topic, [event(b"x"), *tombstones, event(b"y")], partition=1)
    async with running(where.pipeline(sandbox, observer=progress)) as task:
        await reached(progress, 5, task)
    found = await cluster.read(where.to)
    assert [(at, each.key, each.value, each.headers) for at, each in found[1:4]] == [
        (1, each.key, None, each.headers) for each in tombstones
    ]
    assert values(found)[::4] == [b"X", b"Y"] and not await cluster.read(where.dead)


@scenario
async def test_timestamps_go_along(honest_cluster: Cluster, sandbox: Sandbox) -> None:
    now = ManualClock().time_ms()
    where, progress = await course(honest_cluster), Progress()
    stamped = [event(b"x", timestamp=now), event(b'{"penstock_demo":"reject"}', timestamp=now + 7)]
    await honest_cluster.produce(where.topic, stamped, partition=0)
    async with running(where.pipeline(sandbox, observer=progress)) as task:
        await reached(progress, 2, task)
    assert [each.timestamp for _, each in await honest_cluster.read(where.to)] == [now]
    assert [each.timestamp for _, each in await honest_cluster.read(where.dead)] == [now + 7]


@scenario
async def test_another_partition_count_places_by_key(honest_cluster: Cluster, sandbox: Sandbox) -> None:
    """As every other Kafka client does: librdkafka's murmur2 partitioner is the reference where there is a real broker."""
    cluster = honest_cluster
    where, progress = await course(cluster, ["passthrough"], partitions_out=3), Progress()
    reference = await cluster.topic("reference", 3)
    keyed = [event(str(n).encode(), key=bytes(range(n % 40)) + str(n * n).encode()) for n in range(300)]
    await cluster.produce(where.topic, keyed, partition=3)
    await cluster.produce(reference, keyed)
    await cluster.produce(where.topic, [event(b"keyless", key=None)], partition=2)
    async with running(where.pipeline(sandbox, observer=progress)) as task:
        await reached(progress, 301, task)
    placed = {each.value: at for at, each in await cluster.read(where.to)}
    assert placed.pop(b"keyless") == 2
    assert placed == {each.value: at for at, each in await cluster.read(reference)}
    assert set(placed.values()) == {0, 1, 2}


@scenario
async def test_orders_are_enriched_in_place(honest_cluster: Cluster, sandbox: Sandbox) -> None:
    cluster = honest_cluster
    where, progress = await course(cluster, ["enrich-order"]), Progress()
    row = '{"id":9007199254740993,"first_name":"Zoë","last_name":"Ω","amount":"12.50","quantity":2}'
    order = f'{{"before":null,"after":{row},"op":"c","ts_ms":1}}'.encode()
    wrong = order.replace(b'"12.50"', b'"a lot"')
    await cluster.produce(where.topic, [event(order), event(wrong)], partition=0)
    async with running(where.pipeline(sandbox, observer=progress)) as task:
        await reached(progress, 2, task)
    ((_, enriched),) = await cluster.read(where.to)
    assert b'"id":9007199254740993' in (enriched.value or b""), "the text of untouched numbers survives"
    after = json.loads(enriched.value or b"")["after"]
    assert (after["full_name"], after["amount_cents"], after["total"]) == ("Zoë Ω", 1250, "25.00")
    ((_, dead),) = await cluster.read(where.dead)
    letter = read_dead_letter(dead.headers)
    assert dead.value == wrong and letter is not None
    assert (letter.violation.kind, letter.violation.code) == (ViolationKind.REJECTED, "bad-amount")
