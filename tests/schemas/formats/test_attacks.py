"""What somebody tried who did not write the formats: each ended the service, cost too much, or changed a value without a word."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Sequence
from typing import Any

import fastavro
import msgspec
import pytest

from pipeline.steps.formats import Conversion, Split
from schemas.change import DecodeError, EncodeError, pack, unpack
from schemas.contracts.compare import changes
from schemas.contracts.reading import SchemaError, from_avro
from schemas.event import Event, TopicPartition
from schemas.formats.avro_types import read_schema as read_avro
from schemas.formats.format import Document, Format
from schemas.formats.json_schema import read_schema as read_json_schema
from schemas.formats.named import make_format
from schemas.formats.schemas import RegisteredSchema, SchemaKind, UnreadableSchema
from schemas.outcome import Emitted, Outcome, Violation
from schemas.specs import FormatSpec

from .written import Known

AT = TopicPartition("in", 0)
mp = msgspec.msgpack.encode


def of(name: str, *schemas: RegisteredSchema) -> Format:
    return make_format(FormatSpec(name), Known(*schemas))


def decoded(name: str, value: bytes) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.msgpack.decode(of(name).decode(Event(0, 0, None, value, ()), "in").packed)
    return found


def converted(source: str, out: str, value: bytes | None, key: bytes | None = None) -> Outcome:
    return Conversion(of(source), of(out), "out").outcome(Event(0, 0, key, value, ()), AT)


def emitted(outcome: Outcome) -> Event:
    assert isinstance(outcome, Emitted), outcome
    return outcome.events[0]


def changed(name: str, value: bytes, **members: Any) -> bytes | None:
    document = of(name).decode(Event(0, 0, None, value, ()), "in")
    return document.encode(pack(msgspec.structs.replace(unpack(document.packed), **members)))


def embedded(after: dict[str, Any], value: str) -> bytes:
    fields = [{"field": "after", **after}]
    return b'{"schema":%b,"payload":{"op":"c","after":%b}}' % (
        json.dumps({"type": "struct", "fields": fields}).encode(),
        value.encode(),
    )


DOUBLE = {"type": "struct", "fields": [{"field": "x", "type": "double"}]}


def test_an_operation_that_is_no_text() -> None:
    for op in ("[]", "{}", '{"a":1}', "1"):
        with pytest.raises(DecodeError, match="its `__op` is"):
            decoded("flattened-json", b'{"id":1,"__op":%b}' % op.encode())


def test_an_integer_beyond_any_float_in_a_column_of_floats_is_its_digits() -> None:
    digits = "1" + "0" * 400
    assert decoded("debezium-json", embedded(DOUBLE, f'{{"x":{digits}}}'))["after"] == {"x": digits}


@pytest.mark.parametrize("after", [{"type": "struct", "name": "io.debezium.data.VariableScaleDecimal"}])
def test_a_schema_that_makes_a_number_of_the_row(after: dict[str, Any]) -> None:
    with pytest.raises(DecodeError, match="`after` is not an object"):
        decoded("debezium-json", embedded(after, '{"scale":0,"value":"AQ=="}'))


def test_keys_that_the_other_format_cannot_say() -> None:
    outcome = converted("json", "msgpack", b'{"id":1}', b'{"id":99999999999999999999999}')
    assert isinstance(outcome, Violation) and outcome.kind == "schema"
    keys = [
        emitted(converted("msgpack", "json", mp({"id": 1}), mp({"id": float(one)}))).key
        for one in ("nan", "inf", "-inf")
    ]
    assert keys == [b'{"id":"NaN"}', b'{"id":"Infinity"}', b'{"id":"-Infinity"}']
    twice = converted("json", "msgpack", b'{"id":1}', b'{"id":1,"id":2}')
    assert isinstance(twice, Violation) and "the name 'id' repeats" in twice.message


def test_the_key_within_an_embedded_schema_is_the_key() -> None:
    key = b'{"schema":{"type":"struct","fields":[{"type":"bytes","field":"id"}]},"payload":{"id":"AQ=="}}'
    value = b'{"op":"c","before":null,"after":{"id":1},"source":{},"ts_ms":1}'
    assert emitted(converted("debezium-json", "msgpack", value, key)).key == mp({"id": b"\x01"})
    plain = b'{"schema":"s","payload":"p"}'
    assert emitted(converted("debezium-json", "msgpack", value, plain)).key == mp({"schema": "s", "payload": "p"})


def test_many_rows_with_much_beside_them_are_not_multiplied() -> None:
    message = {"data": [{}] * 2_000, "type": "INSERT", "database": "d", "table": "t", "sql": "x" * 500_000}
    outcome = Split(of("canal")).outcome(Event(0, 0, None, json.dumps(message).encode(), ()), AT)
    assert isinstance(outcome, Violation) and "as records of their own" in outcome.message
    message["sql"] = "x"
    few = Split(of("canal")).outcome(Event(0, 0, None, json.dumps(message).encode(), ()), AT)
    assert isinstance(few, Emitted) and len(few.events) == 2_000


def test_definitions_that_refer_to_the_next_one_twice_are_read_once() -> None:
    made: dict[str, Any] = {
        f"d{n}": {"type": "object", "properties": {x: {"$ref": f"#/definitions/d{n + 1}"} for x in "ab"}}
        for n in range(60)
    }
    made["d60"] = {"connect.type": "float64", "type": "number"}
    began = time.thread_time()
    read_json_schema(json.dumps({"$ref": "#/definitions/d0", "definitions": made}), {})
    assert time.thread_time() - began < 10


@pytest.mark.parametrize(
    ("name", "value", "members", "place"),
    [
        ("maxwell", {"type": "insert", "data": {"id": 1}}, {"before": {"id": 7}}, "before"),
        ("maxwell", {"type": "delete", "data": {"id": 1}}, {"after": {"id": 7}}, "after"),
        ("maxwell", {"type": "update", "data": {"id": 1}}, {"before": {"id": 7}}, "before"),
        ("maxwell", {"type": "update", "data": {"id": 1}, "old": {"id": 5}}, {"before": None}, "before"),
        ("canal", {"type": "INSERT", "data": [{"id": "1"}], "old": None}, {"before": {"id": "7"}}, "before"),
    ],
)
def test_what_a_dump_has_no_place_for_is_not_left_out(
    name: str, value: dict[str, Any], members: Any, place: str
) -> None:
    data = json.dumps({"database": "d", "table": "t", "ts": 1} | value).encode()
    with pytest.raises(EncodeError, match=f"{place}: {name} has no place"):
        changed(name, data, **members)


@pytest.mark.parametrize("column", ["__op", "__deleted", "__table"])
def test_a_column_of_a_flattened_row_that_would_be_overwritten(column: str) -> None:
    outcome = converted("json", "flattened-json", json.dumps({"id": 1, column: "mine"}).encode())
    assert isinstance(outcome, Violation) and column in outcome.message


def test_msgpack_timestamps_are_nobodys() -> None:
    moment = b"\xc7\x0c\xff" + (123_456_789).to_bytes(4, "big") + (1_600_000_000).to_bytes(8, "big")
    for row in (b"\x82\xa1t" + moment + b"\xa1a\x01", b"\x81\xa1t\x91\x81\xa1u" + moment):
        with pytest.raises(DecodeError, match="a msgpack timestamp"):
            decoded("msgpack", row)
    assert decoded("msgpack", mp({"a": b"\xff\xff", "b": [-1, "ÿ"]}))["after"] == {"a": b"\xff\xff", "b": [-1, "ÿ"]}


@pytest.mark.parametrize(
    "data", [b"\x82\xa1a\x01\xa1a\x02", b"\x81\xa1r\x82\xa1a\x01\xa1a\x02", b"\x81\xa1l\x91\x82\xa1a\x01\xa1a\x02"]
)
def test_msgpack_names_that_repeat(data: bytes) -> None:
    with pytest.raises(DecodeError, match="the name b'a' repeats"):
        decoded("msgpack", data)


def test_msgpack_that_is_written_at_length_is_read_all_the_same() -> None:
    data = b"\xde\x00\x01\xda\x00\x01a\xd3" + (5).to_bytes(8, "big")
    assert decoded("msgpack", data)["after"] == {"a": 5}
    assert decoded("msgpack", b"\x81\xa1f\xca\x3f\x80\x00\x00")["after"] == {"f": 1.0}


def _protobuf(row: str, syntax: str = "proto3") -> Format:
    one = "optional " if syntax == "proto2" else ""
    text = f'syntax = "{syntax}"; message E {{ {one}string op = 1; {one}Row after = 2; }} message Row {{ {row} }}'
    return of("debezium-protobuf", RegisteredSchema(7, SchemaKind.PROTOBUF, text))


HEAD = b"\0\0\0\0\7\0"


@pytest.mark.parametrize(
    ("row", "content"),
    [
        ("optional string s = 1;", b"\x0a\x01\xff"),
        ("repeated string s = 1;", b"\x0a\x01\xff"),
        ("map<string, string> s = 1;", b"\x0a\x06\x0a\x01\xff\x12\x01a"),
    ],
)
def test_texts_of_proto2_that_are_not_utf8(row: str, content: bytes) -> None:
    made = _protobuf(row, "proto2")
    with pytest.raises(DecodeError, match="UTF-8"):
        made.decode(Event(0, 0, None, HEAD + b"\x0a\x01c\x12" + bytes([len(content)]) + content, ()), "in")


def test_items_that_were_left_alone_keep_what_the_schema_does_not_know() -> None:
    made = _protobuf("repeated Item items = 1; map<string, Item> named = 2; message Item { int32 a = 1; }")
    item = b"\x08\x01\x9a\x06\x03xyz"
    row = b"\x0a\x08" + item + b"\x0a\x02\x08\x02" + b"\x12\x0d\x0a\x01k\x12\x08" + item
    document = made.decode(Event(0, 0, None, HEAD + b"\x0a\x01c\x12" + bytes([len(row)]) + row, ()), "in")
    was = unpack(document.packed)
    assert was.after == {"items": [{"a": 1}, {"a": 2}], "named": {"k": {"a": 1}}}
    after = {"items": [{"a": 1}, {"a": 3}], "named": {"k": {"a": 1}, "z": {"a": 9}}}
    written = document.encode(pack(msgspec.structs.replace(was, after=after))) or b""
    assert written.count(b"xyz") == 2
    assert unpack(made.decode(Event(0, 0, None, written, ()), "in").packed).after == after
    shorter = document.encode(pack(msgspec.structs.replace(was, after={"items": [{"a": 5}], "named": {}}))) or b""
    assert b"xyz" not in shorter


@pytest.mark.parametrize("name", ["1_0", " 5 ", "+5", "007", "٣"])
def test_map_names_that_python_would_take_for_numbers(name: str) -> None:
    made = _protobuf("map<int32, string> m = 1;")
    document = made.decode(Event(0, 0, None, HEAD + b"\x0a\x01c\x12\x00", ()), "in")
    with pytest.raises(EncodeError, match="not as one is written"):
        document.encode(pack(msgspec.structs.replace(unpack(document.packed), after={"m": {name: "x"}})))


def _chain(levels: int, leaf: object, wrap: Sequence[str] = ("x",)) -> dict[str, Any]:
    """Records, each of which has the one before in it: as columns beside each other, so that the text is not deep."""
    fields: list[Any] = [
        {"name": "c0", "type": {"type": "record", "name": "R0", "fields": [{"name": "x", "type": leaf}]}}
    ]
    for n in range(1, levels):
        inner = [{"name": x, "type": ["null", f"R{n - 1}"] if len(wrap) == 1 else f"R{n - 1}"} for x in wrap]
        fields.append({"name": f"c{n}", "type": ["null", {"type": "record", "name": f"R{n}", "fields": inner}]})
    return {"type": "record", "name": "E", "fields": fields}


def test_depth_is_counted_through_references() -> None:
    read_avro(json.dumps(_chain(40, "float")))
    for levels in (100, 300, 20_000):
        with pytest.raises(UnreadableSchema, match="levels deep"):
            read_avro(json.dumps(_chain(levels, "float")))


def test_values_that_take_no_bytes_are_few() -> None:
    with pytest.raises(UnreadableSchema, match="take no bytes"):
        read_avro(json.dumps(_chain(24, "null", "ab")))
    idle = [{"name": f"n{n}", "type": "null"} for n in range(100)]
    wide = {"type": "record", "name": "W", "fields": [{"name": "b", "type": "boolean"}, *idle]}
    with pytest.raises(UnreadableSchema, match="take no bytes"):
        read_avro(
            json.dumps(
                {"type": "record", "name": "E", "fields": [{"name": "l", "type": {"type": "array", "items": wide}}]}
            )
        )


def test_contracts_read_what_is_referred_to_once() -> None:
    began = time.thread_time()
    with pytest.raises(SchemaError, match="types in one schema"):
        from_avro(_chain(40, "long", "ab"))
    row = from_avro(_chain(10, "long", "ab"))
    assert changes(row, row) == []
    assert time.thread_time() - began < 20


VARIABLE = "io.debezium.data.VariableScaleDecimal"


@pytest.mark.parametrize(
    ("scale", "value", "native"),
    [
        (["null", "int"], "bytes", {"scale": None, "value": b"\1"}),
        ("string", "bytes", {"scale": "2", "value": b"\1"}),
        ("double", "bytes", {"scale": 2.0, "value": b"\1"}),
        ("int", ["null", "bytes"], {"scale": 2, "value": None}),
        ("int", {"type": "fixed", "name": "F", "size": 4}, {"scale": 2, "value": b"\0\0\0\1"}),
    ],
)
def test_a_record_by_the_name_of_a_decimal_that_is_another(
    scale: object, value: object, native: dict[str, Any]
) -> None:
    decimal = {
        "type": "record",
        "name": "VariableScaleDecimal",
        "namespace": "io.debezium.data",
        "fields": [{"name": "scale", "type": scale}, {"name": "value", "type": value}],
    }
    schema = {
        "type": "record",
        "name": "E",
        "fields": [
            {"name": "op", "type": "string"},
            {
                "name": "after",
                "type": {
                    "type": "record",
                    "name": "R",
                    "fields": [{"name": "d", "type": decimal}, {"name": "n", "type": "int"}],
                },
            },
        ],
    }
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(schema), {"op": "c", "after": {"d": native, "n": 1}})
    made = of("debezium-avro", RegisteredSchema(7, SchemaKind.AVRO, json.dumps(schema)))
    document = made.decode(Event(0, 0, None, b"\0\0\0\0\7" + stream.getvalue(), ()), "in")
    was = unpack(document.packed)
    assert was.after == {"d": native, "n": 1}
    written = document.encode(pack(msgspec.structs.replace(was, after=was.after | {"n": 2})))
    assert unpack(made.decode(Event(0, 0, None, written, ()), "in").packed).after == {"d": native, "n": 2}


def test_contracts_know_records_by_their_full_names() -> None:
    geo = {"type": "record", "name": "Value", "namespace": "geo", "fields": [{"name": "z", "type": "long"}]}
    row = {
        "type": "record",
        "name": "Value",
        "fields": [{"name": "id", "type": "long"}, {"name": "place", "type": ["null", geo]}],
    }
    envelope = {
        "type": "record",
        "name": "Envelope",
        "namespace": "shop",
        "fields": [
            {"name": "before", "type": ["null", row]},
            {"name": "after", "type": ["null", "Value"]},
            {"name": "op", "type": "string"},
        ],
    }
    for spelled in ("Value", "shop.Value", {"type": "Value"}):
        envelope["fields"][1]["type"] = ["null", spelled]  # type: ignore[index]
        made = of("debezium-avro", RegisteredSchema(7, SchemaKind.AVRO, json.dumps(envelope)))
        found = made.writer_schema(Event(0, 0, None, b"\0\0\0\0\7\0", ()), "in")
        assert found is not None
        assert changes(found[1](), from_avro(row)) == []
        assert changes(found[1](), from_avro(geo)) != []
    assert from_avro({"type": "null"}) == from_avro("null")


class Falling(Format):
    """Has a bug."""

    name = "falling"

    def __init__(self, error: Exception) -> None:
        self.error = error

    def decode(self, event: Event, topic: str) -> Document:
        raise self.error

    def encode(self, packed: bytes, event: Event, topic: str) -> bytes:
        raise self.error


@pytest.mark.parametrize(
    "error",
    [KeyError("what nobody thought of"), RecursionError("too deep"), msgspec.DecodeError("truncated")],
    ids=repr,
)
def test_what_a_format_falls_over_is_a_verdict_and_says_whose_fault_it_is(error: Exception) -> None:
    good = b'{"op":"c","before":null,"after":{"id":1},"source":{},"ts_ms":1}'
    for source, out in ((Falling(error), of("debezium-json")), (of("debezium-json"), Falling(error))):
        outcome = Conversion(source, out, "out").outcome(Event(0, 0, None, good, ()), AT)
        assert isinstance(outcome, Violation)
        assert (outcome.kind, "which is a bug" in outcome.message) == ("decode", True)


@pytest.mark.parametrize("out", ["maxwell", "canal"])
def test_an_update_without_what_was_before_does_not_say_that_nothing_changed(out: str) -> None:
    """PostgreSQL's default replica identity."""
    members = {"op": "u", "before": None, "after": {"id": "1"}, "source": {"db": "d", "table": "t"}, "ts_ms": 1000}
    value = emitted(converted("debezium-json", out, json.dumps(members).encode())).value or b""
    assert not json.loads(value).get("old")
    assert decoded(out, value)["before"] is None
    assert decoded(out, value)["after"] == {"id": "1"}
