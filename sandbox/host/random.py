"""`random(ptr, len)`: fill a range with random bytes, from where the sandbox was told to take them."""

from __future__ import annotations

from sandbox.errors import OutOfBounds, RangeTooLong
from sandbox.host.imports import HostImport, HostState
from sandbox.memory import GuestMemory
from schemas.abi import ERROR_BAD_POINTER, ERROR_TOO_LARGE
from schemas.capabilities import Capability


def random(state: HostState, memory: GuestMemory | None, address: int, length: int) -> int:
    """0 when the range is filled; -2 for a range outside memory; -3 for more than 1 MiB at once."""
    if memory is None:
        return ERROR_BAD_POINTER
    try:
        memory.check_range(address, length)
    except OutOfBounds as error:
        state.refused(error)
        return ERROR_BAD_POINTER
    except RangeTooLong:
        return ERROR_TOO_LARGE
    memory.write_bytes(address, state.random_bytes(length))
    state.moved += length
    return 0


IMPORTS = (HostImport("random", ("i32", "i32"), "i32", random, Capability.RANDOM, counts_as=Capability.RANDOM),)
