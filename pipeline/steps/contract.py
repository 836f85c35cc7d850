"""`contract:` on a route: rows that do not look as they were said to, and writers whose schema breaks what was agreed, go no further.

A writer's schema is compared once for every schema that is seen; rows are held to the contract one by one, since a writer without a
schema says what it writes by writing it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from pipeline.contracts import Contract, known_contract
from pipeline.steps.step import Step
from schemas.contracts.compare import Compatibility, breaking, changes
from schemas.contracts.reading import SchemaError
from schemas.event import Event, TopicPartition
from schemas.formats.format import FALLS, Format, fallen
from schemas.outcome import Emitted, Outcome, ViolationKind
from schemas.specs import ContractSpec, OnBreak, OnViolation

SCHEMAS_KEPT: Final = 256
"""Of a writer; a 257th is compared anew."""
CHANGES_SHOWN: Final = 5
_unpack = msgspec.msgpack.Decoder().decode


class ContractGate(Step):
    """One contract of a route, for one lane."""

    def __init__(self, spec: ContractSpec, source: Format) -> None:
        """Raises SchemaError when the contract cannot be read."""
        super().__init__("contract", OnViolation.STOP if spec.on_break is OnBreak.PARK else OnViolation.DEAD_LETTER)
        self._spec = spec
        self._format = source
        self._contract: Contract = known_contract(spec.schema, spec.base)
        self._known: OrderedDict[object, str] = OrderedDict()
        """What is wrong with each writer's schema; empty for good ones."""

    def outcome(self, event: Event, source: TopicPartition) -> Outcome:
        """See the base class."""
        if event.value is None:
            return Emitted((event,))
        try:
            change = _unpack(self._format.decode(event, source.topic).packed)
            if self._spec.tables and change["source"].get("table") not in self._spec.tables:
                return Emitted((event,))
            broken = self._writer(event, source.topic) or self._row(change["after"])
        except SchemaError as error:
            return self.violation(ViolationKind.DECODE, f"it cannot be held to {self._spec.schema}: {error}")
        except FALLS as error:
            return self.violation(ViolationKind.DECODE, f"it cannot be held to {self._spec.schema}: {fallen(error)}")
        return self.violation(ViolationKind.SCHEMA, broken) if broken else Emitted((event,))

    def _row(self, row: dict[str, Any] | None) -> str:
        problems = [] if row is None else self._contract.check(row)
        return f"it breaks {self._spec.schema}: {'; '.join(problems)}" if problems else ""

    def _writer(self, event: Event, topic: str) -> str:
        if self._spec.compatible is Compatibility.NONE:
            return ""
        said = self._format.writer_schema(event, topic)
        if said is None:
            return ""
        identity, read = said
        if identity not in self._known:
            if len(self._known) == SCHEMAS_KEPT:
                self._known.popitem(last=False)
            found = breaking(changes(self._contract.row, read()), self._spec.compatible)
            self._known[identity] = _told(self._spec, [str(change) for change in found]) if found else ""
        return self._known[identity]


def _told(spec: ContractSpec, broken: Sequence[str]) -> str:
    more = f", and {len(broken) - CHANGES_SHOWN} more" if len(broken) > CHANGES_SHOWN else ""
    return f"its writer's schema is not {spec.compatible} compatible with {spec.schema}: {'; '.join(broken[:CHANGES_SHOWN])}{more}"
