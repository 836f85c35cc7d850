"""What a guest answered -> outcomes. One pass, no exceptions; an answer that breaks a rule becomes `Trouble` in its place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sandbox.records import Codec, codecs
from sandbox.text import cut, printable
from sandbox.traps import Trouble
from schemas.abi import Drop, Emit, Reject, Replace, Result, ResultRecord, decode_rejection
from schemas.event import Event, Headers
from schemas.outcome import DROPPED, Carried, Emitted, Outcome, Violation, ViolationKind
from schemas.records import Records

CODE_CHARACTERS_MAX = 128
MESSAGE_CHARACTERS_MAX = 4096


@dataclass(frozen=True, slots=True)
class Rules:
    """What an answer may be, and who gave it."""

    transformer: str
    module_sha256: str
    limits: str
    output_bytes_max: int
    topics: frozenset[str] | None
    """Topics a guest may name; None allows any."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What became of each event, or why its answer cannot be believed."""

    outcomes: list[Outcome | Trouble]
    flawed: bool
    """Some of them are Trouble."""


def judge(events: Sequence[Event], results: Sequence[Result], rules: Rules) -> Answers:
    """One outcome per event; `results` has as many items as `events`."""
    limit = rules.output_bytes_max
    judged: list[Outcome | Trouble] = []
    flawed = False
    append = judged.append
    for event, result in zip(events, results, strict=True):
        if result is None:
            append(Emitted((event,)))
        elif type(result) is Replace:
            value, key, headers = result.value, event.key, event.headers
            weight = (len(value) if value else 0) + (len(key) if key else 0) + (_weight(headers) if headers else 0)
            if weight > limit:
                flawed = True
                append(too_large(weight, limit))
            else:
                append(Emitted((Event(event.offset, event.timestamp, key, value, headers, event.to),)))
        else:
            rare = _judge_rare(event, result, rules)
            flawed = flawed or type(rare) is Trouble
            append(rare)
    return Answers(judged, flawed)


def carry(codec: Codec, events: Records, answer: bytes, rules: Rules) -> Carried | None:
    """The same verdict over what the codec has loaded, when every answer is "unchanged", a new value, a drop or a rejection.

    None for any other frame, right or wrong: `judge` must see it. Raises FrameError for a rejection that is not text.
    """
    rejected = codec.absorb(answer, rules.output_bytes_max)
    if rejected is None:
        return None
    refused = [(index, rejection(*decode_rejection(item), rules)) for index, item in rejected]
    everything = codec.kept_count == len(events)
    kept = range(len(events)) if everything else codec.kept()
    records = codecs().built(codec)
    assert len(records) == len(kept), "every kept event is one record"
    return Carried(events, records, kept, refused)


def _judge_rare(event: Event, result: Result, rules: Rules) -> Outcome | Trouble:
    match result:
        case Drop():
            return DROPPED
        case Emit(records):
            return _judge_records(event, records, rules)
        case Reject(code, message):
            return rejection(code, message, rules)
    raise AssertionError("Replace and None are judged by the caller")


def _judge_records(event: Event, records: Sequence[ResultRecord], rules: Rules) -> Outcome | Trouble:
    made = []
    weight = 0
    for record in records:
        if record.topic is not None and rules.topics is not None and record.topic not in rules.topics:
            return _foreign_topic(record.topic, rules.topics)
        headers = event.headers if record.headers is None else record.headers
        weight += len(record.key or b"") + len(record.value or b"") + _weight(headers)
        made.append(Event(event.offset, event.timestamp, record.key, record.value, headers, record.topic))
    return too_large(weight, rules.output_bytes_max) if weight > rules.output_bytes_max else Emitted(tuple(made))


def _weight(headers: Headers) -> int:
    return sum(len(name) + len(value or b"") for name, value in headers)


def rejection(code: str, message: str, rules: Rules) -> Violation:
    """The violation that a guest's `[3, code, message]` is."""
    return Violation(
        kind=ViolationKind.REJECTED,
        message=cut(printable(message), MESSAGE_CHARACTERS_MAX),
        transformer=rules.transformer,
        module_sha256=rules.module_sha256,
        code=printable(code[:CODE_CHARACTERS_MAX]),
        limits=rules.limits,
    )


def too_large(weight: int, limit: int) -> Trouble:
    """The trouble of more output than is allowed, in bytes."""
    message = f"emitted {weight} bytes of keys, values and headers; {limit} is the most per event"
    return Trouble(ViolationKind.OUTPUT_TOO_LARGE, message)


def _foreign_topic(topic: str, topics: frozenset[str]) -> Trouble:
    allowed = ", ".join(sorted(topics)) or "none"
    message = f"named the topic {topic[:249]!r}, which is not in the route's also_to (allowed: {allowed})"
    return Trouble(ViolationKind.BAD_OUTPUT, message)
