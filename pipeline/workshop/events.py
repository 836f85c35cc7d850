"""Events of a file of lines (see `pipeline.events_file`), all at once: for the commands that need them more than once."""

from __future__ import annotations

from pathlib import Path

from pipeline.events_file import EventLine, read_events
from schemas.errors import ConfigError, Fault

FAULTS_MAX = 20
EVENTS_MAX = 100_000


def events_of_file(path: Path, topic: str) -> list[EventLine]:
    """The events in this file, the first 100,000 at most. Raises ConfigError with every bad line, and when there is none."""
    faults: list[Fault] = []
    found: list[EventLine] = []
    try:
        with path.open("rb") as stream:
            for line in read_events(stream, str(path), topic, faults, FAULTS_MAX):
                found.append(line)
                if len(found) == EVENTS_MAX:
                    break
    except OSError as error:
        remedy = "name a file of events, one JSON object a line"
        raise ConfigError(Fault(f"cannot be read: {error.strerror or error}", remedy, str(path))) from error
    if faults:
        raise ConfigError(*faults)
    if not found:
        raise ConfigError(Fault("holds no event", 'write one JSON object a line, e.g. {"value": "text"}', str(path)))
    return found
