"""Small charts as SVG text: lines, step areas and stacked bars over two titled axes. Readable on light and on dark pages alike.

Knows nothing of what is plotted. One chart is a column of panels that share their width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

Points = Sequence[tuple[float, float]]

COLOURS = ("#2f81f7", "#db6d28", "#2da44e", "#a371f7", "#d4537e", "#7d8590")
"""Of the series, in turn: each stands out from white and from near black."""
_WIDTH, _PANEL_HEIGHT = 760, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 66, 18, 54, 50
_STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#57606a}.title{font-size:14px;font-weight:600;fill:#24292f}"
    ".grid{stroke:#8b949e;stroke-opacity:.25}.axis{stroke:#8b949e}"
    "@media(prefers-color-scheme:dark){text{fill:#9198a1}.title{fill:#e6edf3}}"
)


@dataclass(frozen=True, slots=True)
class Series:
    """One named line, area, or layer of bars. An area or a bar reaches down to the axis (or the layer below)."""

    name: str
    points: Points
    colour: str
    kind: str = "line"
    """`line`, `area` (each value holds until the next x), or `bars` (x is the place of a category)."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A dashed vertical line with a label."""

    x: float
    label: str
    colour: str


@dataclass(frozen=True, slots=True)
class Panel:
    """Two axes and what is drawn between them. `categories` name the places of bars along x."""

    title: str
    x_title: str
    y_title: str
    series: Sequence[Series]
    marks: Sequence[Mark] = field(default=())
    categories: Sequence[str] = field(default=())
    x_max: float | None = None


def chart(panels: Sequence[Panel]) -> str:
    """The whole picture. Its text is the same for the same figures."""
    height = _PANEL_HEIGHT * len(panels)
    drawn = "\n".join(_panel(panel, number * _PANEL_HEIGHT) for number, panel in enumerate(panels))
    label = escape("; ".join(panel.title for panel in panels), quote=True)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" '
        f'role="img" aria-label="{label}">\n<style>{_STYLE}</style>\n{drawn}\n</svg>\n'
    )


def ticks(top: float, count: int = 5) -> list[float]:
    """Round numbers from 0 to `top` or just beyond, about `count` of them."""
    if top <= 0:
        return [0.0, 1.0]
    rough = top / count
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= rough * 0.999)
    return [step * number for number in range(math.ceil(top / step * 0.999) + 1)]


@dataclass(frozen=True, slots=True)
class _Scale:
    """From values to places on the page."""

    top: float
    x_max: float
    y_max: float

    def x(self, value: float) -> float:
        return round(_LEFT + min(value, self.x_max) / self.x_max * (_WIDTH - _LEFT - _RIGHT), 1)

    def y(self, value: float) -> float:
        height = _PANEL_HEIGHT - _TOP - _BOTTOM
        return round(self.top + _TOP + height * (1 - value / self.y_max), 1)


def _panel(panel: Panel, top: float) -> str:
    x_ticks = [float(n) for n in range(len(panel.categories) + 1)] if panel.categories else ticks(_x_max(panel))
    y_ticks = ticks(_y_max(panel))
    scale = _Scale(top, x_ticks[-1], y_ticks[-1])
    parts = [f'<text class="title" x="{_LEFT}" y="{top + 20}">{escape(panel.title)}</text>']
    parts += _grid(panel, scale, x_ticks, y_ticks)
    below: dict[float, float] = {}
    for series in panel.series:
        parts.append(_drawn(series, scale, below))
    for mark in panel.marks:
        x = scale.x(mark.x)
        parts.append(
            f'<line x1="{x}" x2="{x}" y1="{scale.y(scale.y_max)}" y2="{scale.y(0)}" stroke="{mark.colour}" '
            f'stroke-dasharray="4 3"/><text x="{x + 4}" y="{scale.y(scale.y_max) + 11}">{escape(mark.label)}</text>'
        )
    parts += _legend(panel, top)
    return "\n".join(parts)


def _x_max(panel: Panel) -> float:
    return panel.x_max or max((x for series in panel.series for x, _ in series.points), default=1.0)


def _y_max(panel: Panel) -> float:
    stacked: dict[float, float] = {}
    for series in panel.series:
        for x, y in series.points:
            stacked[x] = stacked.get(x, 0.0) + y if series.kind == "bars" else max(stacked.get(x, 0.0), y)
    return max(stacked.values(), default=1.0)


def _grid(panel: Panel, scale: _Scale, x_ticks: Sequence[float], y_ticks: Sequence[float]) -> list[str]:
    left, right, floor = scale.x(0), scale.x(scale.x_max), scale.y(0)
    parts = []
    for value in y_ticks:
        y = scale.y(value)
        parts.append(f'<line class="grid" x1="{left}" x2="{right}" y1="{y}" y2="{y}"/>')
        parts.append(f'<text x="{left - 8}" y="{y + 4}" text-anchor="end">{value:g}</text>')
    named = [(number + 0.5, name) for number, name in enumerate(panel.categories)]
    labels = named or [(value, f"{value:g}") for value in x_ticks]
    for value, label in labels:
        parts.append(f'<text x="{scale.x(value)}" y="{floor + 17}" text-anchor="middle">{escape(label)}</text>')
    middle = (scale.y(scale.y_max) + floor) / 2
    parts += [
        f'<line class="axis" x1="{left}" x2="{right}" y1="{floor}" y2="{floor}"/>',
        f'<text x="{(left + right) / 2}" y="{floor + 37}" text-anchor="middle">{escape(panel.x_title)}</text>',
        f'<text transform="translate(16 {middle}) rotate(-90)" text-anchor="middle">{escape(panel.y_title)}</text>',
    ]
    return parts


def _drawn(series: Series, scale: _Scale, below: dict[float, float]) -> str:
    match series.kind:
        case "bars":
            return _bars(series, scale, below)
        case "area":
            return _area(series, scale)
        case _:
            path = " ".join(f"{scale.x(x)},{scale.y(y)}" for x, y in series.points)
            return f'<polyline points="{path}" fill="none" stroke="{series.colour}" stroke-width="2"/>'


def _area(series: Series, scale: _Scale) -> str:
    steps = [f"M{scale.x(series.points[0][0])} {scale.y(0)}"]
    for x, y in series.points:
        steps.append(f"H{scale.x(x)}V{scale.y(y)}")
    steps.append(f"V{scale.y(0)}Z")
    colour = series.colour
    return f'<path d="{"".join(steps)}" fill="{colour}" fill-opacity=".35" stroke="{colour}"/>'


def _bars(series: Series, scale: _Scale, below: dict[float, float]) -> str:
    drawn = []
    for x, y in series.points:
        base = below.get(x, 0.0)
        below[x] = base + y
        left, right, upper, lower = scale.x(x + 0.2), scale.x(x + 0.8), scale.y(base + y), scale.y(base)
        width, height = round(right - left, 1), round(lower - upper, 1)
        drawn.append(f'<rect x="{left}" y="{upper}" width="{width}" height="{height}" fill="{series.colour}"/>')
    return "".join(drawn)


def _legend(panel: Panel, top: float) -> list[str]:
    parts, x = [], float(_LEFT)
    for series in panel.series if len(panel.series) > 1 else ():
        parts.append(f'<rect x="{x}" y="{top + 31}" width="12" height="12" rx="2" fill="{series.colour}"/>')
        parts.append(f'<text x="{x + 17}" y="{top + 41}">{escape(series.name)}</text>')
        x += 34 + 6.4 * len(series.name)  # about what the words take
    return parts
