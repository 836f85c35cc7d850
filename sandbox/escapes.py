"""What a hostile guest's addresses look like, by name. Every range that was refused has exactly one name; nothing is refused for its name.

The names are for the operator, who reads in them whether a guest has a bug or somebody is looking for a way out. They are a
reading of numbers, not proof: an honest guest with a wild pointer can look like either.
"""

from __future__ import annotations

from enum import StrEnum

ADDRESSES_END = 1 << 32
BOUNDARY_BYTES = 1 << 16
"""How near to the memory's end an attempt must begin or end to be one at the boundary: a page."""
PROBES = 8
"""Attempts at the boundary within one crossing, from which on they are probing."""


class Pattern(StrEnum):
    """Why a range was refused."""

    NULL = "null"
    """Bytes at address 0: where a pointer that was never set points to."""
    WRAPS = "wraps"
    """Address and length add up beyond 2^32: a check in 32 bits would have let it pass."""
    HOST_ADDRESS = "host-address"
    """Address and length together are what a pointer of the host's own process looks like."""
    BEGINS_BEYOND = "begins-beyond"
    ENDS_BEYOND = "ends-beyond"
    """Begins inside, ends outside."""
    PROBING = "probing"
    """One of many at the boundary: somebody asks where the memory ends, which `memory.size` would have told."""
    OWN_ACCESS = "own-access"
    """Not handed to the host: the guest's own load, store or copy, which trapped."""


def pattern_of(address: int, length: int, size: int) -> Pattern:
    """The name of a range that is refused in a memory of `size` bytes."""
    if address == 0 and length <= size:
        return Pattern.NULL
    if _is_host_like(address << 32 | length) or _is_host_like(length << 32 | address):
        return Pattern.HOST_ADDRESS
    if address < 0 or length < 0 or address + length > ADDRESSES_END:
        return Pattern.WRAPS
    return Pattern.BEGINS_BEYOND if address >= size else Pattern.ENDS_BEYOND


def is_at_boundary(address: int, length: int, size: int) -> bool:
    """A refused range that begins or ends within a page of where the memory ends."""
    return abs(address - size) <= BOUNDARY_BYTES or abs(address + length - size) <= BOUNDARY_BYTES


def _is_host_like(word: int) -> bool:
    """Where 64-bit Linux puts programs, heaps, libraries and stacks: 0x55…, 0x56…, 0x7e…, 0x7f…, of 47 bits."""
    return word >> 40 in _HOST_TOPS


_HOST_TOPS = frozenset({0x55, 0x56, 0x7E, 0x7F})
