"""What becomes of an event."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Value = str | bytes | Mapping[str, Any] | None
"""A record's value: text or bytes; with `encoding: event` a change event, as a mapping; None is a tombstone."""
Headers = Sequence[tuple[str, bytes | None]]


@dataclass(frozen=True, slots=True)
class Record:
    """A record to emit."""

    value: Value
    key: bytes | None = None
    topic: str | None = None
    """None is the route's destination; any other must be in the route's `also_to`."""
    headers: Headers | None = None
    """None keeps the event's own."""


class Outcome:
    """One of the classes below. `Event` and `ChangeEvent` have a method for each."""

    __slots__ = ()


class Unchanged(Outcome):
    """The event goes on as it came."""

    __slots__ = ()


class Drop(Outcome):
    """The event ends here."""

    __slots__ = ()


class Emit(Outcome):
    """The event goes on with this value."""

    __slots__ = ("value",)

    def __init__(self, value: Value) -> None:
        self.value = value


class EmitMany(Outcome):
    """These records go on instead of the event."""

    __slots__ = ("records",)

    def __init__(self, records: Iterable[Record]) -> None:
        self.records = tuple(records)


class Reject(Exception, Outcome):
    """The event is unfit: to the dead letters, with these words. Return it or raise it.

    `code` is for machines (`bad-amount`), `message` says what is wrong and where.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message


UNCHANGED = Unchanged()
DROP = Drop()
