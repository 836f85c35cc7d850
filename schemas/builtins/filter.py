"""`filter`: events kept or dropped by expressions."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from schemas.builtins.builtin import Builtin
from schemas.fields import refuse
from schemas.shape import Shape

EXPRESSION_BYTES_MAX = 16 << 10
Expression = Annotated[str, Field(min_length=1, max_length=EXPRESSION_BYTES_MAX)]


class FilterConfig(Shape):
    """`config` of `builtin: filter`."""

    keep: Expression | None = Field(default=None, description="An expression: events of which it is false are dropped.")
    drop: Expression | None = Field(
        default=None, description="An expression: events of which it is true are dropped. With `keep`, both must agree."
    )
    on_error: Literal["reject", "keep", "drop"] = Field(
        default="reject",
        description="What becomes of an event of which an expression cannot be told: a column that is missing, values that cannot be "
        "compared, a value that was not sent. `reject` is the dead letter `filter-failed`, with the place in the expression.",
    )
    tombstones: Literal["keep", "drop"] = Field(
        default="keep", description="What becomes of records without a value, of which no expression is asked."
    )

    @model_validator(mode="after")
    def _has_one(self) -> Self:
        if self.keep is None and self.drop is None:
            refuse("neither keep nor drop", "say which events are meant: keep: row.country == 'DE'")
        return self


BUILTIN = Builtin(
    name="filter",
    summary="Keeps or drops events by an expression in CEL, the Common Expression Language.",
    config=FilterConfig,
    example="""\
keep: row.country in ['DE', 'AT'] && row.total >= 100.50
drop: op == 'u' && before == after
""",
    before={
        "value": {
            "op": "u",
            "before": {"id": 1, "country": "DE", "total": "99.00"},
            "after": {"id": 1, "country": "DE", "total": "100.50"},
            "source": {"table": "orders"},
            "ts_ms": 1795353061265,
        },
    },
    after=(
        {
            "value": {
                "op": "u",
                "before": {"id": 1, "country": "DE", "total": "99.00"},
                "after": {"id": 1, "country": "DE", "total": "100.50"},
                "source": {"table": "orders"},
                "ts_ms": 1795353061265,
            }
        },
    ),
    notes="""\
Expressions are compiled once, when the registry is loaded: syntax, names, functions and regular expressions that are wrong are refused
there, with line and column in the expression.

| what an expression can name | |
|---|---|
| `op`, `before`, `after`, `source`, `ts_ms`, `transaction` | the change event's own members; null where it has none |
| `row` | `after`, or `before` where there is no `after`: the row of any insert, update, snapshot read or delete |
| `key`, `topic`, `partition`, `offset`, `timestamp_ms`, `headers` | the record's. `key` and headers are strings, or bytes where they are \
not UTF-8; of a header that repeats, the last |

| what it can say | |
|---|---|
| values | `'text'`, `"text"`, `'''text'''`, `r'raw'`, `b'bytes'`, `7`, `0x1f`, `7u`, `1.5`, `true`, `null`, `[1, 2]` |
| operators | `\\|\\|` `&&` `!` `==` `!=` `<` `<=` `>` `>=` `in` `+` `-` `*` `/` `%` `a ? b : c` `a.b` `a['b']` `a[0]` |
| functions | `has(a.b)`, `size(a)`, `type(a)`, `int(a)`, `uint(a)`, `double(a)`, `decimal(a)`, `string(a)`, `bytes(a)`, `bool(a)` |
| of texts | `startsWith`, `endsWith`, `contains`, `matches`, `lowerAscii`, `upperAscii`, `trim`, `size`: `row.email.endsWith('.org')` |
| of lists, and of maps by their names | `row.tags.exists(tag, tag == 'vip')`, `all`, `exists_one` |

It is a subset of [CEL](https://cel.dev): without messages, maps to be written out, timestamps, durations and other macros. As in CEL, a
fault does not count where another side decides (`op == 'd' || after.total > 10` is true of a delete), whole numbers of 64 bits do not wrap,
and `7 == 7.0`. Otherwise than in CEL:

- **Decimals** are strings in a change event. A string of digits (as JSON writes numbers: `12.30`, not `007`) beside a number is compared by
  what it is worth, digit by digit, never as a float: `row.total >= 100.50`, `row.total == 100`. Two such strings are ordered as numbers too
  (`after.total > before.total`); they are equal when they are the same text, so write `decimal(after.total) == decimal(before.total)` where
  the scale may differ. Other strings are ordered by their characters: `row.day < '2026-01-31'`.
- Integers and floats are compared exactly, whatever their size. A float beside a decimal counts as the shortest decimal that means it.
- `has(before.x)` is false where `before` is null, and of a value that the source did not send. Any other use of such a value is a fault; in
  `before == after` it equals anything, since it did not change.
- `matches` takes a regular expression that is written out: RE2's syntax without Unicode classes. Its time grows with the text's length
  only.

A delete has no `after`, and a truncate has no row at all: `after.total > 10` is a fault there, and the event a dead letter unless
`on_error` says otherwise. Name `row`, or say `op == 't' || …`. Under PostgreSQL's default replica identity the `before` of a delete has
only its key right.

An expression has 16 KiB and 40 levels at most, and 1,000,000 steps for one event.
""",
)
