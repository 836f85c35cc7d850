"""SQL doors: the registry's transformers as stored procedures, as functions of SQLite, and behind triggers (docs/sql.md).

Names are imported when they are first used: neither sqlite3 nor psycopg is loaded by who does without.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.sql.errors import Rejected
    from pipeline.sql.executor import ProcedureExecutor
    from pipeline.sql.postgres import PostgresTriggers
    from pipeline.sql.postgres_worker import QueueWorker
    from pipeline.sql.sqlite import GuestFailed, GuestRejected, connect
    from pipeline.sql.sqlite_triggers import SqliteTriggers
    from pipeline.sql.triggers import Event, Trigger
    from sandbox.procedure import Call

_HOMES = {
    "Call": "sandbox.procedure",
    "Event": "pipeline.sql.triggers",
    "PostgresTriggers": "pipeline.sql.postgres",
    "ProcedureExecutor": "pipeline.sql.executor",
    "QueueWorker": "pipeline.sql.postgres_worker",
    "Rejected": "pipeline.sql.errors",
    "SqliteTriggers": "pipeline.sql.sqlite_triggers",
    "Trigger": "pipeline.sql.triggers",
    "GuestFailed": "pipeline.sql.sqlite",
    "GuestRejected": "pipeline.sql.sqlite",
    "connect": "pipeline.sql.sqlite",
}
__all__ = [
    "Call",
    "Event",
    "GuestFailed",
    "GuestRejected",
    "PostgresTriggers",
    "ProcedureExecutor",
    "QueueWorker",
    "Rejected",
    "SqliteTriggers",
    "Trigger",
    "connect",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
