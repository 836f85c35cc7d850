"""The scenarios, by what is broken: see `SCENES`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.chaos.scenes import brokers, kills, members, network, offsets, topics
from tests.chaos.stage import Stage


@dataclass(frozen=True)
class Scene:
    """One scenario: `play` is given a stage and the number of events, and ends with the check of `tests.chaos.verdict`."""

    name: str
    play: Callable[[Stage, int], None]
    events: int
    """In a full run."""


SCENES = (
    Scene("kills", kills.two_processes, 200_000),
    Scene("kills-supervised", kills.supervised, 200_000),
    Scene("broker-restarts", brokers.restarts, 100_000),
    Scene("broker-stands-still", brokers.stands_still, 80_000),
    Scene("broker-disk-full", brokers.disk_full, 40_000),
    Scene("network", network.partitions, 100_000),
    Scene("members-come-and-go", members.come_and_go, 100_000),
    Scene("rolling-restart", members.rolling_restart, 60_000),
    Scene("offsets-gone", offsets.gone, 6_000),
    Scene("topics-grown", topics.grown, 60_000),
    Scene("topics-created", topics.created, 30_000),
)
