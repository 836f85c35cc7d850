"""Types of rows, as far as schema languages agree on them: what JSON Schema, Avro and Kafka Connect can all be read as.

They speak of values as a transformer sees them (docs/guest-abi.md): a decimal is a text of digits, bytes are bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

Kind = Literal["boolean", "int32", "int64", "float32", "float64", "decimal", "string", "bytes"]

_WIDER: Final[Mapping[str, frozenset[str]]] = {
    "int64": frozenset({"int32"}),
    "float32": frozenset({"int32", "int64"}),
    "float64": frozenset({"int32", "int64", "float32"}),
    "string": frozenset({"decimal"}),
}
"""What a reader of the first takes of a writer; Avro's promotions (https://avro.apache.org/docs/1.12.0/specification/#schema-resolution),
and decimals, which are texts here."""


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value; `symbols` are the only ones there can be, where they are listed."""

    kind: Kind
    symbols: frozenset[str] | None = None

    def __str__(self) -> str:
        if self.symbols is None:
            return self.kind
        shown = ", ".join(sorted(self.symbols)[:8])
        return f"{self.kind} of {shown}{', …' if len(self.symbols) > 8 else ''}"


@dataclass(frozen=True, slots=True)
class AnyType:
    """Whatever there is: the schema does not say."""

    def __str__(self) -> str:
        return "anything"


@dataclass(frozen=True, slots=True)
class ListOf:
    """Any number of one type."""

    items: Nullable

    def __str__(self) -> str:
        return f"list of {self.items}"


@dataclass(frozen=True, slots=True)
class MapOf:
    """Names of the writer's choosing, values of one type."""

    values: Nullable

    def __str__(self) -> str:
        return f"map of {self.values}"


@dataclass(frozen=True, slots=True)
class Member:
    """A named member of a record."""

    type: Nullable
    optional: bool = False
    """It may be absent: a reader has a default, or does without."""

    def __str__(self) -> str:
        return f"{self.type}{' (optional)' if self.optional else ''}"


@dataclass(frozen=True, slots=True)
class Record:
    """Members by name."""

    members: Mapping[str, Member] = field(default_factory=dict)
    closed: bool = False
    """A reader refuses members that are not named."""

    def __str__(self) -> str:
        return "record"


Type = Scalar | AnyType | ListOf | MapOf | Record


@dataclass(frozen=True, slots=True)
class Nullable:
    """A type, and whether null may stand in its place."""

    type: Type
    null: bool = False

    def __str__(self) -> str:
        return f"{self.type} or null" if self.null else str(self.type)


def scalar_reads(reader: Scalar, writer: Scalar) -> bool:
    """Whether whoever expects `reader` can take every value of `writer`."""
    if reader.kind != writer.kind and writer.kind not in _WIDER.get(reader.kind, ()):
        return False
    return reader.symbols is None or (writer.symbols is not None and writer.symbols <= reader.symbols)
