"""Debezium's JSON as change events and back: whatever the bytes, an event or one message; what nobody touched keeps its text."""

from __future__ import annotations

import base64
import json
import math
from pathlib import Path
from typing import Any

import msgpack
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.change import DEPTH_MAX, UNAVAILABLE, ChangeEvent, DecodeError, EncodeError, pack
from schemas.formats import debezium

FIXTURES = Path(__file__).parents[2] / "fixtures"
TOAST = "__debezium_unavailable_value"


def fixture(name: str) -> list[bytes]:
    lines = (FIXTURES / f"{name}.ndjson").read_text().splitlines()
    return [value.encode() for line in lines if (value := json.loads(line)["value"]) is not None]


PLAIN, WRAPPED = fixture("debezium-postgres"), fixture("debezium-postgres-with-schemas")
CHANGES = [data for data in PLAIN + WRAPPED if b'"op":' in data]


def after(column: str) -> bytes:
    return b'{"op":"c","after":{"x":%b}}' % column.encode()


def told(column: str) -> Any:
    change = debezium.decode(after(column)).change
    assert change.after is not None
    return change.after["x"]


def edited(data: bytes, **columns: Any) -> bytes:
    """What comes of it when a guest sets these columns of `after`."""
    document = debezium.decode(data)
    change = msgspec.structs.asdict(document.change)
    return document.encode(pack(change | {"after": (change["after"] or {}) | columns}))


@pytest.mark.parametrize("data", CHANGES)
def test_a_real_event_is_decoded_and_comes_back_byte_for_byte(data: bytes) -> None:
    document = debezium.decode(data)
    envelope = json.loads(data)
    envelope = envelope.get("payload", envelope)
    assert document.change.op == envelope["op"]
    assert (document.change.after is None) == (envelope.get("after") is None)
    assert document.encode(document.packed) == data
    assert document.encode(msgpack.packb(msgpack.unpackb(document.packed))) == data


@pytest.mark.parametrize("data", [data for data in CHANGES if b'"after":{' in data])
def test_of_a_real_event_that_is_changed_only_the_change_is_new(data: bytes) -> None:
    out = json.loads(edited(data, added=[1, {"a": None}]), parse_float=str, parse_int=str)
    was = json.loads(data, parse_float=str, parse_int=str)
    row = out.get("payload", out)["after"]
    assert row.pop("added") == ["1", {"a": None}]
    assert out == was


def test_heartbeats_and_transaction_marks_are_no_change_events() -> None:
    for data in PLAIN + WRAPPED:
        if b'"op":' not in data:
            with pytest.raises(DecodeError, match="not a change event: it has no `op`"):
                debezium.decode(data)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("-9223372036854775808", -(1 << 63)),
        ("18446744073709551615", (1 << 64) - 1),
        ("18446744073709551616", "18446744073709551616"),
        ("-9223372036854775809", "-9223372036854775809"),
        ("9007199254740993", 9007199254740993),
        ("1.50", 1.5),
        ("1e400", "1e400"),
        ('"1.50"', "1.50"),
        ('"NaN"', "NaN"),
        ("[1, 18446744073709551616]", [1, "18446744073709551616"]),
        (f'"{TOAST}"', UNAVAILABLE),
        (f'"{base64.b64encode(TOAST.encode()).decode()}"', UNAVAILABLE),
        (f'["{TOAST}"]', [UNAVAILABLE]),
    ],
)
def test_what_a_guest_is_told(column: str, value: Any) -> None:
    assert told(column) == value and type(told(column)) is type(value)
    assert edited(after(column), y=1) == after(column)[:-2] + b',"y":1}}'


def test_a_wide_number_stays_a_number_when_it_changes() -> None:
    assert edited(after("18446744073709551616"), x="18446744073709551617") == after("18446744073709551617")
    assert edited(after("1"), x="2") == after('"2"')
    assert edited(after('"1"'), x="2") == after('"2"')
    assert edited(after("18446744073709551616"), x="1 or 2") == after('"1 or 2"')


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (math.nan, '"NaN"'), (-math.inf, '"-Infinity"'), (math.inf, '"Infinity"'), (b"\0\xff", '"AP8="'), (UNAVAILABLE, f'"{TOAST}"'),
        ((1 << 64) - 1, "18446744073709551615"), (-(1 << 63), "-9223372036854775808"), (True, "true"), (1.0, "1.0"), ("\x1b\ud7ff", '"\\u001b\ud7ff"'),
    ],
)  # fmt: skip
def test_what_a_guest_may_say(value: Any, text: str) -> None:
    assert edited(after("null"), x=value) == after(text)


