"""A file of golden cases, YAML or JSON, becomes a `CaseFile`. All faults at once, each with its line and what to do.

config: {currency: EUR}          # in place of the registry's; leave it out to test what the registry has
defaults: {topic: shop.orders}   # of every event below: topic, partition, offset, timestamp, key, headers
deadline: 50ms                   # budgets: the limits that the cases run under, where they are tighter than the registry's
cases:
  - name: adds the full name
    event: {key: "1", value: {op: c, after: {first_name: Ada, last_name: Lovelace, amount: 1}}}
    expect: {value: {op: c, after: {first_name: Ada, last_name: Lovelace, amount: 1, full_name: Ada Lovelace}}}
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.registry.document import Document, Steps
from pipeline.registry.reading import parse_document
from pipeline.workshop.cases.expectation import expectation
from pipeline.workshop.cases.fields import Fields
from pipeline.workshop.cases.model import Case, CaseFile, Expected, Fate, Settings, Step
from schemas.errors import ConfigError, Fault
from schemas.event import Event, TopicPartition
from schemas.units import parse_duration_ms, parse_size

SUFFIXES = (".yaml", ".yml", ".json")
FILE_BYTES_MAX = 16 << 20
TOPIC = "events"
"""Of events that name none."""
_BEGIN = "begin with cases:, a list of {name, event, expect}; the format is in docs/guests/testing.md"
_SETTINGS = ("config", "deadline", "memory", "exact")
_FILE = (*_SETTINGS, "defaults", "cases")
_CASE = ("name", "event", "events", "expect", *_SETTINGS)
_PLAIN = ("topic", "partition", "offset", "timestamp", "key", "key_base64", "headers")
_EVENT = (*_PLAIN, "value", "value_base64")
_PAIR = re.compile(r"((?:^|[^\\])(?:\\\\)*)\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")


def find_case_files(folder: Path) -> list[Path]:
    """The files of cases in this folder and below, by name."""
    return sorted(path for path in folder.rglob("*") if path.suffix in SUFFIXES and path.is_file())


def read_case_files(paths: Sequence[Path]) -> list[CaseFile]:
    """All of them. Raises ConfigError with every fault of every file."""
    files: list[CaseFile] = []
    faults: list[Fault] = []
    for path in paths:
        try:
            files.append(read_case_file(path))
        except ConfigError as error:
            faults += error.faults
    if faults:
        raise ConfigError(*faults)
    return files


def read_case_file(path: Path) -> CaseFile:
    """The cases of this file. Raises ConfigError with every fault."""
    text = _text(path)
    if path.suffix == ".json":
        text = _as_yaml(text)
    document = parse_document(text, str(path), noun="file of cases", begin=_BEGIN)
    reading = _Reading(document, path)
    cases = reading.cases()
    if reading.fields.faults:
        raise ConfigError(*sorted(reading.fields.faults, key=lambda fault: (fault.line or 0, fault.column or 0)))
    return CaseFile(path, text, cases, document)


def _text(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            raw = stream.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(Fault(f"cannot be read: {error.strerror or 'I/O error'}", file=str(path))) from None
    if len(raw) > FILE_BYTES_MAX:
        raise ConfigError(Fault("is larger than 16 MiB", "split the cases over several files", str(path)))
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(Fault("is not UTF-8 text", "save the file as UTF-8", str(path), line)) from None


def _as_yaml(text: str) -> str:
    """JSON is YAML but for two things: YAML takes no tabs, and does not join the halves of a surrogate pair."""
    joined = _PAIR.sub(lambda found: found[1] + _character(found[2], found[3]), text)
    return joined.replace("\t", "    ")


def _character(high: str, low: str) -> str:
    return bytes.fromhex(high + low).decode("utf-16-be")


class _Reading:
    """One walk through a file."""

    def __init__(self, document: Document, path: Path) -> None:
        self.fields = Fields(document)
        self._path = path
        self._document = document

    def cases(self) -> list[Case]:
        data = self.fields.mapping(self._document.data, (), _FILE, "the file")
        settings, exact = self._settings(data, (), Settings(), exact=False)
        defaults = self.fields.mapping(data.get("defaults", {}), ("defaults",), _PLAIN, "defaults")
        source, event = self._event(defaults, ("defaults",), TopicPartition(TOPIC, 0), Event(0, 0, None, None))
        written = data.get("cases")
        if not isinstance(written, list) or not written:
            if not self.fields.faults:
                self.fields.fault(("cases",), "there is no case", "add cases:, a list of {name, event, expect}")
            return []
        self._names: dict[str, int] = {}
        return [self._case(one, at, settings, exact, source, event) for at, one in enumerate(written)]

    def _settings(self, data: Mapping[str, Any], steps: Steps, base: Settings, *, exact: bool) -> tuple[Settings, bool]:
        fields, config = self.fields, data.get("config", base.config)
        if config is not None and not isinstance(config, dict):
            fields.fault((*steps, "config"), "config is not a mapping", "write {key: value}, as in the registry")
            config = {}
        deadline = fields.quantity(data.get("deadline"), (*steps, "deadline"), parse_duration_ms, 1)
        memory = fields.quantity(data.get("memory"), (*steps, "memory"), parse_size, 64 << 10)
        settings = Settings(config, deadline or base.deadline_ms, memory or base.memory_bytes)
        return settings, fields.flag(data["exact"], (*steps, "exact")) if "exact" in data else exact

    def _case(
        self, written: Any, at: int, settings: Settings, exact: bool, source: TopicPartition, event: Event
    ) -> Case:
        here: Steps = ("cases", at)
        data = self.fields.mapping(written, here, _CASE, "a case")
        settings, exact = self._settings(data, here, settings, exact=exact)
        spot = self._document.values.get(here)
        return Case(
            name=self._name(data, here, at),
            path=self._path,
            number=at,
            line=spot.line if spot else 1,
            steps=self._steps(data, here, source, event),
            settings=settings,
            exact=exact,
            is_list="events" in data,
        )

    def _name(self, data: Mapping[str, Any], here: Steps, at: int) -> str:
        given = self.fields.text(data["name"], (*here, "name")) if "name" in data else None
        name = given or f"case {at + 1}"
        if name in self._names:
            first = self._names[name] + 1
            self.fields.fault((*here, "name"), f"{{shown}} is also the name of case {first}", "name it differently")
        self._names.setdefault(name, at)
        return name

    def _steps(self, data: Mapping[str, Any], here: Steps, source: TopicPartition, event: Event) -> tuple[Step, ...]:
        written = data.get("events")
        if ("event" in data) == ("events" in data):
            if not self.fields.faults or data:
                self.fields.fault(here, "has no event, or both event and events", "give it one `event:`, or `events:`")
            return ()
        if "event" in data:
            return (self._step(data["event"], (*here, "event"), source, event, data, (*here, "expect"), 0),)
        if not isinstance(written, list) or not written:
            self.fields.fault((*here, "events"), "is not a list of events", "write a list, or one `event:`")
            return ()
        expect = data.get("expect")
        if isinstance(expect, list) and len(expect) != len(written):
            self.fields.fault(
                (*here, "expect"),
                f"{len(expect)} outcomes for {len(written)} events",
                "write one outcome per event, in order",
            )
            return ()
        return tuple(
            self._step(one, (*here, "events", at), source, event, data, (*here, "expect"), at)
            for at, one in enumerate(written)
        )

    def _step(
        self,
        written: Any,
        steps: Steps,
        source: TopicPartition,
        defaults: Event,
        case: Mapping[str, Any],
        expect_steps: Steps,
        at: int,
    ) -> Step:
        data = self.fields.mapping(written, steps, _EVENT, "an event")
        source, event = self._event(data, steps, source, defaults)
        expect = case.get("expect")
        expected = Expected(Fate.OPEN)
        if isinstance(expect, list) and "events" in case:
            expected = expectation(self.fields, expect[at], (*expect_steps, at), event)
        elif "expect" in case:
            expected = expectation(self.fields, expect, expect_steps, event)
        return Step(source, event, expected, isinstance(data.get("value"), str))

    def _event(
        self, data: Mapping[str, Any], steps: Steps, source: TopicPartition, base: Event
    ) -> tuple[TopicPartition, Event]:
        fields = self.fields
        topic, partition, offset, timestamp = source.topic, source.partition, base.offset, base.timestamp
        if "topic" in data:
            topic = fields.text(data["topic"], (*steps, "topic")) or topic
        if "partition" in data:
            partition = fields.number(data["partition"], (*steps, "partition"), 0, (1 << 31) - 1)
        if "offset" in data:
            offset = fields.number(data["offset"], (*steps, "offset"), 0)
        if "timestamp" in data:
            timestamp = fields.number(data["timestamp"], (*steps, "timestamp"), -1)
        key = fields.payload("key", data, steps, base.key)
        value = fields.payload("value", data, steps, None)
        headers = fields.headers(data["headers"], (*steps, "headers")) if "headers" in data else base.headers
        return TopicPartition(topic, partition), Event(offset, timestamp, key, value, headers)
