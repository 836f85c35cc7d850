"""`penstock offsets`: where a route's consumer group stands, and setting it elsewhere."""

from __future__ import annotations

import asyncio
import csv as csvlib
import sys
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from pipeline.cli.trial_view import plain
from pipeline.clock import SystemClock
from pipeline.control import Control, LaneNote
from pipeline.kafka.offsets import Extent, Member, Offsets, open_offsets
from pipeline.kafka.probe import probe
from pipeline.kafka.reset import Move, Target, parse_target, plan_reset, refuse_live, reset
from pipeline.kafka.transport import KafkaTransport
from pipeline.ports import LaneId, LaneState
from pipeline.registry import load_registry
from pipeline.registry.shape import did_you_mean
from schemas.errors import ConfigError, Fault
from schemas.event import TopicPartition
from schemas.specs import Delivery, Registry, RouteSpec

_HALTED = (LaneState.STOPPED, LaneState.PAUSED)


class Action(StrEnum):
    """What to do with them."""

    SHOW = "show"
    RESET = "reset"


@dataclass(frozen=True, slots=True)
class Row:
    """One partition as `show` has it."""

    partition: TopicPartition
    committed: int | None
    extent: Extent
    note: LaneNote | None

    @property
    def lag(self) -> int | None:
        """Offsets to the end; None before the first commit."""
        return None if self.committed is None else self.extent.latest - self.committed

    @property
    def halted(self) -> str:
        """`stopped` or `paused`, or nothing."""
        return self.note.state.value if self.note is not None and self.note.state in _HALTED else ""


