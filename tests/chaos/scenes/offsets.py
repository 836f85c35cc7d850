"""Offsets that no longer exist: retention ran past a group that was away, and a topic that was made anew, shorter."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from tests.chaos.member import Member
from tests.chaos.stage import Stage
from tests.chaos.verdict import Streams, ends_of, number_of
from tests.e2e.stream import orders
from tests.services.topics import (
    TIMEOUT_S,
    await_empty_group,
    committed_offsets,
    create_topic,
    delete_records,
    delete_topic,
    produce,
    read_topic,
)


def gone(stage: Stage, events: int) -> None:
    """A lane stops and says what is missing; the others go on; after a reset and `resume` it does too. In full: a new topic."""
    broker = stage.broker()
    _deleted(stage, broker.bootstrap, stage.streams(broker), events)
    if stage.full:
        _made_anew(stage, broker.bootstrap, stage.streams(broker, name="anew"), events)


def _deleted(stage: Stage, bootstrap: str, streams: Streams, events: int) -> None:
    """Records between the committed offset and a random later one are deleted while nobody runs."""
    registry = stage.registry("deleted", bootstrap)
    member = stage.member("deleted", registry)
    (source,), all_orders = streams.sources, list(orders(events))
    produce(bootstrap, source, all_orders[: events // 2])
    _run_to_the_end(stage, member, streams)
    produce(bootstrap, source, all_orders[events // 2 :])

    victim = stage.chance.randrange(3)
    at = committed_offsets(bootstrap, streams.group, source)[victim]
    kept_from = at + stage.chance.randrange(1, ends_of(bootstrap, source, committed=False)[victim] - at)
    before = read_topic(bootstrap, source)
    forgone = {number_of(r) for r in before if r.partition == victim and at <= r.offset < kept_from}
    delete_records(bootstrap, source, victim, kept_from)
    stage.broke(f"{source}/{victim}: offsets {at} to {kept_from - 1} deleted, {len(forgone)} events")

    _others_go_on(stage, member, streams, {victim}, f"goes on at offset {at}, but offsets {at} to {kept_from - 1}")
    _reset_and_resume(stage, member, streams, registry, {victim: kept_from})
    stage.settle(streams)
    member.terminate()
    stage.verify(replace(streams, forgone=frozenset(forgone), read_before=tuple((source, r) for r in before)))


def _made_anew(stage: Stage, bootstrap: str, streams: Streams, events: int) -> None:
    """The source is deleted and made again with fewer records, and the group still has the old offsets.

    Kafka takes a deleted topic's offsets out of its groups; they are put back here, as a mirror or a restored backup has them.
    """
    registry = stage.registry("anew", bootstrap, name="anew")
    member = stage.member("anew", registry)
    (source,), all_orders = streams.sources, list(orders(events))
    first, second = all_orders[: events * 2 // 3], all_orders[events * 2 // 3 :]
    produce(bootstrap, source, first)
    _run_to_the_end(stage, member, streams)
    old, before = committed_offsets(bootstrap, streams.group, source), read_topic(bootstrap, source)
    delete_topic(bootstrap, source)
    _create_again(stage, bootstrap, source)
    produce(bootstrap, source, second)
    ends = ends_of(bootstrap, source, committed=False)
    _set_offsets(bootstrap, streams, old)
    stage.broke(f"{source} made anew: ends {ends}, committed {old}")
    assert all(ends[p] < offset for p, offset in old.items())

    _others_go_on(stage, member, streams, set(old), "before the committed offset: the topic was made anew")
    _reset_and_resume(stage, member, streams, registry, dict.fromkeys(old, 0))
    stage.settle(streams)
    member.terminate()
    stage.verify(replace(streams, read_before=tuple((source, r) for r in before)))


def _create_again(stage: Stage, bootstrap: str, source: str) -> None:
    def created() -> bool:
        try:
            create_topic(bootstrap, source, 3)
        except KafkaException:  # the old one is still being deleted
            return False
        return True

    stage.until(created, f"{source} is created again")


def _others_go_on(stage: Stage, member: Member, streams: Streams, victims: set[int], message: str) -> None:
    """The victims' lanes stop with this message, and the rest reach their ends."""
    source = streams.sources[0]
    member.start()
    stage.until(lambda: member.said("is stopped") == len(victims), "the lanes stop")
    assert member.said(message) == len(victims), f"expected {message!r}\n{member.tail()}"
    ends = ends_of(streams.bootstrap, source, committed=False)

    def others_are_through() -> bool:
        committed = committed_offsets(streams.bootstrap, streams.group, source)
        return all(committed.get(p) == end for p, end in ends.items() if p not in victims)

    stage.until(others_are_through, "the other lanes go on to their ends")
    member.terminate()


def _reset_and_resume(
    stage: Stage, member: Member, streams: Streams, registry: Path, offsets: Mapping[int, int]
) -> None:
    """What an operator does: with penstock stopped set the group's offsets, start it, release the lanes."""
    _set_offsets(streams.bootstrap, streams, offsets)
    seen = member.said("is stopped")
    member.start()
    stage.until(lambda: member.said("is stopped") == seen + len(offsets), "the halts are remembered")
    command = [sys.executable, "-m", "pipeline.cli", "resume", str(registry), "orders", "--json"]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert told.returncode == 0, told.stderr
    assert len(json.loads(told.stdout)["released"]) == len(offsets), told.stdout


def _run_to_the_end(stage: Stage, member: Member, streams: Streams) -> None:
    member.start()
    stage.settle(streams)
    member.terminate()


def _set_offsets(bootstrap: str, streams: Streams, offsets: Mapping[int, int]) -> None:
    await_empty_group(bootstrap, streams.group)
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 3})
    where = [TopicPartition(streams.sources[0], partition, offset) for partition, offset in offsets.items()]
    for future in admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(streams.group, where)]).values():
        future.result(TIMEOUT_S)
