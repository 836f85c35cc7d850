"""JSON that keeps what it does not touch."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from penstock_guest import JsonError, dumps, loads
from penstock_guest.event import Row
from penstock_guest.jsontext import DEPTH_MAX, members

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 80), 1 << 80)
    | st.text()
    | st.decimals(allow_nan=False, allow_infinity=False)
)
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


@given(VALUES)
def test_what_is_written_is_read_again_digit_by_digit(value: Any) -> None:
    text = dumps(value)
    text.encode()
    assert json.loads(text, parse_float=Decimal) == value
    assert str(loads(text)) == str(json.loads(text, parse_float=Decimal))


@pytest.mark.parametrize(
    "text", ["1.10", "1E+2", "-0.0", "[1.0,2]", '{"a":{"b":1e-7}}'.replace("1e-7", "1E-7"), '"\\ud800"']
)
def test_numbers_and_odd_texts_stay_as_they_are(text: str) -> None:
    assert dumps(loads(text)) == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "a name in quotes was expected at character 1"),
        ("", "a value was expected at character 0"),
        ("[1,]", "character"),
        ("1 2", "text behind the value, at character 2"),
        ("NaN", "NaN is not JSON"),
        ('"a', "Unterminated string"),
        ("[" * (DEPTH_MAX + 1) + "]" * (DEPTH_MAX + 1), "nested more than 512 levels deep"),
    ],
)
def test_what_is_no_json_is_refused_with_its_place(text: str, words: str) -> None:
    with pytest.raises(JsonError, match=words):
        members(text, 0) if text == "{" else loads(text)


def test_many_brackets_are_not_many_levels() -> None:
    assert loads("[" + ",".join(["[]"] * 600) + ',"[[[["]')[-1] == "[[[["


def test_numbers_of_any_length_are_read() -> None:
    assert loads("9" * 5000) == Decimal("9" * 5000)


def row_of(text: str) -> Row:
    return Row(loads(text), text, text.index("{"), text.rindex("}") + 1)


def edited(text: str, row: Row) -> str:
    pieces, done = [], 0
    for start, end, new in row.edits():
        pieces += [text[done:start], new]
        done = end
    return "".join([*pieces, text[done:]])


@pytest.mark.parametrize(
    ("text", "changes", "expected"),
    [
        ('{"a":1.0}', {"b": "x"}, '{"a":1.0,"b":"x"}'),
        ('{ "a" : 1.0 }', {"b": None}, '{ "a" : 1.0,"b":null }'),
        ("{}", {"b": True, "c": Decimal("1.50")}, '{"b":true,"c":1.50}'),
        ("{ }", {"b": [1]}, '{"b":[1] }'),
        ('{"a": 1, "b" : 2.50}', {"a": "new"}, '{"a": "new", "b" : 2.50}'),
        ('{"a":1,"a":2}', {"a": 3}, '{"a":1,"a":3}'),
        ('{"a":1,"b":2,"a":3}', {"a": 4, "b": 5}, '{"a":1,"b":5,"a":4}'),
        ('{"\\u0061":1,"z":1e5}', {"a": 2, "n": 0}, '{"\\u0061":2,"z":1e5,"n":0}'),
        ('{"a":1,"b":2.50,"c":3}', {"a": ..., "d": 4}, '{"b":2.50,"c":3,"d":4}'),
        ('{"a":1}', {"b": 1, "a": ...}, '{"b":1}'),
        ('{"Ł😀":"ü"}', {"Ł😀": "ö", "b": "\ud800"}, '{"Ł😀":"ö","b":"\\ud800"}'),
    ],
)
def test_edits_touch_nothing_else(text: str, changes: dict[str, Any], expected: str) -> None:
    row = row_of(text)
    for name, value in changes.items():
        if value is ...:
            del row[name]
        else:
            row[name] = value
    assert edited(text, row) == expected


@given(
    st.dictionaries(st.text(), LEAVES, max_size=6),
    st.dictionaries(st.text(), LEAVES | st.just(...), max_size=6),
    st.sampled_from([None, 2]),
)
def test_edits_come_to_what_a_dict_would(before: dict[str, Any], changes: dict[str, Any], indent: int | None) -> None:
    text = dumps(before) if indent is None else json.dumps(json.loads(dumps(before)), indent=indent)
    row, plain = row_of(text), loads(text)
    for name, value in changes.items():
        if value is not ...:
            row[name] = plain[name] = value
        elif name in plain:
            del row[name], plain[name]
    assert loads(edited(text, row)) == plain == dict(row)
