"""The guest's end of the channel: blocking, and trusting, because at the other end is the host."""

from __future__ import annotations

import os
from typing import Final

from sandbox.process.protocol import HEAD, FromHost, Message, decode_from_host, packed

DESCRIPTOR: Final = 0
"""The one that a guest's process is started with."""
READ_BYTES: Final = 256 << 10


class Channel:
    """Messages over one descriptor. The end of the channel ends the process."""

    def __init__(self, descriptor: int = DESCRIPTOR) -> None:
        self._descriptor = descriptor
        self._buffer = bytearray()

    def send(self, message: Message, *plain: bytes) -> None:
        """Write one message."""
        for piece in packed(message, *plain):
            left = memoryview(piece)
            while left:
                try:
                    left = left[os.write(self._descriptor, left) :]
                except OSError:  # the host is gone
                    os._exit(0)

    def receive(self) -> tuple[FromHost, bytes]:
        """The next message, and its plain bytes."""
        size, control = HEAD.unpack(self._take(HEAD.size))
        content = self._take(size)
        return decode_from_host(content[:control]), content[control:]

    def _take(self, count: int) -> bytes:
        buffer = self._buffer
        while len(buffer) < count:
            part = os.read(self._descriptor, max(READ_BYTES, min(count - len(buffer), 16 << 20)))
            if not part:
                os._exit(0)
            buffer += part
        taken = bytes(memoryview(buffer)[:count])
        del buffer[:count]
        return taken
