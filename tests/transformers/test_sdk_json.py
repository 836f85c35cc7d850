"""The JSON scanners and editors of the SDKs for C and Zig, natively and with everything checked, held against Python's `json`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transformers.native import Driver, compiled, compiled_zig
from tests.transformers.test_properties import EVERYTHING, NumberText, Spaces, Text, Value, written

SEED = """ {"a" : [1, -0.5e+10 ,"x\\u00e9\\"\\\\" , {} ,[ ] ], "é😀":{"b":true,"c":null,"d":[false,{"e":0}]} , "long text here":1E5} """
OTHERS = '{}[]:,"\\ /u0159-+.eEtfnalr\t\n\0\x1f\x7fä'
ODD = [
    "",
    " ",
    "0",
    "00",
    "01",
    "-",
    "-0",
    "1.",
    ".1",
    "1e",
    "nul",
    "nulll",
    "tru",
    '"',
    '"\\',
    '"\\u12',
    '"\\x"',
    "]",
    "[1}",
]
ODD += [
    '{"a":1]',
    "[,]",
    "[1,]",
    "{,}",
    '{"a":1,}',
    "{1:1}",
    "\ufeff1",
    "\xa01",
    "[1 2]",
    '"a\x1fb"',
    '"12345678\0"',
    "NaN",
]
ODD += [
    '"\\ud83d\\ude00"',
    '"\\ud83d"',
    '"\\ude00x"',
    '["\\ud83d\\u0041"]',
    '{"\\ud83d":1}',
    '{"\\u0061":1,"a":2}',
    "-Infinity",
]
ODD += [
    "1234567890123456",
    "12345678901234567",
    "0.1234567890123456e-12345678901234567",
    '"1234567\\n12345678"',
    "[-]",
    "1e+",
]
DEPTH_MAX = 512


@pytest.fixture(scope="module", params=["c", "zig"])
def driver(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    out = tmp_path_factory.mktemp(request.param) / "json"
    program = Driver(compiled("json_driver.c", out) if request.param == "c" else compiled_zig("json_driver.zig", out))
    yield program
    assert program.close() == 0


class Refused(Exception):
    """A text that is no JSON."""


def expected(text: bytes) -> Any:
    """What the driver says of a value, from Python's own reader. Raises Refused."""
    try:
        return json.loads(
            text.decode(),
            parse_float=_number,
            parse_int=_number,
            parse_constant=_no_constant,
            object_pairs_hook=lambda pairs: _Object(pairs),
        )
    except ValueError:
        raise Refused from None


class _Object(list[tuple[str, Any]]):
    """Members in order, repeated ones included."""


def _number(text: str) -> tuple[str, str]:
    return ("number", text)


def _no_constant(text: str) -> None:
    raise ValueError(text)


def said(value: Any) -> Any:
    """Python's reading in the driver's words; a walk ends at a name that is no text."""
    match value:
        case ("number", text) if not isinstance(value, list):
            return ["number", text]
        case str():
            return ["string", _text(value)]
        case _Object():
            out: list[Any] = ["object"]
            for name, item in value:
                if _text(name) is None:
                    return [*out, "a name that is no text"]
                out += [name, said(item)]
            return out
        case list():
            return ["array", *map(said, value)]
        case _:
            return value


def _text(text: str) -> str | None:
    return None if any("\ud800" <= character <= "\udfff" for character in text) else text


def agrees(driver: Driver, text: bytes) -> None:
    answer = json.loads(driver.ask(b"p", text))
    try:
        wanted = said(expected(text))
    except Refused:
        assert isinstance(answer, dict), (text, answer)
        assert 0 <= answer["at"] <= len(text)
        assert answer["error"]
    else:
        assert answer == wanted, text


def test_every_single_change_of_a_text(driver: Driver) -> None:
    agrees(driver, SEED.encode())
    for at in range(len(SEED)):
        agrees(driver, SEED[:at].encode())
        agrees(driver, (SEED[:at] + SEED[at + 1 :]).encode())
        for other in OTHERS:
            agrees(driver, (SEED[:at] + other + SEED[at + 1 :]).encode())
            agrees(driver, (SEED[:at] + other + SEED[at:]).encode())


@pytest.mark.parametrize("text", ODD)
def test_odd_texts(driver: Driver, text: str) -> None:
    agrees(driver, text.encode())
    agrees(driver, f'[{text},{{"{"x" * 20}":{text}}}]'.encode())


def test_every_byte_at_every_place_of_two_blocks(driver: Driver) -> None:
    """The sixteen bytes that are looked at together tell each byte, wherever it stands."""
    for place in range(34):
        for byte in range(256):
            inside = bytearray(b"5" * 34)
            inside[place] = byte
            agrees(driver, b'"' + bytes(inside) + b'"')
            agrees(driver, bytes(inside))


def test_bytes_that_are_no_utf8(driver: Driver) -> None:
    sequences = [
        b"\xc3\xa9",
        b"\xe2\x82\xac",
        b"\xf0\x9f\x98\x80",
        b"\xed\x9f\xbf",
        b"\xf4\x8f\xbf\xbf",
        b"\xef\xbf\xbf",
    ]
    for sequence in sequences:
        for place in range(len(sequence)):
            for byte in range(256):
                changed = bytearray(sequence)
                changed[place] = byte
                for before in range(18):
                    agrees(driver, b'"' + b"x" * before + bytes(changed) + b'"')
            agrees(driver, b'"' + sequence[:place] + b'"')
    agrees(driver, b'"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\xff"')


def test_depth_has_an_end(driver: Driver) -> None:
    def nested(depth: int) -> bytes:
        return b'[{"a":' * (depth // 2) + b"1" + b"}]" * (depth // 2)

    assert isinstance(json.loads(driver.ask(b"p", nested(DEPTH_MAX))), list)
    refused = json.loads(driver.ask(b"p", nested(DEPTH_MAX + 2)))
    assert refused["error"] == "nested too deeply"
    assert json.loads(driver.ask(b"p", b"[" * 1_000_000))["error"] == "nested too deeply"


def test_an_error_says_where(driver: Driver) -> None:
    for text, problem, at in [
        (b'{"a":}', "expected a value", 5),
        (b'{"a" 1}', "expected a colon", 5),
        (b"[1 2]", "expected a comma or the end of the list", 3),
        (b"a\xff", "not UTF-8", 1),
        (b"{", "the text ends too early", 1),
        (b"1 x", "more text after the value", 2),
    ]:
        assert json.loads(driver.ask(b"p", text)) == {"error": problem, "at": at}


@st.composite
def texts(draw: st.DrawFn) -> bytes:
    return (draw(Spaces) + written(draw, draw(Value)) + draw(Spaces)).encode()


@EVERYTHING
@given(texts(), st.integers(0, 10**6), st.binary(max_size=3))
def test_any_text_and_any_damage(driver: Driver, text: bytes, place: int, damage: bytes) -> None:
    agrees(driver, text)
    at = place % (len(text) + 1)
    agrees(driver, text[:at] + damage + text[at + 1 :])


@EVERYTHING
@given(NumberText)
def test_numbers(driver: Driver, text: str) -> None:
    agrees(driver, text.encode())


# ---- Edits. ----

Name = st.text('abc"\n', max_size=2)
Tree = st.recursive(
    st.integers(0, 99).map(str) | Text.map(json.dumps),
    lambda inner: st.dictionaries(Name, inner, max_size=3),
    max_leaves=8,
)
New = st.integers(-99, 99) | Text | st.none() | st.booleans() | st.lists(st.integers(0, 9), max_size=2)


def _spelt(draw: st.DrawFn, tree: Any) -> str:
    if not isinstance(tree, dict):
        return str(tree)
    spaced = (f"{draw(Spaces)}{json.dumps(name)}{draw(Spaces)}:{_spelt(draw, item)}" for name, item in tree.items())
    return "{" + ",".join(spaced) + draw(Spaces) + "}"


def _objects(tree: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if not isinstance(tree, dict):
        return []
    return [path, *(found for name, item in tree.items() for found in _objects(item, (*path, name)))]


@st.composite
def edited(draw: st.DrawFn) -> tuple[str, list[dict[str, Any]]]:
    """A text and changes to its objects' members, no member of which is an object."""
    tree = draw(st.dictionaries(Name, Tree, max_size=3))
    wishes: list[dict[str, Any]] = []
    for path in draw(st.lists(st.sampled_from(_objects(tree)), max_size=6)):
        place: Any = tree
        for step in path:
            place = place[step]
        free = [name for name in ("a", "b", "new", 'q"\n') if not isinstance(place.get(name), dict)]
        for name in draw(st.lists(st.sampled_from(free), max_size=3, unique=True)) if free else []:
            if not any(wish["path"] == [*path] and wish["name"] == name for wish in wishes):
                wishes.append({"path": [*path], "name": name, "to": draw(New)})
    return draw(Spaces) + _spelt(draw, tree) + draw(Spaces), wishes


@EVERYTHING
@given(edited())
def test_edits_change_what_they_name_and_nothing_else(driver: Driver, case: tuple[str, list[dict[str, Any]]]) -> None:
    text, wishes = case
    document = json.loads(text)
    for wish in wishes:
        place = document
        for step in wish["path"]:
            place = place[step]
        place[wish["name"]] = wish["to"]
    answer = driver.ask(b"e", json.dumps({"text": text, "edits": wishes}).encode()).decode()
    assert json.loads(answer) == document
    assert list(_names(json.loads(answer))) == list(_names(document))
    if not wishes:
        assert answer == text


def _names(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield name
            yield from _names(item)


def test_edits_keep_spaces_order_and_digits(driver: Driver) -> None:
    text = '{"z":1e400, "n":12345678901234567890.10, "a":{\n  "b": 1\n}, "e":{ }}'
    wishes = [
        {"path": ["a"], "name": "c", "to": -1},
        {"path": ["e"], "name": "x", "to": True},
        {"path": ["a"], "name": "b", "to": 'q"é\x01'},
        {"path": ["a"], "name": "d", "to": None},
        {"path": ["e"], "name": "y", "to": "2"},
    ]
    answer = driver.ask(b"e", json.dumps({"text": text, "edits": wishes}).encode()).decode()
    assert answer == (
        '{"z":1e400, "n":12345678901234567890.10, "a":{\n  "b": "q\\"é\\u0001","c":-1,"d":null\n}, '
        '"e":{"x":true,"y":"2" }}'
    )


def test_edits_that_overlap_are_a_problem(driver: Driver) -> None:
    wishes = [{"path": [], "name": "a", "to": 1}, {"path": ["a"], "name": "b", "to": 2}]
    answer = driver.ask(b"e", json.dumps({"text": '{"a":{"b":0}}', "edits": wishes}).encode())
    assert json.loads(answer)["error"] == "two edits change the same text"
    again = [{"path": [], "name": "a", "to": 1}, {"path": [], "name": "a", "to": 2}]
    assert driver.ask(b"e", json.dumps({"text": '{"a":{"b":0}}', "edits": again}).encode()) == b'{"a":2}'


# ---- Debezium's envelope. ----


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ('{"before":null,"after":{"id":1},"op":"c"}', ["change", "c", None, ["object", "id", ["number", "1"]]]),
        ('{"schema":{},"payload":{"after":[],"op":"r"}}', ["change", "r", None, ["array"]]),
        (" null\n", ["null", "", None, None]),
        ('{"schema":null,"payload":null}', ["null", "", None, None]),
        ('{"op":"x","after":{}}', ["other", "", None, None]),
        ('{"op":"cc","after":{}}', ["other", "", None, None]),
        ('{"payload":1,"op":"d"}', ["change", "d", None, None]),
        ('{"\\u006fp":"t"}', ["change", "t", None, None]),
        ("[1]", {"error": "expected an object", "at": 0}),
        ('{"op":"c","after":{},"after":{}}', {"error": "a member of the envelope repeats", "at": 0}),
        ('{"schema":{},"payload":[1]}', {"error": "expected an object", "at": 23}),
        ('{"op":"c","source":{"x":"\\x"}}', {"error": "no such escape", "at": 26}),
    ],
)
def test_the_envelope(driver: Driver, text: str, answer: Any) -> None:
    assert json.loads(driver.ask(b"d", text.encode())) == answer
