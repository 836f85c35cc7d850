"""Maxwell's and Canal's JSON: a table's name, rows, and of an update the old values of what changed.

- Maxwell: one row, `data` with values as JSON has them, `old` an object. https://maxwells-daemon.io/dataformat/
- Canal (flatMessage): rows in arrays, all values texts or null. https://github.com/alibaba/canal (FlatMessage)

`before` of an update is the new row with the old values of what changed. That is the row as it was where the database logs whole rows
(`binlog_row_image=full`); with `minimal`, columns that were not logged are in neither.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from schemas.change import UNAVAILABLE, ChangeEvent, DecodeError, EncodeError, pack, same, unpack
from schemas.event import Event
from schemas.formats.format import Document, Format
from schemas.formats.jsontext import (
    check_depth,
    check_names,
    is_int64,
    joined,
    or_refused,
    packed_change,
    parts,
    read_object,
)
from schemas.formats.rows import NIL, change_of, change_parts, refuse_other_changes, row_for
from schemas.formats.splice import splice, write

_MAXWELL: Final = {"insert": "c", "update": "u", "delete": "d", "bootstrap-insert": "r"}
_CANAL: Final = {"INSERT": "c", "UPDATE": "u", "DELETE": "d", "TRUNCATE": "t"}
_MAXWELL_SOURCE: Final = ("position", "gtid", "server_id", "thread_id", "schema_id", "xid", "xoffset", "commit")
_CANAL_SOURCE: Final = ("id", "gtid", "pkNames", "mysqlType", "sql")
SPLIT_BYTES_MAX: Final = 64 << 20
"""Of what all records of one message of Canal have beside their row: each has a copy of it."""
_Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Dump:
    """One row of a dump."""

    data: bytes
    packed: bytes
    _name: str
    """Of the format."""
    _row: bytes
    """The text of the row's `data`."""
    _old: bytes | None
    """The text of what it was; None where there is none."""
    _listed: bool
    """Rows stand in arrays."""

    def encode(self, packed: bytes) -> bytes | None:
        """See `Document`. A row that a guest takes away is a tombstone."""
        if packed == self.packed:
            return self.data
        change = unpack(packed)
        sent, got = change_parts(self.packed), change_parts(packed)
        refuse_other_changes(self._name, sent, got, "op", "source", "ts_ms", "transaction")
        side, other = ("before", "after") if change.op == "d" else ("after", "before")
        if got[side] == NIL:
            return None
        if self._old is None or got[other] == NIL:
            refuse_other_changes(self._name, sent, got, other)
        row = splice(self._row, sent[side], got[side], None)
        if self._listed:
            _require_texts(got[side])
        old = None if self._old is None else self._spliced_old(change)
        made = {"data": row} if old is None else {"data": row, "old": old}
        return joined((name, self._put(made, name, raw)) for name, raw in parts(self.data.strip()).items())

    def _put(self, made: Mapping[str, bytes], name: str, raw: msgspec.Raw) -> bytes:
        if name not in made:
            return bytes(raw)
        return b"[" + made[name] + b"]" if self._listed else made[name]

    def _spliced_old(self, change: ChangeEvent) -> bytes:
        """What changed: what was told as changed, and what a guest made different on the two sides."""
        assert self._old is not None
        told = read_object(self._old)
        after = change.after or {}
        before = change.before or {}
        now = {name: value for name, value in before.items() if name in told or (name, value) not in after.items()}
        return splice(self._old, packed_change(told), pack(now), None)


class Maxwell(Format):
    """`maxwell`: see the module. DDL and the marks of a bootstrap are about no row, and no change events."""

    name = "maxwell"
    title = "row of Maxwell"

    def decode(self, event: Event, topic: str) -> Document:
        """See the base class."""
        data = event.value or b""
        return or_refused(lambda: _maxwell(data))

    def encode(self, packed: bytes, event: Event, topic: str) -> bytes:
        """See the base class."""
        change = unpack(packed)
        row = row_for(self.name, change)
        source, moment = change.source, change.ts_ms
        names = {op: name for name, op in _MAXWELL.items()}
        made: dict[str, Any] = {
            "database": source.get("db"),
            "table": source.get("table"),
            "type": names[change.op],
            "ts": None if moment is None else moment // 1000,
        }
        made |= {name: source[name] for name in _MAXWELL_SOURCE if name in source}
        made["data"] = row
        if change.op == "u" and change.before is not None:
            made["old"] = _changed(change)
        return write(msgspec.to_builtins(made, builtin_types=(bytes, msgspec.msgpack.Ext)))


