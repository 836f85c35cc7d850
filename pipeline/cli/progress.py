"""How far a bounded run is: a bar with an ETA on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from pipeline.backfill import Part, Stage

_LINE_EVERY_S = 5.0


class Progress(Protocol):
    """Shows where the partitions stand."""

    def show(self, parts: Sequence[Part]) -> None:
        """The newest look, several times a second."""
        ...


@contextmanager
def progress_on(console: Console) -> Iterator[Progress]:
    """A bar when `console` is a terminal, lines otherwise."""
    if not console.is_terminal:
        yield Lines(console, time.monotonic)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.completed:,.0f} of {task.total:,.0f}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=console) as bar, _logs_above():
        yield _OnBar(bar)


@contextmanager
def _logs_above() -> Iterator[None]:
    """Log lines go through the stream that the bar has put in stderr's place, so that they appear above it."""
    handlers = [h for h in logging.getLogger().handlers if isinstance(h, logging.StreamHandler)]
    before = [handler.setStream(sys.stderr) for handler in handlers]
    try:
        yield
    finally:
        for handler, stream in zip(handlers, before, strict=True):
            if stream is not None:
                handler.setStream(stream)


class _OnBar:
    def __init__(self, bar: Bar) -> None:
        self._bar = bar
        self._task = bar.add_task("starting", total=0)

    def show(self, parts: Sequence[Part]) -> None:
        self._bar.update(
            self._task,
            total=sum(part.total for part in parts),
            completed=sum(part.done for part in parts),
            description=_partitions(parts),
        )


class Lines:
    """Prints a line at the beginning, every few seconds while something moves, and at the end. `monotonic` returns seconds."""

    def __init__(self, console: Console, monotonic: Callable[[], float]) -> None:
        self._console = console
        self._monotonic = monotonic
        self._began: tuple[float, int] | None = None
        self._told = -1
        self._next = 0.0

    def show(self, parts: Sequence[Part]) -> None:
        """Print it when it is time."""
        now, done = self._monotonic(), sum(part.done for part in parts)
        if self._began is None:
            self._began = now, done
        over = all(part.stage is not Stage.UNFINISHED for part in parts)
        if done != self._told and (over or now >= self._next):
            self._told, self._next = done, now + _LINE_EVERY_S
            self._console.print(self._line(parts, now, done), soft_wrap=True, markup=False)

    def _line(self, parts: Sequence[Part], now: float, done: int) -> str:
        assert self._began is not None
        total = sum(part.total for part in parts)
        seconds, gained = now - self._began[0], done - self._began[1]
        rate = gained / seconds if seconds > 0 else 0.0
        share = f" ({done / total:.0%})" if total else ""
        eta = f", {rate:,.0f}/s, about {(total - done) / rate:,.0f} s left" if rate and done < total else ""
        return f"{done:,} of {total:,} offsets{share}{eta}; {_partitions(parts)}"


def _partitions(parts: Sequence[Part]) -> str:
    through = sum(part.stage is Stage.THROUGH for part in parts)
    halted = sum(part.stage is Stage.HALTED for part in parts)
    return f"{through} of {len(parts)} partitions through" + (f", {halted} halted" if halted else "")
