"""Imports that a guest's process cannot serve itself, because it has no file, no network, no database and no grant's scope: the host does.

Which these are is decided by the host (`served_imports`); here they become functions that hand the call over and let the host read and write the
guest's memory until it has a result.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence

from sandbox.errors import OutOfBounds
from sandbox.host import WASI, Denied, Gate, HostImport, HostState, Services, granted_imports
from sandbox.host.wasi_state import STDERR
from sandbox.memory import GuestMemory
from sandbox.process.channel import Channel
from sandbox.process.protocol import ENDED_PROTOCOL, Call, Memory, Read, Result, Write
from schemas.capabilities import FILESYSTEM, Capability

OWN = frozenset({Capability.LOG, Capability.CLOCK, Capability.RANDOM})
"""What a process can serve itself, if there is nothing to count down and no scope."""

Wanted = tuple[str, str, tuple[str, ...], str | None]


def served_imports(
    imports: Sequence[HostImport], gate: Gate, services: Services, extra: Collection[tuple[str, str]]
) -> tuple[HostImport, ...]:
    """Those of a module's imports that the host serves."""
    own = frozenset(one for one in OWN if _is_own(one, gate, services))
    return tuple(one for one in imports if (one.module, one.name) in extra or _is_served(one, gate, own))


def _is_own(capability: Capability, gate: Gate, services: Services) -> bool:
    plain = Services()
    usual = (services.now_ms, services.monotonic_ns, services.random_bytes) == (
        plain.now_ms,
        plain.monotonic_ns,
        plain.random_bytes,
    )
    is_scoped = any(one.scope is not None for one in gate.grants.of_capability(capability))
    return gate.is_free(capability) and not is_scoped and (usual or capability is Capability.LOG)


def _is_served(one: HostImport, gate: Gate, own: frozenset[Capability]) -> bool:
    name = one.counts_as or one.capability
    if one.module == WASI:
        if one.name.startswith(("fd_", "path_")) and gate.grants.names & FILESYSTEM:
            return True
        if one.name.startswith("environ_"):
            return True
    return name is not None and Capability(name) not in own


def forwarders(channel: Channel, served: Sequence[Wanted], granted: Collection[str]) -> tuple[HostImport, ...]:
    """The process's side of the imports that the host serves, in the host's order."""
    known = granted_imports(granted)
    return tuple(_forwarder(channel, index, one, known) for index, one in enumerate(served))


def _forwarder(channel: Channel, index: int, wanted: Wanted, known: Mapping[tuple[str, str], HostImport]) -> HostImport:
    module, name, parameters, result = wanted
    own = known.get((module, name))
    is_stream = module == WASI and name.startswith("fd_")

    def call(state: HostState, memory: GuestMemory | None, *arguments: int) -> int | None:
        state.host_calls -= 1  # whoever serves it counts it
        if is_stream and own is not None and arguments[0] <= STDERR:
            return own.invoke(state, memory, arguments)
        size = None if memory is None else memory.size()
        channel.send(Call(index, size, arguments))
        return _attend(channel, state, memory)

    capability = own.capability if own is not None else None
    return HostImport(name, parameters, result, call, capability, module=module)


def _attend(channel: Channel, state: HostState, memory: GuestMemory | None) -> int | None:
    """Do what the host asks for until it has the result."""
    while True:
        message, plain = channel.receive()
        match message:
            case Read() if memory is not None:
                channel.send(Memory(), memory.read(message.address, message.length))
            case Write() if memory is not None:
                try:
                    memory.write(message.address, plain)
                except OutOfBounds:
                    os._exit(ENDED_PROTOCOL)
            case Result():
                return _end(state, message)
            case _:
                os._exit(ENDED_PROTOCOL)


def _end(state: HostState, result: Result) -> int | None:
    if result.failed is not None:
        state.failed = True
        state.fail_code, state.fail_message = result.failed
    if result.denied is not None:
        state.denied = Denied(*result.denied)
    if result.stop:
        state.trap()
    return result.value
