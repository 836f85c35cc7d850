"""The memory bridge: every byte that crosses between host and guest passes through here.

Threat: a guest chooses the addresses and lengths the host reads and writes. Addresses and lengths are taken as unsigned
32-bit, compared in Python integers (which do not overflow) with the memory's size of this very moment, and the base is read
anew for each access because a memory may move when it grows; only within one host call, in which the guest waits, are both read
once. Nothing keeps a view of guest memory.

Two sets of functions. `read` and `write` are for batch frames, whose size has a cap of its own. `read_bytes`, `write_bytes`,
`read_string` and `check_range` are for what a guest hands to a host function: they refuse address 0 and more than 1 MiB, too.
"""

from __future__ import annotations

import ctypes
import struct
from abc import ABC, abstractmethod

from sandbox.errors import InvalidAlignment, InvalidText, NullPointer, OutOfBounds, RangeTooLong

PAGE_BYTES = 1 << 16
CALL_BYTES_MAX = 1 << 20
"""Largest range one host call may name. Batch frames have a cap of their own."""

# ctypes.memmove lets go of the interpreter lock, and getting it back can take longer than the copy: these keep it.
_copy = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t)(
    ctypes.cast(ctypes.memmove, ctypes.c_void_p).value or 0
)
_take = ctypes.string_at
_NUMBERS = {code: struct.Struct("<" + code) for code in "bBhHiIqQfd"}


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

    def check_range(self, address: int, length: int, length_max: int = CALL_BYTES_MAX) -> None:
        """For a range that a guest hands to a host function. An empty one may be anywhere inside, at address 0 too.

        Raises OutOfBounds, NullPointer; RangeTooLong for one that is inside but longer than `length_max`.
        """
        if address <= 0 or length < 0 or address + length > self.size():
            if address or length < 0 or length > self.size():
                raise self._outside(address, length)
            if length:
                raise NullPointer.at(0, length, self.size())
        if length > length_max:
            raise RangeTooLong(f"{length} bytes at address {address}: {length_max} is the most for one call")

    def read_bytes(self, address: int, length: int) -> bytes:
        """A copy of a range that a guest named. Raises OutOfBounds, NullPointer, RangeTooLong."""
        self.check_range(address, length)
        return _take(self.base() + address, length) if length else b""

    def write_bytes(self, address: int, data: bytes) -> None:
        """Copy `data` to where a guest wants it. Raises OutOfBounds, NullPointer, RangeTooLong, and then has written nothing."""
        length = len(data)
        self.check_range(address, length)
        if length:
            _copy(self.base() + address, data, length)

    def read_string(self, address: int, length: int) -> str:
        """A range that a guest named, as text. Raises OutOfBounds, NullPointer, RangeTooLong, InvalidText."""
        raw = self.read_bytes(address, length)
        try:
            return raw.decode()
        except UnicodeDecodeError as error:
            raise InvalidText(f"{length} bytes at address {address} are no UTF-8: {error.reason}") from None

    def read_u32(self, address: int) -> int:
        """The little-endian unsigned integer at `address`; needs no alignment. Raises OutOfBounds."""
        return int.from_bytes(self.read(address, 4), "little")

    def read_text(self, address: int, length: int) -> str:
        """UTF-8 text; what is not UTF-8 is shown as U+FFFD. Raises OutOfBounds."""
        return self.read(address, length).decode("utf-8", "replace")

    def read_typed(self, address: int, code: str) -> int | float:
        """One number of `struct` type `code` (b B h H i I q Q f d), little-endian. Raises OutOfBounds, InvalidAlignment."""
        number = _NUMBERS[code]
        width = number.size
        if address % width:
            raise InvalidAlignment(f"address {address} is not a multiple of {width}")
        if address < 0 or address + width > self.size():
            raise self._outside(address, width)
        found: int | float = number.unpack(_take(self.base() + address, width))[0]
        return found

    def _outside(self, address: int, length: int) -> OutOfBounds:
        return OutOfBounds.at(address, length, self.size())
