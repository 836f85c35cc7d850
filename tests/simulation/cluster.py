"""A Kafka cluster's promises at the level of its requests: logs, producer epochs, transactions with their markers, groups.

It answers requests, each at one moment; what happens to a request and to its answer on the way is the wire's
(`tests.simulation.wire`). Every commit is shown to the ledger before anybody else sees it.
"""

from __future__ import annotations

import asyncio
import random
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from aiokafka import errors as kafka

from schemas.event import Event, TopicPartition

SESSION_S = 10.0
REBALANCE_S = 30.0


class Busy(Exception):
    """Ask again in a moment: the transaction before is still being finished."""


@dataclass
class Log:
    """One partition. Offsets have gaps, as transaction markers and compaction leave them."""

    events: list[Event] = field(default_factory=list)
    end: int = 0

    def append(self, event: Event, gap: int = 0) -> None:
        self.end += gap
        self.events.append(Event(self.end, event.timestamp, event.key, event.value, event.headers))
        self.end += 1

    def since(self, offset: int, count: int) -> Sequence[Event]:
        at = bisect_left(self.events, offset, key=lambda event: event.offset)
        return self.events[at : at + count]

    def between(self, start: int, stop: int) -> Sequence[Event]:
        at = bisect_left(self.events, start, key=lambda event: event.offset)
        return self.events[at : bisect_left(self.events, stop, key=lambda event: event.offset)]


Written = tuple[TopicPartition, Event]


@dataclass
class Transaction:
    """The coordinator's memory of one transactional id."""

    epoch: int = 0
    serial: int = 0
    """Of the open transaction: what its timeout is for."""
    written: list[Written] = field(default_factory=list)
    offsets: dict[tuple[str, TopicPartition], int] = field(default_factory=dict)
    is_open: bool = False
    is_ending: bool = False
    """Its outcome is decided, its markers are not all written."""


class Ledger(Protocol):
    """Is shown what becomes durable."""

    def transaction(
        self, who: str, written: Sequence[Written], offsets: Mapping[tuple[str, TopicPartition], int]
    ) -> None: ...
    def produced(self, at: TopicPartition, events: Sequence[Event]) -> None: ...
    def offset(self, who: str, group: str, at: TopicPartition, offset: int) -> None: ...
    def note(self, key: str, document: bytes | None) -> None: ...


class Cluster:
    """See the module."""

    def __init__(self, chance: random.Random, topics: Mapping[str, int], ledger: Ledger, transaction_s: float) -> None:
        self.logs = {topic: [Log() for _ in range(count)] for topic, count in topics.items()}
        self.committed: dict[tuple[str, TopicPartition], int] = {}
        self.documents: list[tuple[str, bytes | None]] = []
        self.group = Group(chance)
        self._chance = chance
        self._ledger = ledger
        self._transaction_s = transaction_s
        self._transactions: dict[str, Transaction] = {}

    def log(self, at: TopicPartition) -> Log:
        return self.logs[at.topic][at.partition]

    def init_producer(self, name: str) -> int:
        """A new epoch; whoever had the one before is fenced, and their open transaction aborted."""
        one = self._transactions.setdefault(name, Transaction())
        if one.is_ending:
            raise Busy
        one.epoch += 1
        self._clear(one)
        return one.epoch

    def produce(self, owner: tuple[str, int] | None, at: TopicPartition, events: Sequence[Event]) -> None:
        if owner is None:
            self._ledger.produced(at, events)
            self._append([(at, event) for event in events])
            return
        one = self._owned(owner, kafka.InvalidProducerEpoch)
        self._open(owner[0], one)
        one.written += [(at, event) for event in events]

    def add_offsets(self, owner: tuple[str, int], offsets: Mapping[tuple[str, TopicPartition], int]) -> None:
        """No generation: as aiokafka sends it."""
        one = self._owned(owner, kafka.ProducerFenced)
        self._open(owner[0], one)
        one.offsets.update(offsets)

    def end(self, who: str, owner: tuple[str, int], *, commit: bool) -> None:
        """Answered when it is decided; the markers, and with them what readers and the group see, come a little later."""
        one = self._owned(owner, kafka.ProducerFenced)
        if not one.is_open:
            return
        one.is_open, one.is_ending = False, True
        if commit:
            self._ledger.transaction(who, one.written, one.offsets)
        asyncio.get_running_loop().call_later(self._chance.choice((0.0, 0.01, 0.3)), self._finish, one, commit)

    def commit_offset(
        self, who: str, member: object, generation: int, group: str, at: TopicPartition, offset: int
    ) -> None:
        """Outside of a transaction."""
        if not self.group.is_current(member, generation):
            raise kafka.CommitFailedError("the group has rebalanced")
        self._ledger.offset(who, group, at, offset)
        self.committed[group, at] = offset

    def put(self, key: str, document: bytes | None) -> None:
        """A record of the control topic."""
        self._ledger.note(key, document)
        self.documents.append((key, document))

    def _open(self, name: str, one: Transaction) -> None:
        if one.is_open:
            return
        one.is_open = True
        one.serial += 1
        asyncio.get_running_loop().call_later(self._transaction_s, self._expire, one, one.serial)

    def _expire(self, one: Transaction, serial: int) -> None:
        if one.is_open and one.serial == serial:
            one.epoch += 1
            self._clear(one)

    def _finish(self, one: Transaction, commit: bool) -> None:
        if commit:
            self._append(one.written)
            self.committed.update(one.offsets)
        self._clear(one)

    def _append(self, written: Sequence[Written]) -> None:
        for at, event in written:
            self.log(at).append(event)

    def _owned(self, owner: tuple[str, int], refusal: type[Exception]) -> Transaction:
        one = self._transactions[owner[0]]
        if one.epoch != owner[1]:
            raise refusal("there is a newer epoch")
        if one.is_ending:
            raise Busy
        return one

    @staticmethod
    def _clear(one: Transaction) -> None:
        one.written, one.offsets, one.is_open, one.is_ending = [], {}, False, False


