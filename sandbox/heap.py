"""Blocks the host asks a guest for, and gives back: each once, with the size it was given for."""

from __future__ import annotations

from sandbox.calls import Seat
from sandbox.errors import DoubleFree, MemoryQuotaExceeded, OutOfBounds

U32 = 0xFFFFFFFF


class Heap:
    """The ledger of one guest's blocks. `allocate` and `free` are positions in the seat's functions; without `free`, blocks are
    only crossed off.
    """

    def __init__(self, seat: Seat, allocate: int, free: int | None = None) -> None:
        self._seat = seat
        self._allocate = allocate
        self._free = free
        self._blocks: dict[int, int] = {}

    def allocate(self, size: int) -> int:
        """Address of a new block. Raises MemoryQuotaExceeded when the guest has none, OutOfBounds when it lies about it."""
        address = self._seat.call(self._allocate, size) & U32
        if address == 0:
            raise MemoryQuotaExceeded(f"the guest gives no block of {size} bytes")
        if address + size > self._seat.memory.size() or self._overlaps(address, size):
            raise OutOfBounds(f"the guest gave {size} bytes at {address}: outside its memory, or inside another block")
        self._blocks[address] = size
        return address

    def deallocate(self, address: int, size: int) -> None:
        """Give a block back. Raises DoubleFree for one that is not allocated, or not with this size."""
        if self._blocks.get(address) != size:
            raise DoubleFree(f"no block of {size} bytes is allocated at {address}")
        del self._blocks[address]
        if self._free is not None:
            self._seat.call(self._free, address, size)

    def place(self, data: bytes) -> tuple[int, int]:
        """Copy `data` into a new block: its address and length."""
        address = self.allocate(len(data))
        self._seat.memory.write(address, data)
        return address, len(data)

    @property
    def live(self) -> dict[int, int]:
        """Sizes of the blocks not yet given back, by address."""
        return dict(self._blocks)

    def _overlaps(self, address: int, size: int) -> bool:
        return any(address < other + length and other < address + size for other, length in self._blocks.items())
