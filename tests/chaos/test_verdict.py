"""The check that ends every scenario finds what it is there to find: each planted fault is named, and only it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from schemas.dead_letter import dead_letter
from schemas.event import Event, TopicPartition
from schemas.outcome import Violation, ViolationKind
from tests.chaos.stage import Stage
from tests.chaos.verdict import KINDS, judge
from tests.e2e.stream import BAD_EVERY, fate, orders
from tests.services.topics import Kept

COUNT = 2 * BAD_EVERY + 60
Topics = tuple[list[tuple[str, Kept]], list[Kept], list[Kept]]


def kept(number: int, record: tuple[bytes, bytes], headers: tuple[tuple[str, bytes | None], ...] = ()) -> Kept:
    return Kept(number % 500 % 3, number, 1, *record, headers)


def letter(number: int, record: tuple[bytes, bytes]) -> Kept:
    violation = Violation(
        kind=ViolationKind(KINDS[fate(number)]), message="m", transformer="saboteur", module_sha256="5", limits="l"
    )
    made = dead_letter(Event(number, 1, *record, ()), TopicPartition("in", 0), violation)
    return kept(number, record, tuple(made.headers))


@pytest.fixture
def topics() -> Topics:
    """Everything as it should be."""
    numbered = list(enumerate(orders(COUNT)))
    source = [("in", kept(number, record)) for number, record in numbered]
    out = [kept(number, record) for number, record in numbered if fate(number) == "emitted"]
    return source, out, [letter(number, record) for number, record in numbered if fate(number) in KINDS]


def test_a_faultless_run_has_no_faults(topics: Topics) -> None:
    assert judge(*topics) == []
    assert len(topics[2]) == 3


PLANTED: dict[str, tuple[Callable[[Topics], object], str]] = {
    "lost": (lambda t: t[1].pop(5), "order 6 (emitted): emitted and dead-lettered (0, 0), expected (1, 0)"),
    "doubled": (lambda t: t[1].append(t[1][-1]), "emitted and dead-lettered (2, 0)"),
    "a dead letter lost": (
        lambda t: t[2].pop(),
        f"order {2 * BAD_EVERY} (bad-output): emitted and dead-lettered (0, 0)",
    ),
    "emitted and dead-lettered": (lambda t: t[1].insert(BAD_EVERY, t[2][1]), f"order {BAD_EVERY} (reject): emitted"),
    "a dropped one emitted": (lambda t: t[1].insert(7, t[0][7][1]), "order 7 (dropped): emitted"),
    "out of order": (lambda t: t[1].append(t[1].pop(5)), "order 6 stands after"),
    "of nowhere": (
        lambda t: t[1].append(kept(COUNT + 4, list(orders(COUNT + 5))[-1])),
        f"order {COUNT + 4} (emitted): emitted and dead-lettered (1, 0), expected (0, 0)",
    ),
    "another reason": (
        lambda t: t[2].append(t[2].pop()._replace(headers=t[2][0].headers)),
        f"order {2 * BAD_EVERY} (bad-output) is dead-lettered as trap",
    ),
    "no reason": (lambda t: t[2].append(t[2].pop()._replace(headers=())), "is dead-lettered as unexplained"),
    "not the original": (lambda t: t[2].append(t[2].pop()._replace(key=b"0")), "is not the original"),
}


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_found(topics: Topics, fault: str) -> None:
    plant, said = PLANTED[fault]
    plant(topics)
    found = judge(*topics)
    assert any(said in each for each in found), found
    assert len(found) == 1, found


def test_what_was_deleted_by_decision_is_not_missed_and_may_not_appear(topics: Topics) -> None:
    source, out, dead = topics
    gone = out.pop(5)
    assert judge(source, out, dead, {6}) == []
    out.insert(5, gone)
    assert judge(source, out, dead, {6}) == ["order 6 (emitted): emitted and dead-lettered (1, 0), expected (0, 0)"]


def test_a_broker_that_forgot_a_transaction_is_named(tmp_path: Path) -> None:
    stage = Stage("scene", 1, tmp_path, full=False, quiet=True)
    stage.broker_folder.mkdir()
    (stage.broker_folder / "server.log").write_text(
        "4178 [TxnMarkerSenderThread-1] INFO kafka.coordinator.transaction.TransactionMarkerChannelManager - [Transaction Marker "
        "Channel Manager 1]: Couldn't find leader endpoint for partitions Set(c.out-2, __consumer_offsets-3) while trying to send "
        "transaction markers for c.in/2/c-orders, these partitions are likely deleted already and hence can be skipped\n"
    )
    assert stage.forgotten() == ["c.in/2/c-orders"]
