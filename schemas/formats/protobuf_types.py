"""Protobuf messages as the values of guest ABI v1, and back: a type for each message, made of its descriptor.

A field without presence that is not there reads as its default: that is all Protobuf says. Well-known messages are what Kafka Connect's
types they stand for are in JSON: decimals are digits, timestamps milliseconds, dates days, wrappers the value or null.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from schemas.change import DecodeError, EncodeError, same
from schemas.formats.connect import SCALE_MAX, DecimalType, VariableDecimalType
from schemas.formats.wire import as_bytes, as_float, as_integer, as_text, at, kind_of, placed, widened

VALUES_MAX: Final = 500_000
"""In one event. Two bytes can be an empty message with all fields of its type, so bytes alone bound too little."""
_EPOCH: Final = datetime.date(1970, 1, 1)
_BOUNDS: Final = {
    FieldDescriptor.CPPTYPE_INT32: (-(1 << 31), (1 << 31) - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(1 << 63), (1 << 63) - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, (1 << 32) - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, (1 << 64) - 1),
}
_INT64: Final = _BOUNDS[FieldDescriptor.CPPTYPE_INT64]


class Budget:
    """How many values one event may still have."""

    def __init__(self) -> None:
        self._left = VALUES_MAX

    def spend(self, values: int) -> None:
        """Raises DecodeError when there are too many."""
        self._left -= values
        if self._left < 0:
            raise DecodeError(f"more than {VALUES_MAX} values")


class MessageType:
    """A message that is a map."""

    def __init__(self, descriptor: Descriptor, types: Types) -> None:
        self._types = types
        self._descriptor = descriptor
        self._fields: dict[str, Field] | None = None
        self._choices = [group for one in descriptor.oneofs if len(group := [field.name for field in one.fields]) > 1]

    @property
    def fields(self) -> dict[str, Field]:
        """By name. Made late: a message may be within itself."""
        if self._fields is None:
            self._fields = {one.name: Field(one, self._types) for one in self._descriptor.fields}
        return self._fields

    def read(self, message: Message, budget: Budget) -> Any:
        """The ABI's value. Raises DecodeError."""
        budget.spend(len(self.fields))
        return {name: field.read(message, budget) for name, field in self.fields.items()}

    def write(self, message: Message, value: Any) -> None:
        """Fill an empty message. Raises EncodeError."""
        self.change(message, value, {})

    def change(self, message: Message, value: Any, was: dict[str, Any]) -> None:
        """Set what is not as it was; all else, unknown fields too, stays. Raises EncodeError."""
        if not isinstance(value, dict):
            raise EncodeError(f"the schema has a message here, and this is {kind_of(value)}")
        for name in value:
            if name not in self.fields:
                raise EncodeError(f"the schema has no {str(name)[:100]!r} here")
        for group in self._choices:
            if len(given := [name for name in group if value.get(name) is not None]) > 1:
                raise EncodeError(f"the schema has one of {', '.join(given)[:200]} here, not several")
        for name, field in self.fields.items():
            if name not in was or name not in value or not same(value[name], was[name]):
                field.write(message, value.get(name), was.get(name))


class ScalarMessage(MessageType):
    """A message that is one value: `read` and `write` of a subclass of functions."""

    def __init__(
        self, descriptor: Descriptor, types: Types, read: Callable[[Any], Any], write: Callable[[Any, Any], None]
    ) -> None:
        super().__init__(descriptor, types)
        self._read, self._write = read, write

    def read(self, message: Message, budget: Budget) -> Any:
        """See the base class."""
        return self._read(message)

    def change(self, message: Message, value: Any, was: dict[str, Any]) -> None:
        """See the base class."""
        message.Clear()
        self._write(message, value)


