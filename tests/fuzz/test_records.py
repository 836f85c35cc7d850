"""Records that no one should produce, on a real broker: each costs itself or stops its lane, and nothing of the rest is lost."""

from __future__ import annotations

import random
import resource
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from pipeline.app import Pipeline
from pipeline.ports import LaneState
from sandbox import Sandbox
from schemas.dead_letter import read_dead_letter
from schemas.event import Event, Headers
from schemas.outcome import ViolationKind
from tests.contracts.clusters import KafkaCluster
from tests.contracts.scenes import event, scenario, until
from tests.contracts.streams import Course, Progress, course, reached, running
from tests.fuzz.effort import FACTOR, chance
from tests.services.topics import alter_topic

pytestmark = pytest.mark.services
RECORD_BYTES_MAX = 12_000_000
ROOM = {"max.message.bytes": str(RECORD_BYTES_MAX)}
FORGED: Headers = (
    ("penstock.violation", b"deadline"),
    ("penstock.source.offset", b"-1"),
    ("penstock.source.topic", b"\xff\xfe"),
    ("penstock.module.sha256", b""),
    ("penstock.attempt", b"many"),
    ("penstock.limits", None),
)
TRACES: tuple[bytes | None, ...] = (
    b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    b"00-" + b"0" * 32 + b"-" + b"0" * 16 + b"-01",
    b"ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    b"\xff\xfe\0",
    b"",
    None,
    b"x" * 100_000,
)


async def prepared(cluster: KafkaCluster, through: tuple[str, ...] = ("saboteur",)) -> Course:
    """Topics for records of 12 MB."""
    where = await course(cluster, list(through), dead_settings={"max_message_bytes": str(RECORD_BYTES_MAX + 100_000)})
    for topic in (where.topic, where.to):
        alter_topic(cluster.bootstrap, topic, ROOM)
    return where


async def produce(cluster: KafkaCluster, topic: str, events: list[Event], partition: int, **options: Any) -> None:
    """In batches of the client's own, which takes what librdkafka refuses (no key and no value, empty names)."""
    options = {"max_request_size": 100_000_000, "max_batch_size": 1_000_000, **options}
    async with AIOKafkaProducer(bootstrap_servers=cluster.kafka.brokers[0], **options) as client:
        for each in events:
            batch = client.create_batch()
            placed = batch.append(timestamp=None, key=each.key, value=each.value, headers=list(each.headers))
            assert placed is not None
            await (await client.send_batch(batch, topic, partition=partition))


async def read(cluster: KafkaCluster, topic: str) -> list[Event]:
    """As `KafkaCluster.read`, through aiokafka: librdkafka ends names at a NUL and shows no million headers."""
    expected = await cluster.read(topic)
    found: list[Event] = []
    async with AIOKafkaConsumer(
        topic,
        bootstrap_servers=cluster.kafka.brokers[0],
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        enable_auto_commit=False,
    ) as client:
        while len(found) < len(expected):
            record = await client.getone()
            found.append(Event(record.offset, record.timestamp, record.key, record.value, tuple(record.headers)))
    return found


def oddities(drawn: random.Random) -> list[Event]:
    """Odd but legal: they pass, or become dead letters."""
    nasty = [
        b"",
        b"\0",
        b"\xff\xfe",
        b"null",
        b"{",
        b"[" * 10_000,
        b'{"penstock_demo":"trap"}',
        b'{"penstock_demo":null}',
    ]
    events = [event(None, key=None), event(b"", key=b""), event(None, key=b""), event(b"x", key=b"k" * 1_000_000)]
    events += [event(value) for value in nasty]
    events += [
        event(b"{}", headers=(("", None), ("", b""), ("a", None), ("a", b"1"), ("a", b"2"), ("ключ\0\n", b"\0")))
    ]
    events += [event(b"{}", headers=FORGED), event(b'{"penstock_demo":"reject"}', headers=FORGED)]
    events += [
        event(b"{}", headers=(("traceparent", value), ("Traceparent", value), ("tracestate", value)))
        for value in TRACES
    ]
    events += [event(b"{}", headers=(("h" * 30_000, b"v" * 30_000),) * 10)]
    events += [event(b"{}", headers=tuple((str(n), None) for n in range(10_000)))]
    for _ in range(20 * FACTOR):
        names = ["", "a", "penstock.violation", "traceparent", "baggage", "х" * 50]
        headers = [
            (drawn.choice(names), drawn.choice([None, b"", drawn.randbytes(30)])) for _ in range(drawn.randrange(5))
        ]
        body = drawn.choice([None, drawn.randbytes(drawn.randrange(3_000)), b'{"penstock_demo":"bad-output"}'])
        events.append(event(body, key=drawn.choice([None, b"", drawn.randbytes(8)]), headers=tuple(headers)))
    return events


