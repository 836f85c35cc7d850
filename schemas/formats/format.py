"""What a format is: a record's value as a change event, and back. One object for a route; used from any thread."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import ClassVar, Final, Protocol

import msgspec

from schemas.change import DecodeError, EncodeError
from schemas.contracts.types import Nullable
from schemas.event import Event
from schemas.formats.jsontext import check_names

FALLS: Final = (
    ArithmeticError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
    RecursionError,
    msgspec.MsgspecError,
)
"""What a format may fall over beside its own errors, which are among them. One event must not end the service, again and again: whoever
calls a format takes these for a verdict on the event."""


def fallen(error: Exception) -> str:
    """Why a format could not read or write an event."""
    if isinstance(error, DecodeError | EncodeError):
        return str(error)
    return f"penstock fell over it, which is a bug: {type(error).__name__}: {error}"


class Document(Protocol):
    """A record's value that is a change event."""

    @property
    def packed(self) -> bytes:
        """The change event's msgpack, as a guest is sent it (`schemas.change`)."""
        ...

    def encode(self, packed: bytes) -> bytes | None:
        """The value for what a guest made of it, None for a tombstone; the very bytes it came as when that is nothing else.

        Raises EncodeError.
        """
        ...


class Format:
    """How the values of a topic say what happened to a row. Knows no file, network or clock; schemas come through a port."""

    name: ClassVar[str]
    """As the registry file says it."""
    title: ClassVar[str] = "change event"
    """What a value is that can be decoded: `the value is no …`."""
    keys: ClassVar[str] = "json"
    """Formats of the same word write keys alike, and a conversion between them leaves keys as they are."""
    splits: ClassVar[bool] = False
    """A record may hold several rows (see `split`)."""
    is_change: ClassVar[bool] = True
    """Its values are change events: transformers with `encoding: event` can stand in its route."""

    def decode(self, event: Event, topic: str) -> Document:
        """The change event in `event.value`, which is not None.

        Raises DecodeError for bytes that are none, and TransportError when what is needed to tell is out of reach: nobody is to
        blame then, and the lane tries again.
        """
        raise NotImplementedError

    def encode(self, packed: bytes, event: Event, topic: str) -> bytes | None:
        """The value of a change event that came in another format, or where there was none; None for a tombstone.

        Raises EncodeError, TransportError.
        """
        raise NotImplementedError

    def writer_schema(self, event: Event, topic: str) -> tuple[object, Callable[[], Nullable]] | None:
        """What the writer said its rows are: something that two values with the same schema have in common, and the row's type.

        None when the format says nothing about types. Raises DecodeError, TransportError; the second part raises SchemaError.
        """
        return None

    def split(self, event: Event) -> Sequence[Event]:
        """One record for every row of this one: nearly always itself alone. Raises DecodeError."""
        return (event,)

    def decode_key(self, key: bytes, topic: str) -> object:
        """What a key says, as msgpack could carry it. Raises DecodeError, TransportError."""
        try:
            found = _from_json(key)
            if isinstance(found, dict | list):
                check_names(key)
            return found
        except DecodeError:
            raise
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise DecodeError(f"its key is not JSON: {error}") from None

    def encode_key(self, key: object, topic: str) -> bytes:
        """A key that says so; equal keys have equal bytes. Raises EncodeError, TransportError."""
        try:
            return _to_json(_finite(key))
        except (msgspec.MsgspecError, TypeError, ValueError, RecursionError) as error:
            raise EncodeError(f"its key cannot be JSON: {error}") from None


def _finite(value: object) -> object:
    """NaN and infinities as texts: JSON would make null of all of them, and one key of many."""
    match value:
        case float() if not math.isfinite(value):
            return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        case dict():
            return {name: _finite(one) for name, one in value.items()}
        case list():
            return [_finite(one) for one in value]
    return value


_from_json = msgspec.json.Decoder().decode
_to_json = msgspec.json.Encoder().encode
