"""The shipped modules, their golden cases and the recorded Debezium events, as tests use them."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.workshop.cases.model import Expected
from pipeline.workshop.cases.reading import read_case_file
from sandbox import Sandbox, Transformer
from schemas.event import Batch, Event, TopicPartition
from schemas.limits import Limits
from schemas.outcome import Outcome
from schemas.specs import InstancePolicy, TransformerSpec

ROOT = Path(__file__).resolve().parents[2]
GUESTS = ROOT / "transformers" / "guests"
MODULES = ROOT / "transformers" / "modules"
FIXTURES = ROOT / "tests" / "fixtures"
SOURCE = TopicPartition("shop.public.orders", 0)


@dataclass(frozen=True, slots=True)
class Case:
    """One golden case: what a guest makes of one event."""

    guest: str
    file: str
    name: str
    config: Mapping[str, Any]
    event: Event
    expect: Mapping[str, Any]
    """As it is written."""
    expected: Expected
    """As `penstock test` reads it."""

    def __str__(self) -> str:
        return f"{self.guest}/{self.file}: {self.name}"


def cases() -> list[Case]:
    """Every golden case of every shipped guest."""
    return [case for path in sorted(GUESTS.glob("*/*/cases/*.json")) for case in _cases_of(path)]


def _cases_of(path: Path) -> list[Case]:
    file = read_case_file(path)
    written = file.document.data["cases"]
    return [
        Case(
            guest=path.parent.parent.name,
            file=path.stem,
            name=case.name,
            config=case.settings.config or {},
            event=case.steps[0].event,
            expect=written[case.number]["expect"],
            expected=case.steps[0].expected,
        )
        for case in file.cases
    ]


def event_of(line: Mapping[str, Any]) -> Event:
    """An event as the lines of `penstock try` write it."""
    headers = tuple((name, None if value is None else value.encode()) for name, value in line["headers"])
    return Event(line["offset"], line["timestamp"], _bytes(line, "key"), _bytes(line, "value"), headers)


def _bytes(line: Mapping[str, Any], name: str) -> bytes | None:
    if f"{name}_base64" in line:
        return b64decode(line[f"{name}_base64"])
    text = line[name]
    return None if text is None else text.encode()


def fixture(name: str) -> list[Event]:
    """Events recorded from a real Debezium."""
    with (FIXTURES / f"{name}.ndjson").open() as lines:
        return [event_of(json.loads(line)) for line in lines]


def load(
    sandbox: Sandbox,
    guest: str,
    config: Mapping[str, Any] | None = None,
    *,
    limits: Limits | None = None,
    instance: InstancePolicy = InstancePolicy.PER_BATCH,
) -> Transformer:
    """A shipped module under the limits for code nobody knows, unless others are given."""
    spec = TransformerSpec(
        name=guest,
        module=MODULES / f"{guest.replace('-', '_')}.wasm",
        config=config or {},
        limits=limits or Limits.conservative().with_(deadline_ms=5_000),
        instance=instance,
    )
    return sandbox.load(spec)


def outcome_of(transformer: Transformer, event: Event) -> Outcome:
    """What becomes of one event alone."""
    (outcome,) = transformer.run(Batch(SOURCE, [event])).outcomes
    return outcome


def value_event(value: bytes | str | None, key: bytes | None = b"{}") -> Event:
    """An event with this value."""
    return Event(0, 0, key, value.encode() if isinstance(value, str) else value)
