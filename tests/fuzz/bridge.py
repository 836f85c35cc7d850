"""Host functions and the heap's ledger against a memory of our own, with fences on both sides: whoever reads or writes beyond it is seen.

Shared by the tests (hypothesis) and by `python -m tests.fuzz.guided` (atheris).
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

from sandbox.errors import SandboxError
from sandbox.host import Gate, HostImport, HostState, Services, granted_imports, known_imports
from sandbox.memory import CALL_BYTES_MAX, GuestMemory
from schemas.capabilities import Capability, Grants

SIZE = 8192
FENCE = b"FENCE-" * 700
"""Text that nobody else writes: in a log line or an answer it would show."""
GRANTED = (Capability.LOG, Capability.RANDOM, Capability.CLOCK)


class Fenced(GuestMemory):
    """Eight KiB between two fences."""

    def __init__(self, content: bytes) -> None:
        filled = content[:SIZE].ljust(SIZE, b"\0")
        self._buffer = ctypes.create_string_buffer(FENCE + filled + FENCE, SIZE + 2 * len(FENCE))

    def size(self) -> int:
        return SIZE

    def base(self) -> int:
        return ctypes.addressof(self._buffer) + len(FENCE)

    def content(self) -> bytes:
        """What lies between the fences, which stand as they stood."""
        raw = self._buffer.raw
        assert raw[: len(FENCE)] == FENCE == raw[-len(FENCE) :], "written outside"
        return raw[len(FENCE) : -len(FENCE)]


def imports() -> list[HostImport]:
    """Every function that a guest can call with numbers; those that take requests are denied behind their pointers."""
    asked = {**known_imports(), **granted_imports(GRANTED)}
    return [asked[key] for key in sorted(asked) if asked[key].parameters]


def strike(one: HostImport, memory: Fenced, numbers: Sequence[int]) -> HostState:
    """Call it with these numbers, cut to its parameters. Nothing is read or written outside, and nothing is raised."""
    state = HostState(
        Services(now_ms=lambda: 0, monotonic_ns=lambda: 0, random_bytes=bytes), 1 << 14, Gate(grants=Grants.of(GRANTED))
    )
    widths = [0xFFFF_FFFF if kind == "i32" else 0xFFFF_FFFF_FFFF_FFFF for kind in one.parameters]
    result = one.invoke(state, memory, [number & width for number, width in zip(numbers, widths, strict=True)])
    assert state.error is None, state.error
    assert result is None or isinstance(result, int)
    said = " ".join([state.fail_message, state.fail_code, *(line.text for line in state.logs)])
    assert "FENCE" not in said and b"FENCE" not in memory.content(), "read outside"
    assert sum((state.escapes or {}).values()) == state.bad_pointers
    return state


def access(memory: Fenced, how: int, address: int, length: int, data: bytes) -> None:
    """One function of the bridge with any numbers: it does what a slice does, or raises and has done nothing."""
    before = memory.content()
    inside = address >= 0 and length >= 0 and address + length <= SIZE
    try:
        match how % 6:
            case 0:
                assert memory.read(address, length) == before[address : address + length] and inside
            case 1:
                assert memory.read_bytes(address, length) == before[address : address + length]
                assert inside and (address or not length) and length <= CALL_BYTES_MAX
            case 2:
                assert memory.read_string(address, length).encode() == before[address : address + length] and inside
            case 3:
                code = "bBhHiIqQfd"[length % 10]
                memory.read_typed(address, code)
                assert 0 <= address < SIZE
            case _:
                (memory.write if how % 2 else memory.write_bytes)(address, data)
                expected = bytearray(before)
                expected[address : address + len(data)] = data
                assert memory.content() == bytes(expected) and len(expected) == SIZE
                return
    except SandboxError:
        pass
    assert memory.content() == before
