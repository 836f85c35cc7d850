"""Compressed record batches, unpacked within a bound.

Threat: a topic's `max.message.bytes` bounds a batch as it is stored. A few kilobytes can unpack to gigabytes, and the client's own
decoders make all of them. What unpacks to more than anyone means is refused before it is held.
"""

from __future__ import annotations

import gzip
import io
import struct
from collections.abc import Callable, Iterator, Mapping

import cramjam
from aiokafka import codec
from aiokafka.errors import CorruptRecordException

UNPACKED_BYTES_MAX = 64 << 20
"""For any batch."""
RATIO_MAX = 32
"""For large ones: what changes rows is text, which compresses to a tenth or so."""
_GUESS = 8
"""How much larger than its payload a batch is likely to be; a wrong guess costs another try."""
_GUESS_BYTES_MIN = 64 << 10
_XERIAL = b"\x82SNAPPY\0"
_XERIAL_BLOCKS_AT = 16
_LENGTH = struct.Struct(">i")


class TooLargeError(CorruptRecordException):  # type: ignore[misc]
    """A batch would unpack to more than the bound."""


def unpacked(number: int, payload: bytes) -> bytes:
    """What the payload of a batch with this number of a codec (1 gzip, 2 snappy, 3 lz4, 4 zstd) unpacks to.

    Raises TooLargeError, or what aiokafka's own decoder raises for a damaged payload.
    """
    return CODECS[number](payload, max(UNPACKED_BYTES_MAX, RATIO_MAX * len(payload)))


def _too_large(size_bytes_max: int) -> TooLargeError:
    return TooLargeError(f"a record batch unpacks to more than {size_bytes_max} bytes")


def _gzip(payload: bytes, size_bytes_max: int) -> bytes:
    with gzip.GzipFile(fileobj=io.BytesIO(payload)) as file:
        found = file.read(size_bytes_max + 1)
        while len(found) <= size_bytes_max and (
            more := file.read(size_bytes_max + 1)
        ):  # to the end, where the checksum is
            found += more
    if len(found) > size_bytes_max:
        raise _too_large(size_bytes_max)
    return found


def _snappy(payload: bytes, size_bytes_max: int) -> bytes:
    """Each block says its length first, and the decoder holds it to that."""
    if sum(_snappy_lengths(payload)) > size_bytes_max:
        raise _too_large(size_bytes_max)
    return bytes(codec.snappy_decode(payload))


def _snappy_lengths(payload: bytes) -> Iterator[int]:
    """What the blocks say, up to the first that is none: the decoder says what is wrong with that."""
    if not payload.startswith(_XERIAL):
        yield _varint(payload[:5])
        return
    at = _XERIAL_BLOCKS_AT
    while at + _LENGTH.size <= len(payload):
        (size,) = _LENGTH.unpack_from(payload, at)
        at += _LENGTH.size
        if size <= 0:
            return
        yield _varint(payload[at : at + 5])
        at += size


def _varint(head: bytes) -> int:
    number = 0
    for at, byte in enumerate(head):
        number |= (byte & 0x7F) << 7 * at
        if byte < 0x80:
            break
    return number


def _into(decode: Callable[[bytes, bytearray], int], payload: bytes, size_bytes_max: int) -> bytes:
    """These two do not say how long they are before the end: into buffers that grow up to the bound."""
    size = min(size_bytes_max, max(_GUESS_BYTES_MIN, _GUESS * len(payload)))
    while True:
        buffer = bytearray(size)
        try:
            return bytes(memoryview(buffer)[: decode(payload, buffer)])
        except cramjam.DecompressionError as error:
            if "write whole buffer" not in str(error):
                raise
            if size >= size_bytes_max:
                raise _too_large(size_bytes_max) from None
            size = min(size_bytes_max, 4 * size)


CODECS: Mapping[int, Callable[[bytes, int], bytes]] = {
    1: _gzip,
    2: _snappy,
    3: lambda payload, most: _into(cramjam.lz4.decompress_into, payload, most),
    4: lambda payload, most: _into(cramjam.zstd.decompress_into, payload, most),
}
