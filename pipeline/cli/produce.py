"""`penstock produce`: made-up change events for a route to work on."""

from __future__ import annotations

import asyncio
import json as jsonlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pipeline.demo.making import Made, in_format, rows, stories, with_ends
from pipeline.demo.shop import TOPICS
from pipeline.kafka.probe import probe
from pipeline.kafka.producing import writing
from pipeline.registry import load_registry
from pipeline.registry.shape import did_you_mean
from schemas.errors import ConfigError, Fault
from schemas.formats.named import REGISTERED
from schemas.specs import Registry, RouteSpec
from schemas.topics import matches

_INTERRUPTED = 130
_TICK_S = 0.05
"""With --rate, records go out in pieces of this length."""


def produce(
    registry: Annotated[Path, typer.Argument(help="The registry file.", show_default=False)],
    route: Annotated[str, typer.Argument(help="The route's name in it.", show_default=False)],
    count: Annotated[int, typer.Option("--count", "-c", min=1, help="So many records.")] = 1_000,
    rate: Annotated[
        float | None, typer.Option(min=0.1, help="Records a second; as fast as can be without it.", show_default=False)
    ] = None,
    shop: Annotated[
        bool, typer.Option("--shop", help="The demo's shop: customers, orders, lines, and a few that misbehave.")
    ] = False,
    topic: Annotated[
        list[str] | None,
        typer.Option(
            help="Of a route that reads a pattern: the topic to write to; may be repeated.", show_default=False
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Another number, other records; the same, the same.")] = 7,
    json: Annotated[bool, typer.Option("--json", help="Print the account as JSON.")] = False,
) -> None:
    """Write change events in a route's format to its source topics. The topics must exist.

    Rows are created, updated and deleted, with tombstones; keys are the rows' ids. With --shop, only tables whose topics the route
    reads. For an atomic route the ENDs of transactions are written too, beyond --count. Formats with a schema registry are left to
    those who have the schemas. Exit code 130 when it is interrupted: what was written until then is said.

    Example: penstock produce transformers/registry.yaml orders --shop --count 10000
    """
    loaded = load_registry(registry)
    chosen = _route(loaded, route)
    topics = _shop_topics(chosen) if shop else _topics(chosen, tuple(topic or ()))
    made = _in_its_words(chosen, islice(stories(topics, count, seed) if shop else rows(topics, seed), count))
    if chosen.atomic is not None:
        topics = (*topics, chosen.atomic.transaction_topic)
    account = _Account(time.monotonic())
    try:
        asyncio.run(_write(loaded, topics, made, rate, account))
    except KeyboardInterrupt:
        account.tell(json=json)
        raise typer.Exit(_INTERRUPTED) from None
    account.tell(json=json)


@dataclass(slots=True)
class _Account:
    began: float
    written: int = 0

    def add(self, count: int) -> None:
        self.written += count

    def tell(self, *, json: bool) -> None:
        seconds = time.monotonic() - self.began
        if json:
            typer.echo(jsonlib.dumps({"written": self.written, "seconds": round(seconds, 3)}))
        else:
            Console(highlight=False).print(f"{self.written:,} records written in {seconds:.1f} s")


def _route(registry: Registry, name: str) -> RouteSpec:
    found = registry.routes.get(name)
    if found is None:
        problem = f"there is no route {name!r}"
        raise ConfigError(Fault(problem, did_you_mean(name, registry.routes), path="ROUTE"))
    return found


def _shop_topics(route: RouteSpec) -> tuple[str, ...]:
    """Those of the shop's topics that the route reads."""
    read = tuple(
        one for one in TOPICS.values() if one in route.sources or (route.pattern and matches(route.pattern, one))
    )
    if not read:
        problem = f"the route {route.name} reads none of the shop's topics"
        raise ConfigError(Fault(problem, f"they are {', '.join(TOPICS.values())}", path="--shop"))
    return read


def _in_its_words(route: RouteSpec, made: Iterator[Made]) -> Iterator[Made]:
    """Records as the route reads them. Raises ConfigError."""
    if (name := route.format_in.name) in REGISTERED:
        problem = f"the route {route.name} reads {name}, whose schemas belong to the tables"
        remedy = f"produce to a route with format: {{in: debezium-json, out: {name}}} that writes to its topics"
        raise ConfigError(Fault(problem, remedy, path=f"routes.{route.name}.format"))
    return in_format(made if route.atomic is None else with_ends(made, route.atomic), route.format_in)


def _topics(route: RouteSpec, named: tuple[str, ...]) -> tuple[str, ...]:
    """Where a made-up table's records go."""
    if route.pattern is None:
        if named:
            problem, remedy = f"the route {route.name} names its topics itself", "leave --topic out"
            raise ConfigError(Fault(problem, remedy, path="--topic"))
        return tuple(one for one in route.sources if route.atomic is None or one != route.atomic.transaction_topic)
    foreign = [one for one in named if not matches(route.pattern, one)]
    if foreign:
        problem = f"the route {route.name} does not read {foreign[0]!r}"
        raise ConfigError(Fault(problem, f"its pattern is /{route.pattern}/", path="--topic"))
    if not named:
        remedy = "say which topic to write to: --topic NAME"
        raise ConfigError(Fault(f"the route {route.name} reads a pattern", remedy, path="--topic"))
    return named


async def _write(
    registry: Registry, topics: tuple[str, ...], made: Iterator[Made], rate: float | None, account: _Account
) -> None:
    await probe(registry.kafka)
    began, number = time.monotonic(), 0
    async with writing(registry.kafka, topics, account.add) as writer:
        for one in made:
            await writer.write(one.topic, one.key, one.value, one.headers)
            number += 1
            ahead = number / rate - (time.monotonic() - began) if rate else 0.0
            if ahead > _TICK_S:
                await writer.flush()
                await asyncio.sleep(ahead)
