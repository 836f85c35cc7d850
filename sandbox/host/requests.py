"""Imports that take a request and write an answer, both msgpack: one shape, one place where bounds, codes and counting are.

`(request_ptr, request_len, out_ptr, out_capacity) -> i32`: the answer's length, or a negative code. When the answer does not fit,
its length stands as a u32 at `out_ptr` (0 where no room would do: an answer over a cap) and the code is -3. The guest then asks
again with as much room; the answer was kept, so that a request is not sent, written or counted twice.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeAlias

import msgspec

from sandbox.errors import OutOfBounds, RangeTooLong
from sandbox.escapes import ADDRESSES_END
from sandbox.host.gate import Denied, Gate
from sandbox.host.imports import HostImport, HostState, Services
from sandbox.memory import CALL_BYTES_MAX, GuestMemory
from schemas.abi import (
    ERROR_BAD_POINTER,
    ERROR_DEADLINE,
    ERROR_DENIED,
    ERROR_INVALID,
    ERROR_TOO_LARGE,
    ERROR_UNAVAILABLE,
)
from schemas.capabilities import Capability, Grant

_log = logging.getLogger("penstock.sandbox")

Serve: TypeAlias = "Callable[[HostRequest], object]"
"""Answers one request. Raises Denied, HostFailure, TransportError."""

SIZE_BYTES = 4


class HostFailure(Exception):
    """There is no answer. `code` is what the guest gets; `message` is for the operator's log and holds no secret.

    `outage` says that what was asked is out of reach or out of order at present: the same request may have an answer later.
    """

    def __init__(self, code: int, message: str, *, outage: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.outage = outage


class HostRequest:
    """One call, as the function that serves it sees it."""

    def __init__(self, state: HostState, capability: Capability, value: object) -> None:
        self._state = state
        self.capability = capability
        """Which the call is counted under; that of the import unless `admit` was asked for another."""
        self.value = value
        """The decoded request. Its shape is the guest's choice."""
        self.scope = ""
        """What was touched, for counting: one of few values, never text of the guest's choosing."""
        self.bytes = 0
        """Read, written, sent or received, beside the request and its answer."""
        self._admitted: Capability | None = None

    @property
    def gate(self) -> Gate:
        """Of this transformer."""
        return self._state.gate

    @property
    def services(self) -> Services:
        """Of this sandbox."""
        return self._state.services

    def admit(self, capability: Capability | None = None, in_scope: Callable[[Grant], bool] | None = None) -> Grant:
        """Count a use of the grant that allows this; the import's own capability unless another is named. Raises Denied.

        One call may need several capabilities, one after the other; each is counted.
        """
        if capability is not None:
            self.capability = capability
        if self._admitted is not None and self._admitted is not self.capability:
            self._state.count(self._admitted, self.scope, 0, 0, allowed=True)
        self._admitted = None
        grant = self.gate.admit(self.capability, in_scope)
        self._admitted = self.capability
        return grant

    def remaining_ms(self) -> float:
        """Of the guest's deadline. Raises HostFailure when nothing is left."""
        ends_ns = self._state.ends_ns
        left = float("inf") if ends_ns is None else (ends_ns - self.gate.clock_ns()) / 1e6
        if left <= 0:
            raise HostFailure(ERROR_DEADLINE, "the guest's deadline is over")
        return left


def request_import(
    name: str, capability: Capability, serve: Serve, prepare: Callable[[Gate, Services], None] | None = None
) -> HostImport:
    """The import `penstock.{name}`, which needs `capability` to link; `serve` admits, does and answers."""

    def call(state: HostState, memory: GuestMemory | None, address: int, length: int, out: int, room: int) -> int:
        if memory is None:
            return ERROR_BAD_POINTER
        try:
            raw = memory.read_bytes(address, length)
            memory.check_range(out, room, ADDRESSES_END)  # room to spare is no fault: an answer's size has its own cap
        except OutOfBounds as error:
            state.refused(error)
            return ERROR_BAD_POINTER
        except RangeTooLong:
            return ERROR_TOO_LARGE
        answer = _kept(state, name, raw)
        if answer is None:
            served = _serve(state, name, capability, serve, raw)
            if isinstance(served, int):
                if served == ERROR_TOO_LARGE:
                    _tell_size(memory, 0, out, room)  # no room would do
                return served
            answer = served
        return _give(state, memory, (name, raw, answer), out, room)

    return HostImport(name, ("i32", "i32", "i32", "i32"), "i32", call, capability, prepare=prepare)


def _kept(state: HostState, name: str, raw: bytes) -> bytes | None:
    kept, state.answered = state.answered, None
    return kept[2] if kept is not None and kept[:2] == (name, raw) else None


def _give(state: HostState, memory: GuestMemory, answered: tuple[str, bytes, bytes], out: int, room: int) -> int:
    answer = answered[2]
    if len(answer) <= room:
        memory.write(out, answer)
        return len(answer)
    state.answered = answered
    _tell_size(memory, len(answer), out, room)
    return ERROR_TOO_LARGE


def _tell_size(memory: GuestMemory, size: int, out: int, room: int) -> None:
    if room >= SIZE_BYTES:
        memory.write(out, size.to_bytes(SIZE_BYTES, "little"))


def _serve(state: HostState, name: str, capability: Capability, serve: Serve, raw: bytes) -> bytes | int:
    """The encoded answer, or a code; either way counted. Raises TransportError for an outage that the lane is to wait for."""
    began = state.gate.clock_ns()
    request = HostRequest(state, capability, None)
    answer: bytes | int = ERROR_UNAVAILABLE
    allowed = True
    try:
        request.value = _decoded(raw)
        answer = msgspec.msgpack.encode(serve(request))
        if len(answer) > CALL_BYTES_MAX:
            raise HostFailure(ERROR_TOO_LARGE, f"the answer has {len(answer)} bytes; {CALL_BYTES_MAX} is the most")
    except Denied as denied:
        allowed, answer = False, ERROR_DENIED
        _log.debug("%s: %s denied: %s", state.gate.name, name, denied.reason)
        state.deny(denied)
    except HostFailure as failure:
        answer = failure.code
        _log.debug("%s: %s: %s", state.gate.name, name, failure.message)
    finally:
        moved = len(raw) + request.bytes + (len(answer) if isinstance(answer, bytes) else 0)
        state.count(request.capability, request.scope, moved, state.gate.clock_ns() - began, allowed=allowed)
    return answer


def _decoded(raw: bytes) -> object:
    try:
        return msgspec.msgpack.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError, ValueError):
        raise HostFailure(ERROR_INVALID, "the request is no msgpack") from None