class Canal(Format):
    """`canal`: see the module. A message of several rows is split into one for each."""

    name = "canal"
    title = "row of Canal"
    splits = True

    def decode(self, event: Event, topic: str) -> Document:
        """See the base class."""
        data = event.value or b""
        return or_refused(lambda: _canal(data))

    def split(self, event: Event) -> Sequence[Event]:
        """See the base class."""
        return or_refused(lambda: _split(event))

    def encode(self, packed: bytes, event: Event, topic: str) -> bytes:
        """See the base class. Values are texts; what is no scalar, and bytes, cannot be said."""
        change = unpack(packed)
        truncates = change.op == "t"
        row = None if truncates else _texts(row_for(self.name, change))
        names = {op: name for name, op in _CANAL.items()} | {"r": "INSERT"}
        source = change.source
        made: dict[str, Any] = {
            "data": None if row is None else [row],
            "database": source.get("db"),
            "es": source.get("ts_ms", change.ts_ms),
            "isDdl": truncates,
            "old": [_texts(_changed(change))] if change.op == "u" and change.before is not None else None,
            "table": source.get("table"),
            "ts": change.ts_ms,
            "type": names[change.op],
        }
        made |= {name: source[name] for name in _CANAL_SOURCE if name in source}
        return write(made)


def _maxwell(data: bytes) -> Dump | Document:
    members = read_object(data.strip())
    op = _operation(members, _MAXWELL)
    row, old = _an_object(members, "data"), members.get("old")
    if old is not None and not isinstance(old, dict):
        raise DecodeError("its `old` is no object")
    moment = members.get("ts")
    ts_ms = moment * 1000 if type(moment) is int and is_int64(moment * 1000) else None
    source = {"connector": "maxwell", "db": members.get("database"), "table": members.get("table"), "ts_ms": ts_ms}
    source |= {name: members.get(name) for name in _MAXWELL_SOURCE}
    xid = members.get("xid")
    transaction = None if xid is None else {"id": str(xid)[:64]}
    change = _change(op, row, old, source, ts_ms, transaction)
    texts = parts(data.strip())
    return Dump(data, packed_change(change), "maxwell", bytes(texts["data"]), _text_of_old(texts, op), False)


def _canal(data: bytes) -> Dump | Document:
    members = read_object(data.strip())
    op = _operation(members, _CANAL)
    source = {
        "connector": "canal",
        "db": members.get("database"),
        "table": members.get("table"),
        "ts_ms": _moment(members, "es"),
    }
    source |= {name: members.get(name) for name in _CANAL_SOURCE}
    if op == "t":
        return _Truncate(data, packed_change(change_of("t", None, None, source, _moment(members, "ts"))))
    rows, olds = _rows(members)
    if len(rows) != 1:
        raise DecodeError(f"it has {len(rows)} rows; it must be split first")
    change = _change(op, rows[0], olds[0] if olds else None, source, _moment(members, "ts"), None)
    texts = parts(data.strip())
    (row,) = _items(texts["data"])
    old = _items(texts["old"])[0] if op == "u" and olds else None
    return Dump(data, packed_change(change), "canal", row, old, True)


@dataclass(frozen=True, slots=True)
class _Truncate:
    data: bytes
    packed: bytes

    def encode(self, packed: bytes) -> bytes | None:
        if packed == self.packed:
            return self.data
        raise EncodeError("a truncate has nothing that could be changed")


def _operation(members: Mapping[str, Any], known: Mapping[str, str]) -> str:
    said = members.get("type")
    if not isinstance(said, str) or said not in known:
        raise DecodeError(f"its `type` is {said!r:.60}, which is about no row")
    return known[said]


