"""Where records go: as Kafka's own clients hash, and as the source had it."""

from __future__ import annotations

import pytest
from aiokafka.partitioner import murmur2 as reference
from hypothesis import given
from hypothesis import strategies as st

from pipeline.placement import murmur2, place


@pytest.mark.parametrize(
    ("key", "hashed"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_murmur2_is_that_of_the_java_client(key: bytes, hashed: int) -> None:
    assert murmur2(key) == hashed & 0xFFFFFFFF


@given(st.binary(max_size=64))
def test_murmur2_agrees_with_another_implementation(key: bytes) -> None:
    assert murmur2(key) == reference(key) & 0xFFFFFFFF


@given(st.none() | st.binary(max_size=8), st.integers(0, 11), st.integers(1, 12))
def test_an_unchanged_key_keeps_its_partition_when_the_counts_match(
    key: bytes | None, partition: int, extra: int
) -> None:
    count = partition + extra
    assert place(key, source_key=key, source_partition=partition, source_count=count, count=count) == partition


@given(st.none() | st.binary(max_size=8), st.none() | st.binary(max_size=8), st.integers(0, 11), st.integers(1, 12))
def test_a_record_without_a_key_keeps_the_number_modulo_the_count(
    key: bytes | None, source_key: bytes | None, partition: int, count: int
) -> None:
    at = place(key, source_key=source_key, source_partition=partition, source_count=count + 1, count=count)
    assert at == (partition % count if key is None else (reference(key) & 0x7FFFFFFF) % count)


def test_a_changed_key_is_hashed_also_where_the_counts_match() -> None:
    assert place(b"21", source_key=b"x", source_partition=3, source_count=7, count=7) == (-973932308 & 0x7FFFFFFF) % 7


def test_a_key_taken_away_leaves_the_number() -> None:
    assert place(None, source_key=b"x", source_partition=5, source_count=7, count=3) == 2
