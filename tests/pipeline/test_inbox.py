"""The inbox cuts without losing, reordering or overfilling; the allowance counts what is held."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.inbox import Allowance, Chunk, Inbox
from schemas.event import Event
from schemas.specs import BatchPolicy
from tests.pipeline.virtual_time import LoopClock, run

HEADER_BYTES = 48


def event(offset: int, size: int) -> Event:
    return Event(offset, 0, None, b"x" * size)


def size_of(one: Event) -> int:
    return len(one.key or b"") + len(one.value or b"") + HEADER_BYTES * len(one.headers)


@given(
    st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=12), max_size=8), st.integers(1, 6), st.integers(1, 60)
)
def test_batches_are_the_events_in_order_within_both_bounds(fetches: list[list[int]], count: int, size: int) -> None:
    policy = BatchPolicy(events_max=count, bytes_max=size)
    flat = [event(at, each) for at, each in enumerate(each for fetch in fetches for each in fetch)]

    async def scenario() -> list[Chunk]:
        inbox, at, taken = Inbox(policy), 0, []
        for fetch in fetches:
            put = inbox.put(flat[at : at + len(fetch)])
            assert put == sum(map(size_of, flat[at : at + len(fetch)]))
            at += len(fetch)
        while sum(len(events) for events, _ in taken) < len(flat):
            chunk = await inbox.take()
            assert chunk is not None
            taken.append(chunk)
        assert inbox.has_room
        return taken

    taken = run(scenario())
    assert [one for events, _ in taken for one in events] == flat
    for events, size_bytes in taken:
        assert size_bytes == sum(map(size_of, events))
        assert 1 <= len(events) <= count
        assert size_bytes <= size or len(events) == 1


def test_headers_count() -> None:
    assert Inbox(BatchPolicy()).put([Event(0, 0, b"k", None, (("a", b""), ("b", None)))]) == 1 + 2 * HEADER_BYTES


def test_it_says_when_it_is_full() -> None:
    inbox = Inbox(BatchPolicy(events_max=2))
    inbox.put([event(at, 1) for at in range(7)])
    assert inbox.has_room
    inbox.put([event(7, 1)])
    assert not inbox.has_room
    inbox = Inbox(BatchPolicy(bytes_max=10))
    inbox.put([event(0, 40)])
    assert not inbox.has_room


def lingering(policy: BatchPolicy, more: list[Event], close: bool = False) -> tuple[Chunk | None, float]:
    """What one event waiting in a lingering inbox becomes when more arrive after 10 ms, and when."""

    async def scenario() -> tuple[Chunk | None, float]:
        inbox = Inbox(policy)
        inbox.put([event(0, 1)])
        taking = asyncio.create_task(inbox.take())
        await asyncio.sleep(0.01)
        if more:
            inbox.put(more)
        if close:
            inbox.close()
        chunk = await taking
        return chunk, LoopClock().monotonic()

    return run(scenario())


LINGER = BatchPolicy(events_max=3, bytes_max=100, linger_ms=50)


def test_a_small_batch_lingers_for_more() -> None:
    chunk, when = lingering(LINGER, [event(1, 1)])
    assert chunk is not None
    assert len(chunk[0]) == 2
    assert when == pytest.approx(0.05)


@pytest.mark.parametrize("more", [[event(1, 1), event(2, 1)], [event(1, 100)]], ids=["events", "bytes"])
def test_a_batch_that_fills_up_lingers_no_longer(more: list[Event]) -> None:
    chunk, when = lingering(LINGER, more)
    assert chunk is not None
    assert when == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("patience_s", "more", "hurry", "when"),
    [
        (0.0, 1, False, 0.0),  # nothing left to fetch: at once
        (0.3, 1, False, 0.3),  # a lane that is behind waits for a full batch
        (0.3, 2, False, 0.01),
        (0.3, 1, True, 0.01),  # nothing more can come for now
    ],
)
def test_a_lane_that_is_behind_is_patient(patience_s: float, more: int, hurry: bool, when: float) -> None:
    async def scenario() -> float:
        inbox = Inbox(BatchPolicy(events_max=3), lambda: patience_s)
        inbox.put([event(0, 1)])
        taking = asyncio.create_task(inbox.take())
        await asyncio.sleep(0)
        taken_at_once = taking.done()
        await asyncio.sleep(0.01)
        inbox.put([event(1 + at, 1) for at in range(more)])
        if hurry:
            inbox.hurry()
        await taking
        return 0.0 if taken_at_once else LoopClock().monotonic()

    assert run(scenario()) == pytest.approx(when)


def test_a_drain_is_not_held_up_by_lingering() -> None:
    assert lingering(LINGER, [], close=True) == (None, pytest.approx(0.01))


def test_a_closed_inbox_hands_out_nothing_more() -> None:
    async def scenario() -> None:
        inbox = Inbox(BatchPolicy())
        inbox.put([event(0, 1)])
        inbox.close()
        assert await inbox.take() is None
        assert await inbox.take() is None

    run(scenario())


def test_the_allowance_counts_and_tells() -> None:
    told: list[tuple[int, int]] = []
    allowance = Allowance(100, lambda size, events: told.append((size, events)))
    assert allowance.has_room
    allowance.take(2, 150)
    assert not allowance.has_room
    allowance.take(-2, -150)
    assert allowance.has_room
    assert told == [(150, 2), (0, 0)]
    with pytest.raises(AssertionError):
        allowance.take(0, -1)


def test_a_finishing_inbox_hands_out_what_it_has_and_then_ends() -> None:
    async def scenario() -> list[Chunk | None]:
        inbox = Inbox(BatchPolicy(events_max=2, linger_ms=60_000))
        inbox.put([event(at, 1) for at in range(3)])
        inbox.finish()
        return [await inbox.take() for _ in range(3)]

    *chunks, end = run(scenario())
    assert [each.offset for chunk in chunks if chunk for each in chunk[0]] == [0, 1, 2]
    assert end is None
