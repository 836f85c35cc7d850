"""`penstock resume`: shows which lanes are halted, and releases them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.cli.trial_view import plain
from pipeline.clock import SystemClock
from pipeline.control import Control, LaneNote
from pipeline.kafka.probe import probe
from pipeline.kafka.transport import KafkaTransport
from pipeline.ports import LaneId
from pipeline.registry import load_registry
from schemas.errors import ConfigError, Fault
from schemas.event import TopicPartition
from schemas.specs import Registry

_REASON_CHARACTERS_MAX = 1_000


def resume(
    registry: Annotated[Path, typer.Argument(help="The registry file.")],
    route: Annotated[
        str | None, typer.Argument(help="Release this route's lanes; without it, only show what is halted.")
    ] = None,
    partition: Annotated[str | None, typer.Option(help="Only this lane, as TOPIC/PARTITION.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Release the lanes of all routes.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Show lanes that are stopped or paused, or whose transformer is quarantined, and release them.

    A released lane goes on at the event it stopped at, in every running process, at once.

    Example: penstock resume transformers/registry.yaml orders --partition shop.public.orders/2
    """
    loaded = load_registry(registry)
    if route is not None and route not in loaded.routes:
        raise ConfigError(
            Fault(f"there is no route {route!r}", f"routes: {', '.join(loaded.routes)}", file=str(registry))
        )
    wanted = _parse(partition) if partition is not None else None
    if wanted is not None and route is None and not everything:
        raise ConfigError(
            Fault("--partition names no route", "name the route before it, or add --all", path="--partition")
        )
    halted, released = asyncio.run(_resume(loaded, route, wanted, everything))
    if json:
        typer.echo(msgspec.json.encode({"halted": halted, "released": released}).decode())
        return
    console = Console()
    if not halted:
        console.print("No lane is halted.")
        return
    console.print(_table(halted, released))
    if not released and (route is not None or everything):
        console.print("\nNone of these is what you named: nothing was released.")
    elif not released:
        console.print("\nRelease them with: penstock resume REGISTRY ROUTE, or --all")


async def _resume(
    registry: Registry, route: str | None, wanted: TopicPartition | None, everything: bool
) -> tuple[list[LaneNote], list[str]]:
    await probe(registry.kafka)
    control = Control(KafkaTransport(registry).control(), SystemClock())
    released: list[str] = []
    try:
        await control.open()
        halted = control.notes()
        for note in halted:
            lane = LaneId(note.route, TopicPartition(note.topic, note.partition), note.group)
            if (everything or note.route == route) and wanted in (None, lane.source):
                await control.forget(lane)
                released.append(str(lane))
    finally:
        await control.close()
    return halted, released


def _parse(text: str) -> TopicPartition:
    topic, slash, number = text.rpartition("/")
    if not slash or not number.isdecimal():
        raise ConfigError(
            Fault(f"{text!r} is not a partition", "write TOPIC/NUMBER, e.g. shop.public.orders/2", path="--partition")
        )
    return TopicPartition(topic, int(number))


def _table(halted: list[LaneNote], released: list[str]) -> Table:
    table = Table(*("lane", "state", "reason", "")[: 4 if released else 3], box=None, padding=(0, 2, 0, 0))
    for note in halted:
        name = f"{note.route}:{note.topic}/{note.partition}"
        reason = (
            note.reason if not note.quarantined else "; ".join(f"{t}: {why}" for t, why in note.quarantined.items())
        )
        cells = [name, note.state.value, Text(plain(reason, _REASON_CHARACTERS_MAX))]
        table.add_row(*cells, *(["released" if name in released else "–"] if released else []))
    return table
