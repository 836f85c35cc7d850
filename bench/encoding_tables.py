"""The tables of `bench.event_encoding`, for `bench.report`."""

from __future__ import annotations

import statistics
from typing import Any

from bench.bounds import Bounds

LABELS = {
    "raw": "`raw`: enrich-order, which scans the JSON by hand",
    "raw-change": "`raw`: the same work over change events",
    "event": "**`event`**: that very module",
}
HEAD = ["", "events/s: median (least–most)", "CPU per event", "broker's", "RSS", "event encoding has of it", "mark"]
CROSSING_HEAD = ["one event of a batch of 2,000, in `Session.run`", "as records", "one by one"]


def throughput_rows(found: dict[str, Any]) -> list[list[str]]:
    """One row for each way to do the work."""
    rows = []
    for name, label in LABELS.items():
        runs = found["rounds"][name]
        speeds = [run["events_per_s"] / 1e3 for run in runs]
        rows.append(
            [
                label,
                f"{statistics.median(speeds):.0f}k ({min(speeds):.0f}–{max(speeds):.0f})",
                f"{statistics.median(run['cpu_us_per_event'] for run in runs):.1f} µs",
                f"{statistics.median(run['broker_us_per_event'] for run in runs):.1f} µs",
                f"{max(run['rss_mb_peak'] for run in runs):.0f} MB",
                *_against(found, name),
            ]
        )
    return rows


def _against(found: dict[str, Any], name: str) -> list[str]:
    if name not in found["ratios"]:
        return ["", ""]
    ratio = found["ratios"][name]
    mark = f"{found['bar']:g}: {'met' if ratio['mean'] >= found['bar'] else 'not met'}" if name == "raw" else ""
    return [f"{Bounds(ratio['mean'], ratio['low'], ratio['high'])}", mark]


def crossing_rows(found: dict[str, Any]) -> list[list[str]]:
    """What one event costs without Kafka."""
    costs = found["crossing_us"]
    return [
        [label, f"{costs[name]['records']:.1f} µs", f"{costs[name]['single']:.1f} µs"] for name, label in LABELS.items()
    ]