def offsets(
    registry: Annotated[Path, typer.Argument(help="The registry file.", show_default=False)],
    route: Annotated[str, typer.Argument(help="The route's name in it.", show_default=False)],
    action: Annotated[Action, typer.Argument(help="Show where the route's group stands, or reset it.")] = Action.SHOW,
    to: Annotated[
        str | None,
        typer.Option(
            metavar="earliest|latest|TIME|OFFSETS",
            help="Of reset: an end; ISO 8601 with a zone, or ms since the epoch; topic:partition=offset,… or a CSV file.",
            show_default=False,
        ),
    ] = None,
    topic: Annotated[
        list[str] | None, typer.Option(help="Only this source topic; may be repeated.", show_default=False)
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Of reset: show the plan and change nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Of reset: do not ask.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    csv: Annotated[
        bool, typer.Option("--csv", help="Of show: topic,partition,offset, as kafka-consumer-groups.sh --export.")
    ] = False,
) -> None:
    """Show a route's committed offsets, or set them; a running service must be stopped for that.

    reset shows each partition before and after, with how many events will be repeated or skipped (control records and gaps
    count like events), asks, aborts what a killed process left open, and sets all of them at once. Exit code 1: the group is
    live, or the brokers are out of reach; 2: an offset that the log does not have, or another mistake.

    Example: penstock offsets transformers/registry.yaml orders reset --to 2026-01-31T12:00:00Z --dry-run
    """
    _check_options(action, to, dry_run=dry_run, yes=yes, json=json, csv=csv)
    loaded = load_registry(registry)
    if route not in loaded.routes:
        remedy = did_you_mean(route, loaded.routes)
        raise ConfigError(Fault(f"there is no route {route!r}", remedy, file=str(registry)))
    spec, topics = loaded.routes[route], frozenset(topic or ())
    if action is Action.SHOW:
        rows, members = asyncio.run(_look(loaded, spec, topics))
        _show(spec, rows, members, json=json, csv=csv)
        return
    assert to is not None
    target = parse_target(to, spec.group)
    moves, halted = asyncio.run(_plan(loaded, spec, topics, target))
    changes = [move for move in moves if move.before != move.after]
    if not json:
        _print_plan(spec, moves)
    if changes and not dry_run:
        if not yes:
            _ask(len(changes))
        asyncio.run(_apply(loaded, spec, changes))
    if json:
        typer.echo(msgspec.json.encode(_plan_json(spec, moves, applied=bool(changes) and not dry_run)).decode())
        return
    typer.echo(_outcome(changes, halted, dry_run=dry_run))


def _check_options(action: Action, to: str | None, *, dry_run: bool, yes: bool, json: bool, csv: bool) -> None:
    if action is Action.RESET and to is None:
        raise ConfigError(Fault("reset needs to know where to", "add --to earliest, for example", path="--to"))
    strange = {"--to": to is not None, "--dry-run": dry_run, "--yes": yes} if action is Action.SHOW else {"--csv": csv}
    faults = [
        Fault(
            f"{action} has no such option",
            f"it belongs to {Action.SHOW if name == '--csv' else Action.RESET}",
            path=name,
        )
        for name, given in strange.items()
        if given
    ]
    if json and csv:
        faults.append(Fault("there are two formats", "choose --json or --csv", path="--csv"))
    if faults:
        raise ConfigError(*faults)


def _ask(count: int) -> None:
    """Raises ConfigError when nobody can be asked, typer.Abort when the answer is no."""
    if not sys.stdin.isatty():
        raise ConfigError(Fault("nobody is there to confirm this", "add --yes, or --dry-run", path="--yes"))
    typer.confirm(f"Set {count} offset{'s' if count > 1 else ''}?", abort=True, err=True)


@asynccontextmanager
async def _opened(registry: Registry) -> AsyncIterator[Offsets]:
    await probe(registry.kafka)
    async with open_offsets(registry.kafka) as opened:
        yield opened


async def _partitions(offsets: Offsets, spec: RouteSpec, topics: Collection[str]) -> list[TopicPartition]:
    """Those to be shown or set. Raises ConfigError for a topic that the route does not read."""
    found = await offsets.partitions(spec)
    read = {each.topic for each in found}
    faults = [
        Fault(f"route {spec.name} reads no topic {name!r}", did_you_mean(name, read), path="--topic")
        for name in sorted(topics)
        if name not in read
    ]
    if faults:
        raise ConfigError(*faults)
    return [each for each in found if not topics or each.topic in topics]


async def _look(registry: Registry, spec: RouteSpec, topics: Collection[str]) -> tuple[list[Row], list[Member]]:
    async with _opened(registry) as offsets:
        partitions = await _partitions(offsets, spec, topics)
        committed = await offsets.committed(spec.group, partitions)
        extents = await offsets.extents(partitions)
        members = await offsets.members(spec.group)
    notes = await _notes(registry, spec, partitions)
    return [Row(each, committed.get(each), extents[each], notes.get(each)) for each in partitions], members


async def _notes(
    registry: Registry, spec: RouteSpec, partitions: Collection[TopicPartition]
) -> dict[TopicPartition, LaneNote]:
    control = Control(KafkaTransport(registry).control(), SystemClock())
    try:
        await control.open()
        found = {each: control.note(LaneId(spec.name, each, spec.group)) for each in partitions}
    finally:
        await control.close()
    return {each: note for each, note in found.items() if note is not None}


async def _plan(
    registry: Registry, spec: RouteSpec, topics: Collection[str], target: Target
) -> tuple[list[Move], Mapping[TopicPartition, LaneNote]]:
    """The plan, and what is remembered of its lanes. Refuses a live group at once: its plan would be out of date."""
    async with _opened(registry) as offsets:
        await refuse_live(offsets, spec.group)
        partitions = await _partitions(offsets, spec, topics)
        moves = await plan_reset(offsets, spec, partitions, target)
    return moves, await _notes(registry, spec, [move.partition for move in moves])


async def _apply(registry: Registry, spec: RouteSpec, moves: Sequence[Move]) -> None:
    async with _opened(registry) as offsets:
        await reset(offsets, spec.group, moves, transactional=registry.delivery is Delivery.EXACTLY_ONCE)


def _show(spec: RouteSpec, rows: Sequence[Row], members: Sequence[Member], *, json: bool, csv: bool) -> None:
    if json:
        typer.echo(msgspec.json.encode(_rows_json(spec, rows, members)).decode())
    elif csv:
        writer = csvlib.writer(sys.stdout, lineterminator="\n")
        writer.writerows((*row.partition, row.committed) for row in rows if row.committed is not None)
    else:
        console = Console(highlight=False)
        live = ", ".join(f"{member.client} on {member.host.lstrip('/')}" for member in members)
        console.print(
            f"group {spec.group}: {f'live, {live}' if live else 'no live member'}", markup=False, soft_wrap=True
        )
        console.print(_table(rows))


def _table(rows: Sequence[Row]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("partition", overflow="fold")
    for title in ("committed", "beginning", "end", "lag"):
        table.add_column(title, justify="right")
    table.add_column("halted")
    for row in rows:
        numbers = (row.committed, row.extent.earliest, row.extent.latest, row.lag)
        reason = f"{row.halted}: {plain(row.note.reason)}" if row.halted and row.note is not None else ""
        table.add_row(str(row.partition), *(_number(number) for number in numbers), reason)
    return table


def _print_plan(spec: RouteSpec, moves: Sequence[Move]) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("partition", overflow="fold")
    for title in ("before", "after", "repeated", "skipped"):
        table.add_column(title, justify="right")
    for move in moves:
        counts = (_number(move.repeated or None), _number(move.skipped or None))
        table.add_row(str(move.partition), _number(move.before), _number(move.after), *counts)
    console = Console(highlight=False)
    console.print(f"group {spec.group} of route {spec.name}", markup=False, soft_wrap=True)
    console.print(table)


def _number(value: int | None) -> str:
    return "–" if value is None else str(value)


def _outcome(changes: Sequence[Move], halted: Mapping[TopicPartition, LaneNote], *, dry_run: bool) -> str:
    if not changes:
        return "Nothing changes."
    repeated, skipped = sum(move.repeated for move in changes), sum(move.skipped for move in changes)
    did = "would be set" if dry_run else "set"
    lines = [f"{len(changes)} offsets {did}: {repeated:,} events to be repeated, {skipped:,} skipped."]
    lines += [
        f"{note.route}:{each} is {note.state}: release it with `penstock resume` once it may go on."
        for each, note in halted.items()
        if note.state in _HALTED
    ]
    return "\n".join(lines)


def _rows_json(spec: RouteSpec, rows: Sequence[Row], members: Sequence[Member]) -> dict[str, Any]:
    return {
        "route": spec.name,
        "group": spec.group,
        "members": [{"member": each.name, "client": each.client, "host": each.host.lstrip("/")} for each in members],
        "partitions": [
            {
                "topic": row.partition.topic,
                "partition": row.partition.partition,
                "committed": row.committed,
                "beginning": row.extent.earliest,
                "end": row.extent.latest,
                "lag": row.lag,
                "halted": row.halted or None,
                "reason": row.note.reason if row.halted and row.note is not None else "",
            }
            for row in rows
        ],
    }


def _plan_json(spec: RouteSpec, moves: Sequence[Move], *, applied: bool) -> dict[str, Any]:
    return {
        "route": spec.name,
        "group": spec.group,
        "applied": applied,
        "partitions": [
            {
                "topic": move.partition.topic,
                "partition": move.partition.partition,
                "before": move.before,
                "after": move.after,
                "repeated": move.repeated,
                "skipped": move.skipped,
            }
            for move in moves
        ],
    }
