"""The rest of WASI: no arguments, the variables that the host lets guests see, chance, and exiting, which is a trap."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from sandbox.host.environment import granted_variables
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
    return _encoded(state.services.environment)


def _encoded(variables: Mapping[str, str]) -> list[bytes]:
    return [f"{name}={value}\0".encode() for name, value in sorted(variables.items())]


def environ_sizes_get(state: HostState, memory: GuestMemory, count: int, size: int) -> Errno:
    """How much room the variables take."""
    return _tell_sizes(memory, _variables(state), count, size)


def environ_get(state: HostState, memory: GuestMemory, pointers: int, text: int) -> Errno:
    """The variables that the host lets guests see, by name."""
    return _tell_variables(memory, _variables(state), pointers, text)


def environ_sizes_get_granted(state: HostState, memory: GuestMemory, count: int, size: int) -> Errno:
    """With the capability `environment`: those of its grants, too. What is counted here is what `environ_get` tells next."""
    state.shim.variables = _granted(state)
    return _tell_sizes(memory, state.shim.variables, count, size)


def environ_get_granted(state: HostState, memory: GuestMemory, pointers: int, text: int) -> Errno:
    """The same."""
    if state.shim.variables is None:
        state.shim.variables = _granted(state)
    return _tell_variables(memory, state.shim.variables, pointers, text)


def _granted(state: HostState) -> list[bytes]:
    return _encoded(granted_variables(state) | dict(state.services.environment))


def _tell_sizes(memory: GuestMemory, variables: list[bytes], count: int, size: int) -> Errno:
    memory.write(count, len(variables).to_bytes(4, "little"))
    memory.write(size, sum(map(len, variables)).to_bytes(4, "little"))
    return Errno.SUCCESS


def _tell_variables(memory: GuestMemory, variables: list[bytes], pointers: int, text: int) -> Errno:
    for variable in variables:
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
