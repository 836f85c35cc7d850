"""Lives through worlds, one seed after the other, and says how each ended. The same seed is the same story, every time."""

from __future__ import annotations

import asyncio
import gc
import logging
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pipeline.kafka import sink, source
from tests.pipeline.virtual_time import VirtualLoop
from tests.simulation.clients import SimConsumer, SimProducer
from tests.simulation.guests import GuestTime
from tests.simulation.ledger import Broken
from tests.simulation.world import World

_TURNS_MAX = 20_000


@dataclass(frozen=True)
class Story:
    """How one world ended."""

    seed: int
    wrong: str | None
    """What did not hold; None when everything did."""
    trace: tuple[str, ...] = ()
    events: int = 0
    virtual_s: float = 0.0
    outcomes: Counter[str] = field(default_factory=Counter)


class _SeededTask(asyncio.Task[Any]):
    """Sets of tasks are gone through by hash: by the seed, then, and not by address."""

    def __init__(self, coroutine: Any, *, loop: Any, order: int, **settings: Any) -> None:
        self._order = order
        super().__init__(coroutine, loop=loop, **settings)

    def __hash__(self) -> int:
        return self._order


class _WatchedLoop(VirtualLoop):
    """A virtual loop in which somebody who never waits is found out: time stands still for them."""

    def __init__(self) -> None:
        super().__init__()
        self._seen_s = 0.0
        self._turns = 0

    def _run_once(self) -> None:
        super()._run_once()  # type: ignore[misc]
        now = self.time()
        self._turns = self._turns + 1 if now == self._seen_s else 0
        self._seen_s = now
        if self._turns > _TURNS_MAX:
            self._turns = 0
            raise Broken(f"{_TURNS_MAX} turns of the loop, and no time has passed: somebody works without ever waiting")


@contextmanager
def simulated_clients() -> Iterator[None]:
    """The adapters' clients are ours."""
    real: tuple[Any, Any] = source.Consumer, sink.AIOKafkaProducer
    source.Consumer, sink.AIOKafkaProducer = SimConsumer, SimProducer
    logging.disable(logging.CRITICAL)
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        logging.disable(logging.NOTSET)
        source.Consumer, sink.AIOKafkaProducer = real


def live(seed: int, time: GuestTime, kind: type[World] = World) -> Story:
    """One world, from beginning to end. Call within `simulated_clients`."""
    loop = _WatchedLoop()
    order = random.Random(f"order {seed}")
    loop.set_task_factory(
        lambda its, coroutine, **more: _SeededTask(coroutine, loop=its, order=order.getrandbits(60), **more)
    )  # type: ignore[arg-type]
    unheard: list[str] = []
    loop.set_exception_handler(lambda _, context: unheard.append(f"{context['message']}: {context.get('exception')!r}"))
    world = kind(seed, time)
    wrong: str | None = None
    try:
        loop.run_until_complete(world.live())
        if unheard:
            wrong = f"nobody heard of: {unheard[0]}"
    except Exception as error:  # whatever it was, it is this seed's
        wrong = f"{type(error).__name__}: {world.ledger.wrong or error}"
        if isinstance(error, BaseExceptionGroup):
            wrong += f" {error.exceptions!r}"
        _sweep(loop)
    finally:
        virtual_s = loop.time()
        loop.close()
        gc.collect(0)
    return Story(seed, wrong, tuple(world.trace), world.produced, virtual_s, world.ledger.outcomes)


def _sweep(loop: asyncio.AbstractEventLoop) -> None:
    """Nothing of a failed world may reach into the next one."""
    for _ in range(50):
        tasks = asyncio.all_tasks(loop)
        if not tasks:
            return
        for task in tasks:
            task.cancel()
        try:
            loop.run_until_complete(asyncio.wait(tasks, timeout=30))
        except Exception:
            return
