"""`fail(code, message)`: a guest names the reason, then is stopped. For panic hooks and allocators; always granted."""

from __future__ import annotations

from sandbox.errors import OutOfBounds
from sandbox.host.imports import HostImport, HostState
from sandbox.memory import GuestMemory
from sandbox.text import printable

CODE_BYTES_MAX = 128
MESSAGE_BYTES_MAX = 4096


def fail(state: HostState, memory: GuestMemory | None, code: int, code_length: int, text: int, length: int) -> None:
    """Keep what the guest said, cut to a bound, and trap. An address outside memory leaves its part empty."""
    state.failed = True
    state.fail_code = _read(state, memory, code, code_length, CODE_BYTES_MAX)
    state.fail_message = _read(state, memory, text, length, MESSAGE_BYTES_MAX)
    state.trap()


def _read(state: HostState, memory: GuestMemory | None, address: int, length: int, length_max: int) -> str:
    try:
        raw = memory.read_bytes(address, min(length, length_max)) if memory else b""
        return printable(raw.decode("utf-8", "replace"))
    except OutOfBounds as error:
        state.refused(error)
        return ""


IMPORTS = (HostImport("fail", ("i32", "i32", "i32", "i32"), None, fail),)
