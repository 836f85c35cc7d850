"""Debezium's change events in Protobuf, in the wire format of schema registries.

What it keeps: the very bytes of an event that passes unchanged; in one that changes, every field that a guest leaves as it was, and
fields that the schema does not have. Null is what a field with presence says by not being there; without presence there is no null.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError as ParseError
from google.protobuf.message import EncodeError as SerializeError

from schemas.change import ChangeEvent, DecodeError, EncodeError, same, unpack
from schemas.contracts.types import Nullable
from schemas.formats.protobuf_rows import row_of_message
from schemas.formats.protobuf_types import Budget, MessageType, Types
from schemas.formats.registered import RegisteredFormat
from schemas.formats.schemas import RegisteredSchema, SchemaKind, Schemas, UnreadableSchema
from schemas.formats.wire import HEADER_BYTES, MEMBERS, PLACEHOLDER_BYTES, change_of, header, marked, packed_of

INDEXES_MAX: Final = 64
_FIRST: Final = b"\0"
"""The indexes of a schema's first message."""


class DebeziumProtobuf(RegisteredFormat):
    """See the module."""

    name = "debezium-protobuf"
    title = "Debezium change event"
    keys = "protobuf"
    kind = SchemaKind.PROTOBUF

    def compiled(self, schema: RegisteredSchema, schemas: Schemas) -> ProtobufCodec:
        """See the base class."""
        return ProtobufCodec(schema, schemas.descriptors(schema))


@dataclass(frozen=True, slots=True)
class ProtobufDocument:
    """A record's value that is a change event."""

    data: bytes
    packed: bytes
    _codec: ProtobufCodec

    def encode(self, packed: bytes) -> bytes:
        """See `schemas.formats.format.Document`."""
        return self.data if packed == self.packed else self._codec.rewritten(self, unpack(packed))


class ProtobufCodec:
    """One Protobuf schema: all messages of its file."""

    def __init__(self, schema: RegisteredSchema, descriptors: bytes) -> None:
        """`descriptors` is a serialized FileDescriptorSet whose last file is the schema. Raises UnreadableSchema."""
        self._id = schema.id
        self._header = header(schema.id)
        self._types = Types()
        pool = descriptor_pool.DescriptorPool()
        try:
            files = descriptor_pb2.FileDescriptorSet.FromString(descriptors).file
            for file in files:
                pool.AddSerializedFile(file.SerializeToString())
            self._messages = list(pool.FindFileByName(files[-1].name).message_types_by_name.values())
        except (ParseError, TypeError, ValueError, KeyError, IndexError) as error:
            raise UnreadableSchema(f"it is no Protobuf schema: {error}") from None
        self._found: dict[tuple[int, ...], tuple[Any, MessageType]] = {}

    def decode(self, data: bytes) -> ProtobufDocument:
        """See `schemas.formats.registered.Codec`."""
        members = self._read(data)
        if PLACEHOLDER_BYTES in data:
            members |= {name: marked(members.get(name)) for name in ("before", "after")}
        return ProtobufDocument(data, packed_of(change_of(members)), self)

    def encode(self, packed: bytes) -> bytes:
        """See `schemas.formats.registered.Codec`. The schema's first message is the envelope."""
        change = unpack(packed)
        make, kind = self._of((0,))
        members = {name: getattr(change, name) for name in MEMBERS}
        return self._filled(
            make, kind, {name: one for name, one in members.items() if one is not None or name in kind.fields}
        )

    def rewritten(self, document: ProtobufDocument, change: ChangeEvent) -> bytes:
        """The document with other members; those that are the same keep what they were. Raises EncodeError."""
        was = unpack(document.packed)
        message, kind, start = self._parsed(document.data)
        for name in MEMBERS:
            new, old = getattr(change, name), getattr(was, name)
            if not same(new, old):
                if name not in kind.fields:
                    raise EncodeError(f"{name}: the schema has no such member")
                kind.fields[name].write(message, new, old)
        return document.data[:start] + _serialized(message)

    def decode_key(self, data: bytes) -> object:
        """See `schemas.formats.registered.Codec`."""
        return self._read(data)

    def encode_key(self, key: object) -> bytes:
        """See `schemas.formats.registered.Codec`."""
        return self._filled(*self._of((0,)), key)

    def row(self) -> Nullable:
        """See `schemas.formats.registered.Codec`."""
        return row_of_message(self._messages[0])

    def _read(self, data: bytes) -> dict[str, Any]:
        message, kind, _ = self._parsed(data)
        try:
            read: dict[str, Any] = kind.read(message, Budget())
        except UnicodeDecodeError:
            raise DecodeError(f"not what schema {self._id} says: a text that is not UTF-8") from None
        return read

    def _parsed(self, data: bytes) -> tuple[Any, MessageType, int]:
        """The message, its type, and where it began. Raises DecodeError."""
        indexes, start = _indexes(data)
        make, kind = self._of(indexes)
        message = make()
        try:
            message.ParseFromString(data[start:])
        except (ParseError, ValueError, RecursionError) as error:
            raise DecodeError(f"not what schema {self._id} says: {error}"[:200]) from None
        return message, kind, start

    def _of(self, indexes: tuple[int, ...]) -> tuple[Any, MessageType]:
        """The class and type of a message by its place in the file. Raises DecodeError."""
        if indexes not in self._found:
            among: Sequence[Any] = self._messages
            try:
                for index in indexes:
                    descriptor = among[index]
                    among = descriptor.nested_types
            except IndexError:
                raise DecodeError(f"schema {self._id} has no message {list(indexes)}"[:200]) from None
            self._found[indexes] = message_factory.GetMessageClass(descriptor), self._types.of(descriptor)
        return self._found[indexes]

    def _filled(self, make: Any, kind: MessageType, value: Any) -> bytes:
        message = make()
        kind.write(message, value)
        return self._header + _FIRST + _serialized(message)


def _serialized(message: Any) -> bytes:
    try:
        made: bytes = message.SerializeToString()
    except (SerializeError, ValueError) as error:
        raise EncodeError(f"the schema cannot say it: {error}"[:200]) from None
    return made


def _indexes(data: bytes) -> tuple[tuple[int, ...], int]:
    """Which message it is, and where it begins: a zigzag count and as many zigzag indexes, or 0 for the first one alone."""
    count, place = _zigzag(data, HEADER_BYTES)
    if not 0 <= count <= INDEXES_MAX:
        raise DecodeError(f"not in the wire format of a schema registry: {count} message indexes")
    found = []
    for _ in range(count):
        index, place = _zigzag(data, place)
        if index < 0:
            raise DecodeError(f"not in the wire format of a schema registry: the message index {index}")
        found.append(index)
    return tuple(found) or (0,), place


def _zigzag(data: bytes, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 35, 7):
        if place >= len(data):
            raise DecodeError("it ends within its message indexes")
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (value >> 1) ^ -(value & 1), place
    raise DecodeError("not in the wire format of a schema registry: a message index of more than 32 bits")
