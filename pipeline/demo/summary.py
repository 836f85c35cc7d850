"""What a run came to: as numbers for machines; for people also one order before and after, and one dead letter in words."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from shutil import which
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from pipeline.demo.display import latencies, violations_text
from pipeline.demo.fates import Fate
from pipeline.demo.ledger import Account, Found
from pipeline.demo.run import Result
from schemas.dead_letter import DeadLetter, read_dead_letter
from schemas.limits import format_bytes
from schemas.outcome import ViolationKind

_BACKTRACE_LINES = 3
_WHAT_HAPPENED = {
    ViolationKind.DEADLINE: "The transformer never came back (this event sends it into an endless loop). It was interrupted at its deadline.",
    ViolationKind.MEMORY: "The transformer asked for more memory than it may have.",
    ViolationKind.STACK: "The transformer recursed until its stack was used up.",
    ViolationKind.TRAP: "The transformer crashed.",
    ViolationKind.BAD_OUTPUT: "The transformer's answer was no valid result.",
    ViolationKind.REJECTED: "The transformer judged the event unfit.",
}


def as_json(result: Result) -> dict[str, Any]:
    """The run in numbers. `lost`, `duplicated`, `unexpected` and `out_of_order` are 0 in a good run."""
    account = result.account
    return {
        "produced": account.produced,
        "emitted": account.emitted,
        "dropped": account.dropped,
        "dead_lettered": account.dead_lettered,
        "by_violation": dict(account.by_violation),
        "lost": account.lost,
        "duplicated": account.duplicated,
        "unexpected": account.unexpected,
        "out_of_order": account.out_of_order,
        "side_topic": asdict(account.copies),
        "events_per_s": round(result.events_per_s, 1),
        "seconds": round(result.seconds, 3),
        "startup_seconds": round(result.startup_s, 3),
        "memory_bytes_peak": result.memory_bytes_peak,
        "examples": list(account.examples),
    }


def summary(result: Result, registry: Path) -> RenderableType:
    """The run for people, 100 columns wide."""
    parts: list[RenderableType] = []
    if Fate.ENRICHED in result.shown:
        parts += [_order(*result.shown[Fate.ENRICHED]), ""]
    letter = next((pair for fate, pair in result.shown.items() if fate.violation), None)
    if letter is not None and (said := read_dead_letter(letter[1].headers)) is not None:
        parts += [_dead_letter(letter[1], said, registry), ""]
    parts += [_time(result), "", _balance(result.account)]
    return Group(*parts)


def _order(before: Found, after: Found) -> RenderableType:
    table = Table(
        title="One order, before and after",
        title_justify="left",
        title_style="bold",
        box=None,
        padding=(0, 3, 0, 0),
        header_style="dim",
    )
    table.add_column("column")
    table.add_column(f"{before.topic}/{before.partition} offset {before.offset}", overflow="fold")
    table.add_column(f"{after.topic}/{after.partition} offset {after.offset}", overflow="fold")
    old, new = _row(before), _row(after)
    for column in dict.fromkeys((*old, *new)):
        table.add_row(*_compared(column, old.get(column), new.get(column)))
    return table


def _compared(column: str, old: str | None, new: str | None) -> tuple[Text, Text, Text]:
    """One column of a row: dim when it is the same, green when it is new, yellow when it changed."""
    if old == new:
        return Text(column, "dim"), Text(old or "", "dim"), Text(new or "", "dim")
    style = "bold green" if old is None else "bold yellow"
    return Text(column, style), Text(old or ""), Text(new or "", style)


def _row(found: Found) -> dict[str, str]:
    """The columns of `after`, each as JSON text."""
    after = json.loads(found.value or b"{}").get("after") or {}
    return {column: json.dumps(value, ensure_ascii=False) for column, value in after.items()}


def _dead_letter(found: Found, said: DeadLetter, registry: Path) -> RenderableType:
    table = Table.grid(padding=(0, 2, 0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in _explained(said, registry):
        table.add_row(name, text)
    title = Text.assemble(
        ("One dead letter, explained", "bold"), (f"   {found.topic}/{found.partition} offset {found.offset}", "dim")
    )
    return Group(title, table)


def _explained(said: DeadLetter, registry: Path) -> Iterator[tuple[str, str]]:
    violation = said.violation
    happened = _WHAT_HAPPENED.get(violation.kind, "The event could not pass.")
    yield "what happened", f"{happened}\n[bold red]{violation.kind}[/]: {escape(violation.message)}"
    yield "who", f"{violation.transformer}, module sha256 {violation.module_sha256[:16]}…"
    yield "its limits", violation.limits
    yield (
        "what it used",
        (
            f"{violation.elapsed_us / 1e3:,.0f} ms and {format_bytes(violation.memory_bytes_peak)} of memory, in run "
            f"{violation.attempt} of this event: alone, on a fresh instance, so that no neighbour is to blame"
        ),
    )
    if violation.backtrace:
        yield "where", escape("\n".join(violation.backtrace.splitlines()[:_BACKTRACE_LINES]))
    yield "the event", f"{said.source} offset {said.offset}; key and value stand here as they came, byte for byte"
    yield "its neighbours", "went on: it cost one event, not the stream"
    yield (
        "try it again",
        f"""echo '{{"value": {{"penstock_demo": "loop"}}}}' | {_command()} try {_short(registry)} {violation.transformer} --event -""",
    )


def _command() -> str:
    """How to call penstock from here: `make demo` puts it beside the registry, not on the PATH."""
    return "penstock" if which("penstock") else _short(Path(sys.executable).with_name("penstock"))


def _short(path: Path) -> str:
    """The path from here when that is shorter."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _time(result: Result) -> RenderableType:
    text = Text.assemble(
        ("Time", "bold"),
        f"   {result.seconds:.1f} s, {result.events_per_s:,.0f} events/s, {result.memory_bytes_peak >> 20} MiB of memory at most, broker included",
    )
    return Group(text, latencies(result.latency))


def _balance(account: Account) -> RenderableType:
    sums = (
        f"{account.produced:,} produced = {account.emitted:,} emitted + {account.dropped:,} dropped by declaration + "
        f"{account.dead_lettered} dead-lettered"
    )
    if account.lost:
        sums += f" + {account.lost:,} lost"
    kinds = Text(f"dead-lettered: {violations_text(account.by_violation)}", "dim")
    checks = {
        "lost": account.lost + account.copies.lost,
        "duplicated": account.duplicated + account.copies.duplicated,
        "out of order": account.out_of_order,
        "not as expected": account.unexpected,
    }
    examples = [Text(f"  {example}", "red") for example in account.examples]
    return Group(
        Text(sums, "bold"),
        kinds,
        _verdicts(checks),
        *examples,
        Text("Counted by reading every topic back with read_committed.", "dim"),
    )


def _verdicts(checks: Mapping[str, int]) -> Text:
    return Text("   ").join(
        Text(f"{count:,} {name}", "bold red" if count else "bold green") for name, count in checks.items()
    )
