"""What a case expects of an event, in its short forms and its long one.

expect: unchanged                        # or dropped, emitted, rejected, well-behaved, or a violation: deadline, trap, …
expect: {value: {…}}                     # one record; what is left out (key, headers, topic) is the event's, and the route's topic
expect: {emitted: [{value: …}, {topic: orders.flagged}]}
expect: {rejected: bad-amount, message_has: [after.amount]}
expect: {violation: trap, message_has: unreachable}
expect: {outcome: emitted, records: [{topic: null, key: …, value: …}]}     # the long form: outcome, and what goes with it
"""

from __future__ import annotations

from typing import Any

import msgspec

from pipeline.registry.document import Steps
from pipeline.registry.shape import did_you_mean
from pipeline.workshop.cases.fields import Fields
from pipeline.workshop.cases.model import Expected, Fate
from schemas.event import Event
from schemas.outcome import ViolationKind

_RECORD = ("topic", "key", "key_base64", "value", "value_base64", "headers")
_WORDS = ("unchanged", "dropped", "emitted", "rejected", "well-behaved")
_KINDS = tuple(kind.value for kind in ViolationKind if kind is not ViolationKind.REJECTED)
_OUTCOMES = (*_WORDS, "violation", "fault")
_LONG = ("outcome", "records", "code", "violation", "message_has")
_ANYTHING = Expected(Fate.OPEN)


def expectation(fields: Fields, data: Any, steps: Steps, event: Event) -> Expected:
    """What is expected of this event. Faults are noted in `fields`."""
    if isinstance(data, str):
        return _word(fields, data, steps)
    if not isinstance(data, dict) or not data:
        fields.fault(steps, "is no outcome", f"write one of: {', '.join((*_WORDS, *_KINDS))}; or a mapping")
        return _ANYTHING
    if "outcome" in data:
        return _long(fields, data, steps, event)
    if "emitted" in data:
        data = fields.mapping(data, steps, ("emitted",), "an emitted outcome")
        return Expected(Fate.EMITTED, _records(fields, data["emitted"], (*steps, "emitted"), event))
    if "rejected" in data:
        data = fields.mapping(data, steps, ("rejected", "message_has"), "a rejected outcome")
        return _rejected(fields, data, "rejected", steps)
    if "violation" in data:
        return _violation(fields, fields.mapping(data, steps, ("violation", "message_has"), "a violation"), steps)
    known = (*_RECORD, "emitted", "rejected", "violation", "outcome")
    record = fields.mapping(data, steps, known, "an outcome")
    return Expected(Fate.EMITTED, (_record(fields, record, steps, event),))


def _word(fields: Fields, word: str, steps: Steps) -> Expected:
    if word in _WORDS:
        return Expected(Fate(word))
    if word in _KINDS:
        return Expected(Fate.VIOLATION, kind=ViolationKind(word))
    fields.fault(steps, "{shown} is no outcome", did_you_mean(word, (*_WORDS, *_KINDS)))
    return _ANYTHING


def _long(fields: Fields, data: dict[str, Any], steps: Steps, event: Event) -> Expected:
    data = fields.mapping(data, steps, _LONG, "an outcome")
    match data["outcome"]:
        case "emitted" if "records" in data:
            return Expected(Fate.EMITTED, _records(fields, data["records"], (*steps, "records"), event))
        case "rejected":
            return _rejected(fields, data, "code", steps)
        case "fault" | "violation":
            return _violation(fields, data, steps)
        case str(word) if word in _WORDS:
            return Expected(Fate(word))
        case other:
            fields.fault((*steps, "outcome"), "{shown} is no outcome", did_you_mean(other, _OUTCOMES))
            return _ANYTHING


def _records(fields: Fields, data: Any, steps: Steps, event: Event) -> tuple[Event, ...]:
    if isinstance(data, dict):
        return (_record(fields, fields.mapping(data, steps, _RECORD, "a record"), steps, event),)
    if not isinstance(data, list):
        fields.fault(steps, "is neither a record nor a list of them", "write [{value: …}]")
        return ()
    places = [(*steps, at) for at in range(len(data))]
    return tuple(
        _record(fields, fields.mapping(one, place, _RECORD, "a record"), place, event)
        for one, place in zip(data, places, strict=True)
    )


def _record(fields: Fields, data: dict[str, Any], steps: Steps, event: Event) -> Event:
    topic = data.get("topic")
    return msgspec.structs.replace(
        event,
        key=fields.payload("key", data, steps, event.key),
        value=fields.payload("value", data, steps, event.value),
        headers=fields.headers(data["headers"], (*steps, "headers")) if "headers" in data else event.headers,
        to=None if topic is None else fields.text(topic, (*steps, "topic")),
    )


def _rejected(fields: Fields, data: dict[str, Any], name: str, steps: Steps) -> Expected:
    code = data.get(name)
    if code is not None:
        code = fields.text(code, (*steps, name))
    return Expected(Fate.REJECTED, code=code, message_has=_words(fields, data, steps))


def _violation(fields: Fields, data: dict[str, Any], steps: Steps) -> Expected:
    kind = data.get("violation")
    if kind not in _KINDS:
        fields.fault((*steps, "violation"), "{shown} is no violation", did_you_mean(kind, _KINDS))
        return _ANYTHING
    return Expected(Fate.VIOLATION, kind=ViolationKind(kind), message_has=_words(fields, data, steps))


def _words(fields: Fields, data: dict[str, Any], steps: Steps) -> tuple[str, ...]:
    given = data.get("message_has", [])
    here = (*steps, "message_has")
    words = [given] if isinstance(given, str) else given
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        fields.fault(here, "is neither text nor a list of texts", 'write ["after.amount"]')
        return ()
    return tuple(words)
