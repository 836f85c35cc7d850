"""Compressed batches: what the client's own decoders make of them, within a bound."""

from __future__ import annotations

import gzip
import tracemalloc
from collections.abc import Callable

import cramjam
import pytest
from aiokafka import codec
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.kafka.unpack import UNPACKED_BYTES_MAX, TooLargeError, unpacked

Encode = Callable[[bytes], bytes]
CODECS: dict[str, tuple[int, Encode, Callable[[bytes], bytes]]] = {
    "gzip": (1, codec.gzip_encode, codec.gzip_decode),
    "gzip in two members": (1, lambda data: gzip.compress(data[:9]) + gzip.compress(data[9:]), codec.gzip_decode),
    "snappy": (2, codec.snappy_encode, codec.snappy_decode),
    "snappy, raw": (2, lambda data: bytes(cramjam.snappy.compress_raw(data)), codec.snappy_decode),
    "lz4": (3, codec.lz4_encode, codec.lz4_decode),
    "zstd": (4, codec.zstd_encode, codec.zstd_decode),
}
each = pytest.mark.parametrize(("number", "encode", "decode"), CODECS.values(), ids=CODECS.keys())


@each
@settings(deadline=None, max_examples=50)
@given(data=st.binary(min_size=1, max_size=300), times=st.sampled_from((1, 100, 3_000)))
def test_what_was_packed_is_unpacked(
    number: int, encode: Encode, decode: Callable[[bytes], bytes], data: bytes, times: int
) -> None:
    assert unpacked(number, encode(data * times)) == data * times


@each
@settings(deadline=None, max_examples=100)
@given(data=st.binary(min_size=1, max_size=200), at=st.integers(0, 10_000), bit=st.integers(0, 8))
def test_damage_is_told_as_the_clients_decoders_tell_it(
    number: int, encode: Encode, decode: Callable[[bytes], bytes], data: bytes, at: int, bit: int
) -> None:
    payload = bytearray(encode(data * 20))
    if bit == 8:
        del payload[at % len(payload) :]
    else:
        payload[at % len(payload)] ^= 1 << bit
    try:
        expected = bytes(decode(bytes(payload)))
    except Exception as error:
        with pytest.raises((type(error), TooLargeError)):
            unpacked(number, bytes(payload))
    else:
        assert unpacked(number, bytes(payload)) == expected


@each
def test_a_bomb_is_refused_before_it_is_held(number: int, encode: Encode, decode: Callable[[bytes], bytes]) -> None:
    bomb = encode(b"\0" * (3 * UNPACKED_BYTES_MAX))
    tracemalloc.start()
    try:
        if 32 * len(bomb) > 3 * UNPACKED_BYTES_MAX:
            pytest.skip("this codec makes nothing small enough of zeros to be a bomb")
        with pytest.raises(TooLargeError, match="unpacks to more than"):
            unpacked(number, bomb)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3 * UNPACKED_BYTES_MAX


@each
def test_as_much_as_is_allowed_is_unpacked(number: int, encode: Encode, decode: Callable[[bytes], bytes]) -> None:
    assert len(unpacked(number, encode(b"\0" * UNPACKED_BYTES_MAX))) == UNPACKED_BYTES_MAX
