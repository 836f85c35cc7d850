"""Content codings: as they should be, broken, and bombs."""

from __future__ import annotations

import contextlib
import gzip
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.host.network.decoding import BadCoding, Content, TooLarge, UnknownCoding
from sandbox.host.network.pace import NS, Pace

TEXT = b"as it was " * 100


def raw_deflate(content: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return stream.compress(content) + stream.flush()


def content(coding: str, *pieces: bytes, most: int = 10_000) -> bytes:
    found = Content(coding, most)
    for piece in pieces:
        found.take(piece)
    return found.end()


CODED = {
    "": TEXT, "identity": TEXT, "gzip": gzip.compress(TEXT), "GZIP": gzip.compress(TEXT), "x-gzip": gzip.compress(TEXT),
    "deflate": zlib.compress(TEXT), " deflate ": raw_deflate(TEXT), "gzip, identity": gzip.compress(TEXT[:500]) + gzip.compress(TEXT[500:]),
}  # fmt: skip


@pytest.mark.parametrize("coding", CODED)
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_codings_are_undone_whatever_the_pieces(coding: str, size: int) -> None:
    coded = CODED[coding]
    assert content(coding, *(coded[at : at + size] for at in range(0, len(coded), size))) == TEXT


def test_no_body_at_all_is_well() -> None:
    assert content("gzip") == b""


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip", "deflate, gzip", "compress", "chunked", "gzip;q=1"])
def test_codings_that_were_not_asked_for(coding: str) -> None:
    with pytest.raises(UnknownCoding):
        Content(coding, 100)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
@pytest.mark.parametrize(
    "damage", [lambda one: one[:-1], lambda one: one + b"more", lambda one: one[:20] + b"\xff\xff" + one[22:]]
)
def test_damaged_content(coding: str, damage: object) -> None:
    with pytest.raises(BadCoding):
        content(coding, damage(CODED[coding]))  # type: ignore[operator]


@pytest.mark.parametrize(
    "coded", [gzip.compress(bytes(64 << 20)), gzip.compress(b"x" * 60) * 1_000], ids=["one", "many-members"]
)
def test_bombs_cost_no_more_than_the_bound(coded: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge):
            content("gzip", coded, most=50_000)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_the_bound_is_met_to_the_byte() -> None:
    assert content("gzip", gzip.compress(TEXT), most=len(TEXT)) == TEXT
    with pytest.raises(TooLarge):
        content("gzip", gzip.compress(TEXT), most=len(TEXT) - 1)
    with pytest.raises(TooLarge):
        content("", TEXT, most=len(TEXT) - 1)


@given(st.binary(max_size=400), st.sampled_from(["gzip", "deflate", ""]))
def test_any_bytes_end_as_content_or_as_an_error_of_ours(raw: bytes, coding: str) -> None:
    with contextlib.suppress(BadCoding, TooLarge):
        assert len(content(coding, raw[:9], raw[9:], most=100)) <= 100


def test_a_second_brings_what_the_pace_says() -> None:
    now = [5 * NS]
    pace = Pace(100, lambda: now[0])
    assert pace.wait_ns(100) == 0
    pace.moved(100)
    assert pace.wait_ns(50) == NS // 2
    now[0] += NS // 2
    assert pace.wait_ns(50) == 0
    pace.moved(250)
    assert pace.wait_ns() == 2 * NS
    now[0] += 3600 * NS
    assert pace.wait_ns(101) == NS // 100  # what was not used is not saved up


def test_without_a_pace_nothing_waits() -> None:
    pace = Pace(None, lambda: 0)
    pace.moved(1 << 60)
    assert pace.wait_ns(1 << 60) == 0
