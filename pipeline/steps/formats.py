"""A route's formats as steps: records of several rows are split before the first transformer, and what the last one emitted is
converted to the destination's format."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from pipeline.steps.step import Step
from schemas.change import EncodeError
from schemas.event import Event, TopicPartition
from schemas.formats.format import FALLS, Format, fallen
from schemas.formats.named import make_format
from schemas.formats.schemas import Schemas
from schemas.outcome import Emitted, Outcome, ViolationKind
from schemas.specs import RouteSpec


@dataclass(frozen=True, slots=True)
class RouteFormats:
    """The two formats of a route. Shared by its lanes."""

    source: Format
    """Of the sources, and between the transformers."""
    out: Format

    @classmethod
    def of(cls, route: RouteSpec, schemas: Schemas | None = None) -> RouteFormats:
        """As the registry has them; `schemas` is the schema registry, for formats that need one."""
        source = make_format(route.format_in, schemas)
        return cls(source, source if route.format_out == route.format_in else make_format(route.format_out, schemas))

    def before(self, *, decoded: bool) -> list[Step]:
        """The steps before the first transformer; `decoded`: somebody in the chain looks at change events."""
        return [Split(self.source)] if self.source.splits and (decoded or self.converts) else []

    def behind(self, route: RouteSpec) -> list[Step]:
        """The steps behind the last transformer."""
        return [Conversion(self.source, self.out, route.to)] if self.converts else []

    @property
    def converts(self) -> bool:
        """What goes out is written in another format."""
        return self.out is not self.source and self.out.is_change


class Split(Step):
    """One record for every row."""

    def __init__(self, source: Format) -> None:
        super().__init__(f"split-{source.name}")
        self._split = source.split

    def outcome(self, event: Event, source: TopicPartition) -> Outcome:
        """See the base class."""
        if event.value is None:
            return Emitted((event,))
        try:
            return Emitted(tuple(self._split(event)))
        except FALLS as error:
            return self.violation(ViolationKind.DECODE, fallen(error))


class Conversion(Step):
    """From the format of the sources to that of the destinations: values, and keys where the two write them differently."""

    def __init__(self, source: Format, out: Format, topic: str) -> None:
        super().__init__(f"{source.name}-to-{out.name}")
        self._in, self._out = source, out
        self._topic = topic
        """Where a record goes that names no other."""
        self._rekey = source.keys != out.keys

    def outcome(self, event: Event, source: TopicPartition) -> Outcome:
        """See the base class."""
        topic = event.to or self._topic
        try:
            key = self._key(event.key, source.topic, topic)
            value = self._value(event, source.topic, topic)
        except EncodeError as error:
            return self.violation(ViolationKind.SCHEMA, f"it cannot be said in {self._out.name}: {error}")
        except FALLS as error:
            return self.violation(
                ViolationKind.DECODE, f"it is no {self._in.title} in {self._in.name}: {fallen(error)}"
            )
        return Emitted((msgspec.structs.replace(event, key=key, value=value),))

    def _key(self, key: bytes | None, source: str, topic: str) -> bytes | None:
        if key is None or not self._rekey:
            return key
        return self._out.encode_key(self._in.decode_key(key, source), topic)

    def _value(self, event: Event, source: str, topic: str) -> bytes | None:
        if event.value is None:
            return None
        return self._out.encode(self._in.decode(event, source).packed, event, topic)
