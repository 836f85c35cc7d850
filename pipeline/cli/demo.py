"""`penstock demo`: the whole of penstock on this machine in half a minute, without Kafka, Java or Docker."""

from __future__ import annotations

import asyncio
import json as jsonlib
import signal
from collections.abc import Callable
from typing import Annotated

import typer
from rich.console import Console

from pipeline.assets import shop_registry
from pipeline.demo.display import display_for
from pipeline.demo.run import Demo, Progress, Result, demo_registry
from pipeline.demo.shop import EVENTS_MIN
from pipeline.demo.summary import as_json, summary
from pipeline.embedded import EmbeddedBroker
from pipeline.observe.logs import configure_logging
from pipeline.service import tune_process
from schemas.specs import Registry

_EXIT_FAILURE = 1
_EXIT_INTERRUPTED = 128 + signal.SIGINT


def demo(
    events: Annotated[int, typer.Option(min=EVENTS_MIN, help="How many change events to produce.")] = 50_000,
    json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON; progress goes to stderr.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the broker and its topics until Ctrl-C.")] = False,
) -> None:
    """Run a shop's change events through the real pipeline and account for every one of them.

    Starts a broker inside this process, produces a stream in which a known few events make a transformer loop, crash, hog
    memory or lie, runs transformers/registry.yaml, and reads all topics back. Exit code 1: an event was lost, duplicated or
    ended where it must not.

    Example: penstock demo --events 10000 --json
    """
    configure_logging(json=False, level="error")
    out, err = Console(highlight=False), Console(stderr=True, highlight=False)
    try:
        with EmbeddedBroker() as broker:
            path = shop_registry()
            registry = demo_registry(path, broker)
            result = _run(registry, broker, events, err if json else out)
            if json:
                typer.echo(jsonlib.dumps(as_json(result), indent=2, ensure_ascii=False))
            else:
                out.print("", summary(result, path), sep="\n")
            if keep:
                _keep(broker, registry, err if json else out)
    except KeyboardInterrupt:
        raise typer.Exit(_EXIT_INTERRUPTED) from None
    if not result.account.is_clean:
        raise typer.Exit(_EXIT_FAILURE)


def _run(registry: Registry, broker: EmbeddedBroker, events: int, console: Console) -> Result:
    console.print(f"penstock demo: {events:,} change events, embedded broker at {broker.address}", style="bold")
    tune_process()
    with display_for(console) as display:
        return asyncio.run(_demo(registry, broker, events, display.show))


async def _demo(registry: Registry, broker: EmbeddedBroker, events: int, show: Callable[[Progress], None]) -> Result:
    return await Demo(registry, broker, events).run(show)


def _keep(broker: EmbeddedBroker, registry: Registry, console: Console) -> None:
    """Wait for Ctrl-C. Raises KeyboardInterrupt."""
    console.print(f"\nThe broker stays at [bold]{broker.address}[/] until Ctrl-C. Its topics:")
    for route in registry.routes.values():
        console.print(f"  {', '.join(route.sources)} → {', '.join((*route.destinations, route.dead_letter))}")
    console.print(
        f"For example: kcat -C -e -b {broker.address} -t {registry.routes['orders'].dead_letter} -f '%h\\n%s\\n'",
        markup=False,
        soft_wrap=True,
    )
    signal.pause()
