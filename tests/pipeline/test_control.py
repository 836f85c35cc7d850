"""What outlives a process: notes are kept, shared, released, and strangers' documents are left alone."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from pipeline.control import Control, LaneNote, note_key
from pipeline.memory.broker import MemoryBroker
from pipeline.memory.transport import MemoryControlLog
from pipeline.ports import LaneId, LaneState
from schemas.errors import TransportError
from schemas.event import TopicPartition
from tests.pipeline.rig import Faults, RiggedLog
from tests.pipeline.virtual_time import LoopClock, run, until

LANE = LaneId("r", TopicPartition("in", 0), "g")
OTHER = LaneId("r", TopicPartition("in", 1), "g")


def note(lane: LaneId = LANE, reason: str = "a trap") -> LaneNote:
    return LaneNote(
        route=lane.route,
        topic=lane.source.topic,
        partition=lane.source.partition,
        group=lane.group,
        state=LaneState.STOPPED,
        reason=reason,
        since_ms=5,
        quarantined={"mask": "2 events"},
    )


async def opened(broker: MemoryBroker) -> Control:
    control = Control(MemoryControlLog(broker), LoopClock())
    await control.open()
    return control


def test_notes_survive_the_process_and_the_last_one_counts() -> None:
    broker = MemoryBroker()

    async def scenario() -> None:
        first = await opened(broker)
        assert first.note(LANE) is None
        await first.remember(LANE, note(reason="old"))
        await first.remember(LANE, note())
        await first.remember(OTHER, note(OTHER))
        await first.forget(OTHER)
        await first.close()
        second = await opened(broker)
        assert second.note(LANE) == note()
        assert second.note(OTHER) is None
        assert second.notes() == [note()]

    run(scenario())


def test_lanes_of_other_groups_and_topics_have_keys_of_their_own() -> None:
    lanes = [LANE, OTHER, LaneId("r", TopicPartition("in", 0), "h"), LaneId("r", TopicPartition("in2", 0), "g")]
    assert len({note_key(lane) for lane in lanes}) == len(lanes)
    assert note_key(LANE) == note_key(LaneId("renamed", LANE.source, LANE.group)) == "lane:g:in:0"


def test_following_tells_of_releases_made_elsewhere_and_by_oneself() -> None:
    broker = MemoryBroker()
    released: list[str] = []

    async def scenario() -> None:
        here, there = await opened(broker), await opened(broker)
        following = asyncio.create_task(here.follow(released.append))
        await there.remember(LANE, note())
        await until(lambda: here.note(LANE) is not None)
        assert released == []
        await there.forget(LANE)
        await until(lambda: released)
        assert here.note(LANE) is None
        await here.remember(OTHER, note(OTHER))
        await here.forget(OTHER)
        await until(lambda: len(released) == 2)
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following

    run(scenario())
    assert released == [note_key(LANE), note_key(OTHER)]


@pytest.mark.parametrize("document", [b"not json", b"{}", b'{"state":"new-in-version-9"}', b"\xff"])
def test_documents_of_others_are_left_alone(document: bytes) -> None:
    broker = MemoryBroker()
    broker.documents += [("lane:g:in:0", document), ("other:thing", b"{}")]

    async def scenario() -> None:
        control = await opened(broker)
        assert control.notes() == []

    run(scenario())
    assert broker.documents == [("lane:g:in:0", document), ("other:thing", b"{}")]


def test_a_note_that_could_not_be_written_is_not_remembered() -> None:
    log = RiggedLog(MemoryBroker())
    log.faults = Faults()
    log.faults.plan("put", TransportError("gone"), None, TransportError("gone"))

    async def scenario() -> None:
        control = Control(log, LoopClock())
        await control.open()
        with pytest.raises(TransportError):
            await control.remember(LANE, note())
        assert control.note(LANE) is None
        await control.remember(LANE, note())
        with pytest.raises(TransportError):
            await control.forget(LANE)
        assert control.note(LANE) == note()

    run(scenario())


class BrokenLog(MemoryControlLog):
    """Cannot be read twice in a row, and then can."""

    errors: list[TransportError]

    async def changes(self, timeout_s: float):  # type: ignore[no-untyped-def]
        if self.errors:
            raise self.errors.pop(0)
        return await super().changes(timeout_s)


@pytest.mark.parametrize("retriable", [True, False])
def test_following_outlasts_what_can_be_retried(retriable: bool) -> None:
    broker = MemoryBroker()
    log = BrokenLog(broker)
    log.errors = [TransportError("gone", retriable=retriable)] * 2
    released: list[str] = []

    async def scenario() -> None:
        control = Control(log, LoopClock())
        await control.open()
        await (await opened(broker)).forget(LANE)
        following = asyncio.create_task(control.follow(released.append))
        await until(lambda: released or following.done())
        following.cancel()
        with pytest.raises((asyncio.CancelledError, TransportError)) as ended:
            await following
        assert isinstance(ended.value, TransportError) != retriable

    run(scenario())
    assert released == ([note_key(LANE)] if retriable else [])
