"""When two payloads say the same."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.workshop.cases.canonical import same_json, same_payload


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('{"a":1,"b":2}', '{ "b": 2.0, "a": 1 }'),
        ("[1.10, 1e2, -0]", "[1.1,100,0]"),
        ('["\\u0041\\/\\ud83d\\ude00"]', '["A/\U0001f600"]'),
        ("[12345678901234567890.5]", "[1234567890123456789.05e1]"),
        ("[NaN]", "[NaN]"),
        ('[{"a":1,"a":2}]', '[{"a":1, "a":2.0}]'),
    ],
)
def test_the_same(one: str, other: str) -> None:
    assert same_payload(one.encode(), other.encode())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("[1]", "[true]"),
        ("[0]", "[false]"),
        ("[1]", '["1"]'),
        ("[null]", "[0]"),
        ("[12345678901234567890]", "[12345678901234567891]"),
        ("[0.1]", "[0.1000000000000000000000000000001]"),
        ('{"a":2}', '{"a":1,"a":2}'),
        ("[1,2]", "[2,1]"),
        ("{}", "[]"),
        ("[1e400]", "[1e401]"),
        ('["é"]', '["e\u0301"]'),
        ("[NaN]", "[Infinity]"),
        ("1", "1.0"),  # no objects: a text of digits may mean just that
        ("[", "[ "),
        ("[" * 5_000, "[" * 5_001),
    ],
)
def test_not_the_same(one: str, other: str) -> None:
    assert not same_payload(one.encode(), other.encode())
    assert not same_payload(other.encode(), one.encode())


def test_what_is_no_json_is_compared_by_its_bytes() -> None:
    assert same_payload(b"\xff", b"\xff") and same_payload(None, None)
    assert not same_payload(b"{\xff}", b"{ \xff}")
    assert not same_payload(None, b"") and not same_payload(b"{}", None)
    assert same_json("1.0", "1") and not same_json("1", "x")


@settings(deadline=None)
@given(st.dictionaries(st.text(), st.integers() | st.text() | st.booleans() | st.none()))
def test_how_it_is_written_makes_no_difference(data: dict[str, object]) -> None:
    turned = json.dumps(dict(reversed(data.items())), ensure_ascii=False, indent=3)
    assert same_payload(json.dumps(data).encode(), turned.encode())
