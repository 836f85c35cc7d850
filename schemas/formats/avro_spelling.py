"""Avro values with parts of them changed: what was not changed keeps its bytes.

In a union of several types a value does not say how it was written: 1 may have been an `int` or a `long`, `{}` a map or a record. So
what was written is copied, and only what is new is written anew. The encoding of a record is that of its fields, one after the other, and
that of a union is a branch's index before the value (Avro's specification, "Binary encoding").
"""

from __future__ import annotations

import io
from typing import Any, cast

import fastavro

from schemas.change import EncodeError, same
from schemas.formats.avro_types import AvroType, Record, Union, VariableDecimal
from schemas.formats.wire import placed


def respelled(kind: AvroType, stream: io.BytesIO, old: Any, new: Any) -> bytes:
    """The bytes of `new` where those of `old` are next in `stream`, which is then behind them. Raises EncodeError."""
    began = stream.tell()
    if same(old, new):
        _skip(kind, stream)
        return stream.getvalue()[began : stream.tell()]
    if isinstance(kind, Record) and not isinstance(kind, VariableDecimal) and isinstance(old, dict):
        row = kind.within(new)
        return b"".join(_field(name, one, stream, old, row) for name, one in kind.fields.items())
    if isinstance(kind, Union) and new is not None:
        index = cast("int", fastavro.schemaless_reader(stream, "long", None))
        branch = kind.branches[index]
        place = stream.tell()
        if isinstance(branch, Record) and isinstance(old, dict) and (kind.is_nullable_only or _fits(branch, new)):
            try:
                return stream.getvalue()[began:place] + respelled(branch, stream, old, new)
            except EncodeError:  # another branch may say it
                if kind.is_nullable_only:
                    raise
        stream.seek(place)
        _skip(branch, stream)
    else:
        _skip(kind, stream)
    return _written(kind, new)


def _field(name: str, kind: AvroType, stream: io.BytesIO, old: dict[str, Any], new: dict[str, Any]) -> bytes:
    try:
        return respelled(kind, stream, old.get(name), new.get(name))
    except EncodeError as error:
        raise EncodeError(placed(name, error)) from None


def _fits(record: Record, value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == record.fields.keys()


def _skip(kind: AvroType, stream: io.BytesIO) -> None:
    fastavro.schemaless_reader(stream, kind.parsed, None)


def _written(kind: AvroType, value: Any) -> bytes:
    stream = io.BytesIO()
    native = kind.write(value)
    try:
        fastavro.schemaless_writer(stream, kind.parsed, native)
    except Exception as error:  # whatever fastavro has against it
        raise EncodeError(f"the schema cannot say it: {str(error)[:200]}") from None
    return stream.getvalue()