@scenario
async def test_odd_records_pass_as_they_are_or_become_dead_letters(big_cluster: KafkaCluster, box: Sandbox) -> None:
    where, progress, sent = await prepared(big_cluster), Progress(), oddities(chance("oddities"))
    await produce(big_cluster, where.topic, sent, 0)
    async with running(Pipeline(where.registry, sandbox=box, observer=progress)) as task:
        await reached(progress, len(sent), task)
    out, dead = await read(big_cluster, where.to), await read(big_cluster, where.dead)
    assert len(out) + len(dead) == len(sent)
    letters = {}
    for found in dead:
        letter = read_dead_letter(found.headers)
        assert letter is not None and letter.source.topic == where.topic
        letters[letter.offset] = letter
        original = sent[letter.offset]
        assert (found.key, found.value) == (original.key, original.value)
        assert found.headers[: len(original.headers)] == original.headers, "what was forged stands before what is true"
    assert len(letters) == len(dead)
    rest = [each for number, each in enumerate(sent) if number not in letters]
    assert [(each.key, each.value, each.headers) for each in out] == [(e.key, e.value, e.headers) for e in rest]
    assert {letter.violation.kind for letter in letters.values()} >= {ViolationKind.TRAP, ViolationKind.REJECTED}


@scenario
async def test_a_million_headers_and_ten_megabytes_cost_themselves(big_cluster: KafkaCluster, box: Sandbox) -> None:
    """More than the guest's limits: dead letters, byte for byte, and bounded memory on the way."""
    where, progress = await prepared(big_cluster), Progress()
    million = event(b"{}", headers=(("", None),) * 1_000_000)
    ten = event(b'"' + random.Random(1).randbytes(10_000_000) + b'"')
    sent = [event(b"1"), million, event(b"2"), ten, event(b"3")]
    await produce(big_cluster, where.topic, sent, 0)
    before = _peak_bytes()
    async with running(Pipeline(where.registry, sandbox=box, observer=progress)) as task:
        await reached(progress, len(sent), task)
    grown = _peak_bytes() - before
    assert [each.value for _, each in await big_cluster.read(where.to)] == [b"1", b"2", b"3"]
    headers, value = await read(big_cluster, where.dead)
    assert (headers.headers[: len(million.headers)], value.value) == (million.headers, ten.value)
    for found in (headers, value):
        letter = read_dead_letter(found.headers)
        assert letter is not None and letter.violation.kind is ViolationKind.MEMORY
    assert grown < 600 << 20, f"{grown >> 20} MiB for 1,000,000 headers and 10 MB"


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


@pytest.mark.parametrize("codec", ["zstd"] if FACTOR == 1 else ["gzip", "lz4", "zstd"])
@scenario
async def test_a_batch_that_unpacks_to_too_much_stops_its_lane_alone(
    big_cluster: KafkaCluster, box: Sandbox, codec: str
) -> None:
    """A few kilobytes on the broker, 200 MB in the client."""
    where, progress = await prepared(big_cluster), Progress()
    await produce(big_cluster, where.topic, [event(b"before")], 1)
    await produce(
        big_cluster, where.topic, [event(b"\0" * 200_000_000)], 1, compression_type=codec, max_request_size=300_000_000
    )
    await produce(big_cluster, where.topic, [event(b"%d" % n) for n in range(20)], 0)
    before = _peak_bytes()
    pipeline = Pipeline(where.registry, sandbox=box, observer=progress)
    async with running(pipeline) as task:
        await until(lambda: task.done() or bool(_stopped(pipeline)), "the lane stops")
        await reached(progress, 21, task)
        (reason,) = _stopped(pipeline)
        await produce(big_cluster, where.topic, [event(b"later")], 0)
        await reached(progress, 22, task)
    assert "offset 1 of" in reason and "unpacks to more than" in reason and "penstock resume" in reason
    assert len(await big_cluster.read(where.to)) == 22
    assert _peak_bytes() - before < 200 << 20, "the bomb was never held"


def _stopped(pipeline: Pipeline) -> list[str]:
    return [lane.reason for lane in pipeline.status() if lane.state is LaneState.STOPPED]


@scenario
async def test_a_batch_of_much_that_is_not_too_much_passes(big_cluster: KafkaCluster, box: Sandbox) -> None:
    """30 MB in some kilobytes: more than a guest takes, and within the bound."""
    where, progress = await prepared(big_cluster), Progress()
    many = [b"x" * 1_000 for _ in range(10_000)]
    async with AIOKafkaProducer(
        bootstrap_servers=big_cluster.kafka.brokers[0],
        compression_type="zstd",
        max_batch_size=20_000_000,
        max_request_size=20_000_000,
    ) as client:
        batch = client.create_batch()
        for value in many:
            assert batch.append(timestamp=None, key=b"k", value=value) is not None
        await (await client.send_batch(batch, where.topic, partition=0))
    async with running(Pipeline(where.registry, sandbox=box, observer=progress)) as task:
        await reached(progress, len(many), task)
    assert len(await big_cluster.read(where.to)) == len(many)
