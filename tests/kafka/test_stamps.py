"""Which timestamps go out as they are."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.kafka.stamps import Window, window_of

NOW = 1_800_000_000_000
FOREVER = (1 << 63) - 1
LIMITS = st.integers(0, FOREVER)


@given(LIMITS, LIMITS, st.integers(-FOREVER, FOREVER))
def test_what_goes_out_is_what_the_broker_takes_even_when_our_clock_is_a_little_ahead(
    before_ms: int, after_ms: int, stamp: int
) -> None:
    earliest, latest = Window(before_ms, after_ms).bounds(NOW)
    if earliest <= stamp <= latest:
        assert -before_ms <= stamp - NOW <= after_ms
        assert stamp >= 0
    assert not earliest <= -1 <= latest, "a record without a timestamp gets one"


def test_what_nearly_all_records_have_goes_out_unchanged() -> None:
    earliest, latest = Window().bounds(NOW)
    assert earliest <= 0 and latest >= NOW + 3_500_000


def test_settings_of_old_and_new_brokers() -> None:
    before, after = "message.timestamp.before.max.ms", "message.timestamp.after.max.ms"
    assert window_of({before: "5", after: "7"}) == Window(5, 7)
    assert window_of({"message.timestamp.difference.max.ms": "9"}) == Window(9, 9)
    assert window_of({}) == Window(FOREVER, FOREVER)