class Field:
    """One field of a message."""

    def __init__(self, descriptor: FieldDescriptor, types: Types) -> None:
        self.name = descriptor.name
        self._kind = descriptor.cpp_type
        self._is_bytes = descriptor.type == FieldDescriptor.TYPE_BYTES
        self._has_presence = descriptor.has_presence
        self._is_list = descriptor.is_repeated
        self._enum = descriptor.enum_type
        self.message = None
        self._key: Field | None = None
        self._values: Field | None = None
        if descriptor.message_type is not None:
            if descriptor.message_type.GetOptions().map_entry:
                entry = descriptor.message_type.fields_by_name
                self._key, self._values = Field(entry["key"], types), Field(entry["value"], types)
            else:
                self.message = types.of(descriptor.message_type)

    def read(self, message: Message, budget: Budget) -> Any:
        """The ABI's value. Raises DecodeError."""
        if self._has_presence and not message.HasField(self.name):
            return None
        value = getattr(message, self.name)
        if self._values is not None:
            budget.spend(len(value))
            return {_text(name): self._values.one(value[name], budget) for name in value}
        if self._is_list:
            budget.spend(len(value))
            return [self.one(item, budget) for item in value]
        return self.one(value, budget)

    def one(self, value: Any, budget: Budget) -> Any:
        """The ABI's value of a single one."""
        if self.message is not None:
            return self.message.read(value, budget)
        if self._kind == FieldDescriptor.CPPTYPE_FLOAT:
            return widened(value)
        if self._enum is not None:
            known = self._enum.values_by_number.get(value)
            return value if known is None else known.name
        if isinstance(value, bytes) and not self._is_bytes:  # proto2 does not look
            raise DecodeError(f"{self.name}: a text that is not UTF-8")
        return value

    def write(self, message: Message, value: Any, was: Any) -> None:
        """Set the field. Raises EncodeError."""
        try:
            self._set(message, value, was)
        except (TypeError, ValueError, UnicodeError) as error:
            why = error if isinstance(error, EncodeError) else f"the schema cannot say it: {str(error)[:200]}"
            raise EncodeError(placed(self.name, why)) from None

    def _set(self, message: Message, value: Any, was: Any) -> None:
        if value is None:
            if not self._has_presence:
                raise EncodeError("the schema has no null here")
            message.ClearField(self.name)
        elif self._values is not None:
            self._set_map(message, value, was)
        elif self._is_list:
            self._set_list(message, value, was)
        elif self.message is not None:
            part = getattr(message, self.name)
            part.SetInParent()
            same = was if isinstance(was, dict) else {}
            if not same:
                part.Clear()
                part.SetInParent()
            self.message.change(part, value, same)
        else:
            setattr(message, self.name, self.scalar(value))

    def _set_list(self, message: Message, value: Any, was: Any) -> None:
        """Items that stay where they are keep what the schema does not know of them."""
        if not isinstance(value, list):
            raise EncodeError(f"the schema has a list here, and this is {kind_of(value)}")
        items = getattr(message, self.name)
        old = [(before, copied(item)) for before, item in zip(was or (), items, strict=False)] if self.message else []
        message.ClearField(self.name)
        items = getattr(message, self.name)  # those before are detached
        for place, one in enumerate(value):
            if self.message is not None:
                before = old[place] if place < len(old) else None
                if before is not None and same(before[0], one):
                    items.add().CopyFrom(before[1])
                else:
                    self.message.write(items.add(), one)
            else:
                items.append(self.scalar(one))

    def _set_map(self, message: Message, value: Any, was: Any) -> None:
        """Values under the same name that are the same keep what the schema does not know of them."""
        assert self._key is not None and self._values is not None
        if not isinstance(value, dict):
            raise EncodeError(f"the schema has a map here, and this is {kind_of(value)}")
        items = getattr(message, self.name)
        old = {key: copied(items[key]) for key in items} if self._values.message is not None else {}
        message.ClearField(self.name)
        items = getattr(message, self.name)  # those before are detached
        for name, one in value.items():
            key = self._key.of_text(name)
            if key in old and isinstance(was, dict) and name in was and same(was[name], one):
                items[key].CopyFrom(old[key])
            elif self._values.message is not None:
                self._values.message.write(items[key], one)
            else:
                items[key] = at(str(name), self._values.scalar, one)

    def of_text(self, text: str) -> Any:
        """A map's key, which is a text in the ABI."""
        if self._kind == FieldDescriptor.CPPTYPE_STRING:
            return as_text(text)
        if self._kind == FieldDescriptor.CPPTYPE_BOOL:
            if text not in ("true", "false"):
                raise EncodeError(f"the schema has true and false for keys here, not {text[:100]!r}")
            return text == "true"
        if str(number := int(text)) != text:
            raise EncodeError(f"the schema has integers for keys here, and {text[:100]!r} is not as one is written")
        return self.scalar(number)

    def scalar(self, value: Any) -> Any:
        """What a field that is no message is set to. Raises EncodeError."""
        if self._enum is not None:
            if isinstance(value, str) and value in self._enum.values_by_name:
                return self._enum.values_by_name[value].number
            return as_integer(value, *_BOUNDS[FieldDescriptor.CPPTYPE_INT32])
        if self._kind in _BOUNDS:
            return as_integer(value, *_BOUNDS[self._kind])
        if self._kind in (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE):
            return as_float(value, narrow=self._kind == FieldDescriptor.CPPTYPE_FLOAT)
        if self._kind == FieldDescriptor.CPPTYPE_STRING:
            return as_bytes(value) if self._is_bytes else as_text(value)
        if isinstance(value, bool):
            return value
        raise EncodeError(f"the schema has a boolean here, and this is {kind_of(value)}")


