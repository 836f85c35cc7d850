"""Blocks the host asks a guest for, and gives back: each once, with the size it was given for.

Threat: the guest's allocator is the guest's. It may hand out the same bytes twice, bytes it does not have, or none. And a mistake
of the host's (a block given back twice) would break an allocator that is honest. So the ledger is the host's: it knows blocks, the
guest only makes them.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque

from sandbox.calls import Seat
from sandbox.errors import DoubleFree, ForeignFree, LeakedBlocks, MemoryQuotaExceeded, OutOfBounds, WrongSize

U32 = 0xFFFFFFFF
FREED_MAX = 1024
"""Addresses given back that are remembered, to tell a block given back twice from one that never was."""


class Heap:
    """The ledger of one guest's blocks. `allocate` and `free` are positions in the seat's functions; without `free`, blocks are
    only crossed off.
    """

    def __init__(self, seat: Seat, allocate: int, free: int | None = None) -> None:
        self._seat = seat
        self._allocate = allocate
        self._free = free
        self._blocks: dict[int, int] = {}
        self._starts: list[int] = []
        """The blocks' addresses, in order."""
        self._freed: deque[int] = deque(maxlen=FREED_MAX)

    def allocate(self, size: int) -> int:
        """Address of a new block. Raises MemoryQuotaExceeded when the guest has none, OutOfBounds when it lies about it.

        Raises ValueError for a size that no block has (0, or beyond 32 bits): the host's mistake.
        """
        if not 1 <= size <= U32:
            raise ValueError(f"{size} bytes are no size of a block")
        address = self._seat.call(self._allocate, size) & U32
        if address == 0:
            raise MemoryQuotaExceeded(f"the guest gives no block of {size} bytes")
        memory_bytes = self._seat.memory.size()
        if address + size > memory_bytes:
            raise OutOfBounds.at(address, size, memory_bytes)
        self.enter(address, size)
        return address

    def enter(self, address: int, size: int) -> None:
        """Note a block. Raises OutOfBounds for one that lies in another."""
        if self._overlaps(address, size):
            raise OutOfBounds(f"the guest gave {size} bytes at {address}, which are inside another block")
        self._blocks[address] = size
        insort(self._starts, address)

    def deallocate(self, address: int, size: int) -> None:
        """Give a block back. Raises DoubleFree, ForeignFree, WrongSize; the guest is then not called."""
        self.cross_off(address, size)
        if self._free is not None:
            self._seat.call(self._free, address, size)

    def cross_off(self, address: int, size: int) -> None:
        """Strike a block out. Raises DoubleFree, ForeignFree, WrongSize."""
        found = self._blocks.get(address)
        if found is None:
            raise self._stranger(address, size)
        if found != size:
            raise WrongSize(f"the block at {address} has {found} bytes, not {size}")
        del self._blocks[address]
        del self._starts[bisect_left(self._starts, address)]
        self._freed.append(address)

    def place(self, data: bytes) -> tuple[int, int]:
        """Copy `data` into a new block: its address and length. Nothing has a block of one byte: those of none have no place."""
        address = self.allocate(len(data) or 1)
        self._seat.memory.write(address, data)
        return address, len(data)

    @property
    def live(self) -> dict[int, int]:
        """Sizes of the blocks not yet given back, by address."""
        return dict(self._blocks)

    def close(self) -> None:
        """No block is to be left. Raises LeakedBlocks with the first few of them."""
        if self._blocks:
            few = ", ".join(f"{self._blocks[start]} at {start}" for start in self._starts[:5])
            raise LeakedBlocks(f"{len(self._blocks)} blocks were not given back (bytes at address: {few})")

    def _stranger(self, address: int, size: int) -> DoubleFree | ForeignFree:
        if address in self._freed:
            return DoubleFree(f"the block of {size} bytes at {address} was given back before")
        return ForeignFree(f"no block of {size} bytes is allocated at {address}")

    def _overlaps(self, address: int, size: int) -> bool:
        """Neighbours suffice, since blocks that are in order do not overlap each other."""
        end = address + size
        at = bisect_left(self._starts, address)
        if at < len(self._starts) and self._starts[at] < end:
            return True
        if at == 0:
            return False
        before = self._starts[at - 1]
        return before + self._blocks[before] > address
