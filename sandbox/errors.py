"""What running untrusted code can raise towards a caller of `Sandbox.execute` and the memory bridge.

Transformers never raise these: there they are data (`schemas.outcome.Violation`). Every class carries the `ViolationKind` it
amounts to.
"""

from __future__ import annotations

from schemas.errors import PenstockError
from schemas.outcome import Violation, ViolationKind


class SandboxError(PenstockError):
    """A guest broke a limit or a rule."""

    code = "sandbox"
    kind: ViolationKind = ViolationKind.TRAP
    violation: Violation | None = None
    """Everything that is known of it, where a procedure's call came to this."""

    def __init__(self, message: str, *, kind: ViolationKind | None = None, backtrace: str = "") -> None:
        super().__init__(message)
        if kind is not None:
            self.kind = kind
        self.backtrace = backtrace


class OutOfBounds(SandboxError):
    """An address range that is not inside the guest's memory."""

    kind = ViolationKind.BOUNDS


class DoubleFree(SandboxError):
    """A block was given back that is not allocated, or with another size."""

    kind = ViolationKind.BOUNDS


class InvalidAlignment(SandboxError):
    """A typed read at an address that is not a multiple of the type's size."""

    kind = ViolationKind.BOUNDS


class Timeout(SandboxError):
    """The deadline passed; `milliseconds` is the limit."""

    kind = ViolationKind.DEADLINE

    def __init__(self, milliseconds: int, message: str = "", *, backtrace: str = "") -> None:
        super().__init__(message or f"ran longer than {milliseconds} ms", backtrace=backtrace)
        self.milliseconds = milliseconds


class MemoryQuotaExceeded(SandboxError):
    """More memory was wanted than the limit grants."""

    kind = ViolationKind.MEMORY


class CapabilityDenied(SandboxError):
    """The module asks for something it was not granted."""

    kind = ViolationKind.CAPABILITY


class FuelExhausted(SandboxError):
    """The instruction budget is used up."""

    kind = ViolationKind.FUEL


class StackExhausted(SandboxError):
    """The wasm stack is used up."""

    kind = ViolationKind.STACK


class Trapped(SandboxError):
    """Any other trap."""

    kind = ViolationKind.TRAP


_BY_KIND: dict[ViolationKind, type[SandboxError]] = {
    ViolationKind.BOUNDS: OutOfBounds,
    ViolationKind.MEMORY: MemoryQuotaExceeded,
    ViolationKind.CAPABILITY: CapabilityDenied,
    ViolationKind.FUEL: FuelExhausted,
    ViolationKind.STACK: StackExhausted,
    ViolationKind.TRAP: Trapped,
}


def error_for(kind: ViolationKind, message: str, *, deadline_ms: int, backtrace: str = "") -> SandboxError:
    """The exception class that stands for this kind."""
    if kind is ViolationKind.DEADLINE:
        return Timeout(deadline_ms, message, backtrace=backtrace)
    return _BY_KIND.get(kind, SandboxError)(message, kind=kind, backtrace=backtrace)
