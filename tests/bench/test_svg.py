"""Charts are well-formed, hold what they were given, and have titled axes."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from bench.figures import rates
from pipeline.workshop.svg import COLOURS, Mark, Panel, Series, chart, ticks

SVG = "{http://www.w3.org/2000/svg}"


def texts(picture: str) -> list[str]:
    return [each.text or "" for each in ElementTree.fromstring(picture).iter(f"{SVG}text")]


@pytest.mark.parametrize(
    ("top", "expected"),
    [(10, [0, 2, 4, 6, 8, 10]), (1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (187, [0, 50, 100, 150, 200]), (0, [0, 1])],
)
def test_ticks_are_round_and_reach_the_top(top: float, expected: list[float]) -> None:
    assert ticks(top) == pytest.approx(expected)


@pytest.mark.parametrize("top", [0.003, 0.7, 1, 3, 9.99, 42, 1234.5, 1e7])
def test_no_value_is_above_the_last_tick(top: float) -> None:
    marks = ticks(top)
    assert marks[-1] >= top * 0.999
    assert 3 <= len(marks) <= 8


def test_a_line_goes_from_the_origin_to_the_far_corner() -> None:
    line = Series("speed", [(0, 0), (10, 100)], COLOURS[0])
    picture = chart([Panel("Speed & time", "seconds", "events/s", [line])])
    (drawn,) = ElementTree.fromstring(picture).iter(f"{SVG}polyline")
    (left, low), (right, high) = (map(float, point.split(",")) for point in drawn.attrib["points"].split())
    assert left < right
    assert low > high  # downwards is larger
    assert {"Speed & time", "seconds", "events/s", "100", "10"} <= set(texts(picture))


def test_bars_stand_on_the_layer_below() -> None:
    lower = Series("guests", [(0, 2), (1, 3)], COLOURS[0], "bars")
    upper = Series("loop", [(0, 4), (1, 1)], COLOURS[1], "bars")
    picture = chart([Panel("t", "x", "y", [lower, upper], categories=["2 × 1", "8 × 1"])])
    bars = [each.attrib for each in ElementTree.fromstring(picture).iter(f"{SVG}rect") if "rx" not in each.attrib]
    tops = [float(bar["y"]) for bar in bars]
    ends = [float(bar["y"]) + float(bar["height"]) for bar in bars]
    assert [round(end, 1) for end in ends[2:]] == tops[:2]
    assert float(bars[2]["height"]) == pytest.approx(2 * float(bars[0]["height"]), abs=0.2)
    assert {"guests", "loop", "2 × 1"} <= set(texts(picture))


def test_what_lies_beyond_the_axis_is_drawn_at_its_end() -> None:
    area = Series("a", [(0, 1), (5, 2), (1e6, 1)], COLOURS[0], "area")
    picture = chart([Panel("t", "x", "y", [area], [Mark(5, "p50", COLOURS[0])], x_max=10)])
    (path,) = ElementTree.fromstring(picture).iter(f"{SVG}path")
    places = [float(step.split("V")[0]) for step in path.attrib["d"].split("H")[1:]]
    assert max(places) <= 760
    assert "p50" in texts(picture)


def test_light_and_dark_pages_are_both_thought_of() -> None:
    assert "prefers-color-scheme:dark" in chart([Panel("t", "x", "y", [Series("s", [(0, 1)], COLOURS[0])])])


def test_rates_are_those_of_the_last_half_second() -> None:
    curve = [(0.1 * step, 1_000 * step) for step in range(1, 21)] + [(2.1, 20_000), (2.2, 20_000)]
    found = rates(curve)
    assert [rate for _, rate in found[1:]] == pytest.approx([10.0] * 19)
    assert found[-1][0] == pytest.approx(1.9)  # nothing after the last record
    assert rates([]) == []