@pytest.mark.parametrize(
    ("old", "new"), [("1", 1.0), ("1", True), ("1.0", 1), ("true", 1), ("0.0", -0.0), ('"a"', b"a")]
)
def test_equal_is_not_the_same(old: str, new: Any) -> None:
    assert edited(after(old), x=new) != after(old)


@pytest.mark.parametrize("data", [b' \n{"op":"c","after":{"x":1}}', b'{"op":"c","after":{"x":1,"y":"\\"payload"}}\n '])
def test_white_space_around_an_event_does_not_undo_a_change(data: bytes) -> None:
    assert edited(data, x=2) == data.strip().replace(b'"x":1', b'"x":2')


def test_columns_that_the_guest_leaves_out_are_gone_and_the_order_stays() -> None:
    document = debezium.decode(b'{"op":"u","after":{"a":1.0,"b":2,"c":3.00}}')
    change = msgspec.structs.asdict(document.change) | {"after": {"d": 4, "c": 3.0, "a": 1.0}}
    assert document.encode(pack(change)) == b'{"op":"u","after":{"a":1.0,"c":3.00,"d":4}}'


def test_a_message_keeps_what_a_change_event_does_not_have() -> None:
    data = b'{"op":"m","ts_ms":1,"source":{},"message":{"prefix":"p","content":"YQ=="}}'
    document = debezium.decode(data)
    changed = msgspec.structs.asdict(document.change) | {"ts_ms": 2}
    assert document.encode(pack(changed)) == data.replace(b'"ts_ms":1', b'"ts_ms":2')


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "not JSON"), (b"null", "not a JSON object"), (b"[]", "not a JSON object"), (b"{", "not JSON"), (b"{}", "it has no `op`"), (b"{} {}", "not JSON"),
        (b'{"op":"c","after":"\xff"}', "it is not UTF-8"), (b'{"op":"c","after":"\\ud800"}', "not JSON"), (b'{"op":1}', "it has the `op` '1'"),
        (b'{"op":"c","after":[]}', "`after` is not an object"), (b'{"op":"c","source":1}', "`source` is not an object"),
        (b'{"op":"c","ts_ms":1.5}', "`ts_ms` is not an integer"), (b'{"op":"c","ts_ms":9223372036854775808}', "`ts_ms` is not an integer"),
        (b'{"op":"c","ts_ms":true}', "`ts_ms` is not an integer"),
        (b'{"op":"c","after":{"a":1,"a":2}}', "the name 'a' repeats"), (b'{"op":"c","op":"d"}', "the name 'op' repeats"),
        (b'{"op":"c","after":{"a" :1,"\\u0061":2}}', "the name 'a' repeats"), (b'{"op":"c","after":[[{"a":1,"a":2}]]}', "repeats|not an object"),
        (b'{"schema":null,"payload":null}', "its payload is null"), (b'{"schema":{},"payload":{"op":"c"}}', "its embedded schema cannot be read"),
        (b'{"schema":null,"payload":{"op":"c"},"payload":{"op":"d"}}', "the name 'payload' repeats"),
        (b'{"op":"c","after":{"a":' + b"[" * 200 + b"]" * 200 + b"}}", "nested more than 128"),
        (b'{"op":"c","after":{"a":' + b"[" * 200_000, "nested more than 128"), (b'{"schema":' + b"[" * 200_000, "nested more than 128"),
        (b'{"op":"c","after":{"a":' + b"9" * 5000 + b"}}", "not JSON"),
    ],
)  # fmt: skip
def test_what_is_no_change_event(data: bytes, why: str) -> None:
    with pytest.raises(DecodeError, match=why):
        debezium.decode(data)


def test_brackets_in_texts_are_no_depth() -> None:
    assert told('"' + r"[{\"" * 200 + '"') == '[{"' * 200
    assert DEPTH_MAX == 128


