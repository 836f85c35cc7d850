"""Transactions put together from what real Debezium wrote, in any order that partitions can be read in, with restarts anywhere."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from pathlib import Path

import pytest

from pipeline.atomic.gathering import Gathering, GatheringError, Unit
from schemas.event import Event, TopicPartition
from schemas.transactions import transaction_key

MARKS = "shop.transaction"
FIXTURES = Path(__file__).parents[2] / "fixtures"
Logs = dict[TopicPartition, list[Event]]


def logs(envelope: str = "%s") -> Logs:
    """What real Debezium wrote; `envelope` is what a converter with schemas puts around a value."""
    found: Logs = defaultdict(list)
    for line in (FIXTURES / "debezium-postgres.ndjson").read_text().splitlines():
        record = json.loads(line)
        value = None if record["value"] is None else (envelope % record["value"]).encode()
        event = Event(record["offset"], record["timestamp"], None, value)
        found[TopicPartition(record["topic"], record["partition"])].append(event)
    return found


def gathering(of: Logs, events_max: int = 10_000, size_bytes_max: int = 1 << 26) -> Gathering:
    made = Gathering(MARKS, "shop", events_max, size_bytes_max)
    made.begin(of)
    return made


def transaction(event: Event) -> str | None:
    value = json.loads(event.value or b"{}")
    told = value.get("payload", value).get("transaction")
    return None if told is None else told["id"].split(":")[0]


def released(gathered: Gathering) -> list[Unit]:
    units = []
    while (unit := gathered.release()) is not None:
        units.append(unit)
    return units


def members(of: Logs) -> dict[str, int]:
    """By transaction, its events in the logs: counted here from the events, and not from what END says."""
    counts: dict[str, int] = defaultdict(int)
    for at, log in of.items():
        for event in log if at.topic != MARKS else ():
            if (key := transaction(event)) is not None:
                counts[key] += 1
    return counts


@pytest.mark.parametrize("envelope", ["%s", '{"schema":{"type":"struct"},"payload":%s}'], ids=["plain", "with schemas"])
@pytest.mark.parametrize("seed", range(12))
def test_every_transaction_comes_whole_and_once_however_it_is_read_and_wherever_it_is_restarted(
    envelope: str, seed: int
) -> None:
    chance, source = random.Random(seed), logs(envelope)
    expected = members(source)
    committed = dict.fromkeys(source, 0)
    seen: dict[str, int] = {}
    emitted: Logs = defaultdict(list)
    gathered, read = gathering(source), dict(committed)
    while any(committed[at] < len(log) for at, log in source.items()):
        if chance.random() < 0.02:  # killed: what was not committed is read again
            gathered, read = gathering(source), dict(committed)
        at = chance.choice([at for at, log in source.items() if read[at] < len(log)] or [next(iter(source))])
        several = source[at][read[at] : read[at] + chance.randint(1, 6)]
        gathered.put(at, several)
        read[at] += len(several)
        for unit in released(gathered):
            events = [event for _, run in unit.runs for event in run]
            keys = {key for event in events if (key := transaction(event)) is not None}
            assert keys == ({unit.key} if unit.key is not None else set())
            if unit.key is not None:
                assert unit.key not in seen
                seen[unit.key] = sum(transaction(event) is not None for event in events)
                assert seen[unit.key] == expected[unit.key]
            for place, run in unit.runs:
                emitted[place] += run
            committed |= unit.offsets
    assert seen == expected
    assert emitted == {at: log for at, log in source.items() if at.topic != MARKS}
    assert (gathered.events, gathered.size_bytes, gathered.waiting()) == (0, 0, [])


def change(offset: int, key: int, order: int, op: str = "c") -> Event:
    told = {"op": op, "transaction": {"id": f"{key}:{offset}", "total_order": order, "data_collection_order": order}}
    return Event(offset, 0, None, json.dumps(told).encode())


def end(offset: int, key: int, **counts: int) -> Event:
    tables = [{"data_collection": f"s.{table}", "event_count": count} for table, count in counts.items()]
    told = {"status": "END", "id": f"{key}:99", "event_count": sum(counts.values()), "data_collections": tables}
    return Event(offset, 0, None, json.dumps(told).encode())


A, B, T = TopicPartition("shop.s.a", 0), TopicPartition("shop.s.b", 0), TopicPartition(MARKS, 0)
SMALL: Logs = {A: [], B: [], T: []}


def test_an_end_that_comes_first_waits_for_its_events_and_says_which() -> None:
    gathered = gathering(SMALL)
    gathered.put(T, [end(0, 7, a=1, b=2)])
    gathered.put(B, [change(0, 7, 2)])
    assert released(gathered) == []
    assert gathered.waiting() == ["transaction 7 (1 events here) lacks 1 of 1 events of s.a, 1 of 2 events of s.b"]
    gathered.put(A, [change(0, 7, 1)])
    gathered.put(B, [change(1, 7, 3)])
    (unit,) = released(gathered)
    assert unit.runs == [(A, [change(0, 7, 1)]), (B, [change(0, 7, 2), change(1, 7, 3)])]
    assert unit.offsets == {A: 1, B: 2, T: 1}


def test_an_event_that_was_written_twice_counts_once_and_goes_with_its_transaction() -> None:
    gathered = gathering(SMALL)
    gathered.put(A, [change(0, 7, 1), change(1, 7, 1)])
    gathered.put(T, [end(0, 7, a=2)])
    assert released(gathered) == []
    gathered.put(A, [change(2, 7, 2)])
    assert [unit.offsets[A] for unit in released(gathered)] == [3]


def test_what_a_connector_that_died_writes_again_neither_holds_up_nor_goes_with_a_transaction() -> None:
    """Both transactions were written whole, then both once more, before any of it was read."""
    gathered = gathering(SMALL)
    gathered.put(A, [change(0, 7, 1), change(1, 8, 1), change(2, 7, 1), change(3, 8, 1)])
    gathered.put(B, [change(0, 7, 2), change(1, 7, 2)])
    gathered.put(T, [end(0, 7, a=1, b=1), end(1, 8, a=1), end(2, 7, a=1, b=1), end(3, 8, a=1)])
    units = released(gathered)
    assert [unit.key for unit in units if unit.key is not None] == ["7", "8"]
    assert units[0].runs == [(A, [change(0, 7, 1)]), (B, [change(0, 7, 2)])]
    assert {at: run for unit in units if unit.key is None for at, run in unit.runs} == {
        A: [change(2, 7, 1), change(3, 8, 1)],
        B: [change(1, 7, 2)],
    }
    assert (gathered.events, gathered.waiting()) == (0, [])


def test_what_is_written_again_after_its_transaction_went_passes_by_itself_after_a_restart_too() -> None:
    gathered = gathering(SMALL)
    gathered.recall([end(0, 7, a=2), Event(1, 0, None, b"not a mark")])
    gathered.put(A, [change(5, 7, 2), change(6, 8, 1)])
    gathered.put(T, [end(2, 7, a=2), end(3, 8, a=1)])
    assert [(unit.key, unit.offsets) for unit in released(gathered)] == [
        (None, {A: 6}),
        (None, {T: 3}),
        ("8", {A: 7, T: 4}),
    ]


def test_no_more_than_so_many_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.atomic.gathering.RELEASED_MAX", 2)
    gathered = gathering(SMALL)
    gathered.recall([end(0, 1, a=1), end(1, 2, a=1), end(2, 1, a=1), end(3, 3, a=1)])
    gathered.put(A, [change(0, 1, 1), change(1, 3, 1), change(2, 2, 1)])
    assert [unit.offsets for unit in released(gathered)] == [{A: 2}]


def test_tables_that_the_route_does_not_read_are_not_waited_for() -> None:
    gathered = gathering(SMALL)
    gathered.put(T, [end(0, 6, elsewhere=3), end(1, 7, a=1, elsewhere=2)])
    gathered.put(A, [change(0, 7, 1)])
    assert [unit.key for unit in released(gathered)] == [None, "7"]


def test_a_tombstone_goes_with_the_delete_before_it() -> None:
    gathered = gathering(SMALL)
    tombstone = Event(1, 0, b"k", None)
    gathered.put(A, [change(0, 7, 1, "d"), tombstone, change(2, 8, 1)])
    gathered.put(T, [end(0, 7, a=1)])
    (unit,) = released(gathered)
    assert unit.runs == [(A, [change(0, 7, 1, "d"), tombstone])]
    assert unit.offsets == {A: 2, T: 1}


def test_a_transaction_behind_one_that_is_not_complete_waits() -> None:
    gathered = gathering(SMALL)
    gathered.put(A, [change(0, 7, 1), change(1, 8, 1)])
    gathered.put(T, [end(0, 8, a=1)])
    assert released(gathered) == []
    assert gathered.is_overtaken
    assert "transaction 7 (1 events here) lacks its END, which has not come on shop.transaction" in gathered.waiting()


def test_a_transaction_that_is_too_large_is_refused_with_its_size() -> None:
    gathered = gathering(SMALL, events_max=2)
    gathered.put(A, [change(0, 7, 1), change(1, 7, 2)])
    with pytest.raises(GatheringError, match="source transaction 7 is too large: 3 events"):
        gathered.put(B, [change(0, 7, 3)])


def test_full_it_reads_on_only_where_the_first_transaction_may_go_on() -> None:
    gathered = gathering(SMALL, events_max=3)
    gathered.put(A, [change(0, 7, 1), change(1, 8, 1)])
    gathered.put(B, [change(0, 7, 2)])
    assert [gathered.wants(at) for at in (A, B, T)] == [False, True, True]


@pytest.mark.parametrize(
    ("at", "value", "said"),
    [
        (A, b'{"op":"u"}', "set provide.transaction.metadata=true"),
        (A, b"{", "not a change event"),
        (T, b'{"status":"PAUSE","id":"7:1"}', "neither BEGIN nor END"),
        (T, b"[]", "neither BEGIN nor END"),
    ],
)
def test_what_cannot_be_placed_is_refused_with_its_offset(at: TopicPartition, value: bytes, said: str) -> None:
    with pytest.raises(GatheringError, match=f"offset 5 of {at} is .*{said}"):
        gathering(SMALL).put(at, [Event(5, 0, None, value)])


def test_an_end_that_does_not_know_a_table_is_refused() -> None:
    gathered = gathering(SMALL)
    gathered.put(A, [change(0, 7, 1)])
    gathered.put(B, [change(0, 7, 2)])
    gathered.put(T, [end(0, 7, a=1)])
    with pytest.raises(GatheringError, match=r"says nothing of s\.b"):
        gathered.release()


@pytest.mark.parametrize(
    ("told", "key"),
    [("761:26715200", "761"), ("9f9a-11ee:17", "9f9a-11ee:17"), ("file=binlog.3,pos=4", "file=binlog.3,pos=4")],
)
def test_only_postgresqls_ids_are_cut(told: str, key: str) -> None:
    assert transaction_key(told) == key
