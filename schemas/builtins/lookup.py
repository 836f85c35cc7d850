"""`lookup`: events joined with a table of a database."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, model_serializer

from schemas.builtins.builtin import Builtin
from schemas.builtins.rules import Column, Tables, listed, tables_field
from schemas.fields import Text, refuse
from schemas.shape import Shape

_COLUMNS = {
    "anyOf": [
        {"type": "array", "items": {"type": "string"}},
        {"type": "object", "additionalProperties": {"type": "string"}},
        {"type": "null"},
    ]
}
_KEY = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}


def _columns(value: object) -> object:
    """A list names columns that keep their names."""
    if isinstance(value, list):
        if len({str(one) for one in value}) < len(value):
            refuse("a column is named twice", "name each once")
        value = (
            {one: one for one in value if isinstance(one, str)} if all(isinstance(one, str) for one in value) else value
        )
    if value is not None and not isinstance(value, Mapping):
        refuse("{shown} names no columns", "write [tier, country], or {tier: customer_tier} to give them other names")
    if value == {}:
        refuse("no columns", "name some, or leave columns out for all of them")
    return value


def _null(value: object) -> object:
    """YAML's `null` is meant as the word."""
    return "null" if value is None else value


class LookupConfig(Shape):
    """`config` of `builtin: lookup`."""

    table: Text = Field(
        description="The table to look in, as the grant names it: `customers`, `crm.customers`, or `connection:customers` where the transformer "
        "has grants of several connections."
    )
    key: Annotated[tuple[Column, ...], BeforeValidator(listed), Field(min_length=1), WithJsonSchema(_KEY)] = Field(
        description="The event's column whose value is the key; of several, their texts with `separator` between them. It is compared with the table's "
        "primary key, or with the column that the grant's `keys` names."
    )
    separator: str = Field(default=":", description="Stands between the parts of a key of several columns.")
    columns: Annotated[dict[str, Column] | None, BeforeValidator(_columns), WithJsonSchema(_COLUMNS)] = Field(
        default=None,
        description="The table's columns to add: a list of names, or a mapping to the names they get. All of them by default.",
    )
    prefix: str = Field(default="", description="Stands before the names of columns that are not given another one.")
    missing: Annotated[Literal["null", "keep", "reject", "drop"], BeforeValidator(_null)] = Field(
        default="null",
        description="What becomes of an event for whose key there is no row, or whose key is null: `null` in the columns, `keep` it as it is, "
        "or the dead letter `lookup-missing`.",
    )
    deletes: bool = Field(default=False, description="Join `before` of deletes; they go on as they are otherwise.")
    tables: Tables = tables_field()

    @model_serializer(mode="wrap")
    def _complete(self, inner: Any) -> dict[str, Any]:
        """For the guest: columns as pairs, with the prefix where it belongs."""
        said: dict[str, Any] = inner(self)
        if self.columns is not None:
            said["columns"] = [[one, self.prefix + one if to == one else to] for one, to in self.columns.items()]
        return said


BUILTIN = Builtin(
    name="lookup",
    summary="Adds columns from a table of a database, looked up by a column of the event.",
    config=LookupConfig,
    example="""\
table: customers
key: customer_id
columns: [name, tier]
prefix: customer_
""",
    capabilities="- database: { connection: shop, tables: [customers], cache: 1m }\n",
    before={
        "value": {
            "op": "c",
            "before": None,
            "after": {"id": 17, "customer_id": 1, "total": "10.50"},
            "source": {"table": "orders"},
            "ts_ms": 1795353061265,
        },
    },
    after=(
        {
            "value": {
                "op": "c",
                "before": None,
                "after": {
                    "id": 17,
                    "customer_id": 1,
                    "total": "10.50",
                    "customer_name": "Ada",
                    "customer_tier": "gold",
                },
                "source": {"table": "orders"},
                "ts_ms": 1795353061265,
            }
        },
    ),
    notes="""\
It needs the grant `database` for the table ([registry.md](registry.md#capabilities)), and the connection in the registry's `databases`:
SQLite or PostgreSQL. What it may read is the grant's to say, and so is how long rows are remembered: without `cache:`, every batch asks the
database. All keys of a batch are one question, however many events it has; when that is more than the grant's `rows` or 1 MiB, it is asked
in halves.

```yaml
databases:
  shop: { sqlite: ./shop.db, outage: wait }
```

A column of the table replaces one of the same name in the row. Values come as the database gives them: integers, floats, texts, bytes;
PostgreSQL's decimals, times and UUIDs as texts. `before` is not joined (but see `deletes`): what the table said then is not known now. Nor
is an event joined again when the table changes later.

| dead letter | when |
|---|---|
| `lookup-key` | the row lacks the key's column, it was not sent, or it is no integer, text or bytes; or one of several parts has the separator in it |
| `lookup-missing` | there is no row, with `missing: reject` |
| `lookup-failed` | the grant does not cover the table, the database refuses the key (a text for a column of numbers), more than one row \
has it, or the table lacks a column |
| `lookup-unavailable` | the database did not answer in time. With `on_violation: stop` on the transformer the lane stops there instead, \
and `penstock resume` goes on; with `outage: wait` on the database the lane waits while it is out of reach, and no event is judged |

In a source format with a schema of its own, added columns are not in that schema.
""",
)
