"""Topics that change while penstock runs: more partitions in the source and in the destination, and new topics of a pattern."""

from __future__ import annotations

from dataclasses import replace

from confluent_kafka.admin import AdminClient, NewPartitions

from tests.chaos.feed import Feed
from tests.chaos.scenes.kills import SMALL_BATCHES
from tests.chaos.stage import Stage
from tests.e2e.stream import orders
from tests.services.topics import TIMEOUT_S, committed_offsets, create_topic

METADATA_MS = 2_000
_FRESH = f"client: {{metadata_max_age_ms: {METADATA_MS}}}"
"""aiokafka looks for new topics and partitions this often; its default, and penstock's, is five minutes."""


def grown(stage: Stage, events: int) -> None:
    """The source grows from 3 to 5 partitions and the destination from 3 to 4, in either order, under two members."""
    broker = stage.broker()
    streams = stage.streams(broker)
    registry = stage.registry("registry", broker.bootstrap, route=SMALL_BATCHES, kafka=_FRESH)
    members = [stage.member(name, registry) for name in ("left", "right")]
    for member in members:
        member.start()
    feed = stage.feed(streams, events, seconds=30.0 if stage.full else 12.0)
    changes = [(streams.sources[0], 5), (streams.out, 4)]
    stage.chance.shuffle(changes)
    stage.until(lambda: stage.done(streams) > 0, "the first commit")
    for topic, partitions in changes:
        stage.pause(1.0, 4.0)
        _grow(broker.bootstrap, topic, partitions)
        stage.broke(f"{topic} has {partitions} partitions now")
    picked_up = stage.until(
        lambda: {3, 4} <= committed_offsets(broker.bootstrap, streams.group, streams.sources[0]).keys(),
        "the new partitions are consumed",
    )
    stage.notes["new partitions consumed after (s)"] = round(picked_up, 1)
    feed.finish()
    stage.settle(streams)
    for member in members:
        member.check()
        member.terminate()
    stage.verify(streams)


def created(stage: Stage, events: int) -> None:
    """A route that reads all topics of a pattern; more of them are created, with records in them before anybody looks."""
    broker = stage.broker()
    streams = stage.streams(broker)
    sources = [streams.sources[0], *(f"c.in{number}" for number in range(2, 5 if stage.full else 3))]
    registry = stage.registry("registry", broker.bootstrap, route=SMALL_BATCHES, kafka=_FRESH)
    registry.write_text(registry.read_text().replace("from: c.in\n", "from: /c\\.in\\d*/\n"))
    member = stage.member("service", registry)
    member.start()
    made = 1

    def topic_of(number: int) -> str:
        """The first key's orders stay in one topic: order per key holds within a topic only."""
        return sources[number % 500 % made]

    seconds = 8.0 * len(sources)
    feed = Feed(broker.bootstrap, topic_of, orders(events), events / seconds)
    stage.until(lambda: stage.done(streams) > 0, "the first commit")
    for count, topic in enumerate(sources[1:], 2):
        stage.pause(1.0, 4.0)
        create_topic(broker.bootstrap, topic, 2)
        made = count
        stage.broke(f"{topic} was created")
        picked_up = stage.until(
            lambda topic=topic: bool(committed_offsets(broker.bootstrap, streams.group, topic)),  # type: ignore[misc]
            f"{topic} is consumed",
        )
        stage.notes["new topics consumed after (s)"] = round(picked_up, 1)
    feed.finish()
    every = replace(streams, sources=tuple(sources))
    stage.settle(every)
    member.check()
    member.terminate()
    stage.verify(every)


def _grow(bootstrap: str, topic: str, partitions: int) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 3})
    for future in admin.create_partitions([NewPartitions(topic, partitions)]).values():
        future.result(TIMEOUT_S)
