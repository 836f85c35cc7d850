"""The SDK's msgpack against a library's."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from penstock_guest.packed import UNAVAILABLE, packb, unpackb

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.text()
    | st.binary()
    | st.floats(allow_nan=False)
)
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


@given(VALUES)
def test_both_ways(value: Any) -> None:
    assert msgpack.unpackb(packb(value), strict_map_key=False) == value
    assert unpackb(msgpack.packb(value)) == value


@pytest.mark.parametrize("length", [0, 15, 16, 31, 32, 255, 256, 65535, 65536])
def test_every_width(length: int) -> None:
    for value in ("x" * length, b"x" * length, [None] * length, {str(n): n for n in range(length)}):
        assert unpackb(packb(value)) == msgpack.unpackb(packb(value)) == value
        assert unpackb(msgpack.packb(value)) == value


def test_what_the_source_left_out_passes_through() -> None:
    packed = msgpack.packb({"a": msgpack.ExtType(1, b"")})
    assert unpackb(packed) == {"a": UNAVAILABLE}
    assert msgpack.unpackb(packb(unpackb(packed))) == {"a": msgpack.ExtType(1, b"")}


@pytest.mark.parametrize(
    "data", [b"", b"\x92\x01", b"\xa5ab", b"\xc1", b"\x01\x01", b"\xd4\x05\x00", b"\xcd\x01", b"\xc4\x09a"]
)
def test_anything_else_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"early|behind|begins no|extension"):
        unpackb(data)


@pytest.mark.parametrize(
    ("value", "error"), [(1 << 64, OverflowError), (object(), TypeError), (-(1 << 63) - 1, OverflowError)]
)
def test_what_has_no_form_is_refused(value: object, error: type[Exception]) -> None:
    with pytest.raises(error):
        packb([value])
