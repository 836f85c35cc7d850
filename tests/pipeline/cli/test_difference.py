"""The difference of two payloads, field by field, digit by digit."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.cli.difference import Change, changes


def difference(before: bytes | None, after: bytes | None) -> list[tuple[str, str | None, str | None]]:
    return [(change.path, change.before, change.after) for change in changes(before, after)]


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        (b"x", b"x", []),
        (b'{"a":1}', b'{"a":1}', []),
        (b'{"a":1.10}', b'{"a":1.1}', [("a", "1.10", "1.1")]),
        (b'{"a":9007199254740993}', b'{"a":9007199254740992}', [("a", "9007199254740993", "9007199254740992")]),
        (b'{"a":1}', b'{"a":"1"}', [("a", "1", '"1"')]),
        (b'{"a":true}', b'{"a":1}', [("a", "true", "1")]),
        (b'{"a":{"b":1,"c":2}}', b'{"a":{"c":3,"d":4}}', [("a.b", "1", None), ("a.c", "2", "3"), ("a.d", None, "4")]),
        (b"[1,2,3]", b"[1,5]", [("[1]", "2", "5"), ("[2]", "3", None)]),
        (b'{"a":[{"b":1}]}', b'{"a":[{"b":2}]}', [("a[0].b", "1", "2")]),
        (b'{"a":1}', b'{ "a": 1 }', [("", "the same JSON", "written differently")]),
        (b'{"a":1}', None, [("", '{"a":1}', "null")]),
        (b"text", b"\xff", [("", "text", "1 bytes: ff")]),
        (b'{"a":null}', b"{}", [("a", "null", None)]),
        (b'{"a":[{"x":1.0}]}', b'{"a":{"x":"\xc3\xa9"}}', [("a", '[{"x":1.0}]', '{"x":"\xe9"}')]),
    ],
)
def test_changes(before: bytes, after: bytes | None, found: list[tuple[str, str | None, str | None]]) -> None:
    assert difference(before, after) == found


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text("ab", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3),
    max_leaves=8,
)


@given(VALUES, VALUES)
def test_there_are_changes_exactly_when_the_text_differs(before: Any, after: Any) -> None:
    texts = [json.dumps(value).encode() for value in (before, after)]
    assert bool(difference(*texts)) == (texts[0] != texts[1])


def test_deep_and_huge_payloads_are_compared_without_harm() -> None:
    deep = b"[" * 5_000 + b"]" * 5_000
    assert len(difference(deep, b"[]")) == 1
    assert difference(b'{"a":%s}' % (b"[" * 200 + b"1" + b"]" * 200), b'{"a":%s}' % (b"[" * 200 + b"2" + b"]" * 200))
    assert difference(b"1" * 10_000, b"2")[0][1] == "1" * 10_000


def test_a_change_is_data() -> None:
    assert next(changes(b"1", b"2")) == Change("", "1", "2")
