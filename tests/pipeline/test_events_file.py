"""Events as lines: what is written is read back, what is no event is named by its line."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.events_file import EventLine, event_fields, read_events
from schemas.errors import Fault
from schemas.event import Event, TopicPartition

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
PAYLOAD = st.none() | st.binary(max_size=12) | TEXT.map(str.encode)
EVENTS = st.builds(
    Event,
    st.integers(0, 2**63 - 1),
    st.integers(-1, 2**63 - 1),
    PAYLOAD,
    PAYLOAD,
    st.lists(st.tuples(TEXT, PAYLOAD), max_size=3).map(tuple),
)


def read(text: bytes, faults_max: int = 20) -> tuple[list[EventLine], list[Fault]]:
    faults: list[Fault] = []
    return list(read_events(io.BytesIO(text), "e.ndjson", "t", faults, faults_max)), faults


@given(st.lists(st.tuples(EVENTS, TEXT, st.integers(0, 2**31 - 1)), max_size=4))
def test_lines_are_read_back_as_the_same_events(written: list[tuple[Event, str, int]]) -> None:
    lines = [json.dumps(event_fields(event, TopicPartition(topic, at))) for event, topic, at in written]
    found, faults = read("\n".join(lines).encode())
    assert faults == []
    assert [(line.event, *line.source) for line in found] == written


def test_everything_may_be_left_out_and_blank_lines_are_nothing() -> None:
    found, faults = read(b'\xef\xbb\xbf{}\r\n\n  \n{"offset":9}\n{"to":"x"}')
    assert faults == []
    assert [line.event for line in found] == [Event(0, 0, None, None), Event(9, 0, None, None), Event(2, 0, None, None)]
    assert [line.number for line in found] == [1, 4, 5]
    assert {line.source for line in found} == {TopicPartition("t", 0)}


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ('{ "a" : 1.10, "b": [ 1e400, 12345678901234567890123 ] }', b'{"a":1.10,"b":[1e400,12345678901234567890123]}'),
        ("[ ]", b"[]"),
        ('"{ }"', b"{ }"),
        ('"\\u0000\\ud83d\\ude00"', "\0😀".encode()),
        ('""', b""),
        ("null", None),
    ],
)
def test_values_are_text_or_json_as_it_stands(written: str, value: bytes | None) -> None:
    found, faults = read(f'{{"value": {written}, "key": {written}}}'.encode())
    assert faults == []
    assert (found[0].event.value, found[0].event.key) == (value, value)


@pytest.mark.parametrize(
    ("line", "path", "says"),
    [
        ("nope", "", "is not JSON"),
        ("{} {}", "", "trailing characters"),
        ("[]", "", "expected `object`, got `array`"),
        ("[]", "", "write an object a line"),
        ('{"headers": {"a": "b"}}', "headers", "write headers as pairs"),
        ('{"vlaue": 1}', "", "unknown field `vlaue`"),
        ('{"value": 1}', "value", "put it in quotes"),
        ('{"value": true}', "value", "put it in quotes"),
        ('{"value": "\\ud800"}', "", "half of a surrogate pair"),
        ('{"value": {"a": [}}', "", "is not JSON"),
        ('{"value": "a", "value_base64": "YQ=="}', "", "has both value and value_base64"),
        ('{"key_base64": "*"}', "key_base64", "is not base64"),
        ('{"headers": [["a", {"base64": "*"}]]}', "headers[0][1].base64", "is not base64"),
        ('{"headers": [["a"]]}', "headers[0]", "length 2"),
        ('{"headers": [["a", 1]]}', "headers[0][1]", "got `int`"),
        ('{"offset": -1}', "offset", ">= 0"),
        ('{"offset": 9223372036854775808}', "offset", "<= "),
        ('{"partition": 2147483648}', "partition", "<= "),
        ('{"timestamp": "now"}', "timestamp", "got `str`"),
        ('{"value": ' + "[" * 100_000 + "]" * 100_000 + "}", "", "nested too deeply"),
    ],
)
def test_a_line_that_is_no_event_is_a_fault_with_its_place(line: str, path: str, says: str) -> None:
    found, (fault,) = read(f"{{}}\n{line}\n{{}}".encode())
    assert [each.number for each in found] == [1, 3]
    assert (fault.file, fault.line, fault.path) == ("e.ndjson", 2, path)
    assert says in str(fault)


def test_bytes_that_are_no_text_are_a_fault() -> None:
    found, (fault,) = read(b'{"value": "\xff"}\n{}')
    assert len(found) == 1
    assert "is not UTF-8 text (byte 11)" in str(fault)


def test_faults_are_capped() -> None:
    found, faults = read(b"nope\n" * 50 + b"{}", faults_max=7)
    assert (found, len(faults)) == ([], 7)
