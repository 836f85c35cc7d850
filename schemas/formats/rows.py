"""What formats that have no envelope, or another one than a change event, have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from schemas.change import ChangeEvent, EncodeError, pack

_unpack_parts = msgspec.msgpack.Decoder(dict[str, msgspec.Raw]).decode
NIL: Final = b"\xc0"


def change_of(
    op: str,
    before: dict[str, Any] | None,
    after: dict[str, Any] | None,
    source: Mapping[str, Any],
    ts_ms: int | None = None,
    transaction: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The six members of a change event, in their order; members of `source` that are None are left out."""
    known = {name: value for name, value in source.items() if value is not None}
    return {
        "op": op,
        "before": before,
        "after": after,
        "source": known,
        "ts_ms": ts_ms,
        "transaction": transaction,
    }


def change_parts(packed: bytes) -> dict[str, bytes]:
    """The msgpack of each member of a change event that was looked at before (`schemas.change.unpack`)."""
    return {name: bytes(raw) for name, raw in _unpack_parts(packed).items()}


def refuse_other_changes(name: str, sent: Mapping[str, bytes], got: Mapping[str, bytes], *places: str) -> None:
    """Raises EncodeError when a guest changed one of these members, for which the format has no place."""
    for place in places:
        if sent[place] != got[place] and pack(msgspec.msgpack.decode(got[place])) != sent[place]:
            raise EncodeError(f"{place}: {name} has no place for another one than the event's own")


def row_for(name: str, change: ChangeEvent) -> dict[str, Any]:
    """The row that a format of rows alone writes for a change event. Raises EncodeError for events that are about no single row."""
    row = change.before if change.op == "d" else change.after
    if change.op in ("t", "m") or row is None:
        what = {"t": "a truncate", "m": "a message"}.get(
            change.op, f"an event of the operation {change.op} without its row"
        )
        raise EncodeError(f"{name} has no way to say {what}")
    return row
