"""What lies between one process and the cluster: delays, losses, refusals, partitions, and requests that outlive their caller."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from aiokafka import errors as kafka

from tests.simulation.cluster import Busy

T = TypeVar("T")
_AGAIN_S = 0.02
_LOST = ("request lost", "answer lost", "hangs", "hangs, arrives late", "refused, try again", "refused for good")
_PERMANENT = {"produce", "init"}
"""What a broker can refuse for good: the rest of a lane's requests follow from these."""


@dataclass
class Weather:
    """How often a request meets which fate; all zero in calm weather. Down until a time: nothing gets through before."""

    trouble: float = 0.0
    permanent: float = 0.0
    delay_s: float = 0.005
    slow: float = 0.0
    dawdle: float = 0.0
    """How often a fetch that has come is not seen at once."""
    down_until: float = 0.0


class Connection:
    """Requests arrive, and are answered, in the order they were sent: one that must wait keeps the others waiting."""

    def __init__(self) -> None:
        self._queue: deque[tuple[float, Callable[[], bool]]] = deque()
        self._is_pumping = False

    def send(self, arrival: float, arrive: Callable[[], bool]) -> None:
        """At `arrival` or later, `arrive`; again and again until it returns True."""
        self._queue.append((arrival, arrive))
        if not self._is_pumping:
            self._pump()

    def _pump(self) -> None:
        loop = asyncio.get_running_loop()
        self._is_pumping = True
        while self._queue:
            arrival, arrive = self._queue[0]
            if arrival > loop.time():
                loop.call_at(arrival, self._pump)
                return
            if not arrive():
                loop.call_later(_AGAIN_S, self._pump)
                return
            self._queue.popleft()
        self._is_pumping = False


class Wire:
    """One process' way to the cluster."""

    def __init__(self, name: str, chance: random.Random, weather: Weather, trace: Callable[[str], None]) -> None:
        self.name = name
        self.down_until = 0.0
        self.lag_s = 0.0
        """On top of every delay."""
        self.is_cut = False
        """The process is dead: it sends nothing any more, whatever its cleanup tries."""
        self._chance = chance
        self._weather = weather
        self._trace = trace

    @property
    def is_up(self) -> bool:
        return not self.is_cut and asyncio.get_running_loop().time() >= max(self.down_until, self._weather.down_until)

    async def back(self) -> None:
        """Once something gets through again; never, for a dead process."""
        while not self.is_up:  # noqa: ASYNC110 - in virtual time, and nobody tells when a link heals
            await asyncio.sleep(0.5)

    async def dawdle(self) -> None:
        """Now and then a moment in which others come first."""
        if self._chance.random() < self._weather.dawdle:
            await asyncio.sleep(self._chance.choice((0.0, 0.01, 0.2, 0.5, 1.0)))

    async def call(
        self, what: str, effect: Callable[[], T], connection: Connection | None = None, topic: str = ""
    ) -> T:
        """A request and its answer."""
        return await self.post(what, effect, connection, topic)

    def post(
        self, what: str, effect: Callable[[], T], connection: Connection | None = None, topic: str = ""
    ) -> asyncio.Future[T]:
        """Send a request; whoever stops waiting for the answer does not take the request back."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        answer.add_done_callback(_seen)
        if self.is_cut:
            answer.set_exception(kafka.KafkaConnectionError("this process is dead"))
            return answer
        chance = self._chance
        fate = self._fate(what)
        if fate:
            self._trace(f"{self.name} {what} {topic}: {fate}")
        if fate == "request lost" or (not self.is_up and chance.random() < 0.5):
            loop.call_later(self._delay() + chance.choice((0.0, 5.0, 60.0)), _fail, answer, _connection_lost())
            return answer
        arrival = max(loop.time(), self.down_until, self._weather.down_until) + self._delay()
        if fate == "hangs":
            return answer
        if fate == "hangs, arrives late":
            arrival += chance.uniform(1, 90)
        (connection or Connection()).send(arrival, lambda: self._arrive(what, effect, answer, fate, topic))
        return answer

    def _arrive(self, what: str, effect: Callable[[], Any], answer: asyncio.Future[Any], fate: str, topic: str) -> bool:
        """Whether it is done with."""
        loop = asyncio.get_running_loop()
        try:
            if fate.startswith("refused"):
                raise self._refusal(fate, topic)
            result = effect()
        except Busy:
            return False
        except kafka.KafkaError as error:
            self._trace(f"{self.name} {what} {topic}: {type(error).__name__}")
            loop.call_later(self._delay(), _fail, answer, error)
            return True
        if fate == "answer lost":
            loop.call_later(self._delay(), _fail, answer, _connection_lost())
        elif fate != "hangs, arrives late":
            loop.call_later(self._delay(), _answer, answer, result)
        return True

    def _fate(self, what: str) -> str:
        weather = self._weather
        if not weather.trouble or self._chance.random() >= weather.trouble:
            return ""
        fate = self._chance.choices(_LOST, (3, 3, 1, 1, 3, weather.permanent * (what in _PERMANENT)))[0]
        return str(fate)

    def _refusal(self, fate: str, topic: str) -> Exception:
        if fate == "refused, try again":
            return kafka.NotLeaderForPartitionError()
        return kafka.TopicAuthorizationFailedError(topic) if topic else kafka.ClusterAuthorizationFailedError()

    def _delay(self) -> float:
        slow = self._weather.slow and self._chance.random() < self._weather.slow
        return (
            self.lag_s + self._chance.uniform(0, self._weather.delay_s) + (self._chance.uniform(0.1, 3) if slow else 0)
        )


def _connection_lost() -> Exception:
    return kafka.KafkaConnectionError("the connection was lost")


def _answer(future: asyncio.Future[Any], result: Any) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)


def _seen(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()
