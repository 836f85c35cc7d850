"""A world drawn from one number: what is declared, what is produced, who runs, and what goes wrong when.

`live` plays it: first a stormy time in which everything fails now and then, then a calm one in which all that was left must
come to its end. Raises `Broken` (or what the product raised) when a promise does not hold.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from pathlib import Path

from pipeline.ports import LaneState
from sandbox import Transformer
from schemas.event import Event, TopicPartition
from schemas.specs import (
    BatchPolicy,
    Delivery,
    InstancePolicy,
    KafkaSpec,
    OnViolation,
    Quarantine,
    QuarantineAction,
    Registry,
    RouteSpec,
    TransformerSpec,
)
from tests.simulation.cluster import Cluster
from tests.simulation.guests import BAD, GOOD, LIMITS, GuestTime
from tests.simulation.ledger import Broken, SimLedger
from tests.simulation.process import Process, WorldClock
from tests.simulation.wire import Weather, Wire

_CALM_S_MAX = 500.0
_TRACE_LINES = 60


class World:
    """See the module."""

    commands_at = 0
    """Where in a value the commands are."""

    def __init__(self, seed: int, time: GuestTime) -> None:
        self.seed = seed
        self.trace: deque[str] = deque(maxlen=_TRACE_LINES)
        self._time = time
        self._chance = chance = random.Random(f"world {seed}")
        self._bad = chance.choice((0.0, 0.02, 0.1, 0.3))
        self._transformers = self._draw_chain()
        chain = [one.spec for one in self._transformers.values()]
        self._delivery = self._draw_delivery()
        self._route = self._draw_route([spec.name for spec in chain])
        self._registry = Registry(
            {spec.name: spec for spec in chain},
            {"r": self._route},
            delivery=self._delivery,
            kafka=KafkaSpec(
                request_timeout_ms=chance.choice((3_000, 40_000)), rebalance_timeout_ms=chance.choice((1_000, 30_000))
            ),
            retry_limit_s=chance.choice((20.0, 120.0)),
        )
        self._counts = self._draw_counts()
        self.ledger = self._make_ledger(chain)
        self._cluster = Cluster(chance, self._counts, self.ledger, transaction_s=chance.choice((15.0, 60.0)))
        self.ledger.cluster = self._cluster
        self._cluster.group.partitions = [
            TopicPartition(topic, n) for topic in self._route.sources for n in range(self._counts[topic])
        ]
        self._weather = Weather(
            trouble=chance.choice((0.0, 0.01, 0.05, 0.15)),
            permanent=chance.choice((0.0, 0.5)),
            delay_s=chance.choice((0.0, 0.01, 0.1)),
            slow=chance.choice((0.0, 0.05)),
            dawdle=chance.choice((0.0, 0.2, 0.9)),
        )
        self._clock = WorldClock()
        self._blocks = chance.random() < 0.5
        self._processes: list[Process] = []
        self._wanted = chance.randint(1, 3)
        self._born = 0
        self._left_to_produce = chance.choice((30, 80, 200))
        self.produced = 0

    async def live(self) -> None:
        """The whole story. Raises Broken."""
        self._produce(self._left_to_produce // 2)
        for _ in range(self._chance.randint(5, 25)):
            self._keep_running()
            await self._happen()
            await asyncio.sleep(self._chance.choice((0.0, 0.05, 0.3, 2.0, 15.0)))
            self._check()
        self._produce(self._left_to_produce)
        await self._calm_down()
        await self._finish()
        await self._end()

    def _draw_delivery(self) -> Delivery:
        return self._chance.choices((Delivery.EXACTLY_ONCE, Delivery.AT_LEAST_ONCE), (3, 2))[0]

    def _draw_counts(self) -> dict[str, int]:
        """Partitions of every topic."""
        partitions = self._chance.randint(1, 3)
        others = self._chance.choice((partitions, partitions, partitions, 2))
        return {"in": partitions, "out": others, "other": self._chance.randint(1, 3), "dead": others}

    def _make_ledger(self, chain: list[TransformerSpec]) -> SimLedger:
        return SimLedger(self._route, chain, self._counts, self._delivery)

    def _draw_chain(self) -> dict[str, Transformer]:
        chance = self._chance
        instance = {}
        for stage in range(chance.randint(1, 3)):
            spec = TransformerSpec(
                name=f"t{stage}",
                module=Path("mischief.wat"),
                limits=LIMITS,
                instance=chance.choice(list(InstancePolicy)),
                on_violation=chance.choices(list(OnViolation), (5, 2, 2, 1))[0],
                quarantine=Quarantine(chance.choice((2, 5, 1000)), 60.0, chance.choice(list(QuarantineAction))),
            )
            instance[spec.name] = self._time.load(spec, stage, self.commands_at)
        return instance

    def _draw_route(self, through: list[str]) -> RouteSpec:
        chance = self._chance
        return RouteSpec(
            name="r",
            sources=("in",),
            through=tuple(through),
            to="out",
            dead_letter="dead",
            group="g",
            also_to=("other",),
            batch=BatchPolicy(
                events_max=chance.choice((1, 3, 8, 32)),
                bytes_max=chance.choice((200, 2_000, 1 << 20)),
                linger_ms=chance.choice((0, 0, 20)),
                commit_interval_ms=chance.choice((5, 50, 500)),
                commit_events_max=chance.choice((1, 10, 1_000)),
                in_flight_bytes_max=chance.choice((500, 5_000, 1 << 20)),
            ),
        )

    def _produce(self, count: int) -> None:
        chance = self._chance
        for _ in range(count):
            if not self._left_to_produce:
                return
            self._left_to_produce -= 1
            self.produced += 1
            at = TopicPartition("in", chance.randrange(self._counts["in"]))
            log = self._cluster.log(at)
            gap = chance.choice((0, 0, 0, 0, 0, 0, 0, 1, 1, 3))
            commands = self._commands()
            value = f"{commands}0...|{log.end + gap}".encode() if chance.random() < 0.95 else None
            headers = ((("id", f"in:{at.partition}:{log.end + gap}".encode())), ("h", chance.choice((None, b"", b"v"))))
            key = chance.choice((b"a", b"b", b"c", None))
            log.append(Event(0, 1_600_000_000_000 + self.produced, key, value, headers), gap)

    def _commands(self) -> str:
        return "".join(self._chance.choice(BAD if self._chance.random() < self._bad else GOOD) for _ in range(3))

    def _keep_running(self) -> None:
        """Start what is missing, as a supervisor would."""
        self._bury()
        while len(self._processes) < self._wanted:
            self._start()

    def _bury(self) -> None:
        for process in [one for one in self._processes if one.is_over]:
            self._processes.remove(process)
            self._autopsy(process)

    def _autopsy(self, process: Process) -> None:
        assert process.task is not None
        if not process.task.cancelled():
            process.task.result()
        if process.reporter.held != (0, 0):
            raise Broken(f"{process.name} ended and still holds {process.reporter.held} bytes and events")

    def _start(self) -> None:
        self._born += 1
        name = f"p{self._born}"
        chance = random.Random(f"process {self.seed} {self._born}")
        process = Process(
            name,
            self._route,
            self._registry,
            self._transformers,
            self._cluster,
            self.ledger,
            Wire(name, chance, self._weather, self._note),
            self._clock,
            self._time,
            chance,
            self._note,
            blocks=self._blocks,
        )
        self._note(f"{name} starts")
        process.start()
        self._processes.append(process)

    async def _happen(self) -> None:
        """One thing out of many."""
        chance = self._chance
        now = asyncio.get_running_loop().time()
        process = chance.choice(self._processes)
        match chance.choices(
            ("produce", "crash", "stop", "scale", "cut", "lag", "down", "release", "clock", "rebalance"),
            (6, 2, 1, 1, 2, 3, 1, 2, 1, 3),
        )[0]:
            case "produce":
                self._produce(chance.choice((1, 10, 40)))
            case "crash":
                self._note(f"{process.name} crashes")
                await process.crash()
            case "stop":
                self._note(f"{process.name} is told to stop")
                process.stop()
            case "scale":
                self._wanted = chance.randint(1, 3)
            case "cut":
                process.wire.down_until = now + chance.choice((1.0, 15.0, 60.0))
                self._note(f"{process.name} is cut off until {process.wire.down_until:.3f}")
            case "lag":
                process.wire.lag_s = chance.choice((0.0, 0.5, 2.0))
                self._note(f"{process.name} lags by {process.wire.lag_s} s")
            case "down":
                self._weather.down_until = now + chance.choice((0.5, 5.0, 45.0))
                self._note(f"the brokers are down until {self._weather.down_until:.3f}")
            case "release":
                self._release(lambda at: chance.random() < 0.7)
            case "clock":
                self._clock.jumped_ms += chance.choice((-86_400_000, -5_000, 5_000, 86_400_000))
            case "rebalance":
                self._cluster.group.rebalance()

    def _release(self, which: Callable[[TopicPartition], bool]) -> None:
        """`penstock resume`."""
        for at in list(self.ledger.notes):
            if which(at):
                self._note(f"{at} is released")
                self._cluster.put(self.ledger.key(at), None)

    async def _calm_down(self) -> None:
        self._note("calm")
        self._weather.trouble = self._weather.slow = self._weather.dawdle = self._weather.down_until = 0.0
        for process in self._processes:
            process.wire.down_until = process.wire.lag_s = 0.0
        self._wanted = max(1, min(self._wanted, 2))

    async def _finish(self) -> None:
        """Until every lane is at its end, or at an event before which it must stop, and has said so."""
        loop = asyncio.get_running_loop()
        end = loop.time() + _CALM_S_MAX
        while not all(self._is_done(at) for at in self._cluster.group.partitions):
            self._keep_running()
            if loop.time() > end:
                at = next(at for at in self._cluster.group.partitions if not self._is_done(at))
                raise Broken(
                    f"{at} came no further than {self._committed(at)} of {self._cluster.log(at).end}; noted: {self.ledger.notes.get(at)}"
                )
            self._release(lambda at: not self._is_done(at))
            for _ in range(8):
                await asyncio.sleep(0.25)
                if all(self._is_done(at) for at in self._cluster.group.partitions):
                    break
            self._check()

    async def _end(self) -> None:
        for process in self._processes:
            process.stop()
        tasks = [process.task for process in self._processes if process.task is not None]
        _, late = await asyncio.wait(tasks, timeout=120) if tasks else (set(), set())
        if late:
            raise Broken(f"{len(late)} processes did not end within two minutes of being told to")
        self._bury()
        self._check()
        await asyncio.sleep(0.2)
        left = [task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        if left:
            raise Broken(f"tasks were left behind: {sorted(left)}")
        if alive := self._time.sandbox.stats().active_instances:
            raise Broken(f"{alive} guests were left behind")

    def _is_done(self, at: TopicPartition) -> bool:
        offset = self._committed(at)
        if offset == self._cluster.log(at).end or not self._cluster.log(at).events:
            return True
        stopper, noted = self.ledger.must_stop(at, offset), self.ledger.notes.get(at)
        if stopper is None or noted is None or noted[1].state is not LaneState.STOPPED:
            return False
        return noted[1].reason.startswith(f"{stopper} at offset ")

    def _committed(self, at: TopicPartition) -> int:
        return self._cluster.committed.get(("g", at), 0)

    def _check(self) -> None:
        if self.ledger.wrong is not None:
            raise Broken(self.ledger.wrong)

    def _note(self, text: str) -> None:
        self.trace.append(f"{asyncio.get_running_loop().time():10.3f}  {text}")
