"""The performance checklist measures what it says. No time is asserted: only what does not depend on the machine."""

from __future__ import annotations

import math

import pytest

from bench.checklist import STARTS, Figure, measure, show, stream


@pytest.fixture(scope="module")
def figures() -> dict[str, Figure]:
    return {figure.name.strip(): figure for figure in measure(events=400, rounds=1, whole_way_us=100.0)}


def test_every_line_of_the_reference_is_measured(figures: dict[str, Figure]) -> None:
    marks = {name: (one.mark, one.unit) for name, one in figures.items() if one.mark is not None}
    assert marks == {
        "execution overhead": (5, "%"),
        "of the crossing alone": (5, "%"),
        "validation": (100, "µs"),
        "cache hits": (80, "%"),
        "pool utilisation": (70, "%"),
        "total per event": (1000, "µs"),
        "total per event, alone": (1000, "µs"),
    }
    assert {"memory overhead", "memory of a guest", "fuel cost"} <= figures.keys()
    assert all(math.isfinite(one.measured) and one.method for one in figures.values())


def test_a_start_after_the_first_compiles_nothing(figures: dict[str, Figure]) -> None:
    assert figures["cache hits"].measured == pytest.approx(100 * (STARTS - 1) / STARTS)
    assert figures["cache hits"].is_met


def test_the_pool_is_used_and_never_beyond_its_slots(figures: dict[str, Figure]) -> None:
    assert 0 < figures["pool utilisation"].measured <= 100


def test_a_guest_stays_within_its_profile(figures: dict[str, Figure]) -> None:
    assert 128 <= figures["memory of a guest"].measured <= 4096


def test_the_stream_is_the_demos_without_its_misdeeds() -> None:
    batches = stream(400)
    values = [event.value for lane in batches.values() for batch in lane for event in batch.events]
    assert 360 < len(values) < 400
    assert not any(value and b"penstock_demo" in value for value in values if value and b'"drop"' not in value)


def test_a_mark_is_met_on_its_own_side() -> None:
    below, above = Figure("a", 4.0, "%", 5, False, ""), Figure("b", 4.0, "%", 5, True, "")
    assert (below.is_met, above.is_met) == (True, False)
    assert "< 5 %" in show(below) and "not met" in show(above)
