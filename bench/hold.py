"""Lanes held back until every process has joined, and released all at once: by the notes that `penstock resume` takes away."""

from __future__ import annotations

import time

import msgspec

from bench.contenders import Progress, Setting
from pipeline.control import LaneNote, note_key
from pipeline.ports import LaneId, LaneState
from schemas.event import TopicPartition
from tests.services.topics import create_topic, delete_topic, produce

JOIN_TIMEOUT_S = 120.0
SETTLE_S = 1.0
"""After the last member has its partitions: lanes read their notes."""


class Hold:
    """Lanes of a run that is about to start. `release` when they may go."""

    def __init__(self, setting: Setting, name: str) -> None:
        self._setting = setting
        self._topic = create_topic(setting.bootstrap, f"{name}.control", 1, {"cleanup.policy": "compact"})
        group = f"{name}-orders"
        lanes = [
            LaneId("orders", TopicPartition(setting.source, number), group) for number in range(setting.partitions)
        ]
        notes = [
            LaneNote(
                route="orders",
                topic=lane.source.topic,
                partition=lane.source.partition,
                group=group,
                state=LaneState.STOPPED,
                reason="waits for the others",
                since_ms=0,
            )
            for lane in lanes
        ]
        self._keys = [note_key(lane).encode() for lane in lanes]
        keyed = zip(self._keys, notes, strict=True)
        produce(setting.bootstrap, self._topic, ((key, msgspec.json.encode(note)) for key, note in keyed))

    def release(self, group: Progress, members: int) -> None:
        """Once so many members hold partitions."""
        until = time.monotonic() + JOIN_TIMEOUT_S
        while group.members() < members:
            if time.monotonic() > until:
                raise RuntimeError(f"only {group.members()} of {members} processes have joined the group")
            time.sleep(0.1)
        time.sleep(SETTLE_S)
        produce(self._setting.bootstrap, self._topic, ((key, None) for key in self._keys))

    def close(self) -> None:
        """Delete the notes' topic."""
        delete_topic(self._setting.bootstrap, self._topic)
