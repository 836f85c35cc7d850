"""`penstock schema`: what a topic's rows look like, and what a change of a schema breaks."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from pipeline.cli.formats import format_of
from pipeline.cli.tail import brokers_of
from pipeline.contracts import read_type
from pipeline.kafka.probe import probe
from pipeline.kafka.tailing import Window, tail
from schemas.contracts.compare import Change, Compatibility, breaking, changes
from schemas.contracts.infer import Inference
from schemas.contracts.reading import SchemaError
from schemas.errors import ConfigError, Fault, PenstockError
from schemas.formats.format import FALLS, Format
from schemas.specs import KafkaSpec

schema_app = typer.Typer(
    name="schema", no_args_is_help=True, help="What rows look like, and what a change of that breaks."
)
_unpack = msgspec.msgpack.Decoder().decode


@schema_app.command("infer")
def infer(
    topic: Annotated[str, typer.Argument(help="The topic.", show_default=False)],
    registry: Annotated[
        Path | None,
        typer.Option(help="Whose brokers, security and formats to use.", show_default=False),
    ] = None,
    brokers: Annotated[
        str | None, typer.Option(help="host:port, comma-separated; else the registry's.", show_default=False)
    ] = None,
    last: Annotated[int, typer.Option("--last", "-n", min=1, help="So many records of each partition.")] = 1000,
    format_: Annotated[
        str | None,
        typer.Option(
            "--format", help="How its values are written; else as the registry's route has it.", show_default=False
        ),
    ] = None,
    table: Annotated[
        str | None, typer.Option(help="Only rows of this table (source.table).", show_default=False)
    ] = None,
) -> None:
    """Print a JSON Schema that the topic's latest rows hold to: a beginning for a route's `contract:`.

    Members that every row had are required; whatever a row can hold that none of these did is for you to add.

    Example: penstock schema infer shop.public.orders --brokers localhost:9092 > orders.schema.json
    """
    kafka = brokers_of(registry, brokers)
    found = Inference()
    with ExitStack() as held:
        source = format_of(format_, registry, topic, held)
        skipped = asyncio.run(_collect(kafka, topic, Window(last, follow=False), source, table, found))
    if skipped:
        typer.echo(f"{skipped} records were left out: they are no change events of this format", err=True)
    if found.rows == 0:
        raise PenstockError(f"the last {last} records of each partition of {topic} have no row to learn from")
    schema = found.schema(table or topic)
    typer.echo(msgspec.json.format(msgspec.json.encode(schema), indent=2))
    typer.echo(f"learned from {found.rows} rows", err=True)


async def _collect(
    kafka: KafkaSpec, topic: str, window: Window, source: Format, table: str | None, found: Inference
) -> int:
    """Rows of the topic go into `found`; how many records say nothing of a row in this format."""
    await probe(kafka)
    skipped = 0
    async for seen in tail(kafka, topic, window):
        if seen.event.value is None:
            continue
        try:
            change = _unpack(source.decode(seen.event, topic).packed)
        except FALLS:
            skipped += 1
            continue
        if change["after"] is not None and (table is None or change["source"].get("table") == table):
            found.add(change["after"])
    return skipped


@schema_app.command("diff")
def diff(
    old: Annotated[
        Path,
        typer.Argument(help="Schema file: JSON Schema (.json), Avro (.avsc) or Protobuf (.proto).", show_default=False),
    ],
    new: Annotated[Path, typer.Argument(help="The one that came after it.", show_default=False)],
    compatible: Annotated[
        Compatibility | None,
        typer.Option(help="Exit with 1 when a change breaks this.", show_default=False),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One line of JSON per change.")] = False,
) -> None:
    """Show what changed from OLD to NEW, and whom it breaks: readers of old data (backward), or readers with the old schema (forward).

    Example: penstock schema diff orders.schema.json orders.next.json --compatible full
    """
    found = changes(_read(old, "OLD"), _read(new, "NEW"))
    if json:
        for change in found:
            typer.echo(msgspec.json.encode(_as_json(change)))
    else:
        _show(found)
    if compatible is not None and (broken := breaking(found, compatible)):
        raise PenstockError(
            f"{new} is not {compatible} compatible with {old}: {len(broken)} of {len(found)} changes break it"
        )


def _read(path: Path, argument: str) -> Any:
    try:
        return read_type(path)
    except SchemaError as error:
        raise ConfigError(
            Fault(
                str(error), "name a schema file: JSON Schema (.json), Avro (.avsc) or Protobuf (.proto)", path=argument
            )
        ) from None


def _as_json(change: Change) -> dict[str, Any]:
    return {
        "path": change.path,
        "was": change.was or None,
        "now": change.now or None,
        "breaks": _broken(change),
    }


def _broken(change: Change) -> list[str]:
    return [
        name for name, broken in (("backward", change.breaks_backward), ("forward", change.breaks_forward)) if broken
    ]


def _show(found: Sequence[Change]) -> None:
    console = Console(soft_wrap=True, highlight=False)
    if not found:
        console.print("no difference in types")
    for change in found:
        style = "green" if not change.was else "red" if not change.now else "yellow"
        broken = _broken(change)
        console.print(Text.assemble((str(change), style), f"   breaks {' and '.join(broken)}" if broken else ""))
