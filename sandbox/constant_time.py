"""Helpers against what timing and memory tell: compared, selected, looked up and read without a branch or an index that depends on the secret.

What Python can promise: `equal` is OpenSSL's comparison (`hmac.compare_digest`), whose time depends on lengths only. The others
execute the same bytecodes whatever the secret is, and touch every entry. What it cannot: integers are objects, small ones are
shared and large ones take longer, the allocator and the garbage collector have times of their own, and caches see which object is
used. So take the others for words and tables of a fixed width, against an observer who measures calls as a whole. Against one who
shares the core there is nothing here; a secret that matters so much belongs into another process, or a library in C.

`wipe` zeroes what a bytearray or memoryview holds. It reaches no copy: not the `bytes` or `str` it was made from, not what a
resized bytearray left behind, no swapped page.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Sequence

WORD_BITS = 64
WORD = (1 << WORD_BITS) - 1


def equal(first: bytes | bytearray, second: bytes | bytearray) -> bool:
    """Whether they are the same; how long it takes says only how long they are."""
    return hmac.compare_digest(first, second)


def is_same(first: int, second: int) -> int:
    """1 for the same two words (0 to 2^64-1), else 0; without a branch."""
    differs = (first ^ second) & WORD
    return 1 ^ ((differs | (-differs & WORD)) >> (WORD_BITS - 1))


def select(condition: int, one: int, other: int) -> int:
    """`one` for 1, `other` for 0; both are words, and both are used."""
    mask = -(condition & 1) & WORD
    return (one & mask) | (other & ~mask & WORD)


def look_up(table: Sequence[int], index: int) -> int:
    """`table[index]` of a table of words, having touched every entry. Raises IndexError, which tells that `index` is wrong."""
    if not 0 <= index < len(table):
        raise IndexError(f"no entry {index} in a table of {len(table)}")
    found = 0
    for at, entry in enumerate(table):
        found |= entry & -is_same(at, index)
    return found & WORD


def read_obscured(data: bytes | bytearray, offset: int, length: int) -> bytes:
    """`data[offset:offset + length]`, having read all of `data`, each time from another place on. Raises IndexError.

    Whoever watches which bytes are touched, and in what order, sees all of them, in an order of chance.
    """
    size = len(data)
    if offset < 0 or length < 0 or offset + length > size:
        raise IndexError(f"{length} bytes at {offset} are not inside {size} bytes")
    found = bytearray(length)
    start = secrets.randbelow(size) if size else 0
    for step in range(size):
        at = (start + step) % size
        inside = _is_below(at - offset, length)
        place = select(inside, at - offset & WORD, 0)
        if length:
            found[place] = found[place] & ~-inside & 0xFF | data[at] & -inside & 0xFF
    return bytes(found)


def wipe(buffer: bytearray | memoryview) -> None:
    """Zeroes over all of it, in place. Raises TypeError for what cannot be written."""
    view = memoryview(buffer).cast("B")
    if view.readonly:
        raise TypeError("only what can be written can be wiped")
    view[:] = bytes(len(view))


def _is_below(number: int, bound: int) -> int:
    """1 for 0 <= number < bound, else 0; both within 63 bits."""
    return 1 & ~(number >> WORD_BITS) & (number - bound >> WORD_BITS)
