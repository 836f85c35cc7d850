"""`penstock run --until-end`: the bounded run around one process or a supervisor, its progress and its account."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, NoReturn

import msgspec
import typer
from rich.console import Console

from pipeline.backfill import Backfill, Limit, Part, Stage, plan
from pipeline.cli.progress import Progress, progress_on
from pipeline.clock import SystemClock
from pipeline.control import Control
from pipeline.kafka.offsets import open_offsets
from pipeline.kafka.transport import KafkaTransport
from schemas.specs import Registry

OUTCOMES = ("emitted", "dropped", "dead_lettered", "passed_through")
_EXIT_HALTED = 1
_EXIT_INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Account:
    """What a bounded run came to."""

    parts: Sequence[Part]
    outcomes: Mapping[str, int]
    """Source events that this command's processes committed, by outcome."""
    seconds: float
    code: int
    """The service's own exit code."""

    @property
    def halted(self) -> list[Part]:
        """Partitions that will not get through by themselves."""
        return [part for part in self.parts if part.stage is Stage.HALTED]

    @property
    def is_complete(self) -> bool:
        """Whether every end is committed."""
        return all(part.stage is Stage.THROUGH for part in self.parts)

    @property
    def exit_code(self) -> int:
        """0 when all ends are committed, 1 when partitions halted or the service failed, 130 when it was interrupted."""
        if self.code or self.halted:
            return self.code or _EXIT_HALTED
        return 0 if self.is_complete else _EXIT_INTERRUPTED


Service = Callable[[Limit], Awaitable[int]]
"""Runs until told to stop, or `enough` is set; returns an exit code."""


async def run_until_end(registry: Registry, service: Service, outcomes: Callable[[], Mapping[str, int]]) -> Account:
    """Everything that the routes have before them now, and nothing that comes later. Raises what `service` raises, and TransportError."""
    clock = SystemClock()
    began = clock.monotonic()
    async with AsyncExitStack() as stack:
        offsets = await stack.enter_async_context(open_offsets(registry.kafka))
        control = Control(KafkaTransport(registry).control(), clock)
        stack.push_async_callback(control.close)
        await control.open()
        backfill = await plan(registry.routes.values(), offsets, control, clock)
        await backfill.look()
        progress = stack.enter_context(progress_on(Console(stderr=True, highlight=False)))
        progress.show(backfill.parts)
        code = 0 if backfill.is_over else await _watched(backfill, control, service, progress)
        await backfill.look()
        progress.show(backfill.parts)
    return Account(backfill.parts, outcomes(), clock.monotonic() - began, code)


async def _watched(backfill: Backfill, control: Control, service: Service, progress: Progress) -> int:
    """The service's exit code; it is told to stop as soon as there is nothing to wait for."""
    limit = Limit(backfill.ends, asyncio.Event())
    following = asyncio.create_task(control.follow(lambda _: None))
    watching = asyncio.create_task(backfill.run(progress.show))
    watching.add_done_callback(lambda _: limit.enough.set())
    try:
        return await service(limit)
    finally:
        for task in (watching, following):
            task.cancel()
        ended = await asyncio.gather(watching, following, return_exceptions=True)
        for error in ended:
            if isinstance(error, Exception):
                raise error


def tell(account: Account, *, json: bool) -> NoReturn:
    """Print the account. Raises typer.Exit with its exit code."""
    if json:
        typer.echo(msgspec.json.encode(as_json(account)).decode())
    else:
        typer.echo(summary(account))
    for part in account.halted:
        print(f"error: {part.lane} is halted at offset {part.at} of {part.end}: {part.reason}", file=sys.stderr)  # noqa: T201
    if account.halted:
        print("release halted lanes with `penstock resume`, then run this again", file=sys.stderr)  # noqa: T201
    raise typer.Exit(account.exit_code)


def summary(account: Account) -> str:
    """What was done, and what is left, in a line or two."""
    events = sum(account.outcomes.values())
    rate = f", {events / account.seconds:,.0f}/s" if events else ""
    kinds = ", ".join(f"{name.replace('_', '-')} {count:,}" for name, count in account.outcomes.items() if count)
    did = f"{events:,} events in {account.seconds:.1f} s{rate}" + (f": {kinds}" if kinds else "")
    through = sum(part.stage is Stage.THROUGH for part in account.parts)
    whole = f"{through} of {len(account.parts)} partitions are committed to the end seen at the start"
    if account.is_complete:
        return f"{did}\nall {len(account.parts)} partitions are committed to the end seen at the start"
    left = sum(part.total - part.done for part in account.parts)
    return f"{did}\n{whole}; {left:,} offsets are left, and running this again goes on there"


def as_json(account: Account) -> dict[str, Any]:
    """The account as plain data."""
    return {
        "complete": account.is_complete,
        "events": sum(account.outcomes.values()),
        "outcomes": dict(account.outcomes),
        "seconds": round(account.seconds, 3),
        "partitions": [
            {
                "route": part.lane.route,
                "topic": part.lane.source.topic,
                "partition": part.lane.source.partition,
                "group": part.lane.group,
                "start": part.start,
                "committed": part.at,
                "end": part.end,
                "state": part.stage,
                "reason": part.reason,
            }
            for part in account.parts
        ],
    }
