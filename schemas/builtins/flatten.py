"""`flatten`: what is inside of objects becomes columns."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from schemas.builtins.builtin import Builtin
from schemas.builtins.rules import ALL, ColumnPatterns, Tables, tables_field
from schemas.fields import Count, refuse
from schemas.shape import Shape


def _separator(value: object) -> object:
    if not isinstance(value, str) or not 1 <= len(value) <= 8:
        refuse("{shown} is not a separator", "1 to 8 characters, such as _ or .")
    return value


class FlattenConfig(Shape):
    """`config` of `builtin: flatten`."""

    columns: ColumnPatterns = Field(
        default=ALL, description="Which columns: names, `*` for any characters. All of them by default."
    )
    tables: Tables = tables_field()
    separator: Annotated[str, BeforeValidator(_separator)] = Field(
        default="_", description="What stands between the names."
    )
    depth: Annotated[int, Count(1, 64)] = Field(
        default=16, description="Objects in objects that are taken apart; deeper ones are treated as `rest` says."
    )
    rest: Literal["keep", "json", "drop"] = Field(
        default="keep",
        description="What becomes of lists, and of objects that are too deep: kept as they are, written as JSON text, or left out.",
    )
    json_: bool = Field(
        default=False,
        alias="json",
        description="Whether texts that are objects in JSON are taken apart, too: columns of type JSON come so.",
    )


BUILTIN = Builtin(
    name="flatten",
    summary="Makes columns of what is inside of objects: `address: {city: Rome}` becomes `address_city: Rome`.",
    config=FlattenConfig,
    example="""\
columns: [address, tags]
rest: json
""",
    before={
        "key": '{"id":1}',
        "value": {
            "op": "c",
            "before": None,
            "after": {"id": 1, "address": {"city": "Rome", "geo": {"lat": 41.9, "lon": 12.5}}, "tags": ["new", "vip"]},
            "source": {"table": "customers"},
            "ts_ms": 1795353061265,
        },
    },
    after=(
        {
            "value": {
                "op": "c",
                "before": None,
                "after": {
                    "id": 1,
                    "tags": '["new","vip"]',
                    "address_city": "Rome",
                    "address_geo_lat": 41.9,
                    "address_geo_lon": 12.5,
                },
                "source": {"table": "customers"},
                "ts_ms": 1795353061265,
            }
        },
    ),
    notes="""\
Two columns that would have the same name are refused: the event is rejected as `collision`. An empty object becomes null. An object
that the source did not send (unavailable) stays one column, unavailable.

`before` and `after` are flattened alike. An embedded schema of the source's format does not know the new columns: see `rename`.
""",
)
