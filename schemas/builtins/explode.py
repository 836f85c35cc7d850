"""`explode`: one event for each item of a list."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from schemas.builtins.builtin import Builtin
from schemas.builtins.rules import Column, Tables, listed, tables_field
from schemas.fields import refuse
from schemas.shape import Shape

Columns = Annotated[
    tuple[Column, ...],
    BeforeValidator(listed),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]


class ExplodeConfig(Shape):
    """`config` of `builtin: explode`."""

    column: Column = Field(description="The column with the list, or with a text that is one in JSON.")
    tables: Tables = tables_field()
    into: str = Field(
        default="",
        description="The column that an item becomes, as `column` is called by default; with `merge`, what the names of its columns begin with.",
    )
    merge: bool = Field(
        default=False, description="An item that is an object becomes columns of the row, in place of one column."
    )
    index: str = Field(default="", description="A column for the item's place in the list, from 0; none by default.")
    key: Columns = Field(
        default=(),
        description="Columns that make the records' keys, as a JSON object in this order. Without it, all records have the event's own key.",
    )
    empty: Literal["drop", "keep", "reject"] = Field(
        default="drop", description="What becomes of an event whose list is empty, null or missing."
    )
    unavailable: Literal["drop", "keep", "reject"] = Field(
        default="reject",
        description="What becomes of one whose list the source did not send, because it did not change and is large.",
    )

    @model_validator(mode="after")
    def _differ(self) -> Self:
        if self.index and self.index in (self.into or self.column, self.column):
            refuse("index is the column that an item becomes", "choose another name")
        return self


BUILTIN = Builtin(
    name="explode",
    summary="Makes many events of one: one for each item of a list in a column.",
    config=ExplodeConfig,
    example="""\
column: lines
merge: true
index: line
key: [order_id, line]
""",
    before={
        "key": '{"order_id":7}',
        "value": {
            "op": "u",
            "before": {"order_id": 7, "lines": [{"sku": "tea", "n": 1}, {"sku": "cup", "n": 2}]},
            "after": {"order_id": 7, "lines": [{"sku": "tea", "n": 3}]},
            "source": {"table": "orders"},
            "ts_ms": 1795353061265,
        },
    },
    after=(
        {
            "key": '{"order_id":7,"line":0}',
            "value": {
                "op": "u",
                "before": {"order_id": 7, "sku": "tea", "n": 1, "line": 0},
                "after": {"order_id": 7, "sku": "tea", "n": 3, "line": 0},
                "source": {"table": "orders"},
                "ts_ms": 1795353061265,
            },
        },
        {
            "key": '{"order_id":7,"line":1}',
            "value": {
                "op": "d",
                "before": {"order_id": 7, "sku": "cup", "n": 2, "line": 1},
                "after": None,
                "source": {"table": "orders"},
                "ts_ms": 1795353061265,
            },
        },
        {"key": '{"order_id":7,"line":1}', "value": None},
    ),
    notes="""\
Items are the same by their key, or without `key` by their place in the list: of an update with both rows, an item that is on both sides is
updated, one that is new is created, and one that is gone is deleted. Where the source sends no `before` (PostgreSQL's default replica
identity), all items are updates, and nobody knows which are gone.

With `key`, a deleted item is followed by a tombstone for its key, and the tombstones that the source sends for the whole row are dropped: they
have another key. Of several items with one key none is deleted while one of them is left. The key is JSON, so leave `key` out where the
format's keys are not. Without `key` all items of a row have one key: a compacted topic keeps the last of them only.

Truncates, messages and other tables pass unchanged. A column that is no list is rejected as `no-list`, two columns of one name as `collision`, a
row without a column of `key` as `no-key`. One event becomes 10,000 records at most.
""",
)
