"""The shop's stream is what Debezium would write, holds every kind of event, and is the same each time."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from pipeline.demo.fates import MISDEEDS, NUMBER_HEADER, Fate, ShopEvent, number_of
from pipeline.demo.shop import EVENTS_MIN, TOPICS, Shop

STARTED_MS = 1_795_353_061_068
FIXTURE = Path(__file__).parents[2] / "fixtures" / "debezium-postgres.ndjson"


def stream(events: int = 3_000, seed: int = 7) -> list[ShopEvent]:
    return list(Shop(events, seed=seed, started_ms=STARTED_MS))


def value(event: ShopEvent) -> dict[str, Any]:
    assert event.value is not None
    parsed: dict[str, Any] = json.loads(event.value)
    return parsed


def real_records() -> list[dict[str, Any]]:
    return [json.loads(line) for line in FIXTURE.read_text().splitlines()]


def test_the_same_seed_gives_the_same_stream() -> None:
    assert stream() == stream()


def test_another_seed_gives_another_stream() -> None:
    assert stream(seed=1) != stream(seed=2)


@pytest.mark.parametrize("events", [EVENTS_MIN, 777, 12_345])
@pytest.mark.parametrize("seed", [1, 7])
def test_every_misdeed_occurs_whatever_the_length(events: int, seed: int) -> None:
    made = stream(events, seed)
    asked = Counter(
        value(event)["after"].get("penstock_demo") for event in made if b"penstock_demo" in (event.value or b"")
    )
    assert len(made) == events
    assert set(asked) == set(MISDEEDS)
    assert asked["loop"] <= 3
    assert sum(event.fate.violation is not None for event in made) < 40


def test_a_stream_too_short_for_every_misdeed_is_refused() -> None:
    with pytest.raises(ValueError, match="100 at least"):
        Shop(EVENTS_MIN - 1, started_ms=STARTED_MS)


def test_all_operations_tombstones_nulls_and_unicode_occur() -> None:
    made = stream()
    operations = {(event.topic, value(event)["op"]) for event in made if event.value is not None}
    text = b"".join(event.value or b"" for event in made).decode()
    assert operations >= {(TOPICS["orders"], op) for op in "rcud"}
    assert {topic for topic, op in operations if op == "r"} == set(TOPICS.values())
    assert any(event.value is None for event in made)
    assert '"email":null' in text
    assert "Nguyễn" in text and "🎁" in text


def test_a_tombstone_follows_each_delete_of_its_row() -> None:
    by_topic: dict[str, list[ShopEvent]] = {}
    for event in stream():
        by_topic.setdefault(event.topic, []).append(event)
    for events in by_topic.values():
        for event, following in pairwise(events):
            if event.value is not None and value(event)["op"] == "d":
                assert (following.key, following.value) == (event.key, None)


def test_numbers_and_log_positions_rise() -> None:
    made = stream()
    positions = [value(event)["source"]["lsn"] for event in made if event.value is not None]
    assert [number_of(event.headers) for event in made] == list(range(len(made)))
    assert positions == sorted(set(positions))


@pytest.mark.parametrize("op", list("rcud"))
def test_envelopes_have_the_shape_of_real_ones(op: str) -> None:
    real = next(
        record
        for record in real_records()
        if record["topic"].endswith(".customers") and record["value"] and json.loads(record["value"])["op"] == op
    )
    theirs = json.loads(real["value"])
    ours = next(
        event for event in stream() if event.topic == TOPICS["customers"] and event.value and value(event)["op"] == op
    )
    made = value(ours)
    assert list(made) == list(theirs)
    assert _shape(made["source"]) == _shape(theirs["source"])
    assert _shape(made["transaction"]) == _shape(theirs["transaction"])
    assert (made["before"] is None, made["after"] is None) == (theirs["before"] is None, theirs["after"] is None)
    assert ours.key.decode().startswith(real["key"][: len('{"id":')])
    assert [name for name, _ in ours.headers if name != NUMBER_HEADER] == [name for name, _ in real["headers"]][-4:]


def _shape(part: dict[str, Any] | None) -> list[tuple[str, str]] | None:
    return None if part is None else [(name, type(value).__name__) for name, value in part.items()]


def test_declared_fates_follow_from_the_rows() -> None:
    for event in stream():
        if event.topic != TOPICS["orders"] or event.value is None or value(event)["after"] is None:
            continue
        row = value(event)["after"]
        if "penstock_demo" in row:
            assert event.fate is MISDEEDS[row["penstock_demo"]]
        elif row["amount"] is None:
            assert event.fate is Fate.REJECTED
        elif row["status"] == "draft":
            assert event.fate is Fate.DROPPED
        else:
            expensive = float(row["amount"]) * row["quantity"] > 10_000
            assert event.fate is (Fate.FLAGGED if expensive else Fate.ENRICHED)
