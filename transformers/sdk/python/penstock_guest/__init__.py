"""Write a penstock transformer in Python.

A transformer is one function from an event to an outcome, built into a WebAssembly component::

    from penstock_guest import ChangeEvent, Outcome, Reject, transformer

    @transformer
    def transform(event: ChangeEvent) -> Outcome:
        if event.after is None:
            return event.unchanged()
        if "name" not in event.after:
            raise Reject("no-name", "after.name is missing")
        event.after["greeting"] = f"Hello, {event.after['name']}"
        return event.emit()

The annotation of its first parameter decides what it gets: `ChangeEvent` is Debezium's change event, from its JSON (`encoding:
raw`) or as the host has decoded it (`encoding: event`); `Event` is the record as it lies in the topic. A second parameter takes
the registry entry's `config:`; annotate it with a dataclass and the config is checked before the first event.
"""

from penstock_guest.config import ConfigError
from penstock_guest.event import ChangeEvent, Event, Record, Row
from penstock_guest.jsontext import JsonError, dumps, loads
from penstock_guest.outcome import Drop, Emit, EmitMany, Outcome, Reject, Unchanged
from penstock_guest.runtime import transformer

__all__ = [
    "ChangeEvent",
    "ConfigError",
    "Drop",
    "Emit",
    "EmitMany",
    "Event",
    "JsonError",
    "Outcome",
    "Record",
    "Reject",
    "Row",
    "Unchanged",
    "dumps",
    "loads",
    "transformer",
]
