"""`cast`: values of another type."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from schemas.builtins.builtin import Builtin
from schemas.builtins.rules import ColumnPaths, Tables, tables_field
from schemas.fields import Count, refuse
from schemas.shape import Shape

To = Literal["text", "integer", "float", "decimal", "boolean", "date", "timestamp", "time", "epoch", "map"]
Unit = Literal["days", "seconds", "millis", "micros", "nanos"]
_TIMES = frozenset({"date", "timestamp", "time", "epoch"})
Word = str | int | bool | None


def _map(value: object) -> object:
    """YAML may have read a code as a number or a boolean: they are compared as texts."""
    if not isinstance(value, dict):
        return value
    return {_code(key): word for key, word in value.items()}


def _code(key: Any) -> Any:
    if isinstance(key, bool):
        return "true" if key else "false"
    return str(key) if isinstance(key, int) else key


class CastRule(Shape):
    """What becomes of which columns."""

    columns: ColumnPaths = Field(
        description="A column or a list of them, in `before` and `after`: `created_at`, `*_at`, `address.since`. Of a list, each item is cast. A "
        "path also leads into a text in JSON."
    )
    to: To = Field(
        description="`text`, `integer`, `float`, `boolean`; `decimal`: a text of digits; `date`, `timestamp`, `time`: texts by ISO 8601 in UTC, of "
        "numbers or of other such texts; `epoch`: the number of such a text; `map`: what `map` says."
    )
    tables: Tables = tables_field()
    unit: Unit | None = Field(
        default=None,
        description="For dates and times: what a number counts since 1970 (`time`: since midnight). `days` for `date` and `millis` for the others "
        "by default; Debezium's `MicroTimestamp` has `micros`.",
    )
    scale: Annotated[int, Count(0, 100)] | None = Field(
        default=None, description="For `decimal`: digits behind the point. As many as there are by default."
    )
    map: Annotated[dict[str, Word], BeforeValidator(_map)] = Field(
        default_factory=dict,
        description="For `map`: what each value becomes. Numbers and booleans are looked up by their text: put such keys in quotes.",
    )
    otherwise: Literal["fail", "keep", "null"] = Field(
        default="fail", description="For `map`: what becomes of a value that it does not have."
    )
    on_failure: Literal["reject", "null", "keep"] = Field(
        default="reject",
        description="What becomes of a value that cannot be cast: its event is rejected as `bad-cast`, or it becomes null, or stays.",
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.unit is not None and self.to not in _TIMES:
            refuse("unit is for dates and times", "leave it out, or write to: date, timestamp, time or epoch")
        if self.scale is not None and self.to != "decimal":
            refuse("scale is for decimals", "leave it out, or write to: decimal")
        if (self.to == "map") != bool(self.map):
            refuse("`to: map` and `map` belong together", "write to: map, and map: {A: active, C: closed}")
        return self


class CastConfig(Shape):
    """`config` of `builtin: cast`."""

    rules: Annotated[tuple[CastRule, ...], Field(min_length=1)] = Field(
        description="What to cast. The first rule that a column fits is the one that counts."
    )


BUILTIN = Builtin(
    name="cast",
    summary="Gives columns another type: dates and times, decimals, numbers, booleans, and other words for codes.",
    config=CastConfig,
    example="""\
rules:
  - { columns: born, to: date }
  - { columns: "*_at", to: timestamp, unit: micros }
  - { columns: total, to: decimal, scale: 2 }
  - { columns: vip, to: boolean }
  - { columns: status, to: map, map: { A: active, C: closed }, otherwise: keep }
""",
    before={
        "key": '{"id":1}',
        "value": {
            "op": "c",
            "before": None,
            "after": {
                "id": 1,
                "born": -56270,
                "created_at": 1795353061265001,
                "total": "12.5",
                "vip": 1,
                "status": "A",
            },
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
                    "born": "1815-12-10",
                    "created_at": "2026-11-22T13:11:01.265001Z",
                    "total": "12.50",
                    "vip": True,
                    "status": "active",
                },
                "source": {"table": "customers"},
                "ts_ms": 1795353061265,
            }
        },
    ),
    notes="""\
Nothing is rounded: an integer of `12.5`, a decimal that would lose digits, an `epoch` in milliseconds of a text with microseconds are failures.
The exceptions are what the target is: a `float` is the nearest that there is, a `date` is the day of a timestamp.

Null and what the source did not send stay. Texts without an offset are taken as UTC. Years are 0000 to 9999.

Where the source's format has a schema for the column, the new value must fit it, or the event is a dead letter (`bad-output`); Debezium's JSON without
embedded schemas has none. The record's key is not cast.
""",
)
