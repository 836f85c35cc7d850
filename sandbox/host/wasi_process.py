"""The rest of WASI: no arguments, the variables that the host lets guests see, chance, and exiting, which is a trap."""

from __future__ import annotations

import hashlib

from sandbox.host.imports import HostState
from sandbox.host.wasi_errno import Errno
from sandbox.host.wasi_streams import last_words
from sandbox.memory import CALL_BYTES_MAX, GuestMemory

OUT_OF_MEMORY = "out of memory"
"""What runtimes write before they end for want of it: Go's `fatal error: out of memory`, others likewise."""


def args_sizes_get(state: HostState, memory: GuestMemory, count: int, size: int) -> Errno:
    """There are none."""
    memory.write(count, bytes(4))
    memory.write(size, bytes(4))
    return Errno.SUCCESS


def args_get(state: HostState, memory: GuestMemory | None, _pointers: int, _text: int) -> Errno:
    """Nothing to write."""
    return Errno.SUCCESS


def _variables(state: HostState) -> list[bytes]:
    return [f"{name}={value}\0".encode() for name, value in sorted(state.services.environment.items())]


def environ_sizes_get(state: HostState, memory: GuestMemory, count: int, size: int) -> Errno:
    """How much room the variables take."""
    variables = _variables(state)
    memory.write(count, len(variables).to_bytes(4, "little"))
    memory.write(size, sum(map(len, variables)).to_bytes(4, "little"))
    return Errno.SUCCESS


def environ_get(state: HostState, memory: GuestMemory, pointers: int, text: int) -> Errno:
    """The variables that the host lets guests see, by name."""
    for variable in _variables(state):
        memory.write(pointers, text.to_bytes(4, "little"))
        memory.write(text, variable)
        pointers, text = pointers + 4, text + len(variable)
    return Errno.SUCCESS


def random_get(state: HostState, memory: GuestMemory, address: int, length: int) -> Errno:
    """With the capability `random`; 1 MiB at most."""
    if length > CALL_BYTES_MAX:
        return Errno.INVAL
    memory.check(address, length)
    memory.write(address, state.random_bytes(length))
    state.moved += length
    return Errno.SUCCESS


def random_get_stand_in(state: HostState, memory: GuestMemory, address: int, length: int) -> Errno:
    """Without it: the same bytes in every guest, other ones with each call. Good for hash seeds, useless as a secret."""
    if length > CALL_BYTES_MAX:
        return Errno.INVAL
    memory.check(address, length)
    state.shim.random_calls += 1
    seed = b"penstock stand-in %d" % state.shim.random_calls
    memory.write(address, hashlib.shake_128(seed).digest(length))
    return Errno.SUCCESS


def sched_yield(state: HostState, memory: GuestMemory | None) -> Errno:
    """There is nobody else."""
    return Errno.SUCCESS


def proc_exit(state: HostState, memory: GuestMemory | None, code: int) -> None:
    """A guest does not end by itself: whatever the code, it is stopped, and what it last wrote to stderr says why."""
    _end(state, f"it exited with code {code - (1 << 32) if code >> 31 else code}")


def proc_raise(state: HostState, memory: GuestMemory | None, signal: int) -> Errno:
    """The same."""
    _end(state, f"it raised signal {signal}")
    return Errno.NOTSUP


def _end(state: HostState, how: str) -> None:
    state.trap()
    if state.failed:  # it has said why already
        return
    said = last_words(state)
    state.failed = True
    state.fail_code = "memory" if OUT_OF_MEMORY in said else "exit"
    state.fail_message = f"{how}; stderr:\n{said}" if said else how