def schema_of(column: dict[str, Any]) -> dict[str, Any]:
    row = {"type": "struct", "field": "after", "fields": [column | {"field": "x"}]}
    return {"type": "struct", "fields": [row]}


def wrapped(column: dict[str, Any], value: Any) -> bytes:
    return json.dumps(
        {"schema": schema_of(column), "payload": {"op": "c", "after": {"x": value}}}, separators=(",", ":")
    ).encode()


BYTES = {"type": "bytes"}
DECIMAL = {"type": "bytes", "name": "org.apache.kafka.connect.data.Decimal", "parameters": {"scale": "2"}}
VARIABLE = {"type": "struct", "name": "io.debezium.data.VariableScaleDecimal"}
DOUBLE = {"type": "double"}
TYPED = [
    (BYTES, "3q2+7w==", b"\xde\xad\xbe\xef"),
    (BYTES, base64.b64encode(TOAST.encode()).decode(), UNAVAILABLE),
    (DECIMAL, "BNI=", "12.34"),
    (DECIMAL, "/w==", "-0.01"),
    (DECIMAL, "AA==", "0.00"),
    (VARIABLE, {"scale": 3, "value": "+y4="}, "-1.234"),
    (VARIABLE, {"scale": 0, "value": "/w=="}, "-1"),
    (DOUBLE, "NaN", math.nan),
    (DOUBLE, "-Infinity", -math.inf),
    (DOUBLE, 1.5, 1.5),
    (DOUBLE, 2, 2.0),
    ({"type": "array", "items": DECIMAL}, ["BNI=", None], ["12.34", None]),
    ({"type": "map", "keys": {"type": "string"}, "values": BYTES}, {"k": "AA=="}, {"k": b"\0"}),
    ({"type": "string"}, "AA==", "AA=="),
    ({"type": "int64"}, 5, 5),
]


@pytest.mark.parametrize(("column", "text", "value"), TYPED)
def test_an_embedded_schema_says_what_the_json_means(column: dict[str, Any], text: Any, value: Any) -> None:
    data = wrapped(column, text)
    change = debezium.decode(data).change
    assert change.after is not None
    assert pack(change.after["x"]) == pack(value)
    assert edited(data, x=value) == data
    assert json.loads(edited(data, y=1))["schema"] == schema_of(column)
    assert json.loads(edited(wrapped(column, None), x=value)) == json.loads(wrapped(column, text))


@pytest.mark.parametrize(
    ("column", "value", "why"),
    [
        (BYTES, "***", "after.x: the embedded schema has bytes here"), (DECIMAL, "12.345", "after.x: more digits behind the point than the 2"),
        (DECIMAL, "***", "after.x: the embedded schema has a decimal here"), (VARIABLE, "1e5", "after.x: the embedded schema has a decimal"),
        ({"type": "array", "items": BYTES}, ["a"], "after.x: the embedded schema has bytes here"),
    ],
)  # fmt: skip
def test_what_does_not_fit_the_embedded_schema_is_refused(column: dict[str, Any], value: Any, why: str) -> None:
    with pytest.raises(EncodeError, match=why):
        edited(wrapped(column, None), x=value)


def test_decimals_take_trailing_zeros_and_integers() -> None:
    assert edited(wrapped(DECIMAL, None), x="12.3400") == wrapped(DECIMAL, "BNI=")
    assert edited(wrapped(DECIMAL, None), x=12) == wrapped(DECIMAL, "BLA=")


def test_no_text_is_base64_unless_it_is() -> None:
    with pytest.raises(DecodeError, match="after: x: the embedded schema has bytes here"):
        debezium.decode(wrapped(BYTES, "no base64!"))


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 70), 1 << 70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=10)
    | st.just(TOAST),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=15,
)
ROWS = st.dictionaries(st.text(max_size=5), JSON, max_size=5)
ABI = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats()
    | st.text(max_size=10)
    | st.binary(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=15,
)


