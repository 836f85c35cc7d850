"""The run while it goes on: a live picture on a terminal, a line a second elsewhere, or nothing."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from pipeline.demo.run import Progress
from pipeline.observe.stats import Latency

_BAR_WIDTH = 40
_LINE_EVERY_S = 1.0


class Display(Protocol):
    """Shows moments of a run; a context manager around it."""

    def __enter__(self) -> Display:
        """Begin."""
        ...

    def show(self, progress: Progress) -> None:
        """The newest moment, several times a second."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the terminal as it was, with the last moment on it."""
        ...


def display_for(console: Console) -> Display:
    """Live on a terminal, lines otherwise."""
    return LivePicture(console) if console.is_terminal else Lines(console)


class LivePicture:
    """Redraws one picture in place."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, refresh_per_second=8)

    def __enter__(self) -> Display:
        self._live.start()
        return self

    def show(self, progress: Progress) -> None:
        """Draw it."""
        self._live.update(picture(progress))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()


class Lines:
    """Prints a line when the run begins, each second, and at the end."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._next = _LINE_EVERY_S
        self._began = False
        self._shown = 0
        self._last: Progress | None = None

    def __enter__(self) -> Display:
        return self

    def show(self, progress: Progress) -> None:
        """Print it when it is time."""
        self._last = progress
        if not self._began:
            self._began = True
            self._console.print(f"{progress.phase}…", markup=False, soft_wrap=True)
        if progress.seconds >= self._next and progress.fed:
            self._next = progress.seconds + _LINE_EVERY_S
            self._print(progress)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None and self._last is not None and self._last.settled != self._shown:
            self._print(self._last)

    def _print(self, progress: Progress) -> None:
        self._shown = progress.settled
        self._console.print(line(progress), soft_wrap=True, markup=False, highlight=False)


def line(progress: Progress) -> str:
    """One line for a log."""
    kinds = violations_text(progress.by_violation)
    return (
        f"{progress.seconds:5.1f} s  {progress.settled:,} of {progress.total:,} events  {progress.events_per_s:,.0f}/s  "
        f"emitted {progress.emitted:,}  dropped {progress.dropped:,}  dead-lettered {progress.dead_lettered}"
        + (f" ({kinds})" if kinds else "")
    )


def picture(progress: Progress) -> RenderableType:
    """Everything at once, for a terminal of 80 columns and more."""
    bar = Table.grid(padding=(0, 2))
    share = progress.settled / progress.total
    bar.add_row(
        ProgressBar(total=progress.total, completed=progress.settled, width=_BAR_WIDTH),
        f"{share:4.0%}",
        f"{progress.settled:,} of {progress.total:,} events",
        f"{progress.seconds:.1f} s",
    )
    outcomes = Text.assemble(
        (f"{progress.events_per_s:>7,.0f}", "bold"),
        " events/s   emitted ",
        (f"{progress.emitted:,}", "bold green"),
        "   dropped ",
        (f"{progress.dropped:,}", "bold"),
        "   dead-lettered ",
        (f"{progress.dead_lettered}", "bold red" if progress.dead_lettered else "bold"),
    )
    kinds = Text(f"        {violations_text(progress.by_violation) or progress.phase}", style="dim")
    return Group(bar, outcomes, kinds, latencies(progress.latency))


def latencies(latency: Mapping[str, Latency]) -> Table:
    """Time per event by transformer."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("transformer")
    for title in ("events", "p50 µs", "p99 µs"):
        table.add_column(title, justify="right")
    for name, taken in latency.items():
        table.add_row(name, f"{taken.events:,}", f"{taken.p50_us:,.1f}", f"{taken.p99_us:,.1f}")
    return table


def violations_text(by_violation: Mapping[str, int]) -> str:
    """`deadline 3, trap 4`."""
    return ", ".join(f"{kind} {count}" for kind, count in sorted(by_violation.items()))
