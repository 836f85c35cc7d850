"""What callers of procedures get to see: one exception for each way a call can come to nothing."""

from __future__ import annotations

from sandbox.errors import SandboxError, error_for
from sandbox.procedure import Call
from schemas.outcome import Violation, ViolationKind


class Rejected(SandboxError):
    """The procedure refused its arguments; the message is the guest's own."""

    kind = ViolationKind.REJECTED

    def __init__(self, violation: Violation) -> None:
        super().__init__(violation.message)
        self.violation = violation
        self.reason = violation.code
        """The guest's code for it."""


def error_of(call: Call, deadline_ms: int) -> SandboxError:
    """The exception that a call without a value is raised as. It has the whole `violation`."""
    violation = call.violation
    assert violation is not None
    if violation.kind is ViolationKind.REJECTED:
        return Rejected(violation)
    message = f"{call.transformer}.{call.function}: {violation.kind}: {violation.message} — limits: {call.limits}"
    error = error_for(violation.kind, message, deadline_ms=deadline_ms, backtrace=violation.backtrace)
    error.violation = violation
    return error