@given(st.none() | ROWS, st.none() | ROWS, ROWS, st.sampled_from("cudrtm"), st.booleans(), st.sampled_from([None, 1]))
def test_any_event_comes_back(
    before: Any, row: Any, source: Any, op: str, ascii_only: bool, indent: int | None
) -> None:
    event = {"before": before, "after": row, "op": op, "source": source, "ts_us": 1}
    data = json.dumps(event, ensure_ascii=ascii_only, indent=indent).encode("utf-8", "surrogatepass")
    document = debezium.decode(data)
    assert document.encode(document.packed) == data
    assert document.encode(msgpack.packb(msgpack.unpackb(document.packed, strict_map_key=False))) == data
    touched = json.loads(document.encode(pack(msgspec.structs.asdict(document.change) | {"ts_ms": 7})))
    assert touched == event | {"ts_ms": 7}


@given(ROWS, st.dictionaries(st.text(max_size=5), ABI, max_size=5))
def test_any_answer_is_json_that_says_it(row: Any, columns: dict[str, Any]) -> None:
    data = json.dumps({"op": "u", "after": row}).encode()
    out = debezium.decode(edited(data, **columns)).change.after
    assert out is not None and out.keys() == row.keys() | columns.keys()
    for name, value in columns.items():
        if isinstance(value, bool | int | None) and name not in row:
            assert out[name] == value and type(out[name]) is type(value)


@given(st.integers(-(10**40), 10**40), st.integers(0, 30))
def test_any_decimal_comes_back(unscaled: int, scale: int) -> None:
    size = unscaled.bit_length() // 8 + 1
    text = base64.b64encode(unscaled.to_bytes(size, "big", signed=True)).decode()
    data = wrapped(VARIABLE, {"scale": scale, "value": text})
    change = debezium.decode(data).change
    assert change.after is not None
    digits = change.after["x"]
    assert int(digits.replace(".", "")) == unscaled and len(digits.partition(".")[2]) == scale
    again = json.loads(edited(wrapped(VARIABLE, None), x=digits))["payload"]["after"]["x"]
    assert (int.from_bytes(base64.b64decode(again["value"]), "big", signed=True), again["scale"]) == (unscaled, scale)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(st.sampled_from(CHANGES)))
    for _ in range(draw(st.integers(1, 5))):
        at = draw(st.integers(0, len(data) - 1))
        data[at : at + draw(st.integers(0, 3))] = draw(
            st.binary(max_size=3) | st.sampled_from([b'"', b"{", b"[", b"}", b",", b"\\u"])
        )
    return bytes(data)


@given(
    st.binary()
    | damaged()
    | st.text().map(str.encode)
    | JSON.map(lambda value: json.dumps(value).encode("utf-8", "surrogatepass"))
)
def test_any_bytes_are_an_event_or_one_message(data: bytes) -> None:
    try:
        document = debezium.decode(data)
    except DecodeError as error:
        assert str(error)
    else:
        assert isinstance(document.change, ChangeEvent)
        assert document.encode(document.packed) == data


@given(st.sampled_from(CHANGES), st.binary() | ABI.map(lambda value: msgpack.packb(value)))
def test_any_answer_is_an_event_or_one_message(data: bytes, answer: bytes) -> None:
    document = debezium.decode(data)
    change = msgpack.unpackb(document.packed, strict_map_key=False)
    for packed in (answer, msgpack.packb(change | {"after": None})[:-1] + answer):
        try:
            debezium.decode(document.encode(packed))
        except EncodeError as error:
            assert str(error)


def test_a_changed_decimal_of_variable_scale_stays_an_object() -> None:
    number = {"scale": 1, "value": base64.b64encode(b"\x7b").decode()}
    kind = {
        "type": "struct",
        "optional": True,
        "name": "io.debezium.data.VariableScaleDecimal",
        "fields": [],
        "field": "x",
    }
    schema = {"type": "struct", "fields": [{"field": "after", "type": "struct", "fields": [kind]}]}
    document = debezium.decode(json.dumps({"schema": schema, "payload": {"op": "c", "after": {"x": number}}}).encode())
    change = document.change
    assert change.after == {"x": "12.3"}
    written = document.encode(pack(msgspec.structs.replace(change, after={"x": "12.34"})))
    assert json.loads(written)["payload"]["after"]["x"] == {"scale": 2, "value": base64.b64encode(b"\x04\xd2").decode()}
