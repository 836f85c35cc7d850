"""How `penstock test --fuzz` shows what it found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.text import Text

from pipeline.cli.trial_view import folded, plain
from pipeline.workshop.fuzz.hunt import Finding, Hunted
from pipeline.workshop.fuzz.keeping import Kept

_FRAMES_MAX: Final = 6
_SHOWN_MAX: Final = 300


def show_hunt(console: Console, name: str, hunted: Hunted, kept: Sequence[Kept]) -> None:
    """A line, and each fault with the smallest input that shows it."""
    count = len(hunted.findings)
    style, sum_ = ("bold red", f"{count} fault{'s' * (count > 1)} found") if count else ("green", "no fault found")
    console.print(
        Text.assemble(
            (name, "bold"),
            f"  {hunted.inputs:,} inputs, seed {hunted.seed}, slow is {hunted.slow_ms:g} ms  ",
            (sum_, style),
        )
    )
    for finding, where in zip(hunted.findings, kept, strict=True):
        _show(console, finding, where)
    if hunted.others:
        console.print(Text(f"  {hunted.others} more inputs showed further faults", "dim"))


def _show(console: Console, finding: Finding, where: Kept) -> None:
    fault, event = finding.fault, finding.seed.event
    times = f", {finding.count} inputs" if finding.count > 1 else ""
    console.print(Text.assemble("  ", (fault.kind, "bold red"), f"  input {finding.number}{times}"))
    _line(console, plain(fault.message, 1_000))
    for frame in list(folded(fault.backtrace.splitlines()))[:_FRAMES_MAX]:
        _line(console, f"  {plain(frame)}", "dim")
    size = len(event.value or b"") + len(event.key or b"")
    _line(console, f"smallest input ({finding.size_bytes_before:,} bytes, now {size:,}):")
    if event.key is not None:
        _line(console, f"  key   {_payload(event.key)}")
    _line(console, f"  value {_payload(event.value)}")
    if event.headers:
        _line(console, f"  {len(event.headers)} headers")
    _line(console, f"as a case: {plain(str(where.case), 1_000)}")
    if where.try_line:
        _line(console, plain(where.try_line, 1_000), "cyan")


def _payload(payload: bytes | None) -> str:
    return "null" if payload is None else plain(payload.decode("utf-8", "backslashreplace"), _SHOWN_MAX)


def _line(console: Console, text: str, style: str = "") -> None:
    console.print(Text("    " + text, style))