class Types:
    """The types of one schema's messages."""

    def __init__(self) -> None:
        self._made: dict[str, MessageType] = {}

    def of(self, descriptor: Descriptor) -> MessageType:
        """A message's type."""
        name = descriptor.full_name
        if name not in self._made:
            self._made[name] = self._make(descriptor)
        return self._made[name]

    def _make(self, descriptor: Descriptor) -> MessageType:
        name, fields = descriptor.full_name, {one.name for one in descriptor.fields}
        if name == "confluent.type.Decimal" or (
            descriptor.name == "VariableScaleDecimal" and fields == {"scale", "value"}
        ):
            precise = "precision" in fields
            return ScalarMessage(descriptor, self, _digits, lambda message, value: _set_digits(message, value, precise))
        if name in _WELL_KNOWN:
            return ScalarMessage(descriptor, self, *_WELL_KNOWN[name])
        if is_wrapper(descriptor):
            inner = Field(descriptor.fields_by_name["value"], self)
            return ScalarMessage(
                descriptor,
                self,
                lambda message: inner.one(message.value, Budget()),
                lambda message, value: inner.write(message, value, None),
            )
        return MessageType(descriptor, self)


def copied(message: Message) -> Message:
    """One like it."""
    made = type(message)()
    made.CopyFrom(message)
    return made


def is_wrapper(descriptor: Descriptor) -> bool:
    """One of Protobuf's own messages that make a scalar nullable, such as `Int64Value`."""
    name: str = descriptor.full_name
    return name.startswith("google.protobuf.") and name.endswith("Value") and [*descriptor.fields_by_name] == ["value"]


def _digits(message: Any) -> str:
    if not 0 <= message.scale <= SCALE_MAX:
        raise DecodeError(f"a decimal with the scale {message.scale}")
    return DecimalType(message.scale).digits(message.value)


def _set_digits(message: Any, value: Any, precise: bool) -> None:
    message.scale, message.value = VariableDecimalType.parts(value)
    if precise:
        message.precision = len(str(value).lstrip("-").replace(".", "").lstrip("0")) or 1


def _set_moment(message: Any, value: Any) -> None:
    message.seconds, rest = divmod(as_integer(value, *_INT64), 1000)
    message.nanos = rest * 1_000_000


def _days(message: Any) -> int:
    try:
        return (datetime.date(message.year, message.month, message.day) - _EPOCH).days
    except (ValueError, OverflowError):
        raise DecodeError(f"{message.year}-{message.month}-{message.day} is no date") from None


def _set_days(message: Any, value: Any) -> None:
    try:
        day = _EPOCH + datetime.timedelta(days=as_integer(value, *_INT64))
    except OverflowError:
        raise EncodeError("a date beyond the year 9999") from None
    message.year, message.month, message.day = day.year, day.month, day.day


def _time(message: Any) -> int:
    return int(((message.hours * 60 + message.minutes) * 60 + message.seconds) * 1000 + message.nanos // 1_000_000)


def _set_time(message: Any, value: Any) -> None:
    seconds, rest = divmod(as_integer(value, 0, 86_400_000), 1000)
    message.hours, message.minutes, message.seconds = seconds // 3600, seconds // 60 % 60, seconds % 60
    message.nanos = rest * 1_000_000


def _text(name: Any) -> str:
    return (
        name if isinstance(name, str) else {True: "true", False: "false"}[name] if isinstance(name, bool) else str(name)
    )


_WELL_KNOWN: Final[dict[str, tuple[Callable[[Any], Any], Callable[[Any, Any], None]]]] = {
    "google.protobuf.Timestamp": (lambda message: message.seconds * 1000 + message.nanos // 1_000_000, _set_moment),
    "google.type.Date": (_days, _set_days),
    "google.type.TimeOfDay": (_time, _set_time),
}
