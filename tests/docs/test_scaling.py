"""docs/scaling.md and bench/RESULTS.md say what was measured, and the model in them agrees with it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench import model, results
from bench.report import DRAWN, PAGES, PICTURES, TABLES, pictures, rendered
from pipeline.app import commit_interval_s
from schemas.specs import BatchPolicy, Delivery

SCALING = Path(__file__).parents[2] / "docs" / "scaling.md"
OFF_BY_MAX = 0.25
"""How far the model may be from a measured point."""
MEMORY_OVER_MAX = 0.3
"""What it says of memory is for a process with work for all its lanes at once; a lane among many processes holds less."""


def growth() -> model.Figure:
    found = results.load("growth")
    assert found is not None
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_tables_are_those_of_the_results(page: Path) -> None:
    assert rendered(page.read_text()) == page.read_text(), "run python -m bench.report"


def test_every_table_and_picture_is_shown() -> None:
    text = "".join(page.read_text() for page in PAGES)
    assert sorted(re.findall(r"<!-- figures: ([\w-]+) -->", text)) == sorted(TABLES)
    assert {name for name in DRAWN if f"figures/{name}.svg" in text} == set(DRAWN)


def test_the_pictures_are_those_of_the_results() -> None:
    drawn = pictures()
    assert set(drawn) == {f"{name}.svg" for name in DRAWN}
    assert {name: (PICTURES / name).read_text() for name in drawn} == drawn, "run python -m bench.report"


def test_a_changed_figure_shows() -> None:
    changed = SCALING.read_text().replace(" µs an event", " ns an event", 1)
    assert rendered(changed) == SCALING.read_text() != changed


@pytest.mark.skipif(
    results.is_busy(growth()), reason="the figures were taken on a busy machine: run python -m bench.growth"
)
@pytest.mark.parametrize("cell", model.cells(growth()), ids=lambda cell: f"{cell.partitions}x{cell.processes}")
def test_the_model_agrees_with_what_was_measured(cell: model.Cell) -> None:
    prices = model.constants(growth())
    loop_us, guest_us = model.event_us(
        prices, commits_per_event=cell.commits_per_event, batch_events=round(1 / cell.batches_per_event)
    )
    assert loop_us + guest_us == pytest.approx(cell.cpu_us, rel=OFF_BY_MAX)
    memory_mb = model.memory_mb(prices, -(-cell.partitions // cell.processes))
    assert -0.1 <= memory_mb / cell.rss_mb - 1 <= MEMORY_OVER_MAX


def test_the_commit_intervals_are_those_of_the_code() -> None:
    said = " ".join(SCALING.read_text().split())

    def after_ms(lanes: int, *, caught_up: bool = False) -> int:
        return round(1e3 * commit_interval_s(BatchPolicy(), Delivery.EXACTLY_ONCE, lanes, caught_up=caught_up))

    assert f"`commit_interval` ({after_ms(1)} ms)" in said
    assert f"with 64 lanes one each every {after_ms(64)} ms" in said
    assert f"with 64 lanes one each every {after_ms(64, caught_up=True)} ms" in said
    assert f"at a fifth of the interval, {after_ms(1, caught_up=True)} ms" in said
    assert after_ms(3) == after_ms(1) < after_ms(4)  # 32 a second
    assert f"Batches are full ({BatchPolicy().events_max:,} events)" in said
