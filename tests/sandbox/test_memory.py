from __future__ import annotations

import ctypes
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.errors import DoubleFree, InvalidAlignment, OutOfBounds, SandboxError
from sandbox.guest import Guest
from sandbox.heap import Heap
from sandbox.memory import GuestMemory
from schemas.outcome import ViolationKind
from tests.sandbox.guests import Bench

SIZE = 4096
U32 = st.integers(0, 2**32 - 1)
NEAR = st.integers(-16, SIZE + 16)


class Buffer(GuestMemory):
    """A memory of our own, with fences on both sides that must never change."""

    FENCE = b"\xa5" * 64

    def __init__(self, content: bytes = bytes(SIZE)) -> None:
        self._buffer = ctypes.create_string_buffer(self.FENCE + content + self.FENCE, SIZE + 128)

    def size(self) -> int:
        return SIZE

    def base(self) -> int:
        return ctypes.addressof(self._buffer) + 64

    @property
    def content(self) -> bytes:
        raw = bytes(self._buffer.raw)
        assert raw[:64] == raw[-64:] == self.FENCE
        return raw[64:-64]


@given(NEAR | U32, st.integers(-4, SIZE + 16) | U32)
def test_reading_is_allowed_exactly_inside(address: int, length: int) -> None:
    content = bytes(n % 251 for n in range(SIZE))
    memory = Buffer(content)
    if address >= 0 and length >= 0 and address + length <= SIZE:
        assert memory.read(address, length) == content[address : address + length]
    else:
        with pytest.raises(OutOfBounds):
            memory.read(address, length)


@given(NEAR | U32, st.binary(max_size=64))
def test_writing_is_allowed_exactly_inside_and_else_changes_nothing(address: int, data: bytes) -> None:
    memory = Buffer()
    if address >= 0 and address + len(data) <= SIZE:
        memory.write(address, data)
        expected = bytearray(SIZE)
        expected[address : address + len(data)] = data
        assert memory.content == bytes(expected)
    else:
        with pytest.raises(OutOfBounds):
            memory.write(address, data)
        assert memory.content == bytes(SIZE)


@pytest.mark.parametrize(
    ("address", "length"),
    [(2**32 - 1, 1), (2**32 - 1, 2**32 - 1), (SIZE, 1), (0, SIZE + 1), (2**31, 2**31), (2**64, 1), (-1, 1), (1, -1)],
)
def test_sums_do_not_overflow(address: int, length: int) -> None:
    with pytest.raises(OutOfBounds, match="not inside the memory of 4096 bytes"):
        Buffer().read(address, length)


@given(st.binary(min_size=32, max_size=32), st.sampled_from("bBhHiIqQfd"), st.integers(0, 24))
def test_typed_reads_are_aligned(content: bytes, code: str, address: int) -> None:
    width = struct.calcsize("<" + code)
    memory = Buffer(content + bytes(SIZE - 32))
    if address % width:
        with pytest.raises(InvalidAlignment):
            memory.read_typed(address, code)
    else:
        (expected,) = struct.unpack_from("<" + code, content, address)
        got = memory.read_typed(address, code)
        assert got == expected or got != got


def test_text_that_is_not_utf8_is_shown_not_raised() -> None:
    memory = Buffer()
    memory.write(8, b"caf\xc3\xa9\xff")
    assert memory.read_text(8, 6) == "café�"


def test_the_last_byte_can_be_read_and_an_empty_range_at_the_end_too() -> None:
    memory = Buffer(bytes(SIZE - 1) + b"Z")
    assert memory.read(SIZE - 1, 1) == b"Z"
    assert memory.read(SIZE, 0) == b""


def test_a_real_guests_memory_is_read_anew_after_it_has_grown(bench: Bench) -> None:
    transformer = bench.load("saboteur")
    guest = Guest(transformer._plan.guests)
    guest.start()
    try:
        memory = guest._seat.memory
        before = memory.size()
        address = guest._seat.call(0, 1 << 20) & 0xFFFFFFFF
        assert memory.size() > before
        memory.write(address, b"x" * (1 << 20))
        assert memory.read(address + (1 << 20) - 1, 1) == b"x"
        with pytest.raises(OutOfBounds):
            memory.read(memory.size() - 1, 2)
    finally:
        guest.close()


def test_a_block_is_given_back_once_and_with_its_size(bench: Bench) -> None:
    guest = Guest(bench.load("saboteur")._plan.guests)
    guest.start()
    try:
        heap = Heap(guest._seat, 0)
        address, length = heap.place(b"hello")
        assert heap.live == {address: length}
        with pytest.raises(DoubleFree):
            heap.deallocate(address, length + 1)
        heap.deallocate(address, length)
        with pytest.raises(DoubleFree, match="no block of 5 bytes"):
            heap.deallocate(address, length)
        with pytest.raises(DoubleFree):
            heap.deallocate(address + 8, length)
    finally:
        guest.close()


@pytest.mark.parametrize("error", [OutOfBounds, DoubleFree, InvalidAlignment])
def test_errors_name_their_violation(error: type[SandboxError]) -> None:
    assert error("x").kind is ViolationKind.BOUNDS
