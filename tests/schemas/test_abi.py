from __future__ import annotations

import time
import tracemalloc

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.abi import (
    HEADERS_MAX,
    RECORDS_MAX,
    BatchEncoder,
    Drop,
    Emit,
    FrameError,
    Reject,
    Replace,
    ResultRecord,
    decode_results,
    encode_config,
)
from schemas.event import Event, TopicPartition

U63 = st.integers(0, 2**63 - 1)
MAYBE_BYTES = st.none() | st.binary(max_size=64)
HEADERS = st.lists(st.tuples(st.text(max_size=8), MAYBE_BYTES), max_size=4)
EVENTS = st.builds(Event, U63, st.integers(-1, 2**62), MAYBE_BYTES, MAYBE_BYTES, HEADERS.map(tuple))
RECORDS = st.tuples(st.none() | st.text(max_size=8), MAYBE_BYTES, MAYBE_BYTES, st.none() | HEADERS)
RESULTS = st.one_of(
    st.none(),
    st.just([0]),
    MAYBE_BYTES.map(lambda value: [1, value]),
    st.lists(RECORDS, max_size=4).map(lambda records: [2, records]),
    st.tuples(st.text(max_size=8), st.text(max_size=8)).map(lambda said: [3, *said]),
)


@given(st.text(max_size=20), st.integers(0, 2**31 - 1), st.lists(EVENTS, max_size=20))
def test_a_batch_frame_is_what_the_abi_says(topic: str, partition: int, events: list[Event]) -> None:
    encoder = BatchEncoder(TopicPartition(topic, partition))
    meta, got = msgpack.unpackb(encoder.head + encoder.body(events), strict_map_key=True)
    assert meta == {"topic": topic, "partition": partition, "encoding": "raw"}
    assert got == [[e.offset, e.timestamp, e.key, e.value, [list(pair) for pair in e.headers]] for e in events]


@given(st.lists(RESULTS, max_size=20))
def test_every_legal_result_is_understood(results: list[object]) -> None:
    decoded = decode_results(msgpack.packb(results), len(results))
    assert [_plain(one) for one in decoded] == [_plain_input(one) for one in results]


def _plain(result: object) -> object:
    match result:
        case None:
            return None
        case Drop():
            return [0]
        case Replace(value):
            return [1, value]
        case Emit(records):
            return [2, [(r.topic, r.key, r.value, r.headers) for r in records]]
        case Reject(code, message):
            return [3, code, message]
    raise AssertionError(result)


def _plain_input(result: object) -> object:
    if isinstance(result, list) and result[0] == 2:
        records = [(t, k, v, None if h is None else tuple((n, b) for n, b in h)) for t, k, v, h in result[1]]
        return [2, records]
    return result


@given(st.binary(max_size=200), st.integers(0, 5))
def test_no_bytes_whatever_raise_anything_but_frame_error(frame: bytes, count: int) -> None:
    try:
        decoded = decode_results(frame, count)
    except FrameError:
        return
    assert len(decoded) == count


@given(st.lists(RESULTS, min_size=1, max_size=5), st.data())
def test_a_frame_cut_short_or_continued_is_refused(results: list[object], data: st.DataObject) -> None:
    frame = msgpack.packb(results)
    cut = data.draw(st.integers(0, len(frame) - 1))
    with pytest.raises(FrameError):
        decode_results(frame[:cut], len(results))
    with pytest.raises(FrameError):
        decode_results(frame + b"\xc0", len(results))


