"""Databases for guests: named connections of the registry, within a grant's scope.

Threat: tables, keys, statements and parameters are the guest's. Parameters are only ever bound; what a statement touches is told by the
database's own compiler (`sqlite_rules`, `postgres_rules`), never by its text; answers are bounded while they are read; and no call
outlives the guest's deadline (`runner`). Drivers are imported when a connection is first used.
"""

from __future__ import annotations

from sandbox.host.database.calls import IMPORTS

__all__ = ["IMPORTS"]
