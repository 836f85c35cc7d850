"""Processes killed with SIGKILL at random moments, while events are produced."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence

from tests.chaos.member import Member, await_end, send
from tests.chaos.stage import Stage

SMALL_BATCHES = "batch: {events: 100, commit_interval: 40ms}"
"""So that a kill finds a transaction open: what is in flight is then aborted and run again."""


def two_processes(stage: Stage, events: int) -> None:
    """Two services in one group, each killed ten times (a full run) and started again."""
    kills, each_s = (10, (5.0, 11.0)) if stage.full else (2, (2.0, 4.0))
    broker = stage.broker()
    streams = stage.streams(broker)
    registry = stage.registry("registry", broker.bootstrap, route=SMALL_BATCHES)
    members = [stage.member(name, registry) for name in ("left", "right")]
    schedule = _schedule(stage, len(members), kills, each_s)
    feed = stage.feed(streams, events, seconds=schedule[-1][0] + 3.0)
    for member in members:
        member.start()
    _play(stage, members, schedule)
    assert not feed.is_over, "the last kill came after the last event"
    feed.finish()
    stage.settle(streams)
    for member in members:
        member.terminate()
    stage.verify(streams)


def _schedule(stage: Stage, members: int, kills: int, each_s: tuple[float, float]) -> list[tuple[float, int, float]]:
    """When (seconds from the start) which member dies, and for how long; each member has its own moments."""
    moments = []
    for index in range(members):
        at = 2.0
        for _ in range(kills):
            at += stage.chance.uniform(*each_s)
            moments.append((at, index, stage.chance.uniform(0.0, 1.5)))
    moments.sort()
    stage.say("kills at " + ", ".join(f"{at:.2f} s {'LR'[index]}" for at, index, _ in moments))
    return moments


def _play(stage: Stage, members: Sequence[Member], schedule: Sequence[tuple[float, int, float]]) -> None:
    began, back = time.monotonic(), dict[int, float]()

    def wait_until(at: float) -> None:
        while (now := time.monotonic() - began) < at:
            for index in [index for index, due in back.items() if due <= now]:
                members[index].start()
                del back[index]
            time.sleep(0.02)

    for at, index, down_s in schedule:
        wait_until(max(at, back.get(index, 0.0) + 0.1))
        members[index].check()
        members[index].kill()
        stage.broke(f"{members[index].name} killed")
        back[index] = time.monotonic() - began + down_s
    wait_until(max(back.values()) + 0.1)


def supervised(stage: Stage, events: int) -> None:
    """One service with two workers, each worker's place killed ten times; the supervisor starts them again."""
    kills = 10 if stage.full else 2
    # A supervisor gives up at ten deaths within a minute, so twenty take more than two.
    each_s = (6.8, 7.8) if stage.full else (2.0, 4.0)
    broker = stage.broker()
    streams = stage.streams(broker)
    registry = stage.registry("registry", broker.bootstrap, route=SMALL_BATCHES)
    (member,) = members = [stage.member("service", registry, "--processes", "2")]
    turns = [place for place in (0, 1) for _ in range(kills)]
    stage.chance.shuffle(turns)
    pauses = [stage.chance.uniform(*each_s) for _ in turns]
    stage.say(
        "kills: " + ", ".join(f"worker {turn} after {pause:.2f} s" for turn, pause in zip(turns, pauses, strict=True))
    )
    member.start()
    stage.until(lambda: member.said("is running") >= 2, "both workers run")
    feed = stage.feed(streams, events, seconds=sum(pauses) + 2.0 * len(pauses))
    for place, pause in zip(turns, pauses, strict=True):
        time.sleep(pause)
        stage.until(lambda: len(member.workers) == 2, "the worker is started again", 10)
        # Children are in the order they were started in; which place a pid has does not matter, only that both die often.
        victim = member.workers[place]
        send(victim, signal.SIGKILL)
        await_end(victim)
        stage.broke(f"worker {victim} killed")
    assert not feed.is_over, "the last kill came after the last event"
    feed.finish()
    stage.settle(streams)
    for each in members:
        each.terminate()
    assert member.said("starting it again") == len(turns), member.tail(60)
    stage.verify(streams)