BAD = {
    "empty": b"",
    "no array": b"\xc0",
    "a map": b"\x81\x00\xc0",
    "header cut short": b"\xdd\x00\x00",
    "too few": b"\x90",
    "too many": b"\x92\xc0\xc0",
    "claims four billion results": b"\xdd\xff\xff\xff\xff",
    "a result of four billion items": b"\x91\xdd\xff\xff\xff\xff\x01",
    "four billion records": b"\x91\x92\x02\xdd\xff\xff\xff\xff",
    "four billion headers": b"\x91\x92\x02\x91\x94\xc0\xc0\xc0\xdd\xff\xff\xff\xff",
    "a value of four gigabytes": b"\x91\x92\x01\xc6\xff\xff\xff\xff",
    "an empty array": b"\x91\x90",
    "an unknown tag": b"\x91\x92\x04\xc0",
    "a negative tag": b"\x91\x92\xff\xc0",
    "a float tag": b"\x91\x92\xca\x3f\x80\x00\x00\xc0",
    "a bool tag": b"\x91\x92\xc3\xc0",
    "a bool": b"\x91\xc3",
    "drop with a value": b"\x91\x92\x00\xc0",
    "replace without a value": b"\x91\x91\x01",
    "replace with two": b"\x91\x93\x01\xc0\xc0",
    "str instead of bin": b"\x91\x92\x01\xa1x",
    "an integer value": b"\x91\x92\x01\x07",
    "a map value in raw encoding": b"\x91\x92\x01\x80",
    "records that are no array": b"\x91\x92\x02\xc0",
    "a record of three": b"\x91\x92\x02\x91\x93\xc0\xc0\xc0",
    "a record of five": b"\x91\x92\x02\x91\x95\xc0\xc0\xc0\xc0\xc0",
    "a bin topic": b"\x91\x92\x02\x91\x94\xc4\x01t\xc0\xc0\xc0",
    "a str key": b"\x91\x92\x02\x91\x94\xc0\xa1k\xc0\xc0",
    "a header of one": b"\x91\x92\x02\x91\x94\xc0\xc0\xc0\x91\x91\xa1h",
    "a nil header name": b"\x91\x92\x02\x91\x94\xc0\xc0\xc0\x91\x92\xc0\xc0",
    "reject without message": b"\x91\x92\x03\xa1c",
    "text that is not UTF-8": b"\x91\x93\x03\xa1\xff\xa0",
    "a topic that is not UTF-8": b"\x91\x92\x02\x91\x94\xa1\x80\xc0\xc0\xc0",
    "a surrogate": b"\x91\x93\x03\xa3\xed\xa0\x80\xa0",
    "an extension": b"\x91\x92\x01\xd4\x01\x00",
    "a reserved byte": b"\x91\xc1",
    "nested a hundred thousand deep": b"\x91" * 100_000,
    "a value nested a hundred thousand deep": b"\x91\x92\x01" + b"\x91" * 100_000,
}


@pytest.mark.parametrize("frame", BAD.values(), ids=BAD.keys())
def test_a_bad_frame_is_refused_at_once_and_without_memory(frame: bytes) -> None:
    tracemalloc.start()
    began = time.perf_counter()
    with pytest.raises(FrameError):
        decode_results(frame, 1)
    elapsed = time.perf_counter() - began
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20
    assert elapsed < 0.5


def test_the_message_says_how_many_results_there_should_be() -> None:
    with pytest.raises(FrameError, match="3 results for 2 events"):
        decode_results(msgpack.packb([None] * 3), 2)


def test_a_record_may_have_neither_key_nor_value() -> None:
    (result,) = decode_results(msgpack.packb([[2, [[None, None, None, []]]]]), 1)
    assert result == Emit((ResultRecord(None, None, None, ()),))


def test_records_and_headers_are_bounded_in_number() -> None:
    record = [None, None, None, None]
    assert decode_results(msgpack.packb([[2, [record] * RECORDS_MAX]]), 1)
    with pytest.raises(FrameError):
        decode_results(msgpack.packb([[2, [record] * (RECORDS_MAX + 1)]]), 1)
    header = ["h", None]
    assert decode_results(msgpack.packb([[2, [[None, None, None, [header] * HEADERS_MAX]]]]), 1)
    with pytest.raises(FrameError):
        decode_results(msgpack.packb([[2, [[None, None, None, [header] * (HEADERS_MAX + 1)]]]]), 1)


def test_config_is_msgpack() -> None:
    config = {"currency": "EUR", "paths": ["a", "b"], "rate": 1.5, "on": True, "none": None}
    assert msgpack.unpackb(encode_config(config)) == config
