"""The ledger balances over a perfect pipeline, and sees every way in which a pipeline can fail its promise."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable

import pytest

from pipeline.assets import shop_registry
from pipeline.demo.fates import Fate, ShopEvent
from pipeline.demo.ledger import Account, Found, Ledger
from pipeline.demo.shop import Shop
from pipeline.registry import load_registry
from schemas.dead_letter import dead_letter
from schemas.event import Event, TopicPartition
from schemas.outcome import Violation, ViolationKind
from schemas.specs import RouteSpec

ROUTES: list[RouteSpec] = list(load_registry(shop_registry(), environ={}).routes.values())
EVENTS = list(Shop(600, started_ms=1_795_353_061_068))


def first(fate: Fate) -> ShopEvent:
    return next(event for event in EVENTS if event.fate is fate)


def source(event: ShopEvent) -> Found:
    return Found(event.topic, 0, event.number, event.key, event.value, event.headers)


def perfect(event: ShopEvent) -> list[Found]:
    """What a pipeline that keeps its promises makes of an event."""
    route = next(route for route in ROUTES if event.topic in route.sources)
    if event.fate is Fate.DROPPED:
        return []
    if event.fate.violation is not None:
        return [letter(event, route, event.fate.violation)]
    value = event.value
    if event.fate is not Fate.UNCHANGED:
        value = (event.value or b"").replace(b"@", b"#").replace(b'"amount":', b'"amount_cents":1,"amount":')
    emitted = Found(route.to, 0, event.number, event.key, value, event.headers)
    copies = [emitted._replace(topic=topic) for topic in route.also_to] if event.fate is Fate.FLAGGED else []
    return [emitted, *copies]


def letter(event: ShopEvent, route: RouteSpec, kind: ViolationKind) -> Found:
    violation = Violation(kind=kind, message="m", transformer="saboteur", module_sha256="00")
    made = dead_letter(
        Event(event.number, 0, event.key, event.value, event.headers), TopicPartition(event.topic, 0), violation
    )
    return Found(route.dead_letter, 0, event.number, made.key, made.value, made.headers)


def balance(outcomes: Callable[[ShopEvent], Iterable[Found]], extra: Iterable[Found] = ()) -> Account:
    ledger = Ledger(ROUTES)
    for event in EVENTS:
        ledger.expect(event)
    for event in EVENTS:
        ledger.take(source(event))
        for found in outcomes(event):
            ledger.take(found)
    for found in extra:
        ledger.take(found)
    return ledger.account()


def changing(victim: ShopEvent, instead: Iterable[Found]) -> Callable[[ShopEvent], Iterable[Found]]:
    replacement = list(instead)
    return lambda event: replacement if event.number == victim.number else perfect(event)


def test_a_perfect_pipeline_balances() -> None:
    account = balance(perfect)
    fates = Counter(event.fate for event in EVENTS)
    assert account.is_clean
    assert account.produced == len(EVENTS) == account.emitted + account.dropped + account.dead_lettered
    assert account.dropped == fates[Fate.DROPPED] > 0
    assert (
        account.dead_lettered == sum(account.by_violation.values()) == sum(n for f, n in fates.items() if f.violation)
    )
    assert account.copies.expected == account.copies.found == fates[Fate.FLAGGED] > 0


@pytest.mark.parametrize("fate", [fate for fate in Fate if fate is not Fate.DROPPED])
def test_a_lost_event_is_seen(fate: Fate) -> None:
    account = balance(changing(first(fate), []))
    assert not account.is_clean
    assert account.lost == 1
    assert account.produced == account.emitted + account.dropped + account.dead_lettered + account.lost


@pytest.mark.parametrize("fate", [fate for fate in Fate if fate is not Fate.DROPPED])
def test_a_duplicate_is_seen(fate: Fate) -> None:
    account = balance(changing(first(fate), [*perfect(first(fate))[:1], *perfect(first(fate))]))
    assert not account.is_clean
    assert (account.duplicated, account.lost, account.out_of_order) == (1, 0, 0)


def test_a_duplicate_long_after_is_seen() -> None:
    account = balance(perfect, extra=perfect(first(Fate.MASKED)))
    assert (account.duplicated, account.out_of_order) == (1, 1)


def test_an_event_both_emitted_and_dead_lettered_is_a_duplicate() -> None:
    looped = first(Fate.DEADLINE)
    route = next(route for route in ROUTES if looped.topic in route.sources)
    emitted = Found(route.to, 0, looped.number, looped.key, looped.value, looped.headers)
    account = balance(changing(looped, [*perfect(looped), emitted]))
    assert account.duplicated == 1
    assert account.unexpected == 1


def test_an_event_that_was_not_produced_is_lost() -> None:
    ledger = Ledger(ROUTES)
    ledger.expect(EVENTS[0])
    account = ledger.account()
    assert (account.produced, account.lost) == (0, 1)


def test_order_is_checked_per_partition() -> None:
    unchanged = [event for event in EVENTS if event.fate is Fate.UNCHANGED][:2]
    swapped = {unchanged[0].number: perfect(unchanged[1]), unchanged[1].number: perfect(unchanged[0])}
    account = balance(lambda event: swapped.get(event.number, perfect(event)))
    assert account.out_of_order >= 1
    assert (account.lost, account.duplicated) == (0, 0)
    assert not account.is_clean


@pytest.mark.parametrize(
    ("fate", "change", "says"),
    [
        (Fate.UNCHANGED, {"value": b"{}"}, "byte for byte"),
        (Fate.MASKED, {"value": b'{"email":"a@example.com"}'}, "e-mail"),
        (Fate.ENRICHED, {"value": b"{}"}, "amount_cents"),
        (Fate.TRAP, {"value": b"{}"}, "byte for byte"),
        (Fate.TRAP, {"key": b"other"}, "byte for byte"),
    ],
)
def test_wrong_contents_are_seen(fate: Fate, change: dict[str, bytes], says: str) -> None:
    account = balance(changing(first(fate), [found._replace(**change) for found in perfect(first(fate))]))  # type: ignore[arg-type]
    assert account.unexpected == 1
    assert says in account.examples[0]


def test_a_dead_letter_with_another_violation_is_seen() -> None:
    trapped = first(Fate.TRAP)
    route = next(route for route in ROUTES if trapped.topic in route.sources)
    account = balance(changing(trapped, [letter(trapped, route, ViolationKind.MEMORY)]))
    assert account.unexpected == 1
    assert "trap" in account.examples[0] and "memory" in account.examples[0]


def test_a_dropped_event_that_comes_out_is_seen() -> None:
    dropped = first(Fate.DROPPED)
    route = next(route for route in ROUTES if dropped.topic in route.sources)
    leaked = Found(route.to, 0, 1, dropped.key, dropped.value, dropped.headers)
    account = balance(changing(dropped, [leaked]))
    assert account.unexpected == 1
    assert account.produced == account.emitted + account.dropped + account.dead_lettered


def test_an_event_in_another_routes_topic_is_seen() -> None:
    masked = first(Fate.MASKED)
    elsewhere = next(route.to for route in ROUTES if masked.topic not in route.sources)
    assert balance(changing(masked, [perfect(masked)[0]._replace(topic=elsewhere)])).unexpected == 1


def test_lost_and_duplicated_copies_are_seen() -> None:
    flagged = first(Fate.FLAGGED)
    emitted, copy = perfect(flagged)
    assert balance(changing(flagged, [emitted])).copies.lost == 1
    assert balance(changing(flagged, [emitted, copy, copy])).copies.duplicated == 1
    assert not balance(changing(flagged, [emitted])).is_clean


def test_a_record_nobody_produced_is_seen() -> None:
    stray = Found(ROUTES[0].to, 0, 1, b"k", b"v", ())
    assert balance(perfect, extra=[stray]).unexpected == 1


def test_outstanding_counts_what_must_still_come_out() -> None:
    ledger = Ledger(ROUTES)
    for event in EVENTS:
        ledger.expect(event)
    assert ledger.outstanding == sum(event.fate is not Fate.DROPPED for event in EVENTS)
    for event in EVENTS:
        for found in perfect(event):
            ledger.take(found)
    assert (ledger.outstanding, ledger.outstanding_bytes) == (0, 0)


def test_the_watched_fates_are_shown_with_their_source() -> None:
    ledger = Ledger(ROUTES, {Fate.ENRICHED: b"@", Fate.DEADLINE: b""})
    for event in EVENTS:
        ledger.expect(event)
        ledger.take(source(event))
        for found in perfect(event):
            ledger.take(found)
    before, after = ledger.shown[Fate.ENRICHED]
    assert b"@" in (before.value or b"")
    assert (after.topic, after.key) == ("orders.enriched", before.key)
    assert ledger.shown[Fate.DEADLINE][1].topic == "orders.dead-letter"


def test_an_account_is_clean_only_without_any_fault() -> None:
    clean = balance(perfect)
    for name in ("lost", "duplicated", "unexpected", "out_of_order"):
        assert not dataclasses.replace(clean, **{name: 1}).is_clean
