"""Which partition a record goes to. Order per key is kept end to end by keeping the partition, or by hashing the key as Kafka's own clients do."""

from __future__ import annotations

import struct
from functools import lru_cache

_MASK = 0xFFFFFFFF
_M = 0x5BD1E995


def place(key: bytes | None, *, source_key: bytes | None, source_partition: int, source_count: int, count: int) -> int:
    """The destination partition of a record with this key.

    The source's own number while the key is unchanged and the topics have as many partitions; else murmur2 of the key; a
    record without a key goes to the source's number modulo `count`.
    """
    if key == source_key and source_count == count:
        return source_partition
    if key is None:
        return source_partition % count
    return (murmur2(key) & 0x7FFFFFFF) % count


@lru_cache(maxsize=8_192)
def murmur2(key: bytes) -> int:
    """The 32-bit murmur2 hash with the seed that Kafka's Java client uses (`org.apache.kafka.common.utils.Utils.murmur2`)."""
    length = len(key)
    words = length // 4
    h = 0x9747B28C ^ length
    for k in struct.unpack_from(f"<{words}I", key):
        k = k * _M & _MASK
        k = (k ^ k >> 24) * _M & _MASK
        h = (h * _M & _MASK) ^ k
    tail = key[words * 4 :]
    if tail:
        h = (h ^ int.from_bytes(tail, "little")) * _M & _MASK
    h = (h ^ h >> 13) * _M & _MASK
    return h ^ h >> 15
