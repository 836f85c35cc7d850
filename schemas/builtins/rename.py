"""`rename`: other names for columns, tables and topics."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Self

from pydantic import Field, model_validator

from schemas.builtins.builtin import Builtin
from schemas.builtins.rules import NamePattern, Tables, stars_fit, tables_field
from schemas.fields import refuse
from schemas.shape import Shape


class Renaming(Shape):
    """One name, or many by a pattern."""

    from_: NamePattern = Field(alias="from", description="The old name; each `*` stands for any characters.")
    to: NamePattern = Field(description="The new name; each `*` is what the one of `from` in its place stood for.")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        stars_fit(self.from_, self.to)
        return self


class ColumnRenaming(Renaming):
    """The same for columns."""

    tables: Tables = tables_field()


class RenameConfig(Shape):
    """`config` of `builtin: rename`."""

    columns: tuple[ColumnRenaming, ...] = Field(
        default=(),
        description="Columns of `before` and `after`. The first rule that fits a name is the one that counts.",
    )
    tables: tuple[Renaming, ...] = Field(default=(), description="What `source.table` says.")
    topics: tuple[Renaming, ...] = Field(
        default=(),
        description="Where records go, by the topic they come from; tombstones too. A topic that no rule fits goes to the route's `to`.",
    )

    @model_validator(mode="after")
    def _does_something(self) -> Self:
        if not (self.columns or self.tables or self.topics):
            refuse("nothing is renamed", "add columns, tables or topics: columns: [{from: cust_*, to: customer_*}]")
        return self


def _topics(config: RenameConfig, sources: Sequence[str]) -> Iterator[str]:
    for rule in config.topics:
        if "*" not in rule.to:
            yield rule.to
            continue
        pattern = re.compile("(.*?)".join(map(re.escape, rule.from_.split("*"))))
        for source in sources:
            if found := pattern.fullmatch(source):
                stars = iter(found.groups())
                yield re.sub(r"\*", lambda _: next(stars), rule.to)  # noqa: B023


BUILTIN = Builtin(
    name="rename",
    summary="Gives columns, tables and topics other names, one by one or by patterns.",
    config=RenameConfig,
    example="""\
columns:
  - { from: fname, to: first_name }
  - { from: "cust_*", to: "customer_*", tables: customers }
tables:
  - { from: customers, to: clients }
topics:
  - { from: "*", to: clients.v2 }
""",
    before={
        "key": '{"cust_id":1}',
        "value": {
            "op": "u",
            "before": {"cust_id": 1, "fname": "Ada", "city": "Rome"},
            "after": {"cust_id": 1, "fname": "Ada", "city": "London"},
            "source": {"schema": "public", "table": "customers"},
            "ts_ms": 1795353061265,
        },
    },
    after=(
        {
            "topic": "clients.v2",
            "value": {
                "op": "u",
                "before": {"city": "Rome", "customer_id": 1, "first_name": "Ada"},
                "after": {"city": "London", "customer_id": 1, "first_name": "Ada"},
                "source": {"schema": "public", "table": "clients"},
                "ts_ms": 1795353061265,
            },
        },
    ),
    topics_for=_topics,
    notes="""\
Two columns that would have the same name are refused: the event is rejected as `collision`. A topic that
is named must be in the route's `also_to`, which is checked when the registry is loaded, as far as the topics are known by then.

The record's **key keeps its names**: a key column that is renamed has its old name there. An embedded schema of the source's format
keeps its names too, so consumers that read by it need `format: {out: …}` with a format that has no schema of its own, or `unwrap`.
""",
)
