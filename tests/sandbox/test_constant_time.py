from __future__ import annotations

import sys
from collections import Counter
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox import constant_time
from sandbox.constant_time import equal, is_same, look_up, read_obscured, select, wipe

WORDS = st.integers(0, 2**64 - 1)
NEAR = st.sampled_from([0, 1, 2**63 - 1, 2**63, 2**64 - 1])


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_equal(first: bytes, second: bytes) -> None:
    assert equal(first, second) == (first == second)
    assert equal(first, bytearray(first))


@given(WORDS | NEAR, WORDS | NEAR)
def test_words_are_compared_and_selected(first: int, second: int) -> None:
    assert is_same(first, second) == (first == second)
    assert (is_same(first, first), select(1, first, second), select(0, first, second)) == (1, first, second)


@given(st.lists(WORDS, min_size=1, max_size=40), st.data())
def test_a_look_up_is_the_entry(table: list[int], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(table) - 1))
    assert look_up(table, index) == table[index]


@given(st.binary(max_size=80), st.integers(-2, 90), st.integers(-2, 90))
def test_an_obscured_read_is_the_slice(data: bytes, offset: int, length: int) -> None:
    if offset < 0 or length < 0 or offset + length > len(data):
        with pytest.raises(IndexError):
            read_obscured(data, offset, length)
    else:
        assert read_obscured(data, offset, length) == data[offset : offset + length]


class Watched(list[int]):
    """Notes which entries are touched."""

    def __init__(self, entries: list[int]) -> None:
        super().__init__(entries)
        self.touched: list[int] = []

    def __iter__(self) -> Any:
        for at in range(len(self)):
            self.touched.append(at)
            yield super().__getitem__(at)

    def __getitem__(self, at: Any) -> Any:
        self.touched.append(at)
        return super().__getitem__(at)


def test_every_entry_is_touched_once_and_in_the_same_order_whichever_is_wanted() -> None:
    orders = []
    for index in range(10):
        table = Watched([n * n for n in range(10)])
        assert look_up(table, index) == index * index
        orders.append(table.touched)
    assert orders == [list(range(10))] * 10


class WatchedBytes(bytes):
    touched: list[int]

    def __getitem__(self, at: Any) -> Any:
        self.touched.append(at)
        return super().__getitem__(at)


def test_all_bytes_are_read_from_a_place_of_chance_on() -> None:
    starts = set()
    for _ in range(64):
        data = WatchedBytes(range(32))
        data.touched = []
        assert read_obscured(data, 5, 3) == b"\x05\x06\x07"
        assert Counter(data.touched) == Counter(range(32))
        starts.add(data.touched[0])
    assert len(starts) > 10


def lines_of(function: Any, *arguments: Any) -> list[int]:
    """Which lines of the module ran, in order."""
    lines: list[int] = []

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if frame.f_code.co_filename != constant_time.__file__:
            return None
        if event == "line":
            lines.append(frame.f_lineno)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function(*arguments)
    finally:
        sys.settrace(before)
    return lines


def test_the_same_lines_run_whatever_the_secret_is() -> None:
    table = list(range(16))
    assert lines_of(look_up, table, 0) == lines_of(look_up, table, 9) == lines_of(look_up, table, 15)
    assert lines_of(select, 1, 5, 6) == lines_of(select, 0, 5, 6)
    assert lines_of(read_obscured, bytes(20), 0, 4) == lines_of(read_obscured, bytes(20), 16, 4)


@given(st.binary(max_size=100))
def test_wiped_is_zeroes_in_place(content: bytes) -> None:
    buffer = bytearray(content)
    view = memoryview(buffer)
    wipe(buffer)
    assert bytes(view) == bytes(len(content)) and len(buffer) == len(content)
    with pytest.raises(TypeError):
        wipe(memoryview(content))
