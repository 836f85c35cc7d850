"""The memory bridge: every byte that crosses between host and guest passes through here.

Threat: a guest chooses the addresses and lengths the host reads and writes. Addresses and lengths are taken as unsigned
32-bit, compared in Python integers (which do not overflow) with the memory's size of this very moment, and the base is read
anew for each access because a memory may move when it grows. Nothing keeps a view of guest memory.
"""

from __future__ import annotations

import ctypes
import struct
from abc import ABC, abstractmethod

from sandbox.errors import InvalidAlignment, OutOfBounds

PAGE_BYTES = 1 << 16
CALL_BYTES_MAX = 1 << 20
"""Largest range one host call may name. Batch frames have a cap of their own."""

# ctypes.memmove lets go of the interpreter lock, and getting it back can take longer than the copy: these keep it.
_copy = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t)(
    ctypes.cast(ctypes.memmove, ctypes.c_void_p).value or 0
)
_take = ctypes.string_at


class GuestMemory(ABC):
    """One guest's linear memory, bounds-checked."""

    __slots__ = ()

    @abstractmethod
    def size(self) -> int:
        """Bytes there are now."""

    @abstractmethod
    def base(self) -> int:
        """Host address of byte 0, valid until the guest runs again."""

    def check(self, address: int, length: int) -> None:
        """Raises OutOfBounds unless these bytes are inside."""
        if address < 0 or length < 0 or address + length > self.size():
            raise self._outside(address, length)

    def read(self, address: int, length: int) -> bytes:
        """A copy of `length` bytes at `address`. Raises OutOfBounds."""
        if address < 0 or length < 0 or address + length > self.size():
            raise self._outside(address, length)
        return _take(self.base() + address, length) if length else b""

    def write(self, address: int, data: bytes, then: bytes = b"") -> None:
        """Copy `data` to `address`, and `then` behind it. Raises OutOfBounds, and then has written nothing."""
        length = len(data)
        if address < 0 or address + length + len(then) > self.size():
            raise self._outside(address, length + len(then))
        if length or then:
            at = self.base() + address
            _copy(at, data, length)
            if then:
                _copy(at + length, then, len(then))

    def read_u32(self, address: int) -> int:
        """The little-endian unsigned integer at `address`; needs no alignment. Raises OutOfBounds."""
        return int.from_bytes(self.read(address, 4), "little")

    def read_text(self, address: int, length: int) -> str:
        """UTF-8 text; what is not UTF-8 is shown as U+FFFD. Raises OutOfBounds."""
        return self.read(address, length).decode("utf-8", "replace")

    def read_typed(self, address: int, code: str) -> int | float:
        """One number of `struct` type `code` (b B h H i I q Q f d). Raises OutOfBounds, InvalidAlignment."""
        width = struct.calcsize("<" + code)
        if address % width:
            raise InvalidAlignment(f"address {address} is not a multiple of {width}")
        number: int | float = struct.unpack("<" + code, self.read(address, width))[0]
        return number

    def _outside(self, address: int, length: int) -> OutOfBounds:
        return OutOfBounds(f"{length} bytes at address {address} are not inside the memory of {self.size()} bytes")
