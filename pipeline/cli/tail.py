"""`penstock tail`: a topic's records for people, change events with what changed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from pipeline.cli.formats import format_of
from pipeline.cli.record_view import RecordView
from pipeline.events_file import event_fields
from pipeline.kafka.probe import probe
from pipeline.kafka.tailing import Seen, Window, tail
from pipeline.registry import load_registry
from schemas.errors import ConfigError, Fault
from schemas.formats.format import Format
from schemas.specs import KafkaSpec

_INTERRUPTED = 130


def tail_command(
    topic: Annotated[str, typer.Argument(help="The topic.", show_default=False)],
    registry: Annotated[
        Path | None,
        typer.Option(help="Whose brokers and security to use.", show_default=False),
    ] = None,
    brokers: Annotated[
        str | None, typer.Option(help="host:port, comma-separated; else the registry's.", show_default=False)
    ] = None,
    last: Annotated[int, typer.Option("--last", "-n", min=0, help="So many records of each partition.")] = 10,
    from_beginning: Annotated[bool, typer.Option("--from-beginning", help="All of them, instead.")] = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes, until Ctrl-C.")] = False,
    partition: Annotated[
        list[int] | None, typer.Option(min=0, help="Only this partition; may be repeated.", show_default=False)
    ] = None,
    uncommitted: Annotated[
        bool, typer.Option("--uncommitted", help="Records of open and aborted transactions, too.")
    ] = False,
    format_: Annotated[
        str | None,
        typer.Option(
            "--format", help="How its values are written; else as the registry's routes have it.", show_default=False
        ),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="One line of JSON per record, as `penstock try --event` reads them.")
    ] = False,
) -> None:
    """Print a topic's records: change events with their changes, dead letters with their reason. Commits nothing.

    Without --follow, ends where the topic ended at the start. Records of one partition come in order; there is no order among
    partitions. With transactions, some offsets are markers, so that fewer than --last may be shown.

    Example: penstock tail orders.enriched --registry transformers/registry.yaml --follow
    """
    kafka = brokers_of(registry, brokers)
    window = Window(None if from_beginning else last, follow, tuple(partition or ()), uncommitted)
    try:
        with ExitStack() as held:
            source = format_of(format_, registry, topic, held)
            asyncio.run(_print(kafka, topic, window, source, json=json))
    except KeyboardInterrupt:
        raise typer.Exit(_INTERRUPTED) from None


def brokers_of(registry: Path | None, brokers: str | None) -> KafkaSpec:
    """The cluster that a command without a route is about. Raises ConfigError when neither option names one."""
    if registry is not None:
        return load_registry(registry, brokers=brokers).kafka
    if brokers is None:
        problem = "neither a registry nor brokers are named"
        raise ConfigError(Fault(problem, "add --registry FILE or --brokers localhost:9092", path="--brokers"))
    return KafkaSpec(brokers=tuple(part.strip() for part in brokers.split(",")))


async def _print(kafka: KafkaSpec, topic: str, window: Window, source: Format, *, json: bool) -> None:
    await probe(kafka)
    view = RecordView(Console(soft_wrap=True, highlight=False), source)
    records: AsyncIterator[Seen] = tail(kafka, topic, window)
    async for seen in records:
        if json:
            typer.echo(msgspec.json.encode(event_fields(seen.event, seen.source)))
        else:
            view.show(seen.source, seen.event)
