"""What formats ask of a schema registry: the port, and what comes through it. Knows no network; `pipeline.schema_registry` does."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

ID_MAX: Final = (1 << 31) - 1


class UnreadableSchema(ValueError):
    """A schema that no codec can be made of; the message says why."""


class SchemaKind(StrEnum):
    """Languages of schemas, by the names that registries give them."""

    AVRO = "AVRO"
    PROTOBUF = "PROTOBUF"
    JSON = "JSON"


@dataclass(frozen=True, slots=True)
class Reference:
    """A schema that another one names: `name` is what it is called in there."""

    name: str
    text: str
    subject: str = ""
    version: int = 0


@dataclass(frozen=True, slots=True)
class RegisteredSchema:
    """A schema and all that it refers to, whatever that refers to first."""

    id: int
    kind: SchemaKind
    text: str
    references: tuple[Reference, ...] = ()


class Schemas(Protocol):
    """A schema registry. Everything but the first answer for an id or a subject comes from memory. Safe from any thread."""

    def by_id(self, schema_id: int) -> RegisteredSchema:
        """The schema of this id. Raises DecodeError when there is none, TransportError when there is no telling."""
        ...

    def by_subject(self, subject: str, version: int | None = None) -> RegisteredSchema | None:
        """A version of a subject's schema, the latest by default; None when there is none. Raises TransportError."""
        ...

    def register(self, subject: str, kind: SchemaKind, text: str) -> RegisteredSchema:
        """The schema under this subject, put there when it is not. Raises TransportError, ConfigError when it is refused."""
        ...

    def descriptors(self, schema: RegisteredSchema) -> bytes:
        """A Protobuf schema with all that it imports, as a serialized FileDescriptorSet; its own file stands last. Raises UnreadableSchema."""
        ...
