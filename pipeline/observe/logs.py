"""Logging to stderr, for people or as JSON lines. Called once by the command line; a library user keeps their own set-up."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TextIO

from schemas.errors import ConfigError, Fault

LEVELS = ("debug", "info", "warning", "error")
_THIRD_PARTIES = (
    "aiokafka",
    "kafka",
    "aiohttp",
    "asyncio",
    "opentelemetry",
    "urllib3",
    "requests",
    "httpx2",
    "httpcore2",
)
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_ROUTINE = {
    "aiokafka.consumer.group_coordinator": (
        "Heartbeat failed for group %s because it is rebalancing",
        "Heartbeat failed for group %s: generation id is not  current.",
        "Group Coordinator Request failed: %s",
    )
}
"""What a client warns of whenever a member joins or leaves, or a cluster makes its first group: it asks again by itself.
What does not pass by itself comes up as an error of ours."""


def configure_logging(
    *, json: bool, level: str = "info", stream: TextIO | None = None, worker: str | None = None
) -> None:
    """Send every log line of the process to `stream` (stderr), replacing what was set up before.

    `level` is one of LEVELS and holds for penstock; the libraries below it say warnings and worse only, and what they
    say at every rebalance only with level debug. `worker` is this process' name among several, said in each line.
    Raises ConfigError.
    """
    name = level.lower()
    if name not in LEVELS:
        raise ConfigError(
            Fault(f"there is no log level {level!r}", f"choose one of {', '.join(LEVELS)}", path="--log-level")
        )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter(worker) if json else PlainFormatter(worker))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(name.upper())
    for third_party in _THIRD_PARTIES:
        logging.getLogger(third_party).setLevel(max(logging.WARNING, root.level))
    for logger in _ROUTINE:
        logging.getLogger(logger).removeFilter(_unusual)
        if root.level > logging.DEBUG:
            logging.getLogger(logger).addFilter(_unusual)


def _unusual(record: logging.LogRecord) -> bool:
    return record.msg not in _ROUTINE.get(record.name, ())


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (RFC 3339, UTC), level, worker, logger, message, extra fields, exception. ASCII only."""

    def __init__(self, worker: str | None = None) -> None:
        super().__init__()
        self._worker = {} if worker is None else {"worker": worker}

    def format(self, record: logging.LogRecord) -> str:
        """The line. Extra fields never replace the standard ones."""
        standard: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            **self._worker,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if exception := _exception(self, record):
            standard["exception"] = exception
        return _dump({**standard, **{k: v for k, v in _extra(record).items() if k not in standard}})


class PlainFormatter(logging.Formatter):
    """`12:00:00.000 WARNING worker-0.1 pipeline.lane: message key=value`, and the traceback below; one process has no name.

    Control characters in the message are escaped: guests write log lines too, and may not draw on an operator's terminal.
    """

    def __init__(self, worker: str | None = None) -> None:
        super().__init__()
        self._worker = "" if worker is None else f"{worker} "

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        extra = "".join(f" {_printable(key)}={_printable(str(value))}" for key, value in _extra(record).items())
        at = _time(record)[11:23]
        line = f"{at} {record.levelname:<7} {self._worker}{record.name}: {_printable(record.getMessage())}{extra}"
        return "\n".join((line, *map(_printable, _exception(self, record).splitlines())))


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}


def _exception(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    parts = [formatter.formatException(record.exc_info)] if record.exc_info and record.exc_info[0] else []
    if record.stack_info:
        parts.append(formatter.formatStack(record.stack_info))
    return "\n".join(parts)


def _dump(fields: Mapping[str, Any]) -> str:
    """JSON whatever the fields hold: a log line that fails to be written helps nobody."""
    try:
        return json.dumps(fields, default=str, allow_nan=False)
    except (TypeError, ValueError):  # keys that are no text, NaN, a structure that contains itself
        return json.dumps({str(key): str(value) for key, value in fields.items()})


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
