"""`route`: many topics."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from schemas.builtins.builtin import Builtin
from schemas.builtins.rules import Tables, listed, tables_field
from schemas.fields import TOPIC_PATTERN, refuse
from schemas.shape import Shape

_MEMBER = r"[^{}\s]{1,256}"
_TEMPLATE = re.compile(rf"(?:[a-zA-Z0-9._-]|\{{{_MEMBER}\}})+")
_TEXTS = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
Wanted = str | int | bool | None


def _topic(value: object) -> object:
    if not isinstance(value, str) or not _TEMPLATE.fullmatch(value) or len(value) > 1_000:
        refuse(
            "{shown} is not a topic",
            "a topic's name; {region} stands for a column, {source.table} for a member of the event",
        )
    return value


def _operations(value: object) -> object:
    written = "".join(value) if isinstance(value, list) and all(isinstance(one, str) for one in value) else value
    if not isinstance(written, str) or not set(written) <= set("curdtm"):
        refuse(
            "{shown} are no operations",
            "write [c, u, r]: c created, u updated, r read, d deleted, t truncated, m message",
        )
    return written


def _conditions(value: object) -> object:
    if not isinstance(value, dict):
        return value
    return [{"member": member, "is": wanted} for member, wanted in value.items()]


def _wanted(value: object) -> object:
    return value if isinstance(value, list) else [value]


def _member(value: object) -> object:
    if not isinstance(value, str) or not re.fullmatch(_MEMBER, value):
        refuse("{shown} is no member of an event", "write a column, before.column, after.column, source.table or op")
    return value


class Condition(Shape):
    """A member of the event, and the values that it may have."""

    member: Annotated[str, BeforeValidator(_member)]
    is_: Annotated[tuple[Wanted, ...], BeforeValidator(_wanted), Field(min_length=1)] = Field(alias="is")


_WHEN = {
    "type": "object",
    "additionalProperties": {
        "anyOf": [
            {"type": "string"},
            {"type": "integer"},
            {"type": "boolean"},
            {"type": "null"},
            {"type": "array", "items": {}},
        ]
    },
}


class RouteRule(Shape):
    """Where events go, and which."""

    to: Annotated[
        tuple[Annotated[str, BeforeValidator(_topic)], ...],
        BeforeValidator(listed),
        Field(min_length=1),
        WithJsonSchema(_TEXTS),
    ] = Field(
        description="A topic, or several that each get a record. `{region}` in it stands for what the column has, `{source.table}` for a member of the event."
    )
    tables: Tables = tables_field()
    operations: Annotated[
        str,
        BeforeValidator(_operations),
        WithJsonSchema({"type": "array", "items": {"type": "string", "enum": list("curdtm")}}),
    ] = Field(default="", description="Which operations: `[c, u, r]`. All of them by default.")
    when: Annotated[tuple[Condition, ...], BeforeValidator(_conditions), WithJsonSchema(_WHEN)] = Field(
        default=(),
        description='What must be in the event, all of it: `{region: EU, after.status: [paid, "ship*"], before: null}` by member. A name is a column of '
        "`after`, or of `before` where there is no `after`; a dot leads into objects, also those in a text in JSON. A list is any of its "
        "values; `*` in a text stands for any characters.",
    )


class RouteConfig(Shape):
    """`config` of `builtin: route`."""

    rules: Annotated[tuple[RouteRule, ...], Field(min_length=1)] = Field(
        description="Where events go: by the first rule that fits, or by all of them with `every`."
    )
    every: bool = Field(default=False, description="Whether every rule that fits counts; a topic gets an event once.")
    otherwise: Literal["destination", "drop", "reject"] = Field(
        default="destination",
        description="What becomes of an event that no rule fits: the route's `to`, nothing, or rejected as `no-route`.",
    )
    tombstones: Literal["everywhere", "destination", "drop"] = Field(
        default="everywhere",
        description="Where tombstones go, which have no row: to every topic that is named in full here (and the route's `to` unless `otherwise` "
        "says no event goes there), to the route's `to`, or nowhere.",
    )


def _topics(config: Any) -> Iterator[str]:
    for rule in config.rules:
        yield from (topic for topic in rule.to if re.fullmatch(TOPIC_PATTERN, topic))


BUILTIN = Builtin(
    name="route",
    summary="Sends events to topics by their table, their operation, or what is in them; to many at once, if need be.",
    config=RouteConfig,
    example="""\
rules:
  - { to: orders.deleted, operations: [d] }
  - { to: [orders.eu, audit], tables: orders, when: { region: EU, amount: ["1*", 20] } }
  - { to: "orders.{region}", when: { region: "U?" } }
otherwise: drop
""",
    before={
        "key": '{"id":1}',
        "value": {
            "op": "c",
            "before": None,
            "after": {"id": 1, "region": "EU", "amount": "19.90"},
            "source": {"schema": "public", "table": "orders"},
            "ts_ms": 1795353061265,
        },
    },
    after=(
        {
            "topic": "orders.eu",
            "key": '{"id":1}',
            "value": {
                "op": "c",
                "before": None,
                "after": {"id": 1, "region": "EU", "amount": "19.90"},
                "source": {"schema": "public", "table": "orders"},
                "ts_ms": 1795353061265,
            },
        },
        {
            "topic": "audit",
            "key": '{"id":1}',
            "value": {
                "op": "c",
                "before": None,
                "after": {"id": 1, "region": "EU", "amount": "19.90"},
                "source": {"schema": "public", "table": "orders"},
                "ts_ms": 1795353061265,
            },
        },
    ),
    topics=_topics,
    notes="""\
Every topic must be in the route's `also_to`. Those that are named in full are checked when the registry is loaded; one that is made of a
column (`{region}`) and is not listed is a violation of its event (`bad-output`), and one that is made of a value that is missing, null or no part of a
topic's name is rejected as `no-topic`.

Values are compared as texts: `20` fits the number 20 and the text `20`, and a decimal by its digits.

A row whose column changes moves to another topic; the topic that it was in keeps what it had. Write a rule with `before.…` where that matters:
`{to: orders.eu, when: {before.region: EU}}`, and `every: true`.
""",
)
