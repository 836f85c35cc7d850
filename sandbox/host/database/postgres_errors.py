"""PostgreSQL's errors as ours, by SQLSTATE. Its detail and hint are left out: they repeat rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.host.gate import Denied
from sandbox.host.requests import HostFailure
from schemas.abi import ERROR_DEADLINE, ERROR_INVALID, ERROR_TOO_LARGE, ERROR_UNAVAILABLE

if TYPE_CHECKING:
    from psycopg.pq.abc import PGresult

DENIED = {"42501", "25006"}
"""insufficient_privilege, read_only_sql_transaction."""
DEADLINE = {"57014", "55P03", "25P03"}
"""query_canceled, lock_not_available, idle_in_transaction_session_timeout."""
INVALID = {"22", "23", "42", "21", "0A", "P0", "44", "2F", "26", "34"}
"""Classes: data, constraints, syntax and names, cardinality, not supported, raised by a function of the operator's."""
TOO_LARGE = {"54"}
"""A limit of the server's."""


OUTAGES = {"08", "40", "57", "58"}
"""Classes: connection, rollback (a standby's conflict, a deadlock), the operator (a shutdown), system. No resource (53) that a statement
itself may use up: the event that asks for it would keep its lane waiting for ever."""
TOO_MANY_CONNECTIONS = "53300"


def failure(result: PGresult) -> Exception | None:
    """What to raise; None when all went well."""
    from psycopg.pq import DiagnosticField, ExecStatus

    if result.status in (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK, ExecStatus.EMPTY_QUERY):
        return None
    state = (result.error_field(DiagnosticField.SQLSTATE) or b"").decode()
    said = (result.error_field(DiagnosticField.MESSAGE_PRIMARY) or b"the connection broke").decode("utf-8", "replace")
    if state in DENIED:
        return Denied(f"PostgreSQL: {said}", "grant it to the role in PostgreSQL, too")
    outage = (not state or state[:2] in OUTAGES or state == TOO_MANY_CONNECTIONS) and state not in DEADLINE
    return HostFailure(_code(state), f"PostgreSQL ({state}): {said}", outage=outage)


def _code(state: str) -> int:
    if state in DEADLINE:
        return ERROR_DEADLINE
    if state[:2] in TOO_LARGE:
        return ERROR_TOO_LARGE
    return ERROR_INVALID if state[:2] in INVALID else ERROR_UNAVAILABLE
