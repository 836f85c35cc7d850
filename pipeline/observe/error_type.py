"""`error.type` as the OpenTelemetry conventions want it: a name with few values, the same on metrics and spans."""

from __future__ import annotations

from schemas.errors import PenstockError


def error_type(error: BaseException | None) -> str:
    """The stable code of one of our errors, the class name of any other, empty for none."""
    if error is None:
        return ""
    return error.code if isinstance(error, PenstockError) else type(error).__qualname__
