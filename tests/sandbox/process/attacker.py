"""A guest's process that an attacker has taken over: it speaks the protocol until the first crossing, and then does as it likes.

Run as the program of a process, in place of the real one. It shares no code with the host: an attacker would not either.
"""

from __future__ import annotations

import os
import signal
import struct
import time
from typing import Any

import msgpack

BOOT, START, PROBE, CROSS, CLOSE, READ, WRITE, RESULT = range(8)
READY, UNFIT, STARTED, PROBED, CROSSED, TROUBLED, FAULTED, CALL, MEMORY = range(9)
SILENCE: list[Any] = [[], 0, 0, 0, 0, []]


def take(count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = os.read(0, count - len(data))
        if not part:
            os._exit(0)
        data += part
    return data


def receive() -> tuple[list[Any], bytes]:
    size, control = struct.unpack("=II", take(8))
    content = take(size)
    return msgpack.unpackb(content[:control], strict_map_key=False), content[control:]


def raw(data: bytes) -> None:
    while data:
        data = data[os.write(0, data) :]


def framed(control: bytes, plain: bytes = b"") -> bytes:
    return struct.pack("=II", len(control) + len(plain), len(control)) + control + plain


def say(message: list[Any], plain: bytes = b"") -> None:
    raw(framed(msgpack.packb(message), plain))


def crossed(said: list[Any] = SILENCE, memory: Any = 131072, fuel: Any = 0, frame: bytes = b"\x91\xc0") -> None:
    say([CROSSED, memory, fuel, said], frame)


def troubled(**changes: Any) -> None:
    fields = {
        "kind": "trap",
        "text": "x",
        "code": "",
        "backtrace": "",
        "elapsed_ns": 1,
        "memory_bytes": 1,
        "cursor": None,
        "oversize": False,
        "fuel_used": 0,
        "said": SILENCE,
    }
    say([TROUBLED, *(fields | changes).values()])


def main(attack: str, at: int = CROSS) -> None:
    """`attack` is code; it is run when the message `at` has come."""
    names = {**globals(), "os": os, "signal": signal, "struct": struct, "time": time, "msgpack": msgpack}
    while True:
        message, plain = receive()
        if message[0] == at:
            exec(attack, names | {"message": message, "plain": plain})
        elif message[0] == BOOT:
            say([READY, True, 7, True])
        elif message[0] == START:
            say([STARTED, False, 131072])
        elif message[0] == PROBE:
            say([PROBED])
