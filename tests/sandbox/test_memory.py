from __future__ import annotations

import ctypes
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.errors import (
    DoubleFree,
    ForeignFree,
    GrowthLimitExceeded,
    InvalidAlignment,
    InvalidText,
    LeakedBlocks,
    MemoryQuotaExceeded,
    NullPointer,
    OutOfBounds,
    RangeTooLong,
    SandboxError,
    WrongSize,
    error_for,
)
from sandbox.escapes import Pattern, is_at_boundary, pattern_of
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
        with pytest.raises(WrongSize, match="has 5 bytes, not 6"):
            heap.deallocate(address, length + 1)
        with pytest.raises(LeakedBlocks, match=f"5 at {address}"):
            heap.close()
        heap.deallocate(address, length)
        with pytest.raises(DoubleFree, match="given back before"):
            heap.deallocate(address, length)
        with pytest.raises(ForeignFree):
            heap.deallocate(address + 8, length)
        heap.close()
    finally:
        guest.close()


@pytest.mark.parametrize(
    "error", [OutOfBounds, NullPointer, RangeTooLong, DoubleFree, ForeignFree, WrongSize, InvalidAlignment]
)
def test_errors_name_their_violation(error: type[SandboxError]) -> None:
    assert error("x").kind is ViolationKind.BOUNDS


MIB = 1 << 20


class Large(GuestMemory):
    """Two MiB, which one host call may not name at once."""

    def __init__(self) -> None:
        self._buffer = ctypes.create_string_buffer(2 * MIB)

    def size(self) -> int:
        return 2 * MIB

    def base(self) -> int:
        return ctypes.addressof(self._buffer)


@given(NEAR | U32 | st.integers(-(2**70), 2**70), st.integers(-4, SIZE + 16) | U32 | st.integers(-(2**70), 2**70))
def test_what_a_guest_names_is_read_exactly_inside_and_never_at_null(address: int, length: int) -> None:
    content = bytes(n % 251 for n in range(SIZE))
    memory = Buffer(content)
    inside = address >= 0 and length >= 0 and address + length <= SIZE
    if inside and (address or not length):
        memory.check_range(address, length)
        assert memory.read_bytes(address, length) == content[address : address + length]
    else:
        with pytest.raises(NullPointer if inside else OutOfBounds) as caught:
            memory.read_bytes(address, length)
        assert caught.value.place == (address, length, SIZE)
        assert isinstance(pattern_of(address, length, SIZE), Pattern)


@given(NEAR | U32 | st.integers(-(2**70), 2**70), st.binary(max_size=64))
def test_what_a_guest_names_is_written_exactly_inside_and_else_nothing_is(address: int, data: bytes) -> None:
    memory = Buffer()
    expected = bytearray(SIZE)
    if 0 <= address <= SIZE - len(data) and (address or not data):
        memory.write_bytes(address, data)
        expected[address : address + len(data)] = data
    else:
        with pytest.raises(OutOfBounds):
            memory.write_bytes(address, data)
    assert memory.content == bytes(expected)


def test_one_call_names_one_mib_at_most_and_a_range_outside_is_outside_first() -> None:
    memory = Large()
    assert len(memory.read_bytes(8, MIB)) == MIB
    memory.write_bytes(8, bytes(MIB))
    for refused in (lambda: memory.read_bytes(8, MIB + 1), lambda: memory.write_bytes(8, bytes(MIB + 1))):
        with pytest.raises(RangeTooLong, match="1048576 is the most"):
            refused()
    with pytest.raises(OutOfBounds):
        memory.read_bytes(MIB + 8, MIB)
    assert len(memory.read(8, MIB + 1)) == MIB + 1, "frames have a cap of their own"


@given(st.binary(max_size=64))
def test_a_string_is_utf8_or_refused(raw: bytes) -> None:
    memory = Buffer(bytes(8) + raw + bytes(SIZE - 8 - len(raw)))
    try:
        expected = raw.decode()
    except UnicodeDecodeError:
        with pytest.raises(InvalidText, match="no UTF-8") as caught:
            memory.read_string(8, len(raw))
        assert caught.value.kind is ViolationKind.BAD_OUTPUT
    else:
        assert memory.read_string(8, len(raw)) == expected


@given(U32 | NEAR, st.sampled_from("bBhHiIqQfd"))
def test_typed_reads_stay_inside(address: int, code: str) -> None:
    width = struct.calcsize("<" + code)
    if address % width or not 0 <= address <= SIZE - width:
        with pytest.raises((InvalidAlignment, OutOfBounds)):
            Buffer().read_typed(address, code)
    else:
        assert Buffer().read_typed(address, code) == 0


@pytest.mark.parametrize(
    ("address", "length", "pattern"),
    [
        (0, 8, Pattern.NULL),
        (0xFFFF_FFF0, 0x20, Pattern.WRAPS),
        (0x8000_0000, 0x8000_0001, Pattern.WRAPS),
        (-16, 8, Pattern.WRAPS),
        (0x0000_7FFE, 0x1234_5678, Pattern.HOST_ADDRESS),
        (0x1234_5678, 0x0000_5612, Pattern.HOST_ADDRESS),
        (SIZE + 1, 1, Pattern.BEGINS_BEYOND),
        (0x8000_0000, 16, Pattern.BEGINS_BEYOND),
        (SIZE - 1, 2, Pattern.ENDS_BEYOND),
        (SIZE, 1, Pattern.BEGINS_BEYOND),
    ],
)
def test_a_refused_range_has_a_name(address: int, length: int, pattern: Pattern) -> None:
    assert pattern_of(address, length, SIZE) is pattern


def test_the_boundary_is_a_page_wide() -> None:
    assert is_at_boundary(SIZE, 1, SIZE) and is_at_boundary(SIZE - 1, 2, SIZE)
    assert not is_at_boundary(0x8000_0000, 16, SIZE)


def test_growth_that_fails_has_its_name_and_is_a_memory_violation() -> None:
    error = error_for(ViolationKind.MEMORY, "full", deadline_ms=1)
    assert type(error) is GrowthLimitExceeded and isinstance(error, MemoryQuotaExceeded)
    assert error.kind is ViolationKind.MEMORY
