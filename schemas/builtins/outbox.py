"""`outbox`: rows of an outbox table as the messages they stand for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainSerializer

from schemas.builtins.builtin import Builtin
from schemas.builtins.rules import Column, Tables, tables_field
from schemas.fields import HeaderName, Topic, refuse
from schemas.shape import Shape

_BRACES = re.compile(r"\{[^{}]*\}")
_TEMPLATE = re.compile(r"([a-zA-Z0-9._-]|\{[^{}]+\}){1,249}")


def _template(value: object) -> object:
    if not isinstance(value, str) or not _TEMPLATE.fullmatch(value):
        refuse("{shown} is no topic's name with columns in braces", "write outbox.event.{aggregatetype}")
    return value


def _pairs(value: Mapping[str, str]) -> list[tuple[str, str]]:
    return list(value.items())


AsPairs = PlainSerializer(_pairs, return_type=list[tuple[str, str]])
"""A guest reads a mapping as pairs, in the order they are written."""


class OutboxColumns(Shape):
    """Which column is which."""

    aggregate_type: Column = Field(
        default="aggregatetype", description="What the message is about: looked up in `topics`."
    )
    aggregate_id: Column = Field(
        default="aggregateid", description="The message's key, as text; where it is null, the record's own key."
    )
    payload: Column = Field(default="payload", description="The message's value.")


class OutboxConfig(Shape):
    """`config` of `builtin: outbox`."""

    tables: Tables = tables_field()
    topic: Annotated[str, BeforeValidator(_template)] = Field(
        default="outbox.event.{aggregatetype}",
        description="The message's topic; a column's name in braces is its value. Each topic that comes of it must be the route's `to` or in "
        "its `also_to`.",
    )
    topics: Annotated[dict[str, Topic], AsPairs] = Field(
        default={}, description="Topics by the value of the column `aggregate_type`; others are named by `topic`."
    )
    columns: OutboxColumns = Field(
        default=OutboxColumns(), description="Names of columns that are not as Debezium names them."
    )
    headers: Annotated[dict[str, HeaderName], AsPairs] = Field(
        default={"id": "id", "type": "type"},
        description="Columns that become headers, by name: `{id: id, type: eventType}`. They stand behind the record's own. A row that lacks "
        "one is rejected; a null column is a header without a value.",
    )
    envelope: Annotated[dict[str, Column], AsPairs] = Field(
        default={},
        description='Columns that go into the value: `{type: eventType}` makes it `{"payload": …, "eventType": …}`, in JSON.',
    )
    expand: bool = Field(
        default=False,
        description="A payload that is JSON in a text is written as that JSON, and one that is not is rejected (`bad-payload`). Else a text "
        "is written as it is, which differs within an `envelope` only.",
    )
    empty: Literal["reject", "tombstone", "drop"] = Field(
        default="reject",
        description="What becomes of a row whose payload is null or empty: `reject` is the dead letter `no-payload`.",
    )
    updates: Literal["drop", "reject"] = Field(
        default="drop",
        description="What becomes of an update of an outbox's row: `reject` is the dead letter `outbox-update`.",
    )


def _topics(config: Any) -> Iterator[str]:
    assert isinstance(config, OutboxConfig)
    yield from config.topics.values()
    if not _BRACES.search(config.topic):
        yield config.topic


BUILTIN = Builtin(
    name="outbox",
    summary="Makes messages of the rows that applications insert into an outbox table, as Debezium's EventRouter does.",
    config=OutboxConfig,
    example="""\
topics: { Order: orders.events }
headers: { id: id, type: eventType }
""",
    before={
        "key": '{"id":"4d47e190"}',
        "value": {
            "op": "c",
            "before": None,
            "after": {
                "id": "4d47e190",
                "aggregatetype": "Order",
                "aggregateid": "17",
                "type": "OrderPaid",
                "payload": '{"order":17,"total":10.50}',
            },
            "source": {"table": "outbox"},
            "ts_ms": 1795353061265,
        },
    },
    after=(
        {
            "topic": "orders.events",
            "key": "17",
            "value": {"order": 17, "total": 10.5},
            "headers": {"id": "4d47e190", "eventType": "OrderPaid"},
        },
    ),
    notes="""\
Inserts and snapshot reads are messages. Deletes, truncates and tombstones are the table being cleaned and are dropped; so are updates, as
EventRouter drops them, unless `updates` says otherwise. Events of tables that `tables` does not name go on unchanged.

A payload is written as it is in the column: a text's own characters, digit for digit; bytes themselves; what the source sends as an object
or a list, as JSON.

What the message's topic may be is the route's to say: a topic that is neither its `to` nor in its `also_to` is a dead letter
(`bad-output`), and a value that can be no topic's name too (`bad-outbox`, as is a row that lacks a column).

| EventRouter | here |
|---|---|
| `table.field.event.key`, `.payload`, `route.by.field` | `columns` |
| `table.field.event.id`, `.type`, `table.fields.additional.placement` with `header` | `headers` |
| the same with `envelope` | `envelope` |
| `route.topic.replacement` | `topic`, `topics` |
| `table.expand.json.payload` | `expand` |
| `route.tombstone.on.empty.payload` | `empty: tombstone` |
| `table.op.invalid.behavior` | `updates` |
| `table.field.event.timestamp`, placement `partition`, `table.field.event.schema.version` | not here: a transformer sets neither timestamp nor partition |
""",
    plain=True,
    topics=_topics,
)
