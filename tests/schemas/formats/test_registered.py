"""Avro, Protobuf and JSON with a JSON Schema, in the wire format of schema registries: the change events that JSON gives, and back."""

from __future__ import annotations

import io
import json
import math
import random
import resource
import time
from typing import Any

import fastavro
import msgspec
import pytest
from hypothesis import given, settings

from schemas.change import UNAVAILABLE, ChangeEvent, DecodeError, EncodeError, pack, unpack
from schemas.event import Event
from schemas.formats import debezium
from schemas.formats.avro_types import read_schema as read_avro
from schemas.formats.json_schema import read_schema as read_json_schema
from schemas.formats.named import REGISTERED, make_format
from schemas.formats.protobuf_types import VALUES_MAX
from schemas.formats.registered import RegisteredFormat
from schemas.formats.schemas import RegisteredSchema, SchemaKind, UnreadableSchema
from schemas.formats.wire import widened
from schemas.specs import FormatSpec

from .written import ENVELOPE, EVENTS, PROTO, SCHEMAS, WRITERS, Known, Row, float32, in_json, in_protobuf

NAMES = list(REGISTERED)
ROW: Row = {
    "id": 1,
    "big": None,
    "small": 5,
    "flag": True,
    "ratio": 0.5,
    "narrow": 0.1,
    "name": "Ωmega",
    "blob": b"\0\xff",
    "amount": None,
    "vary": None,
    "at": 1_700_000_000_000_000,
    "tags": ["a"],
    "attributes": {"x": "y"},
}
EVENT: Row = {
    "before": None,
    "after": ROW,
    "source": {"table": "orders", "lsn": 7},
    "op": "c",
    "ts_ms": 9,
    "ts_us": 9_001,
}


def a_format(name: str, *schemas: RegisteredSchema) -> RegisteredFormat:
    made = make_format(FormatSpec(name), Known(*(schemas or (SCHEMAS[name],))))
    assert isinstance(made, RegisteredFormat)
    return made


FORMATS = {name: a_format(name) for name in NAMES}


def event_of(value: bytes | None) -> Event:
    return Event(0, 0, None, value, ())


