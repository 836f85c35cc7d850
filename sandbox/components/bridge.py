"""Host imports for components: the same functions that core modules import, reached with strings and integers.

A host function reads and writes guest memory; a component's cannot be reached, so each call gets a few bytes of its own in which
the strings it was given lie. A component imports `penstock-NAME` for the `NAME` of module `penstock`, hyphens for underscores.

Threat: the types of a component's imports are of its own choosing, and wasmtime hands a Python function whatever they say. They
are compared here before anything is linked.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from wasmtime.component import S32, S64, U32, FuncType, String, TupleType

from sandbox.host import HostImport, HostState
from sandbox.memory import CALL_BYTES_MAX, GuestMemory
from schemas.abi import ERROR_BAD_POINTER, ERROR_TOO_LARGE, IMPORT_MODULE

ANSWER_BYTES = 4096
"""Room for the answer to a request; a larger one is asked for again with the room it says it needs."""
Call = Callable[[HostState, HostImport, tuple[Any, ...]], Any]


@dataclass(frozen=True, slots=True)
class Bridge:
    """How a host import looks to a component."""

    parameters: tuple[Any, ...]
    result: Any
    """A type, None, or `ANSWER`."""
    call: Call

    @property
    def signature(self) -> str:
        """As WIT would write it: `(u32, string) -> string`."""
        result = f" -> {_shown(self.result)}" if self.result is not None else ""
        return f"({', '.join(map(_shown, self.parameters))}){result}"


ANSWER = "tuple<s32, string>"
"""0 and bytes, one in each character; or the ABI's negative number for why there are none, and nothing. A `result` would say it
better, but wasmtime-py converts variants with the help of one set that all threads share.
"""


FIRST = 8
"""Where the strings of a call begin in its scratch memory: address 0 is no address."""


class _Scratch(GuestMemory):
    """Bytes that a host function takes for its guest's memory; `content` is at `FIRST`."""

    __slots__ = ("_bytes",)

    def __init__(self, content: bytes, spare: int = 0) -> None:
        self._bytes = ctypes.create_string_buffer(bytes(FIRST) + content, FIRST + len(content) + spare + 1)

    def size(self) -> int:
        return len(self._bytes) - 1

    def base(self) -> int:
        return ctypes.addressof(self._bytes)


class BridgedImport:
    """One function a component imports, and the host's function for it."""

    def __init__(self, name: str, host: HostImport) -> None:
        self.name = name
        self.host = host
        self._bridge = bridge_of(host)

    def call(self, state: HostState, arguments: tuple[Any, ...]) -> Any:
        """Do it; what the host's function raises is kept on the state and stops the guest."""
        return self._bridge.call(state, self.host, arguments)


def import_key(name: str) -> tuple[str, str]:
    """Module and name of what a component imports as `name`: `penstock-now-ms` is `now_ms` of `penstock`."""
    module, _, rest = name.partition("-")
    return module, rest.replace("-", "_")


def bridge_of(host: HostImport) -> Bridge:
    """How this import looks to a component."""
    special = _SPECIAL.get(host.name) if host.module == IMPORT_MODULE else None
    if special is not None:
        return special
    if (host.parameters, host.result) == (("i32",) * 4, "i32"):
        return Bridge((String(),), ANSWER, _request)
    return Bridge(tuple(_NUMBERS[one] for one in host.parameters), _NUMBERS.get(host.result or ""), _numbers)


def matches(bridge: Bridge, kind: FuncType) -> bool:
    """Whether a component imports the function as it is."""
    parameters, result = tuple(one for _, one in kind.params), kind.result
    if parameters != bridge.parameters:
        return False
    if bridge.result == ANSWER:
        return isinstance(result, TupleType) and result.elements == [S32(), String()]
    return bool(result == bridge.result)


def shown(kind: FuncType) -> str:
    """A function's type, as WIT would write it."""
    result = kind.result
    end = "" if result is None else f" -> {_shown(result)}"
    return f"({', '.join(_shown(one) for _, one in kind.params)}){end}"


def _shown(kind: Any) -> str:
    return kind if isinstance(kind, str) else type(kind).__name__.removesuffix("Type").lower()


def _fail(state: HostState, host: HostImport, arguments: tuple[Any, ...]) -> None:
    """`fail(code, message, event)`: the event is the index of the one at work, or -1."""
    code, message, event = arguments
    state.event = event if event >= 0 else None
    first, second = code.encode(), message.encode()
    host.invoke(state, _Scratch(first + second), (FIRST, len(first), FIRST + len(first), len(second)))


def _log(state: HostState, host: HostImport, arguments: tuple[Any, ...]) -> None:
    level, text = arguments
    line = text.encode()
    host.invoke(state, _Scratch(line), (level, FIRST, len(line)))


def _random(state: HostState, host: HostImport, arguments: tuple[Any, ...]) -> Any:
    (length,) = arguments
    memory = _Scratch(b"", min(length, CALL_BYTES_MAX))
    return _answer(memory, FIRST, length, host.invoke(state, memory, (FIRST, length)) or 0)


def _request(state: HostState, host: HostImport, arguments: tuple[Any, ...]) -> Any:
    """A request and its answer are msgpack, one byte in each character."""
    try:
        request = arguments[0].encode("latin-1")
    except UnicodeEncodeError:
        return _failed(ERROR_BAD_POINTER)
    if len(request) > CALL_BYTES_MAX:
        return _failed(ERROR_TOO_LARGE)
    room, out = ANSWER_BYTES, FIRST + len(request)
    while True:
        memory = _Scratch(request, room)
        length = _signed(host.invoke(state, memory, (FIRST, len(request), out, room)) or 0)
        wanted = memory.read_u32(out)
        if length != ERROR_TOO_LARGE or not room < wanted <= CALL_BYTES_MAX:
            return _answer(memory, out, length, min(length, 0))
        room = wanted


def _numbers(state: HostState, host: HostImport, arguments: tuple[Any, ...]) -> Any:
    result = host.invoke(
        state, None, [value & _MASKS[one] for value, one in zip(arguments, host.parameters, strict=True)]
    )
    return None if host.result is None else _signed(result or 0, 32 if host.result == "i32" else 64)


def _answer(memory: GuestMemory, address: int, length: int, status: int) -> tuple[int, str]:
    status = _signed(status)
    return _failed(status) if status < 0 else (0, memory.read(address, length).decode("latin-1"))


def _failed(status: int) -> tuple[int, str]:
    return status, ""


def _signed(value: int, bits: int = 32) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


_NUMBERS: Mapping[str, Any] = {"i32": S32(), "i64": S64()}
_MASKS: Mapping[str, int] = {"i32": 0xFFFFFFFF, "i64": 0xFFFFFFFFFFFFFFFF}
_SPECIAL: Mapping[str, Bridge] = {
    "fail": Bridge((String(), String(), S32()), None, _fail),
    "log": Bridge((U32(), String()), None, _log),
    "random": Bridge((U32(),), ANSWER, _random),
}
