"""`encoding: event`: records' values as change events on their way to a guest, and a guest's answers on their way back.

A value that is no change event is its event's own violation (`decode`) and never reaches a guest. An answer that cannot be said in
the source's format is `Trouble` in its place, as any other answer that breaks a rule.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from sandbox.records import CodecError
from sandbox.results import Answers, Rules, judge, too_large
from sandbox.text import cut, printable
from sandbox.traps import Trouble
from schemas.abi import (
    BatchEncoder,
    ChangeRecord,
    ChangeResult,
    Emit,
    EmitChanges,
    Replace,
    ReplaceChange,
    Result,
    ResultRecord,
    decode_change_results,
)
from schemas.change import plain_bytes
from schemas.event import Event, TopicPartition
from schemas.formats.debezium import DebeziumJson
from schemas.formats.format import FALLS, Document, Format, fallen
from schemas.outcome import Outcome, Violation, ViolationKind
from schemas.records import Records

MESSAGE_CHARACTERS_MAX = 500
_NIL = b"\xc0"
_pack = msgspec.msgpack.Encoder().encode


class ChangeEncoder(BatchEncoder):
    """Encodes the batches of one lane as change events, and judges what is answered to them. Holds one batch's at a time."""

    __slots__ = ("_batch", "_documents", "_format", "_rules", "_topic", "is_usual")

    def __init__(self, source: TopicPartition, rules: Rules, format_: Format) -> None:
        super().__init__(source, "event")
        self._topic = source.topic
        self._format = format_
        self._rules = rules
        self.is_usual = format_.name == DebeziumJson.name
        """The host's codec knows the format, so that records need not become events."""
        self._batch: Sequence[Event] = ()
        self._documents: dict[int, Document | None] = {}
        """By the identity of the event, which `_batch` keeps alive; None is a tombstone's."""

    def take(self, events: Sequence[Event]) -> tuple[list[Event], dict[int, Violation]]:
        """Decode a batch: the events that a guest may see, and by index the verdicts on the others. Raises TransportError."""
        decode, topic = self._format.decode, self._topic
        self._batch, self._documents = events, {}
        good: list[Event] = []
        bad: dict[int, Violation] = {}
        for index, event in enumerate(events):
            try:
                self._documents[id(event)] = None if event.value is None else decode(event, topic)
            except FALLS as error:
                bad[index] = self._undecodable(error)
            else:
                good.append(event)
        return good, bad

    def adopt(self, records: Records) -> list[Event]:
        """The events of records that the codec has decoded, to be judged one by one all the same. Raises CodecError should one of
        them be no change event after all.
        """
        events = records.events()
        if events is not self._batch and self.take(events)[1]:
            raise CodecError("it took for a change event what is none")
        return events

    def forget(self) -> None:
        """Let go of the batch."""
        self._batch, self._documents = (), {}

    def body(self, events: Sequence[Event]) -> bytes:
        """The frame's second element, for events that `take` gave back."""
        return _pack([(one.offset, one.timestamp, one.key, self._value(one), one.headers) for one in events])

    def judge(self, events: Sequence[Event], answer: bytes) -> Answers:
        """One outcome per event. Raises FrameError for a frame that has not the ABI's shape."""
        results = decode_change_results(answer, len(events))
        told = [self._told(event, result) for event, result in zip(events, results, strict=True)]
        plain = [None if isinstance(one, Trouble) else one for one in told]
        judged = judge(events, plain, self._rules)
        if not any(type(one) is Trouble for one in told):
            return judged
        outcomes = [
            one if isinstance(one, Trouble) else outcome for one, outcome in zip(told, judged.outcomes, strict=True)
        ]
        return Answers(outcomes, flawed=True)

    def _value(self, event: Event) -> msgspec.Raw | None:
        document = self._documents[id(event)]
        return None if document is None else msgspec.Raw(document.packed)

    def _undecodable(self, error: Exception) -> Violation:
        rules = self._rules
        return Violation(
            kind=ViolationKind.DECODE,
            message=cut(printable(f"the value is no {self._format.title}: {fallen(error)}"), MESSAGE_CHARACTERS_MAX),
            transformer=rules.transformer,
            module_sha256=rules.module_sha256,
            limits=rules.limits,
        )

    def _told(self, event: Event, result: ChangeResult) -> Result | Trouble:
        """The same result with values in the source's format."""
        try:
            match result:
                case ReplaceChange(value):
                    return Replace(self._encoded(event, value))
                case EmitChanges(records):
                    return self._emitted(event, records)
                case _:
                    return result
        except FALLS as error:
            message = cut(printable(f"the value it emitted: {fallen(error)}"), MESSAGE_CHARACTERS_MAX)
            return Trouble(ViolationKind.BAD_OUTPUT, message)

    def _emitted(self, event: Event, records: Sequence[ChangeRecord]) -> Emit | Trouble:
        """A few bytes of msgpack may stand for a large part of the source, so the sum is looked at before there is too much of it."""
        made: list[ResultRecord] = []
        weight, limit = 0, self._rules.output_bytes_max
        for record in records:
            value = self._encoded(event, record.value)
            made.append(ResultRecord(record.topic, record.key, value, record.headers))
            weight += len(value or b"")
            if weight > limit:
                return too_large(weight, limit)
        return Emit(tuple(made))

    def _encoded(self, event: Event, value: msgspec.Raw) -> bytes | None:
        packed = bytes(value)
        if packed == _NIL:
            return None
        if (plain := plain_bytes(packed)) is not None:
            return plain
        document = self._documents[id(event)]
        return self._format.encode(packed, event, self._topic) if document is None else document.encode(packed)


def merged(count: int, judged: Sequence[Outcome], apart: dict[int, Violation]) -> list[Outcome]:
    """Outcomes of a whole batch of `count`, of which some had a verdict `apart`; up to the first event without any."""
    return list(_merged(count, judged, apart))


def _merged(count: int, judged: Sequence[Outcome], apart: dict[int, Violation]) -> Iterator[Any]:
    rest = iter(judged)
    for index in range(count):
        outcome = apart.get(index) or next(rest, None)
        if outcome is None:
            return
        yield outcome
