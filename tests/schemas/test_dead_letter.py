"""Dead letters: the record as it was, an explanation that can be read back, within a bound."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.dead_letter import (
    BACKTRACE_BYTES_MAX,
    HEADROOM_BYTES,
    MESSAGE_BYTES_MAX,
    PREFIX,
    VERSION,
    cut,
    dead_letter,
    read_dead_letter,
)
from schemas.event import Event, TopicPartition
from schemas.outcome import Violation, ViolationKind

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=40)
NAME = TEXT.filter(lambda name: not name.startswith(PREFIX))
COUNT = st.integers(0, 2**53)
BYTES = st.none() | st.binary(max_size=20)
EVENTS = st.builds(
    Event, COUNT, COUNT, BYTES, BYTES, st.lists(st.tuples(NAME, BYTES), max_size=4).map(tuple), st.none() | TEXT
)
SOURCES = st.builds(TopicPartition, TEXT.filter(bool), st.integers(0, 999))
VIOLATIONS = st.builds(
    Violation,
    kind=st.sampled_from(ViolationKind),
    message=TEXT,
    transformer=TEXT,
    module_sha256=TEXT,
    code=TEXT,
    backtrace=TEXT,
    elapsed_us=COUNT,
    memory_bytes_peak=COUNT,
    limits=TEXT,
    attempt=st.integers(1, 99),
)


@given(EVENTS, SOURCES, VIOLATIONS)
def test_what_is_written_is_read_back(event: Event, source: TopicPartition, violation: Violation) -> None:
    letter = dead_letter(event, source, violation)
    found = read_dead_letter(letter.headers)
    assert found is not None
    assert (found.source, found.offset, found.violation, found.headers) == (
        source,
        event.offset,
        violation,
        event.headers,
    )


@given(EVENTS, SOURCES, VIOLATIONS)
def test_the_record_is_as_it_was(event: Event, source: TopicPartition, violation: Violation) -> None:
    letter = dead_letter(event, source, violation)
    assert (letter.key, letter.value, letter.timestamp) == (event.key, event.value, event.timestamp)
    assert letter.headers[: len(event.headers)] == event.headers
    assert letter.to is None, "a dead letter goes to the dead-letter topic"
    said = dict(letter.headers[len(event.headers) :])
    assert said[PREFIX + "version"] == VERSION.encode()
    assert said[PREFIX + "source.timestamp"] == str(event.timestamp).encode()


@given(EVENTS, SOURCES, VIOLATIONS, VIOLATIONS)
def test_of_a_record_dead_lettered_twice_the_last_verdict_counts_and_nothing_of_the_first(
    event: Event, source: TopicPartition, first: Violation, second: Violation
) -> None:
    letter = dead_letter(dead_letter(event, source, first), source, second)
    found = read_dead_letter(letter.headers)
    assert found is not None
    assert found.violation == second
    assert found.headers == event.headers


@given(st.text(max_size=60), st.integers(3, 30))
def test_a_cut_text_is_whole_characters_within_its_bound(text: str, size_bytes: int) -> None:
    whole, kept = text.encode("utf-8", "replace"), cut(text, size_bytes)
    assert len(kept) <= size_bytes
    if len(whole) <= size_bytes:
        assert kept == whole
    else:
        assert kept.endswith("…".encode())
        assert whole.startswith(kept.removesuffix("…".encode()))
        kept.decode()


def test_the_explanation_stays_within_the_headroom() -> None:
    huge = "é" * 100_000
    violation = Violation(
        kind=ViolationKind.OUTPUT_TOO_LARGE,
        message=huge,
        transformer=huge[:200],
        module_sha256="a" * 64,
        code=huge,
        backtrace=huge,
        elapsed_us=2**63,
        memory_bytes_peak=2**63,
        limits=huge[:200],
        attempt=2**31,
    )
    letter = dead_letter(Event(2**63, 2**63, None, None), TopicPartition("t" * 249, 2**31), violation)
    sizes = {name: len(value or b"") for name, value in letter.headers}
    assert sizes["penstock.message"] <= MESSAGE_BYTES_MAX
    assert sizes["penstock.traceback"] <= BACKTRACE_BYTES_MAX
    assert sum(len(name) + size + 10 for name, size in sizes.items()) <= HEADROOM_BYTES


@pytest.mark.parametrize(
    "headers",
    [
        (),
        (("penstock.violation", b"trap"),),
        (("penstock.violation", b"nonsense"), ("penstock.source.topic", b"t"), ("penstock.source.partition", b"0")),
        tuple((PREFIX + name, b"x") for name in ("violation", "source.topic", "source.partition", "source.offset")),
        tuple((PREFIX + name, None) for name in ("violation", "source.topic", "source.partition", "source.offset")),
    ],
)
def test_other_records_are_no_dead_letters(headers: tuple[tuple[str, bytes | None], ...]) -> None:
    assert read_dead_letter(headers) is None
