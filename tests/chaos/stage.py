"""What a scenario stands on: brokers, topics, members and feeds of its own, chance from a seed, and the closing check."""

from __future__ import annotations

import random
import re
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from confluent_kafka import KafkaException

from tests.chaos.feed import Feed
from tests.chaos.member import Member
from tests.chaos.verdict import Streams, ends_of, faults, summary
from tests.e2e.stream import create_stream_topics, orders, registry_text
from tests.services.kafka import KafkaBroker
from tests.services.topics import committed_offsets

_POLL_S = 0.25
_SKIPPED = re.compile(
    r"Couldn't find leader endpoint .* transaction markers for (\S+), these partitions are likely deleted"
)
NO_PROGRESS_S = 90.0
"""Longer than any single recovery here: a group that commits nothing for so long hangs."""


class BrokerForgotError(Exception):
    """The broker completed a transaction without its markers, and says so in its log: whatever follows is not penstock's doing.

    Kafka 4.3.1 takes a partition whose leader it does not know, when it retries after a restart, for a deleted one. What the
    transaction wrote becomes visible with the producer's next commit, and its offsets never count: doubled, for every client.
    """


class Stage:
    """One scenario's belongings; leaving it ends every process that it started."""

    def __init__(self, name: str, seed: int, folder: Path, *, full: bool, quiet: bool = False) -> None:
        self.name = name
        self.full = full
        """Whether every break is made as often as the issue asks for, or only once or twice."""
        self.chance = random.Random(f"{seed}:{name}")
        self.folder = folder
        self.breaks = 0
        """Kills, restarts, partitions: what was done to it."""
        self.notes: dict[str, object] = {}
        self._quiet = quiet
        self._began = time.monotonic()
        self._members: list[Member] = []
        self._closing = ExitStack()

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if error is not None:
            self.say(f"failed: {str(error).splitlines()[0] if str(error) else kind}")
        self._closing.close()

    def say(self, text: str) -> None:
        """One line of progress."""
        if not self._quiet:
            print(f"{time.monotonic() - self._began:7.1f}  {self.name}: {text}", file=sys.stderr, flush=True)

    def broke(self, what: str) -> None:
        """Count one break, and say it."""
        self.breaks += 1
        self.say(what)

    @property
    def broker_folder(self) -> Path:
        """Where `broker` keeps its data: its log directory is `logs` in it."""
        return self.folder / "kafka"

    def broker(self, **options: object) -> KafkaBroker:
        """A broker of the scenario's own."""
        broker = KafkaBroker(self.broker_folder, **options)  # type: ignore[arg-type]
        self._closing.callback(broker.close)
        broker.start()
        return broker

    def streams(self, broker: KafkaBroker, partitions: int = 3, name: str = "c") -> Streams:
        """The topics of `tests.e2e.stream`, made."""
        create_stream_topics(broker.bootstrap, name, partitions)
        return Streams(broker.bootstrap, f"{name}-orders", (f"{name}.in",), f"{name}.out", f"{name}.dlq")

    def registry(self, file: str, bootstrap: str, *, route: str = "", kafka: str = "", name: str = "c") -> Path:
        """A registry file for the topics named `name`; `kafka` goes on in its section of that name, `route` in the route."""
        path = self.folder / f"{file}.yaml"
        text = registry_text(bootstrap, name, extra=route)
        path.write_text(text.replace("session_timeout: 6s", f"session_timeout: 6s{kafka and ', '}{kafka}"))
        return path

    def member(self, name: str, registry: Path, *options: str, admin_port: int | None = None) -> Member:
        """A `penstock run` that is not started yet."""
        member = Member(name, registry, *options, admin_port=admin_port)
        self._members.append(member)
        self._closing.callback(member.close)
        return member

    def feed(self, streams: Streams, events: int, seconds: float) -> Feed:
        """Numbered orders into the first source, spread over about so many seconds."""
        return Feed(streams.bootstrap, streams.sources[0], orders(events), events / seconds)

    def pause(self, low_s: float, high_s: float) -> None:
        """A random while: when the next break comes is what the seed decides."""
        seconds = self.chance.uniform(low_s, high_s)
        time.sleep(seconds)

    def until(self, condition: Callable[[], bool], what: str, seconds: float = 60.0) -> float:
        """Wait for something that is to happen; how long that took. Raises AssertionError with the members' logs."""
        began = time.monotonic()
        while not condition():
            waited = time.monotonic() - began
            self._check_members()
            assert waited < seconds, f"{what}: not within {seconds:.0f} s\n{self.tails()}"
            time.sleep(0.05)
        return time.monotonic() - began

    def done(self, streams: Streams) -> int:
        """How far the group is, all source partitions together."""
        return sum(
            sum(committed_offsets(streams.bootstrap, streams.group, topic).values()) for topic in streams.sources
        )

    def settle(self, streams: Streams) -> None:
        """Until the group has committed the ends of its sources. Raises AssertionError when it stops making progress."""
        best, since = -1, time.monotonic()
        while True:
            try:
                goal = sum(
                    sum(ends_of(streams.bootstrap, topic, committed=False).values()) for topic in streams.sources
                )
                done = self.done(streams)
            except KafkaException:  # the broker is coming back
                goal, done = -1, best
            if done == goal:
                return
            if done > best:
                best, since = done, time.monotonic()
            self._check_members()
            assert time.monotonic() - since < NO_PROGRESS_S, f"hangs at {done} of {goal}\n{self.tails()}"
            time.sleep(_POLL_S)

    def verify(self, streams: Streams) -> None:
        """The closing check. Raises AssertionError with what it found."""
        found = faults(streams)
        if found and (forgotten := self.forgotten()):
            raise BrokerForgotError(f"the broker forgot the markers of {', '.join(forgotten)}")
        assert not found, f"{summary(found)}\n{self.tails(8)}"
        tracebacks = [member.name for member in self._members if member.has_traceback]
        assert not tracebacks, f"tracebacks in the logs of {tracebacks}\n{self.tails(60)}"

    def forgotten(self) -> list[str]:
        """Transactional ids whose markers a broker's log says it skipped."""
        log = self.broker_folder / "server.log"
        return sorted(set(_SKIPPED.findall(log.read_text(errors="replace")))) if log.exists() else []

    def _check_members(self) -> None:
        for member in self._members:
            member.check()

    def tails(self, lines: int = 25) -> str:
        """The ends of the members' logs."""
        return "\n".join(member.tail(lines) for member in self._members)
