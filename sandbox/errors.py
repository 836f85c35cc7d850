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
    place: tuple[int, int, int] | None = None
    """Address and length that were asked for, and the memory's size then; None when the guest's own access trapped."""

    @classmethod
    def at(cls, address: int, length: int, size: int) -> OutOfBounds:
        """For this range in a memory of `size` bytes."""
        error = cls(cls.text.format(address=address, length=length, size=size))
        error.place = (address, length, size)
        return error

    text = "{length} bytes at address {address} are not inside the memory of {size} bytes"


class NullPointer(OutOfBounds):
    """Bytes at address 0, which the ABI gives to nobody."""

    text = "{length} bytes at address 0: a pointer that was never set"


class RangeTooLong(SandboxError):
    """Inside the memory, but more than one host call may name."""

    kind = ViolationKind.BOUNDS


class InvalidText(SandboxError):
    """Bytes that are no UTF-8 where text was asked for."""

    kind = ViolationKind.BAD_OUTPUT


class DoubleFree(SandboxError):
    """A block was given back that was given back before."""

    kind = ViolationKind.BOUNDS


class ForeignFree(SandboxError):
    """What was given back is no block: another address, or the inside of a block."""

    kind = ViolationKind.BOUNDS


class WrongSize(SandboxError):
    """A block was given back with another size than it was given for."""

    kind = ViolationKind.BOUNDS


class LeakedBlocks(SandboxError):
    """Blocks were not given back."""

    kind = ViolationKind.MEMORY


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


class GrowthLimitExceeded(MemoryQuotaExceeded):
    """The guest's memory or table could not grow any more, and the guest stopped for it."""


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
    ViolationKind.MEMORY: GrowthLimitExceeded,
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
