"""Compares what came of an event with what its case expects. Pure; knows nothing of terminals or files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.workshop.cases.canonical import same_payload
from pipeline.workshop.cases.model import Expected, Fate
from schemas.event import Event
from schemas.outcome import Dropped, Emitted, Outcome, Violation, ViolationKind

_SHOWN_MAX = 2_000


@dataclass(frozen=True, slots=True)
class Unlike:
    """One part of a record that is not as expected."""

    part: str
    """`value`, `key`, `topic`, `header trace`, where there are several records with `record 2` before it."""
    expected: bytes | None
    got: bytes | None


@dataclass(frozen=True, slots=True)
class Difference:
    """Why one event's outcome is not the expected one."""

    expected: str
    """In a few words."""
    got: str
    parts: tuple[Unlike, ...] = ()


def difference(expected: Expected, event: Event, outcome: Outcome, *, exact: bool) -> Difference | None:
    """What is not as expected; None when everything is."""
    if expected.fate is Fate.EMITTED and expected.records is not None and isinstance(outcome, Emitted):
        return _unlike_records(expected.records, outcome.events, exact=exact)
    if _fits(expected, event, outcome):
        return None
    return Difference(describe_expected(expected), describe(event, outcome))


def is_unchanged(event: Event, outcome: Outcome) -> bool:
    """Whether the event goes on exactly as it came."""
    return isinstance(outcome, Emitted) and outcome.events == (event,)


def describe(event: Event, outcome: Outcome) -> str:
    """An outcome in a few words."""
    match outcome:
        case Emitted(records):
            return "unchanged" if is_unchanged(event, outcome) else f"emitted {_count(len(records))}"
        case Dropped():
            return "dropped"
        case Violation(kind=ViolationKind.REJECTED):
            return f"rejected as {outcome.code}: {_cut(outcome.message)}"
        case Violation():
            return f"{outcome.kind}: {_cut(outcome.message)}"


def describe_expected(expected: Expected) -> str:
    """An expectation in a few words."""
    words = f", with {' and '.join(repr(word) for word in expected.message_has)}" if expected.message_has else ""
    match expected.fate:
        case Fate.EMITTED if expected.records is not None:
            return f"emitted {_count(len(expected.records))}"
        case Fate.REJECTED:
            return "rejected" + (f" as {expected.code}" if expected.code is not None else "") + words
        case Fate.VIOLATION:
            return f"{expected.kind}{words}"
        case Fate.WELL_BEHAVED:
            return "well-behaved: unchanged, dropped, emitted or rejected"
        case Fate.OPEN:
            return "nothing yet: `--update` writes what came"
        case fate:
            return fate.value


def _fits(expected: Expected, event: Event, outcome: Outcome) -> bool:
    match expected.fate:
        case Fate.UNCHANGED:
            return is_unchanged(event, outcome)
        case Fate.DROPPED:
            return isinstance(outcome, Dropped)
        case Fate.EMITTED:
            return isinstance(outcome, Emitted)
        case Fate.REJECTED:
            return (
                isinstance(outcome, Violation)
                and outcome.kind is ViolationKind.REJECTED
                and expected.code in (None, outcome.code)
                and _has_words(expected, outcome)
            )
        case Fate.VIOLATION:
            return isinstance(outcome, Violation) and outcome.kind == expected.kind and _has_words(expected, outcome)
        case Fate.WELL_BEHAVED:
            return not (isinstance(outcome, Violation) and outcome.kind.is_misbehaviour)
        case Fate.OPEN:
            return False


def _has_words(expected: Expected, violation: Violation) -> bool:
    return all(word in violation.message for word in expected.message_has)


def _unlike_records(expected: tuple[Event, ...], got: tuple[Event, ...], *, exact: bool) -> Difference | None:
    several = len(expected) > 1 or len(got) > 1
    parts = [
        Unlike(f"record {number} {part.part}" if several else part.part, part.expected, part.got)
        for number, (wanted, came) in enumerate(zip(expected, got, strict=False), 1)
        for part in _unlike(wanted, came, exact=exact)
    ]
    if len(expected) == len(got) and not parts:
        return None
    return Difference(f"emitted {_count(len(expected))}", f"emitted {_count(len(got))}", tuple(parts))


def _unlike(expected: Event, got: Event, *, exact: bool) -> Iterator[Unlike]:
    if expected.to != got.to:
        yield Unlike("topic", _topic(expected), _topic(got))
    for part, wanted, came in (("key", expected.key, got.key), ("value", expected.value, got.value)):
        if wanted != came and (exact or not same_payload(wanted, came)):
            yield Unlike(part, wanted, came)
    if expected.headers != got.headers:
        yield Unlike("headers", _headers(expected), _headers(got))


def _topic(event: Event) -> bytes:
    return (event.to or "the route's").encode()


def _headers(event: Event) -> bytes:
    named = (
        f"{name}: {'null' if value is None else value.decode(errors='backslashreplace')}"
        for name, value in event.headers
    )
    return ("; ".join(named) or "none").encode()


def _count(records: int) -> str:
    return f"{records} record{'s' * (records != 1)}"


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN_MAX else text[:_SHOWN_MAX] + "…"