def same(one: Any, other: Any) -> bool:
    """Equal, also where both are no number."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, float) and isinstance(other, float):
        return one == other or (math.isnan(one) and math.isnan(other))
    return type(one) is type(other) and bool(one == other)


def parts(change: ChangeEvent) -> dict[str, Any]:
    return {name: getattr(change, name) for name in ("op", "before", "after", "source", "ts_ms", "transaction")}


@pytest.mark.parametrize("name", NAMES)
@given(event=EVENTS)
@settings(deadline=None)  # the first compiles
def test_they_are_the_change_events_that_json_with_a_schema_gives(name: str, event: Row) -> None:
    document = FORMATS[name].decode(event_of(WRITERS[name](event)), "orders")
    assert same(parts(unpack(document.packed)), parts(unpack(debezium.decode(in_json(event)).packed)))


@pytest.mark.parametrize("name", NAMES)
@given(event=EVENTS, other=EVENTS)
@settings(deadline=None)
def test_there_and_back(name: str, event: Row, other: Row) -> None:
    data = WRITERS[name](event)
    document = FORMATS[name].decode(event_of(data), "orders")
    assert document.encode(document.packed) is data
    changed = FORMATS[name].decode(event_of(WRITERS[name](other)), "orders").packed
    written = document.encode(changed)
    assert written[:5] == data[:5]
    assert same(parts(unpack(FORMATS[name].decode(event_of(written), "orders").packed)), parts(unpack(changed)))
    # what a change event does not have stays as it came
    assert moment(name, written) == event["ts_us"]


def moment(name: str, data: bytes) -> Any:
    if name == "debezium-avro":
        return FORMATS[name]._codec(7)._native(data)["ts_us"]  # type: ignore[union-attr]
    if name == "debezium-protobuf":
        message = ENVELOPE.FromString(data[6:])
        return message.ts_us if message.HasField("ts_us") else None
    return json.loads(data[5:])["ts_us"]


@pytest.mark.parametrize("source", [*NAMES, "debezium-json"])
@pytest.mark.parametrize("name", NAMES)
@given(event=EVENTS)
@settings(max_examples=40, deadline=None)
def test_from_any_of_them_to_any_other(name: str, source: str, event: Row) -> None:
    format_ = FORMATS.get(source) or make_format(FormatSpec(source))
    packed = format_.decode(event_of(WRITERS.get(source, in_json)(event)), "orders").packed
    written = FORMATS[name].encode(packed, event_of(None), "orders")
    assert same(parts(unpack(FORMATS[name].decode(event_of(written), "orders").packed)), parts(unpack(packed)))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"amount": "1.005"}, "after.amount: more digits"),
        ({"amount": "none"}, "after.amount: "),
        ({"blob": "text"}, "after.blob: "),
        ({"id": "1"}, "after.id: "),
        ({"id": 1 << 63}, "after.id: "),
        ({"narrow": 1e300}, "after.narrow: "),
        ({"tags": [1]}, "after.tags: "),
        ({"extra": 1}, "after: the schema has no 'extra' here"),
        ({"flag": UNAVAILABLE}, "after.flag: "),
        ({"attributes": {"x": 1}}, "after.attributes.x: "),
    ],
)
def test_what_the_schema_cannot_say_is_refused_with_its_place(name: str, change: Row, problem: str) -> None:
    document = FORMATS[name].decode(event_of(WRITERS[name](EVENT)), "orders")
    was = unpack(document.packed)
    assert was.after is not None
    packed = pack(msgspec.structs.replace(was, after=was.after | change))
    if name == "debezium-json-schema" and next(iter(change)) not in ("amount", "blob"):
        assert unpack(FORMATS[name].decode(event_of(document.encode(packed)), "orders").packed).after is not None
        return  # a JSON Schema is read for its types; what holds values to it is a contract
    if name == "debezium-protobuf" and change == {"amount": "1.005"}:
        made = FORMATS[name].decode(event_of(document.encode(packed)), "orders")
        assert (unpack(made.packed).after or {})["amount"] == "1.005"
        return  # its decimals say their scale themselves
    with pytest.raises(EncodeError) as refused:
        document.encode(packed)
    assert str(refused.value).startswith(problem)


@pytest.mark.parametrize("name", ["debezium-avro", "debezium-protobuf"])
def test_a_column_that_cannot_be_null_cannot_be_dropped(name: str) -> None:
    document = FORMATS[name].decode(event_of(WRITERS[name](EVENT)), "orders")
    was = unpack(document.packed)
    assert was.after is not None
    without = {key: value for key, value in was.after.items() if key != "id"}
    with pytest.raises(EncodeError, match=r"after\.id: "):
        document.encode(pack(msgspec.structs.replace(was, after=without)))
    fewer = {key: value for key, value in was.after.items() if key != "name"}
    made = unpack(
        FORMATS[name].decode(event_of(document.encode(pack(msgspec.structs.replace(was, after=fewer)))), "").packed
    )
    assert made.after == was.after | {"name": None}


@pytest.mark.parametrize("name", NAMES)
def test_a_schema_is_asked_for_once(name: str) -> None:
    known = Known(SCHEMAS[name])
    made = make_format(FormatSpec(name), known)
    for _ in range(3):
        made.decode(event_of(WRITERS[name](EVENT)), "orders")
    assert known.asked == 1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "does not begin with a zero byte"),
        (b"\0\0\0", "does not begin with a zero byte"),
        (b'{"op":"c"}', "does not begin with a zero byte"),
        (b"\0\0\0\0\x09\0", "no schema 9"),
    ],
)
def test_what_is_no_frame(name: str, data: bytes, problem: str) -> None:
    with pytest.raises(DecodeError, match=problem):
        FORMATS[name].decode(event_of(data), "orders")


@pytest.mark.parametrize("name", NAMES)
def test_a_schema_of_another_kind_or_none_at_all(name: str) -> None:
    other = next(schema for kind, schema in SCHEMAS.items() if kind != name)
    with pytest.raises(DecodeError, match="schema 7 is "):
        a_format(name, other).decode(event_of(WRITERS[name](EVENT)), "orders")
    broken = RegisteredSchema(7, SCHEMAS[name].kind, "{")
    with pytest.raises(DecodeError, match="schema 7 cannot be used: it is no "):
        a_format(name, broken).decode(event_of(WRITERS[name](EVENT)), "orders")
    with pytest.raises(EncodeError, match="no schema for elsewhere-value"):
        FORMATS[name].encode(b"", event_of(None), "elsewhere")


@pytest.mark.parametrize("name", NAMES)
def test_keys(name: str) -> None:
    """By a schema of their own; equal keys have equal bytes."""
    texts = {
        "debezium-avro": '{"type":"record","name":"Key","fields":[{"name":"id","type":"long"},{"name":"at","type":["null","string"]}]}',
        "debezium-protobuf": 'syntax = "proto3"; message Key { int64 id = 1; optional string at = 2; }',
        "debezium-json-schema": '{"type":"object","properties":{"id":{"type":"integer"}}}',
    }
    schema = RegisteredSchema(3, SCHEMAS[name].kind, texts[name])

    class Keys(Known):
        def by_subject(self, subject: str, version: int | None = None) -> RegisteredSchema | None:
            return schema if subject == "orders-key" else None

    made = make_format(FormatSpec(name), Keys(schema))
    key = {"id": 1 << 62, "at": None}
    written = made.encode_key(key, "orders")
    assert written == made.encode_key(dict(key), "orders")
    assert made.decode_key(written, "orders") == key


@pytest.mark.parametrize("name", NAMES)
def test_mutilated_bytes_are_an_event_or_a_violation(name: str) -> None:
    """No crash, no hang, no memory: whatever a bit, a length or a count says."""
    chance, data = random.Random(name), WRITERS[name](EVENT)
    before, slowest, kept = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, 0.0, 0
    for _ in range(6_000):
        broken = bytearray(data)
        for _ in range(chance.randrange(1, 6)):
            place = chance.randrange(5, len(broken))
            match chance.randrange(3):
                case 0:
                    broken[place] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
                case 1:
                    del broken[place : place + chance.randrange(1, 4)]
                case _:
                    broken[place:place] = b"\xff" * chance.randrange(10) + bytes([chance.randrange(128)])
        began = time.perf_counter()
        try:
            unpack(FORMATS[name].decode(event_of(bytes(broken)), "orders").packed)
            kept += 1
        except DecodeError:
            pass
        slowest = max(slowest, time.perf_counter() - began)
    assert 0 < kept < 6_000
    assert slowest < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 << 10


HUGE = b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01"
"""The largest length that Avro can say."""


@pytest.mark.parametrize(
    "kind", ['"string"', '"bytes"', '{"type":"array","items":"int"}', '{"type":"map","values":"int"}']
)
def test_an_avro_length_or_count_that_is_not_there(kind: str) -> None:
    fields = [{"name": "op", "type": "string"}, {"name": "x", "type": json.loads(kind)}]
    text = json.dumps({"type": "record", "name": "E", "fields": fields})
    made = a_format("debezium-avro", RegisteredSchema(7, SchemaKind.AVRO, text))
    for tail in (HUGE, HUGE + b"\0" * 1000, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"):
        with pytest.raises(DecodeError):
            made.decode(event_of(b"\0\0\0\0\7\x02c" + tail), "orders")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"type":"array","items":"null"}', "a list of what takes no bytes"),
        ('{"type":"array","items":{"type":"record","name":"N","fields":[]}}', "a list of what takes no bytes"),
        ('{"type":"array","items":{"type":"fixed","name":"N","size":0}}', "a list of what takes no bytes"),
        ('{"type":"record","name":"N","fields":[{"name":"n","type":["null","N"]}]}', "the record N is within itself"),
        ("[" * 400 + '"int"' + "]" * 400, "nested more than"),
        ('"nothing"', "refers to nothing"),
        ("{}", "no Avro schema"),
    ],
)
def test_avro_schemas_of_which_a_few_bytes_make_much(text: str, problem: str) -> None:
    with pytest.raises(UnreadableSchema, match=problem):
        read_avro(text)


def test_protobuf_messages_of_which_a_few_bytes_make_much() -> None:
    fields = "".join(f"optional string f{number} = {number};" for number in range(1, 101))
    text = f'syntax = "proto3"; message E {{ string op = 1; repeated Wide wide = 2; E inner = 3; }} message Wide {{ {fields} }}'
    made = a_format("debezium-protobuf", RegisteredSchema(7, SchemaKind.PROTOBUF, text))
    head = b"\0\0\0\0\7\0\x0a\x01c"
    with pytest.raises(DecodeError, match=f"more than {VALUES_MAX} values"):
        made.decode(event_of(head + b"\x12\0" * (VALUES_MAX // 100 + 1)), "orders")
    deep = b""
    for _ in range(300):
        length = len(deep)
        deep = b"\x1a" + bytes([length & 0x7F | 0x80, length >> 7]) + deep
    with pytest.raises(DecodeError):
        made.decode(event_of(head + deep), "orders")


@pytest.mark.parametrize(
    "indexes", [b"\x01", b"\xfe\xff\xff\xff\x0f", b"\x02\x63", b"\x04\0", b"\x80", b"\x02\x01", b""]
)
def test_protobuf_indexes_that_are_not_there(indexes: bytes) -> None:
    with pytest.raises(DecodeError):
        FORMATS["debezium-protobuf"].decode(event_of(b"\0\0\0\0\7" + indexes), "orders")


def test_protobuf_messages_by_their_indexes_and_fields_that_nobody_knows() -> None:
    """The second message of a file, a nested one; unknown fields survive a change."""
    text = PROTO + "message Other { message Inner { string op = 1; Row after = 2; } message Row { string name = 1; } }"
    schema = RegisteredSchema(7, SchemaKind.PROTOBUF, text, SCHEMAS["debezium-protobuf"].references)
    made = a_format("debezium-protobuf", schema)
    data = b"\0\0\0\0\7\x04\x02\0" + b"\x0a\x01u" + b"\x12\x08\x0a\x01a\x9a\x06\x02zz" + b"\x9a\x06\x02yy"
    document = made.decode(event_of(data), "orders")
    was = unpack(document.packed)
    assert was.after == {"name": "a"}
    written = document.encode(pack(msgspec.structs.replace(was, after={"name": "bcd"})))
    assert written[:8] == data[:8]
    assert b"zz" in written and b"yy" in written and b"bcd" in written


def test_the_unchanged_row_of_a_changed_event_keeps_its_bytes_in_protobuf() -> None:
    data = in_protobuf(EVENT | {"before": ROW})
    document = FORMATS["debezium-protobuf"].decode(event_of(data), "orders")
    written = document.encode(pack(msgspec.structs.replace(unpack(document.packed), op="u")))
    assert ENVELOPE.FromString(written[6:]).before == ENVELOPE.FromString(data[6:]).before


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"$ref":"#"}', "within itself"),
        ('{"properties":{"a":{"$ref":"#/properties/a"}}}', "within itself"),
        ('{"$ref":"other.json"}', "refers to other.json"),
        ('{"$ref":"#/definitions/None"}', "no JSON Schema"),
        ("{", "no JSON Schema"),
    ],
)
def test_json_schemas_that_cannot_be_read(text: str, problem: str) -> None:
    with pytest.raises(UnreadableSchema, match=problem):
        read_json_schema(text, {})


@pytest.mark.parametrize("number", [0.1, -1.1, 3.4028235e38, 1e-45, 16777216.0, 123456.78, 1.17549435e-38, 5e20])
def test_a_float32_is_the_shortest_number_that_means_it(number: float) -> None:
    narrow = float32(number)
    assert float32(widened(narrow)) == narrow
    assert len(repr(widened(narrow))) <= max(len(repr(number)), 14)


@pytest.mark.parametrize("name", NAMES)
def test_a_contract_sees_the_writers_schema(name: str) -> None:
    found = FORMATS[name].writer_schema(event_of(WRITERS[name](EVENT)), "orders")
    assert found is not None
    number, row = found
    members = row().type.members  # type: ignore[union-attr]
    assert number == 7
    assert "amount" in members


def _proto(row: str) -> RegisteredFormat:
    text = (
        'syntax = "proto3"; import "google/protobuf/struct.proto"; import "google/protobuf/wrappers.proto"; '
        "message E { string op = 1; Row after = 2; int64 ts_ms = 3; Source source = 4; } "
        f"message Source {{ string table = 1; }} message Row {{ {row} }}"
    )
    return a_format("debezium-protobuf", RegisteredSchema(7, SchemaKind.PROTOBUF, text))


def _change(after: Row) -> bytes:
    return pack(ChangeEvent(op="c", before=None, after=after, transaction=None, source={"table": "t"}, ts_ms=1))


@pytest.mark.parametrize(
    ("row", "after", "problem"),
    [
        ("map<bool, string> m = 1;", {"m": {"yes": "x"}}, "true and false for keys here, not 'yes'"),
        ("map<int32, string> m = 1;", {"m": {"1": "x", "01": "y"}}, "'01' is not as one is written"),
        (
            "map<int32, Inner> m = 1; message Inner { int32 a = 1; }",
            {"m": {"1": {"a": 1}, "01": {"a": 2}}},
            "not as one",
        ),
        ("map<int32, string> m = 1;", {"m": {"x": "y"}}, "invalid literal"),
        ("oneof o { int64 a = 1; string b = 2; }", {"a": 1, "b": "x"}, "one of a, b here, not several"),
    ],
)
def test_protobuf_does_not_keep_the_last_of_what_cannot_be_together(row: str, after: Row, problem: str) -> None:
    with pytest.raises(EncodeError, match=problem):
        _proto(row).encode(_change(after), event_of(None), "orders")


def test_one_of_several_may_become_another_in_protobuf() -> None:
    made = _proto("oneof o { int64 a = 1; string b = 2; } map<bool, string> m = 3;")
    data = made.encode(_change({"a": 1, "b": None, "m": {"true": "x"}}), event_of(None), "orders")
    document = made.decode(event_of(data), "orders")
    was = unpack(document.packed)
    assert was.after == {"a": 1, "b": None, "m": {"true": "x"}}
    after = {"a": None, "b": "z", "m": {"false": "y"}}
    changed = document.encode(pack(msgspec.structs.replace(was, after=after)))
    assert unpack(made.decode(event_of(changed), "orders").packed).after == after
    with pytest.raises(EncodeError, match="one of a, b"):
        document.encode(pack(msgspec.structs.replace(was, after=after | {"a": 1})))


@pytest.mark.parametrize("kind", ["Struct", "Value", "ListValue", "Int64Value"])
def test_rows_of_messages_that_only_look_like_wrappers(kind: str) -> None:
    made = _proto(f"google.protobuf.{kind} x = 1;")
    found = made.writer_schema(event_of(b"\0\0\0\0\7\0\x0a\x01c"), "orders")
    assert found is not None
    assert found[1]() is not None


@pytest.mark.parametrize("name", ["debezium-avro", "debezium-protobuf"])
@pytest.mark.parametrize(
    ("column", "value", "problem"),
    [("small", True, "integer"), ("flag", 1, "boolean"), ("ratio", -0.0, None), ("id", 1.0, "integer")],
)
def test_equal_in_python_is_not_unchanged(name: str, column: str, value: object, problem: str | None) -> None:
    """1 is not true, and 0.0 is not -0.0."""
    row = ROW | {"small": 1, "ratio": 0.0}
    made = FORMATS[name]
    data = made.encode(
        pack(ChangeEvent(op="c", before=None, after=row, transaction=None, source=EVENT["source"], ts_ms=9)),
        event_of(None),
        "orders",
    )
    assert data is not None
    document = made.decode(event_of(data), "orders")
    was = unpack(document.packed)
    changed = pack(msgspec.structs.replace(was, after=(was.after or {}) | {column: value}))
    if problem is not None:
        with pytest.raises(EncodeError, match=problem):
            document.encode(changed)
        return
    after = unpack(made.decode(event_of(document.encode(changed)), "orders").packed).after
    assert after is not None
    assert repr(after[column]) == repr(value)


def test_an_integer_in_a_union_with_floats_stays_one() -> None:
    row = {"type": "record", "name": "Row", "fields": [{"name": "x", "type": ["null", "double", "int", "string"]}]}
    fields = [
        {"name": "after", "type": row},
        {"name": "source", "type": {"type": "map", "values": "string"}},
        {"name": "op", "type": "string"},
        {"name": "ts_ms", "type": "long"},
    ]
    schema = json.dumps({"type": "record", "name": "E", "fields": fields})
    made = a_format("debezium-avro", RegisteredSchema(7, SchemaKind.AVRO, schema))
    for value in (5, 5.0, "5", None):
        data = made.encode(_change({"x": value}), event_of(None), "orders")
        after = unpack(made.decode(event_of(data), "orders").packed).after
        assert after is not None and repr(after["x"]) == repr(value)


_A = {"type": "record", "name": "A", "fields": [{"name": "a", "type": ["null", "long"]}]}
_B = {
    "type": "record",
    "name": "B",
    "fields": [{"name": "a", "type": ["null", "long"]}, {"name": "b", "type": ["null", "long"]}],
}
_MAP = {"type": "map", "values": "long"}
_ENUM = {"type": "enum", "name": "Size", "symbols": ["S", "M"]}
_FIXED = {"type": "fixed", "name": "Two", "size": 2}
AMBIGUOUS: dict[str, tuple[list[object], list[object]]] = {
    "numbers": (
        ["null", "double", "int", "long"],
        [("long", 2**53 + 1), ("long", 5), ("int", 5), ("double", 5.0), None],
    ),
    "records": (
        ["null", _B, _A, _MAP],
        [("A", {"a": 7}), ("B", {"a": 7, "b": None}), ("A", {"a": None}), ({}), {"a": 3}],
    ),
    "texts": (["null", _ENUM, "string"], [("string", "S"), "M", "L", None]),
    "bytes": (["bytes", _FIXED], [b"ab", ("Two", b"ab"), b"abc"]),
    "lists": (
        ["null", {"type": "array", "items": ["double", "long"]}],
        [[("long", 2**53 + 1), ("double", 1.0)], [], None],
    ),
}


def _ambiguous(name: str) -> tuple[RegisteredFormat, object]:
    row = {
        "type": "record",
        "name": "Row",
        "fields": [
            {"name": "n", "type": "long"},
            {"name": "x", "type": AMBIGUOUS[name][0]},
            {"name": "s", "type": "string"},
        ],
    }
    fields = [
        {"name": "before", "type": ["null", row]},
        {"name": "after", "type": ["null", "Row"]},
        {"name": "source", "type": {"type": "map", "values": "string"}},
        {"name": "op", "type": "string"},
        {"name": "ts_ms", "type": "long"},
        {"name": "more", "type": ["null", "int", "long"]},
    ]
    schema = {"type": "record", "name": "E", "fields": fields}
    return a_format("debezium-avro", RegisteredSchema(7, SchemaKind.AVRO, json.dumps(schema))), fastavro.parse_schema(
        schema
    )


def _in_avro(schema: object, **members: object) -> bytes:
    stream = io.BytesIO()
    rows = {name: one and ("Row", one) for name, one in members.items() if name in ("before", "after")}
    whole = {"before": None, "source": {"table": "t"}, "op": "u", "ts_ms": 1, "more": ("long", 3)} | members | rows
    fastavro.schemaless_writer(stream, schema, whole)
    return b"\0\0\0\0\7" + stream.getvalue()


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, (_, values) in AMBIGUOUS.items() for value in values]
)
def test_what_was_left_alone_keeps_its_bytes_in_avro_whatever_its_union_says(name: str, value: object) -> None:
    made, schema = _ambiguous(name)
    row = {"n": 1, "x": value, "s": "a"}
    data = _in_avro(schema, before=row, after=row)
    document = made.decode(event_of(data), "orders")
    was = unpack(document.packed)
    assert was.after is not None
    assert document.encode(pack(msgspec.structs.replace(was, ts_ms=2))) == _in_avro(
        schema, before=row, after=row, ts_ms=2
    )
    after = was.after | {"n": 2, "s": "changed"}
    expected = _in_avro(schema, before=row, after=row | {"n": 2, "s": "changed"}, ts_ms=2)
    assert document.encode(pack(msgspec.structs.replace(was, ts_ms=2, after=after))) == expected
    assert document.encode(pack(msgspec.structs.replace(was, after=None))) == _in_avro(schema, before=row, after=None)
    for wrong, place in (({"n": "text"}, "after.n: "), ({"y": 1}, "after: the schema has no 'y' here")):
        with pytest.raises(EncodeError, match=f"^{place}"):
            document.encode(pack(msgspec.structs.replace(was, after=was.after | wrong)))


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_a_value_that_changes_within_a_union_is_read_as_what_it_became(name: str) -> None:
    made, schema = _ambiguous(name)
    values = AMBIGUOUS[name][1]
    documents = [
        made.decode(event_of(_in_avro(schema, after={"n": 1, "x": one, "s": "a"})), "orders") for one in values
    ]
    for document in documents:
        was = unpack(document.packed)
        for other in documents:
            after = unpack(other.packed).after
            changed = document.encode(pack(msgspec.structs.replace(was, after=after)))
            assert repr(unpack(made.decode(event_of(changed), "orders").packed).after) == repr(after)


@pytest.mark.parametrize("name", ["debezium-avro", "debezium-protobuf"])
def test_an_integer_that_a_float_cannot_say_is_refused(name: str) -> None:
    with pytest.raises(EncodeError, match=r"after\.narrow: "):
        FORMATS[name].encode(_change(ROW | {"narrow": (1 << 24) + 1}), event_of(None), "orders")
