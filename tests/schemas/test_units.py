from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.limits import format_bytes
from schemas.units import (
    Rate,
    UnitError,
    format_duration,
    parse_duration_ms,
    parse_rate,
    parse_size,
    parse_time_ms,
)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0B", 0),
        ("512B", 512),
        ("1KiB", 1024),
        ("4MiB", 4 * 1024 * 1024),
        ("4 MiB", 4 * 1024 * 1024),
        ("4GiB", 4 << 30),
        ("1KB", 1_000),
        ("4MB", 4_000_000),
        ("1.5GB", 1_500_000_000),
        ("0.5MiB", 1 << 19),
    ],
)
def test_sizes_are_exact(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [("0ms", 0), ("250ms", 250), ("1.5s", 1_500), ("1m", 60_000), ("2 h", 7_200_000), ("1d", 86_400_000)],
)
def test_durations_are_exact(text: str, milliseconds: int) -> None:
    assert parse_duration_ms(text) == milliseconds


@pytest.mark.parametrize("value", [4, 0, 4.5, "4", " 12 "])
@pytest.mark.parametrize("parse", [parse_size, parse_duration_ms])
def test_a_number_without_its_unit_is_refused_and_told_so(parse: object, value: object) -> None:
    with pytest.raises(UnitError) as caught:
        parse(value)  # type: ignore[operator]
    assert "without a unit" in caught.value.problem
    assert "write a number and a unit" in caught.value.remedy


@pytest.mark.parametrize(
    "value", ["", "MiB", "-1MiB", "1e3MiB", "1,5MiB", "٣MiB", "4MiB5", None, True, [], "9" * 30 + "B"]
)
def test_what_is_no_size_is_refused(value: object) -> None:
    with pytest.raises(UnitError, match="not a size"):
        parse_size(value)


@pytest.mark.parametrize("text", ["4mb", "4M", "4mib", "4Mb"])
def test_an_ambiguous_unit_names_both_readings(text: str) -> None:
    with pytest.raises(UnitError) as caught:
        parse_size(text)
    assert "MiB is a power of 1024, MB a power of 1000" in caught.value.remedy


@pytest.mark.parametrize("text", ["1.5B", "0.3KiB"])
def test_half_a_byte_is_refused(text: str) -> None:
    with pytest.raises(UnitError, match="whole number of bytes"):
        parse_size(text)


@pytest.mark.parametrize("text", ["0.5ms", "5sec", "5 minutes", "5M", "5µs"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(UnitError):
        parse_duration_ms(text)


def test_rates() -> None:
    assert parse_rate("20 in 1m") == Rate(20, 60_000)
    assert parse_rate("  1000 in 500ms") == Rate(1000, 500)


@pytest.mark.parametrize("value", ["20", "20 per 1m", "20 in 60", "in 1m", 20, None, "-1 in 1m"])
def test_what_is_no_rate_is_refused(value: object) -> None:
    with pytest.raises(UnitError):
        parse_rate(value)


@pytest.mark.parametrize(
    "value",
    ["2026-01-31T08:00:00Z", "2026-01-31T09:00:00+01:00", "2026-01-31 08:00:00+00:00", 1769846400000, "1769846400000"],
)
def test_one_moment_in_its_several_ways(value: object) -> None:
    assert parse_time_ms(value) == int(datetime(2026, 1, 31, 8, tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("2026-01-31T08:00:00", "time zone"),
        ("2026-01-31", "time zone"),
        (1769846400, "looks like seconds"),
        ("1769846400", "looks like seconds"),
        ("1969-01-01T00:00:00Z", "before 1970"),
        (-1, "outside of time"),
        (1 << 60, "not a point in time"),
        ("yesterday", "not a point in time"),
        ("", "not a point in time"),
        ("²", "not a point in time"),
        (True, "not a point in time"),
        (1.5, "not a point in time"),
        ("0001-01-01T00:00:00+23:59", ""),
    ],
)
def test_what_is_no_moment_is_refused(value: object, problem: str) -> None:
    with pytest.raises(UnitError) as caught:
        parse_time_ms(value)
    assert problem in caught.value.problem


@given(st.integers(0, 1 << 50))
def test_what_is_printed_can_be_read_back(number: int) -> None:
    assert parse_size(format_bytes(number)) == number
    assert parse_duration_ms(format_duration(number)) == number


@given(st.text() | st.integers() | st.floats() | st.none() | st.lists(st.integers()))
def test_nothing_but_unit_errors_and_no_message_repeats_the_value(value: object) -> None:
    for parse in (parse_size, parse_duration_ms, parse_rate, parse_time_ms):
        try:
            parse(value)
        except UnitError as error:
            if isinstance(value, str) and len(value) > 12:
                assert value not in str(error)
