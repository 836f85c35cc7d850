"""Formats whose values name a schema in a registry: what they have in common. Codecs are compiled once for each schema."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Final, Protocol

from schemas.change import DecodeError, EncodeError
from schemas.contracts.types import Nullable
from schemas.event import Event
from schemas.formats.format import Document, Format
from schemas.formats.schemas import RegisteredSchema, SchemaKind, Schemas, UnreadableSchema
from schemas.formats.wire import schema_id

CODECS_MAX: Final = 4_096
"""Of one route; more schemas than that are compiled anew when they come again."""


class Codec(Protocol):
    """One schema, compiled."""

    def decode(self, data: bytes) -> Document:
        """The change event in a framed value. Raises DecodeError."""
        ...

    def encode(self, packed: bytes) -> bytes:
        """A framed value. Raises EncodeError."""
        ...

    def decode_key(self, data: bytes) -> object:
        """Raises DecodeError."""
        ...

    def encode_key(self, key: object) -> bytes:
        """Raises EncodeError."""
        ...

    def row(self) -> Nullable:
        """The type of rows. Raises SchemaError."""
        ...


class RegisteredFormat(Format):
    """A value is a frame with a schema's id, and what that schema says."""

    kind: ClassVar[SchemaKind]

    def __init__(self, schemas: Schemas | None) -> None:
        """Without `schemas` it can only be asked what it is."""
        self._schemas = schemas
        self._codecs: dict[int, Codec | str] = {}
        self._subjects: dict[str, Codec] = {}

    def compiled(self, schema: RegisteredSchema, schemas: Schemas) -> Codec:
        """Raises UnreadableSchema."""
        raise NotImplementedError

    def decode(self, event: Event, topic: str) -> Document:
        """See the base class."""
        assert event.value is not None, "a tombstone is no document"
        return self._codec(schema_id(event.value)).decode(event.value)

    def encode(self, packed: bytes, event: Event, topic: str) -> bytes:
        """See the base class. By the latest schema of the topic's subject, as it was when it was first needed."""
        return self._of_subject(f"{topic}-value").encode(packed)

    def decode_key(self, key: bytes, topic: str) -> object:
        """See the base class."""
        return self._codec(schema_id(key)).decode_key(key)

    def encode_key(self, key: object, topic: str) -> bytes:
        """See the base class."""
        return self._of_subject(f"{topic}-key").encode_key(key)

    def writer_schema(self, event: Event, topic: str) -> tuple[object, Callable[[], Nullable]] | None:
        """See the base class."""
        if event.value is None:
            return None
        number = schema_id(event.value)
        return number, self._codec(number).row

    def _codec(self, number: int) -> Codec:
        codec = self._codecs.get(number)
        if codec is None:
            codec = self._fetched(number)
            while len(self._codecs) >= CODECS_MAX:
                self._codecs.pop(next(iter(self._codecs)), None)
            self._codecs[number] = codec
        if isinstance(codec, str):
            raise DecodeError(codec)
        return codec

    def _fetched(self, number: int) -> Codec | str:
        """A codec, or why there can be none."""
        assert self._schemas is not None, "a format that needs a schema registry was made without one"
        schema = self._schemas.by_id(number)
        if schema.kind is not self.kind:
            return f"schema {number} is {schema.kind}, not {self.kind}"
        try:
            return self.compiled(schema, self._schemas)
        except UnreadableSchema as error:
            return f"schema {number} cannot be used: {error}"

    def _of_subject(self, subject: str) -> Codec:
        codec = self._subjects.get(subject)
        if codec is None:
            assert self._schemas is not None, "a format that needs a schema registry was made without one"
            schema = self._schemas.by_subject(subject)
            if schema is None:
                raise EncodeError(f"the schema registry has no schema for {subject}")
            if schema.kind is not self.kind:
                raise EncodeError(f"the schema of {subject} is {schema.kind}, not {self.kind}")
            try:
                codec = self.compiled(schema, self._schemas)
            except UnreadableSchema as error:
                raise EncodeError(f"the schema of {subject} cannot be used: {error}") from None
            self._subjects[subject] = codec
        return codec