class Member(Protocol):
    """A consumer, as the coordinator sees it."""

    topic: str

    def rejoin(self) -> None:
        """The next heartbeat's answer: join again."""
        ...


class Group:
    """The coordinator of the one group. Eager: everyone gives everything up, then partitions are dealt out, each to one or all to one."""

    def __init__(self, chance: random.Random) -> None:
        self.generation = 0
        self.partitions: list[TopicPartition] = []
        self.all_to_one = False
        self._chance = chance
        self._members: list[Member] = []
        self._joining: dict[Member, asyncio.Future[tuple[int, list[TopicPartition]]]] = {}
        self._round = 0

    def is_current(self, member: object, generation: int) -> bool:
        return member in self._members and generation == self.generation

    def join(self, member: Member) -> asyncio.Future[tuple[int, list[TopicPartition]]]:
        """Answered with the generation and the member's share when all have joined, or those who have not are out."""
        answer: asyncio.Future[tuple[int, list[TopicPartition]]] = asyncio.get_running_loop().create_future()
        if member not in self._members:
            self._members.append(member)
        if not self._joining:
            self._round += 1
            asyncio.get_running_loop().call_later(REBALANCE_S, self._give_up_waiting, self._round)
        self._joining[member] = answer
        self.rebalance()
        self._deal_when_complete()
        return answer

    def leave(self, member: Member) -> None:
        """At once: it said so, or its session is over."""
        waiting = self._joining.pop(member, None)
        if waiting is not None and not waiting.done():
            waiting.set_exception(kafka.UnknownMemberIdError())
        if member in self._members:
            self._members.remove(member)
            self.rebalance()
            self._deal_when_complete()

    def rebalance(self) -> None:
        """Everyone is to join again."""
        for member in self._members:
            if member not in self._joining:
                member.rejoin()

    def _give_up_waiting(self, number: int) -> None:
        if self._joining and number == self._round:
            self._members = [member for member in self._members if member in self._joining]
            self._deal_when_complete()

    def _deal_when_complete(self) -> None:
        if not self._joining or len(self._joining) < len(self._members):
            return
        self.generation += 1
        joined, self._joining = list(self._joining.items()), {}
        self._chance.shuffle(joined)
        for number, (_, answer) in enumerate(joined):
            if not answer.done():
                share = self.partitions[number :: len(joined)]
                if self.all_to_one:
                    share = [] if number else self.partitions
                answer.set_result((self.generation, share))
