"""The pictures in docs/figures, drawn from `bench/results`: throughput over time, the latency histogram, growth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.model import Cell, cells
from pipeline.workshop.svg import COLOURS, Mark, Panel, Points, Series, chart

WINDOW_S = 0.5
NAMES = {
    "penstock": "penstock, exactly once",
    "tuned": "aiokafka tuned, exactly once",
    "confluent": "confluent-kafka tuned",
    "plain": "plain aiokafka",
}


def throughput(kafka: dict[str, Any]) -> str:
    """Records that a read_committed reader gets to see each second, of one round."""
    series = [
        Series(label, rates(kafka["rounds"][name][0]["curve"]), COLOURS[number])
        for number, (name, label) in enumerate(NAMES.items())
        if name in kafka["rounds"]
    ]
    title = f"{kafka['events']:,} events of 400 bytes, one round"
    return chart([Panel(title, "seconds since the first record was seen", "thousand events/s", series)])


def rates(curve: Sequence[tuple[float, int]]) -> Points:
    """Thousands a second over the `WINDOW_S` before each point, from the first record on until all are there."""
    if not curve:
        return []
    began, total = curve[0][0], curve[-1][1]
    found, oldest = [(0.0, 0.0)], 0
    for at, seen in curve:
        while curve[oldest][0] < at - WINDOW_S:
            oldest += 1
        since, before = curve[oldest]
        if at > since:
            found.append((at - began, (seen - before) / (at - since) / 1e3))
        if seen >= total:
            break
    return found


def latency(figures: dict[str, Any]) -> str:
    """Both ways of delivery with the defaults, one panel each."""
    panels = []
    defaults = [run for run in figures["runs"] if not run["batch"]]
    for run, colour in zip(defaults, COLOURS, strict=False):
        bins = {float(begin): count for begin, count in run["histogram"].items()}
        total, width = sum(bins.values()), figures["bin_ms"]
        end = run["p999_ms"]
        filled = [(place * width, 100 * bins.get(place * width, 0) / total) for place in range(int(end / width) + 2)]
        series = Series(run["delivery"], filled, colour, "area")
        marks = [Mark(run[f"p{name}_ms"], f"p{name}", colour) for name in ("50", "99")]
        title = (
            f"{run['delivery']}, {figures['rate']:,} events/s: p50 {run['p50_ms']:.1f} ms, p99 {run['p99_ms']:.1f} ms"
        )
        y_title = f"% of events per {width:g} ms"
        panels.append(Panel(title, "from producer to reader, milliseconds (to p99.9)", y_title, [series], marks))
    return chart(panels)


def growth(figures: dict[str, Any]) -> str:
    """CPU of an event at each point, the event loop's and the guests'."""
    grown: list[Cell] = cells(figures)
    names = [f"{cell.partitions} × {cell.processes}" for cell in grown]
    layers = [
        Series("guests", [(float(n), cell.guest_us) for n, cell in enumerate(grown)], COLOURS[0], "bars"),
        Series("event loop", [(float(n), cell.loop_us) for n, cell in enumerate(grown)], COLOURS[1], "bars"),
    ]
    title = "CPU of one event, exactly once"
    return chart([Panel(title, "partitions × processes", "µs per event", layers, categories=names)])
