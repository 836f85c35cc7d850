"""`unwrap`: the row without its envelope, as Debezium's ExtractNewRecordState does it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from schemas.builtins.builtin import Builtin
from schemas.builtins.rules import ColumnPatterns, listed
from schemas.fields import refuse
from schemas.shape import Shape


def _added(value: object) -> object:
    parts = value.split(":") if isinstance(value, str) else []
    if not 1 <= len(parts) <= 2 or not all(parts) or len(parts[0].split(".")) > 2 or not all(parts[0].split(".")):
        refuse(
            "{shown} is no member of a change event",
            "write op, ts_ms, source.lsn, or source.lsn:position for a name of your own",
        )
    return value


Added = Annotated[
    tuple[Annotated[str, BeforeValidator(_added)], ...],
    BeforeValidator(listed),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]


class UnwrapConfig(Shape):
    """`config` of `builtin: unwrap`."""

    deletes: Literal["tombstone", "drop", "rewrite", "rewrite-with-tombstone", "delete-to-tombstone"] = Field(
        default="tombstone",
        description="`tombstone`: a delete is dropped, the tombstone behind it stays; `drop`: neither; `rewrite`: a delete becomes the row it "
        "had, with `__deleted`, and the tombstone is dropped; `rewrite-with-tombstone`: both stay; `delete-to-tombstone`: a delete becomes a "
        "tombstone, for sources that send none (those that they send are dropped).",
    )
    add_fields: Added = Field(
        default=(),
        description="Members of the event as columns: `op`, `ts_ms`, `source.lsn`, `transaction.id`; other names are looked for in `source`. "
        "`table` becomes `__table`, `source.lsn` `__source_lsn`, `source.lsn:position` `__position`. What is not there is null.",
    )
    add_headers: Added = Field(
        default=(), description="The same as headers of the record, behind its own; their values are texts."
    )
    prefix: str = Field(default="__", description="What the names of added columns and headers begin with.")
    drop_columns: ColumnPatterns = Field(default=(), description="Columns to leave out: names, `*` for any characters.")
    unavailable: Literal["placeholder", "null", "omit"] = Field(
        default="placeholder",
        description="How a large value is written that the source did not send because it did not change: as Debezium's "
        "`__debezium_unavailable_value`, as null, or not at all.",
    )


BUILTIN = Builtin(
    name="unwrap",
    summary="Leaves only the row, as plain JSON, the way Debezium's ExtractNewRecordState does.",
    config=UnwrapConfig,
    example="""\
deletes: rewrite
add_fields: [op, source.lsn]
add_headers: table
""",
    before={
        "key": '{"id":1}',
        "value": {
            "op": "u",
            "before": {"id": 1, "name": "Ada"},
            "after": {"id": 1, "name": "Ada Lovelace"},
            "source": {"schema": "public", "table": "customers", "lsn": 26585320},
            "ts_ms": 1795353061265,
        },
    },
    after=(
        {
            "value": {"id": 1, "name": "Ada Lovelace", "__op": "u", "__source_lsn": 26585320, "__deleted": "false"},
            "headers": {"__table": "customers"},
        },
    ),
    plain=True,
    notes="""\
What comes out is JSON, whatever the source's format: decimals are texts, bytes base64, floats have as few digits as mean the same number.
It is no change event any more. Put `unwrap` last in a chain, and leave the route's `format.out` alone; the registry is refused otherwise.

For the row alone without any of this, or for a row in another format than JSON, set [`format: {out: flattened-json}`](registry.md#format) on the
route instead: the host then converts what the last transformer emitted. `unwrap` is for what must be said besides: deletes, added columns and headers.

Truncates and messages are dropped: they have no row. A delete without `before` is rejected as `no-row` where it is to be rewritten.
Under PostgreSQL's default replica identity the row of a delete has its key columns right, and nothing else.
""",
)