def _an_object(members: Mapping[str, Any], name: str) -> _Row:
    value = members.get(name)
    if not isinstance(value, dict):
        raise DecodeError(f"its `{name}` is no object")
    return value


def _rows(members: Mapping[str, Any]) -> tuple[list[_Row], list[_Row]]:
    """The rows, and the old values where there are any."""
    rows, olds = members.get("data"), members.get("old") or []
    if not isinstance(rows, list) or not all(isinstance(one, dict) for one in rows):
        raise DecodeError("its `data` is no list of rows")
    if not isinstance(olds, list) or not all(isinstance(one, dict) for one in olds):
        raise DecodeError("its `old` is no list of rows")
    if olds and len(olds) != len(rows):
        raise DecodeError(f"it has {len(rows)} rows and {len(olds)} old ones")
    return rows, olds


def _change(
    op: str, row: _Row, old: _Row | None, source: Mapping[str, Any], ts_ms: int | None, transaction: _Row | None
) -> dict[str, Any]:
    if op == "d":
        return change_of(op, row, None, source, ts_ms, transaction)
    before = (
        {**row, **old} if op == "u" and old is not None else None
    )  # who does not say what changed may mean anything
    return change_of(op, before, row, source, ts_ms, transaction)


def _text_of_old(texts: Mapping[str, msgspec.Raw], op: str) -> bytes | None:
    if op != "u" or "old" not in texts:
        return None
    old = bytes(texts["old"])
    return None if old == b"null" else old


def _items(raw: msgspec.Raw) -> list[bytes]:
    return [bytes(one) for one in msgspec.json.decode(raw, type=list[msgspec.Raw])]


def _moment(members: Mapping[str, Any], name: str) -> int | None:
    value = members.get(name)
    return value if type(value) is int and is_int64(value) else None


def _changed(change: ChangeEvent) -> _Row:
    """The old values of what an update changed."""
    after = change.after or {}
    return {
        name: value
        for name, value in (change.before or {}).items()
        if name not in after or not same(after[name], value)
    }


def _texts(row: Mapping[str, Any]) -> dict[str, str | None]:
    return {name: _text(name, value) for name, value in row.items()}


def _text(name: str, value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, int | float):
        return str(value)
    what = "a value that was not sent" if value == UNAVAILABLE else type(value).__name__
    raise EncodeError(f"{name}: canal's values are texts, and this is {what}")


def _require_texts(packed: bytes) -> None:
    for name, value in msgspec.msgpack.decode(packed).items():
        if value is not None and not isinstance(value, str):
            raise EncodeError(f"{name}: canal's values are texts or null")


def _split(event: Event) -> Sequence[Event]:
    data = (event.value or b"").strip()
    texts = parts(data)
    if bytes(texts.get("data", msgspec.Raw(b"null"))) == b"null":
        return (event,)
    check_depth(data)
    rows = _items(texts["data"])
    if len(rows) < 2:  # of none, decoding says so: nothing disappears without a word
        return (event,)
    check_names(data)
    read_object(data)
    olds = [] if bytes(texts.get("old", msgspec.Raw(b"null"))) == b"null" else _items(texts["old"])
    if olds and len(olds) != len(rows):
        raise DecodeError(f"it has {len(rows)} rows and {len(olds)} old ones")
    if (size := len(rows) * (len(data) - len(texts["data"]))) > SPLIT_BYTES_MAX:
        raise DecodeError(
            f"its {len(rows)} rows would be {size} bytes and more as records of their own, each with the rest of it"
        )
    return tuple(
        msgspec.structs.replace(event, value=joined(_one_row(texts, row, olds[index] if olds else None)))
        for index, row in enumerate(rows)
    )


def _one_row(texts: Mapping[str, msgspec.Raw], row: bytes, old: bytes | None) -> list[tuple[str, bytes]]:
    rest = {"data": b"[" + row + b"]"} | ({"old": b"[" + old + b"]"} if old is not None else {})
    return [(name, rest.get(name, bytes(raw))) for name, raw in texts.items()]
