"""Debezium's events after its SMT ExtractNewRecordState: the row, and what `add.fields` and `add.headers` put beside it.

https://debezium.io/documentation/reference/stable/transformations/event-flattening.html. `__op`, `__deleted`, `__ts_ms` and the
members of the source block under `__` (`__table`, `__lsn`, `__source_ts_ms`) are told to guests in the places that they came from,
and stay as they are in the value; so do those among the record's headers. A name of `__` that is none of Debezium's is a column.

A row without `__op` is an `r`: it may have been created, updated or read. A deleted row (`__deleted`, of the modes `rewrite` and
`rewrite-with-tombstone`) is a `d`, and the row that it was is `before`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from schemas.change import OPERATIONS, DecodeError, EncodeError, unpack
from schemas.event import Event
from schemas.formats.connect import ConnectType, read_schema
from schemas.formats.format import Document, Format
from schemas.formats.jsontext import (
    check_names,
    is_int64,
    is_marked,
    joined,
    marked,
    or_refused,
    packed_change,
    parts,
    read_object,
)
from schemas.formats.rows import NIL, change_of, change_parts, refuse_other_changes, row_for
from schemas.formats.splice import splice, write

SOURCE: Final = frozenset(
    [
        "version",
        "connector",
        "name",
        "ts_ms",
        "ts_us",
        "ts_ns",
        "snapshot",
        "db",
        "sequence",
        "schema",
        "table",
        "txId",
        "lsn",
        "xmin",
        "origin",
        "origin_lsn",
        "collection",
        "file",
        "pos",
        "row",
        "thread",
        "query",
        "server_id",
        "gtid",
        "scn",
        "commit_scn",
        "lcr_position",
        "change_lsn",
        "commit_lsn",
        "event_serial_no",
        "ord",
        "h",
        "tord",
        "lsid",
    ]
)
"""Members of the source blocks of Debezium's connectors."""
_PREFIX: Final = "__"
_OWN: Final = {"__op", "__deleted", "__ts_ms"}
_WRITTEN: Final = {"__op", "__deleted", "__table"}


@dataclass(frozen=True, slots=True)
class Flattened:
    """A row with its metadata."""

    data: bytes
    packed: bytes
    _row: bytes
    """The part of `data` that is the row: all of it, or its `payload`."""
    _kind: ConnectType | None
    """Of the row, when a schema is embedded."""
    _side: str
    """`after`, or `before` for a deleted row."""

    def encode(self, packed: bytes) -> bytes | None:
        """See `Document`. A row that a guest takes away is a tombstone."""
        if packed == self.packed:
            return self.data
        unpack(packed)
        sent, got = change_parts(self.packed), change_parts(packed)
        other = "before" if self._side == "after" else "after"
        refuse_other_changes("flattened-json", sent, got, "op", other, "source", "ts_ms", "transaction")
        if got[self._side] == NIL:
            return None
        row = splice(self._row, sent[self._side], got[self._side], self._kind)
        if self._row == self.data.strip():
            return row
        return joined((name, row if name == "payload" else bytes(raw)) for name, raw in parts(self.data).items())


class FlattenedJson(Format):
    """See the module."""

    name = "flattened-json"
    title = "flattened Debezium event"

    def decode(self, event: Event, topic: str) -> Document:
        """See the base class."""
        return or_refused(lambda: _document(event))

    def encode(self, packed: bytes, event: Event, topic: str) -> bytes:
        """See the base class. With `__op`, `__table` and `__deleted`, as the SMT's mode `rewrite` and `add.fields=op,table` write it."""
        change = unpack(packed)
        row = dict(row_for(self.name, change))
        if taken := sorted(row.keys() & _WRITTEN):
            raise EncodeError(f"{self.name} has a meaning of its own for the column {taken[0]}")
        row["__deleted"] = "true" if change.op == "d" else "false"
        row["__op"] = change.op
        if isinstance(table := change.source.get("table"), str):
            row["__table"] = table
        return write(msgspec.to_builtins(row, builtin_types=(bytes, msgspec.msgpack.Ext)))


def _document(event: Event) -> Flattened:
    data = event.value or b""
    text, kind = _unwrapped(data)
    members = read_object(text)
    facts = {name: value for name, value in members.items() if _is_fact(name)}
    row = {name: value for name, value in members.items() if name not in facts}
    if is_marked(text):
        row = marked(row)
    if kind is not None:
        row = kind.read(row)
    told = {**_of_headers(event), **facts}
    deleted = told.get("__deleted") in ("true", True)
    op = "d" if deleted else told.get("__op", "r")
    if not isinstance(op, str) or op not in OPERATIONS:
        raise DecodeError(f"its `__op` is {op!r:.40}")
    side = "before" if op == "d" else "after"
    moment = told.get("__ts_ms")
    change = change_of(
        op,
        row if side == "before" else None,
        row if side == "after" else None,
        {_source_name(name): value for name, value in told.items() if name not in _OWN},
        moment if type(moment) is int and is_int64(moment) else None,
    )
    return Flattened(data, packed_change(change), text, kind, side)


def _unwrapped(data: bytes) -> tuple[bytes, ConnectType | None]:
    """The row's text, and its type where a schema is embedded."""
    members = parts(data)
    if members.keys() != {"schema", "payload"}:
        return data.strip(), None
    schema, payload = bytes(members["schema"]), bytes(members["payload"])
    check_names(data)
    return payload, None if schema == b"null" else read_schema(schema)


def _is_fact(name: str) -> bool:
    return name in _OWN or (name.startswith(_PREFIX) and _source_name(name) in SOURCE)


def _source_name(name: str) -> str:
    return name.removeprefix(_PREFIX).removeprefix("source_")


def _of_headers(event: Event) -> dict[str, Any]:
    """What `add.headers` says, as Connect's header converter wrote it: a text, or JSON."""
    return {name: _header(value) for name, value in event.headers if value is not None and _is_fact(name)}


def _header(value: bytes) -> Any:
    try:
        text = value.decode()
        read = json.loads(text)
    except (ValueError, RecursionError):
        return value.decode(errors="replace")
    if isinstance(read, dict) and read.keys() == {"schema", "payload"}:
        read = read["payload"]
    return read if read is None or isinstance(read, bool | str) or (type(read) is int and is_int64(read)) else text
