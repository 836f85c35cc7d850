"""Members that join and leave while events flow, and the rolling restart that an operator does."""

from __future__ import annotations

import time

from tests.chaos.scenes.kills import SMALL_BATCHES
from tests.chaos.stage import Stage
from tests.chaos.watch import Watch
from tests.services.kafka import free_ports


def come_and_go(stage: Stage, events: int) -> None:
    """One member, three, one, ...: each change at a random moment, half of the leavings without a farewell."""
    rounds = 6 if stage.full else 1
    broker = stage.broker()
    streams = stage.streams(broker)
    registry = stage.registry("registry", broker.bootstrap, route=SMALL_BATCHES)
    members = [stage.member(name, registry) for name in ("one", "two", "three")]
    feed = stage.feed(streams, events, seconds=rounds * 14.0)
    members[0].start()
    for _ in range(rounds):
        for member in members:
            if not member.is_running:
                stage.pause(0.2, 2.0)
                member.start()
                stage.say(f"{member.name} joins")
        stage.pause(2.0, 5.0)
        stays = stage.chance.choice(members)
        for member in members:
            if member is not stays:
                member.check()
                graceful = stage.chance.random() < 0.5
                stage.broke(f"{member.name} {'leaves' if graceful else 'is killed'}")
                (member.terminate if graceful else member.kill)()
                stage.pause(0.0, 2.0)
    feed.finish()
    stage.settle(streams)
    for member in members:
        if member.is_running:
            member.terminate()
    stage.verify(streams)


def rolling_restart(stage: Stage, events: int) -> None:
    """Three members: SIGTERM, wait for its end, start it, wait until it is ready, next. As docs/delivery.md says."""
    broker = stage.broker()
    streams = stage.streams(broker)
    registry = stage.registry("registry", broker.bootstrap)
    members = [
        stage.member(name, registry, admin_port=port)
        for name, port in zip(("one", "two", "three"), free_ports(3), strict=True)
    ]
    for member in members:
        member.start()
    for member in members:
        stage.until(lambda member=member: member.is_ready, f"{member.name} is ready")  # type: ignore[misc]
    rounds = 3 if stage.full else 1
    feed = stage.feed(streams, events, seconds=30.0 * rounds)
    with Watch(streams.bootstrap, streams.out) as watch:
        stage.until(lambda: watch.seen > 0, "the first output")
        steady = watch.forget()
        took = []
        for _ in range(rounds):
            for member in members:
                began = time.monotonic()
                member.terminate()
                member.start()
                stage.until(lambda member=member: member.is_ready, f"{member.name} is ready again")  # type: ignore[misc]
                took.append(time.monotonic() - began)
                stage.broke(f"{member.name} restarted in {took[-1]:.1f} s")
                time.sleep(0.5)
        assert not feed.is_over, "the restarts took longer than the events"
        gap = watch.longest_gap_s
        feed.finish()
        stage.settle(streams)
    stage.notes |= {"longest gap in a partition's output (s)": round(gap, 2), "a restart took (s)": round(max(took), 1)}
    stage.say(f"longest gap in a partition's output {gap:.2f} s (before: {steady:.2f} s)")
    for member in members:
        member.ask_to_drain()
    for member in members:
        member.await_drained()
    stage.verify(streams)
