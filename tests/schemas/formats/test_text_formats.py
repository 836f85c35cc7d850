"""Formats of text and msgpack: what an event says in each, and what is left of it after a guest."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.change import UNAVAILABLE, DecodeError, EncodeError, pack, unpack
from schemas.event import Event
from schemas.formats.format import Format
from schemas.formats.named import PLAIN, make_format
from schemas.specs import FormatSpec

TEXT = ["flattened-json", "json", "maxwell", "canal"]
CHANGING = [name for name in PLAIN if name != "raw"]
ROW = b'{"id": 1, "name": "Z\\u00f6e",  "price":1.10, "wide":123456789012345678901234567890, "big":"__debezium_unavailable_value", "at":{"x":null}}'
SEEN = {
    "id": 1,
    "name": "Zöe",
    "price": 1.1,
    "wide": "123456789012345678901234567890",
    "big": UNAVAILABLE,
    "at": {"x": None},
}
MAXWELL = (
    b'{"database":"shop","table":"orders","type":"update","ts":1449786310,"xid":940752,"commit":true,"position":"b.1:33",'
    b'"data":{"id":1, "price":1.10,"email":"a@x"},"old":{"price":1.00}}'
)
CANAL = (
    b'{"data":[{"id":"1","price":"1.10"},{"id":"2","price":null}],"database":"shop","es":5000,"id":9,"isDdl":false,'
    b'"mysqlType":{"id":"bigint"},"old":[{"price":"1.00"},{"price":"2"}],"pkNames":["id"],"sql":"","table":"orders","ts":6000,"type":"UPDATE"}'
)


def of(name: str) -> Format:
    return make_format(FormatSpec(name))


def event(value: bytes | None, **headers: bytes) -> Event:
    return Event(0, 0, b"k", value, tuple(headers.items()))


def read(name: str, value: bytes, **headers: bytes) -> Any:
    return msgspec.to_builtins(
        unpack(of(name).decode(event(value, **headers), "t").packed), builtin_types=(bytes, msgspec.msgpack.Ext)
    )


def edited(name: str, value: bytes, **members: Any) -> bytes | None:
    """The value after a guest that puts these members into its change event."""
    document = of(name).decode(event(value), "t")
    change = msgspec.msgpack.decode(document.packed)
    return document.encode(pack(change | members))


def test_a_json_row() -> None:
    assert read("json", ROW) == {
        "op": "r",
        "before": None,
        "after": SEEN,
        "source": {},
        "ts_ms": None,
        "transaction": None,
    }
    changed = edited("json", ROW, after={**SEEN, "name": "***"})
    assert changed is not None and changed == ROW.replace(b"Z\\u00f6e", b"***").replace(b": ", b":").replace(
        b",  ", b","
    ).replace(b", ", b",")
    assert edited("json", ROW, after=None) is None
    with pytest.raises(EncodeError, match="source: json has no place for another one"):
        edited("json", ROW, source={"table": "x"})


def test_a_flattened_row_and_its_facts() -> None:
    value = b'{"id":1,"__x":2,"__op":"u","__deleted":"false","__table":"orders","__source_ts_ms":5,"__ts_ms":7}'
    found = read("flattened-json", value, __lsn=b"33", __db=b'{"schema":{"type":"string"},"payload":"shop"}')
    assert found["op"] == "u" and found["after"] == {"id": 1, "__x": 2}
    assert found["source"] == {"lsn": 33, "db": "shop", "table": "orders", "ts_ms": 5} and found["ts_ms"] == 7
    assert edited("flattened-json", value, after={"id": 2, "__x": 2}) == value.replace(b'"id":1', b'"id":2')


def test_a_flattened_delete_keeps_its_row_before() -> None:
    value = b'{"id":1,"name":"a","__deleted":"true"}'
    found = read("flattened-json", value)
    assert (found["op"], found["before"], found["after"]) == ("d", {"id": 1, "name": "a"}, None)
    assert edited("flattened-json", value, before={"id": 1, "name": "*"}) == value.replace(b'"a"', b'"*"')


def test_a_flattened_row_with_its_schema() -> None:
    schema = b'{"type":"struct","fields":[{"type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"2"},"field":"n"}]}'
    value = b'{"schema":%b,"payload":{"n":"AN4="}}' % schema
    assert read("flattened-json", value)["after"] == {"n": "2.22"}
    assert edited("flattened-json", value, after={"n": "2.23"}) == value.replace(b"AN4=", b"AN8=")


def test_maxwells_update() -> None:
    found = read("maxwell", MAXWELL)
    assert found["op"] == "u" and found["ts_ms"] == 1449786310000 and found["transaction"] == {"id": "940752"}
    assert found["before"] == {"id": 1, "price": 1.0, "email": "a@x"} and found["after"] == {
        "id": 1,
        "price": 1.1,
        "email": "a@x",
    }
    assert found["source"]["db"] == "shop" and found["source"]["position"] == "b.1:33"
    masked = edited(
        "maxwell", MAXWELL, before={**found["before"], "email": "*"}, after={**found["after"], "email": "*"}
    )
    assert masked == MAXWELL.replace(b"a@x", b"*").replace(b", ", b","), "what is masked on both sides did not change"
    different = edited("maxwell", MAXWELL, before={**found["before"], "email": "*"})
    assert json.loads(different or b"")["old"] == {"price": 1.0, "email": "*"}


def test_canals_rows_are_split_and_lose_nothing() -> None:
    canal = of("canal")
    with pytest.raises(DecodeError, match="it has 2 rows"):
        canal.decode(event(CANAL), "t")
    first, second = canal.split(event(CANAL))
    assert read("canal", first.value or b"")["before"] == {"id": "1", "price": "1.00"}
    found = read("canal", second.value or b"")
    assert found["after"] == {"id": "2", "price": None} and found["ts_ms"] == 6000 and found["source"]["ts_ms"] == 5000
    members = [json.loads(one.value or b"") for one in (first, second)]
    whole = json.loads(CANAL)
    for name in whole:
        if name in ("data", "old"):
            assert [one[name][0] for one in members] == whole[name]
        else:
            assert [one[name] for one in members] == [whole[name]] * 2
    changed = edited("canal", second.value or b"", after={"id": "2", "price": "3"})
    assert json.loads(changed or b"")["data"] == [{"id": "2", "price": "3"}]
    with pytest.raises(EncodeError, match="price: canal's values are texts"):
        edited("canal", second.value or b"", after={"id": "2", "price": 3})


@pytest.mark.parametrize("rows", ["[]", "null"])
def test_canal_without_rows_does_not_disappear(rows: str) -> None:
    value = CANAL.replace(CANAL[8 : CANAL.index(b',"database"')], rows.encode()).replace(
        b'"old":[{"price":"1.00"},{"price":"2"}]', b'"old":null'
    )
    (same,) = of("canal").split(event(value))
    with pytest.raises(DecodeError):
        of("canal").decode(same, "t")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("maxwell", b'{"type":"bootstrap-start","database":"a","table":"b","data":{}}', "which is about no row"),
        ("maxwell", b'{"type":"table-alter","sql":"x"}', "which is about no row"),
        ("maxwell", b'{"type":"insert","data":[]}', "its `data` is no object"),
        ("canal", b'{"type":"ALTER","isDdl":true,"data":null}', "which is about no row"),
        ("canal", b'{"type":"INSERT","data":[{}],"old":[{},{}]}', "1 rows and 2 old ones"),
        ("json", b"[1]", "not a JSON object"),
        ("json", b'{"a":1,"a":2}', "the name 'a' repeats"),
        ("json", b'{"a":' * 200, "nested more than 128 levels"),
        ("flattened-json", b'{"__op":"x"}', "its `__op` is 'x'"),
        ("msgpack", b"\xa1a", "it is no map"),
        ("msgpack", b"\x81\x01\x02", "names that are texts"),
        ("msgpack", b"\x81\xa1a\x02\x02", "not msgpack"),
        ("msgpack", b"\x81\xa1a" * 129 + b"\1", "nested more than 128 levels"),
        ("msgpack", b"\x81\xa1a" + b"\x91" * 700 + b"\1", "nested more than 128 levels"),
        ("raw", b"{}", "its values are not decoded"),
    ],
)
def test_what_is_no_event_is_said(name: str, value: bytes, said: str) -> None:
    with pytest.raises(DecodeError, match=said.replace("[", r"\[")):
        of(name).decode(event(value), "t")


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=4)
)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
columns = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=3).filter(
    lambda name: not name.startswith("__")
)
rows = st.dictionaries(columns, anything, max_size=4)
texts = st.dictionaries(columns, st.none() | st.text(max_size=4), max_size=4)


def wrapped(name: str, row: dict[str, Any]) -> bytes:
    """A value of this format with this row."""
    members: dict[str, Any] = {
        "json": row,
        "flattened-json": row | {"__op": "c", "__table": "t"},
        "maxwell": {"database": "d", "table": "t", "type": "insert", "ts": 1, "data": row},
        "canal": {
            "data": [row],
            "database": "d",
            "table": "t",
            "type": "INSERT",
            "es": 1,
            "ts": 2,
            "old": None,
            "isDdl": False,
        },
    }
    return pack(row) if name == "msgpack" else json.dumps(members[name]).encode()


@pytest.mark.parametrize("name", [*TEXT, "msgpack"])
@given(data=st.data())
def test_what_passes_keeps_its_bytes_and_what_changes_says_so(name: str, data: st.DataObject) -> None:
    kind = texts if name == "canal" else rows
    before, after = data.draw(kind), data.draw(kind)
    value = wrapped(name, before)
    document = of(name).decode(event(value), "t")
    assert document.encode(document.packed) == value
    assert msgspec.msgpack.decode(document.packed)["after"] == before
    changed = document.encode(pack(msgspec.msgpack.decode(document.packed) | {"after": after}))
    assert changed is not None
    again = msgspec.msgpack.decode(of(name).decode(event(changed), "t").packed)
    assert again["after"] == after


changes = st.fixed_dictionaries(
    {
        "op": st.sampled_from("cur"),
        "before": st.none(),
        "after": texts,
        "source": st.fixed_dictionaries({"db": st.just("d"), "table": st.just("t")}),
        "ts_ms": st.integers(0, 1 << 40).map(lambda seconds: seconds * 1000),
        "transaction": st.none(),
    }
)


@pytest.mark.parametrize("out", CHANGING)
@given(change=changes)
def test_every_format_can_say_a_row_of_another(out: str, change: dict[str, Any]) -> None:
    value = of(out).encode(pack(change), event(b""), "t")
    assert value is not None
    said = msgspec.msgpack.decode(of(out).decode(event(value), "t").packed)
    assert said["after"] == change["after"]
    if out not in ("json",):
        assert said["op"] == change["op"] or (out == "canal" and change["op"] == "r" and said["op"] == "c")


@pytest.mark.parametrize("out", CHANGING)
def test_deletes_and_truncates_in_every_format(out: str) -> None:
    delete = pack(
        {"op": "d", "before": {"id": "1"}, "after": None, "source": {"table": "t"}, "ts_ms": 1, "transaction": None}
    )
    value = of(out).encode(delete, event(b""), "t")
    if out == "json":
        assert value is None, "a tombstone"
    else:
        assert value is not None
        said = msgspec.msgpack.decode(of(out).decode(event(value), "t").packed)
        assert (said["op"], said["before"]) == ("d", {"id": "1"})
    truncate = pack(
        {"op": "t", "before": None, "after": None, "source": {"table": "t"}, "ts_ms": 1, "transaction": None}
    )
    if out in ("debezium-json", "msgpack", "canal"):
        said = msgspec.msgpack.decode(of(out).decode(event(of(out).encode(truncate, event(b""), "t")), "t").packed)
        assert said["op"] == "t"
    else:
        with pytest.raises(EncodeError, match="no way to say a truncate"):
            of(out).encode(truncate, event(b""), "t")


@pytest.mark.parametrize("name", CHANGING)
@given(
    st.binary(max_size=60)
    | st.text(max_size=60).map(str.encode)
    | anything.map(lambda value: json.dumps(value).encode())
)
@example(b"\xff")
@example(b'{"data":[{}],"type":"INSERT","old":[]}')
@example(MAXWELL)
@example(CANAL)
def test_any_bytes_are_an_event_or_refused(name: str, data: bytes) -> None:
    kind = of(name)
    try:
        for one in kind.split(event(data)):
            document = kind.decode(one, "t")
            unpack(document.packed)
            assert document.encode(document.packed) == one.value
    except DecodeError:
        pass
