"""What goes through the channel: messages, their bounds, and how they are cut out of a stream of bytes.

Threat: the process on the other side may be a guest's that broke out. The host believes no length, number or text beyond what is written here;
what breaks a rule ends the process. A message is `u32 length, u32 length of the first part`, then msgpack, then plain bytes (a frame, a piece
of memory), which are looked into by whoever looks into a guest's bytes anyway.
"""

from __future__ import annotations

import struct
from typing import Annotated, Literal

import msgspec

HEAD = struct.Struct("=II")
CONTROL_BYTES_MAX = 256 << 10
"""The msgpack part of what a guest's process says, without the log lines that it may hold."""
RECEIVE_BYTES = 64 << 10
COUNT_MAX = (1 << 62) - 1
ENDED_BROKEN = 70
"""How a guest's process ends over a fault of its own."""
ENDED_MEMORY = 71
"""... which had too little memory, beside the guest's."""
ENDED_PROTOCOL = 72

Count = Annotated[int, msgspec.Meta(ge=0, le=COUNT_MAX)]
Word = int
"""64 bits, as msgpack has it; fitted to the import's type by whoever serves it."""
U32 = Annotated[int, msgspec.Meta(ge=0, le=0xFFFFFFFF)]
Kind = Literal["deadline", "memory", "fuel", "stack", "trap", "bounds", "bad-output", "output-too-large", "capability"]
"""What a guest's trouble may be; that an event is at fault is not for a process to say."""


class Message(msgspec.Struct, frozen=True, gc=False, array_like=True, forbid_unknown_fields=True):
    """One message's first part."""


# ----------------------------------------------------------------------------------------------------------- from the host


class Boot(Message, tag=0, frozen=True):
    """What to run. The plain bytes are the module and its compiled code."""

    name: str
    module_bytes: int
    function: str
    config: bytes
    """msgpack."""
    encoding: str
    instance: str
    limits: dict[str, int | None]
    engine: dict[str, bool | str]
    granted: list[str]
    strict: bool
    served: list[tuple[str, str, tuple[str, ...], str | None]]
    """Imports that the host serves: module, name, parameters, result."""
    calls: str
    debug: bool


class Start(Message, tag=1, frozen=True):
    """A fresh guest. Answered by Started or Faulted."""

    log_bytes_left: int
    withheld: tuple[str, ...]
    """Of what was granted, what this guest may not use all the same."""


class Probe(Message, tag=2, frozen=True):
    """Try the open guest's `alloc`. Answered by Probed or Faulted."""


class Cross(Message, tag=3, frozen=True):
    """One crossing; the plain bytes are the frame. Answered by Crossed, Troubled or Faulted."""

    head_bytes: int
    count: int
    result_bytes_max: int
    log_bytes_left: int


class Close(Message, tag=4, frozen=True):
    """Discard the guest. Not answered."""


class Read(Message, tag=5, frozen=True):
    """While a call is served: a range of the guest's memory. Answered by Memory."""

    address: int
    length: int


class Write(Message, tag=6, frozen=True):
    """While a call is served: put the plain bytes there. Not answered."""

    address: int


class Result(Message, tag=7, frozen=True):
    """The end of a call that the host served."""

    value: int | None
    stop: bool = False
    """The guest is to be stopped."""
    denied: tuple[str, str] | None = None
    """... because of this."""
    failed: tuple[str, str] | None = None
    """... because it gave up: code and message."""


FromHost = Boot | Start | Probe | Cross | Close | Read | Write | Result

# ------------------------------------------------------------------------------------------------- from the guest's process


PatternName = Literal["null", "wraps", "host-address", "begins-beyond", "ends-beyond", "probing", "own-access"]
"""`sandbox.escapes.Pattern`."""


class Use(msgspec.Struct, frozen=True, gc=False, array_like=True, forbid_unknown_fields=True):
    """What a crossing used of one capability that is served in the process itself."""

    capability: Literal["log", "clock", "random"]
    allowed: Count
    denied: Count
    bytes: Count
    elapsed_ns: Count


class Said(msgspec.Struct, frozen=True, gc=False, array_like=True, forbid_unknown_fields=True):
    """What a guest did through what is served in the process itself."""

    logs: tuple[tuple[Annotated[int, msgspec.Meta(ge=0, le=4)], str], ...] = ()
    logs_suppressed: Count = 0
    host_calls: Count = 0
    bad_pointers: Count = 0
    escapes: Count = 0
    uses: tuple[Use, ...] = ()
    pointers: dict[PatternName, Count] = {}
    """What the bad pointers looked like."""
    named: dict[PatternName, Count] = {}
    """What the escapes did."""


class Ready(Message, tag=0, frozen=True):
    """Everything is loaded, and everything else was taken away."""

    seccomp: bool
    landlock: Count
    network_namespace: bool


class Unfit(Message, tag=1, frozen=True):
    """The process cannot do its work here."""

    reason: str


class Started(Message, tag=2, frozen=True):
    """The guest is open."""

    has_cursor: bool
    memory_bytes: Count


class Probed(Message, tag=3, frozen=True):
    """The guest gives blocks."""


class Crossed(Message, tag=4, frozen=True):
    """The plain bytes are the result frame."""

    memory_bytes: Count
    fuel_used: Count
    said: Said


class Troubled(Message, tag=5, frozen=True):
    """See `sandbox.traps.Trouble`."""

    kind: Kind
    text: str
    code: str
    backtrace: str
    elapsed_ns: Count
    memory_bytes: Count
    cursor: Count | None
    oversize: bool
    starved_ns: Count
    """While it waited for the host's answers as well."""
    fuel_used: Count
    said: Said


class Faulted(Message, tag=6, frozen=True):
    """The module is at fault."""

    kind: Literal["fault", "slow", "config"]
    problem: str
    remedy: str
    said: Said


class Call(Message, tag=7, frozen=True):
    """The guest calls an import that the host serves. Answered by any number of Read and Write, then Result."""

    index: U32
    """Into Boot's `served`."""
    memory_bytes: Count | None
    """What the memory has; None without one."""
    arguments: Annotated[tuple[Word, ...], msgspec.Meta(max_length=16)]


class Memory(Message, tag=8, frozen=True):
    """The plain bytes are what was read."""


FromProcess = Ready | Unfit | Started | Probed | Crossed | Troubled | Faulted | Call | Memory

encode = msgspec.msgpack.Encoder().encode
decode_from_host = msgspec.msgpack.Decoder(FromHost).decode
decode_from_process = msgspec.msgpack.Decoder(FromProcess).decode


def packed(message: Message, *plain: bytes) -> list[bytes]:
    """The pieces to be sent, in order; few small ones are one."""
    control = encode(message)
    size = len(control) + sum(map(len, plain))
    head = HEAD.pack(size, len(control)) + control
    return [head + b"".join(plain)] if size < RECEIVE_BYTES else [head, *plain]
