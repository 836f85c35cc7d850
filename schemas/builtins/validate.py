"""`validate`: rows held to a JSON Schema."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from schemas.builtins.builtin import Builtin
from schemas.builtins.rules import Tables, tables_field
from schemas.fields import HeaderName, refuse
from schemas.shape import Shape

_SCHEMA = {"anyOf": [{"type": "object"}, {"type": "string"}]}


def _document(value: object) -> object:
    """A mapping, or JSON in a text, as it comes from the environment."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            refuse("the text is not JSON", "write the schema as a mapping, or as JSON in a text")
    if not isinstance(value, dict):
        refuse("{shown} is no JSON Schema", "write it as a mapping: {type: object, required: [id]}")
    return value


class ValidateRule(Shape):
    """What the rows of some tables must be."""

    schema_: Annotated[dict[str, Any], BeforeValidator(_document), WithJsonSchema(_SCHEMA)] = Field(
        alias="schema",
        description="A JSON Schema, as a mapping or as JSON in a text. It is held against `after`; of several rules for a table, all are.",
    )
    tables: Tables = tables_field()
    before: bool = Field(default=False, description="Hold it against `before`, too.")


class ValidateConfig(Shape):
    """`config` of `builtin: validate`."""

    rules: Annotated[tuple[ValidateRule, ...], Field(min_length=1)] = Field(
        description="Which schema is for which tables."
    )
    failure: Literal["reject", "tag"] = Field(
        default="reject",
        description="What becomes of an event that breaks a schema: the dead letter `invalid`, or the event as it is with what is wrong in a header.",
    )
    header: HeaderName = Field(default="invalid", description="For `failure: tag`: the header's name.")


BUILTIN = Builtin(
    name="validate",
    summary="Holds rows to a JSON Schema: what breaks it is rejected, or marked in a header.",
    config=ValidateConfig,
    example="""\
rules:
  - tables: public.orders
    schema:
      type: object
      required: [id, email, total]
      properties:
        id: { type: integer, minimum: 1 }
        email: { type: [string, "null"], format: email }
        total: { format: decimal, minimum: 0.01 }
failure: tag
header: wrong
""",
    before={
        "value": {
            "op": "c",
            "before": None,
            "after": {"id": 17, "email": "ada@example.org", "total": "0.00"},
            "source": {"schema": "public", "table": "orders"},
            "ts_ms": 1795353061265,
        },
    },
    after=(
        {
            "value": {
                "op": "c",
                "before": None,
                "after": {"id": 17, "email": "ada@example.org", "total": "0.00"},
                "source": {"schema": "public", "table": "orders"},
                "ts_ms": 1795353061265,
            },
            "headers": {"wrong": "after.total: minimum: too small"},
        },
    ),
    notes="""\
What is wrong is said by its path, the keyword that it breaks, and a word: `after.lines[2].amount: maximum: too large`. It is the first
thing found; values are not repeated.

| JSON Schema 2020-12 | |
|---|---|
| any value | `type`, `enum`, `const`, `allOf`, `anyOf`, `oneOf`, `not`, `if`, `then`, `else`, `$ref` and `$anchor` within the document, \
`$defs`, `true`, `false` |
| objects | `properties`, `patternProperties`, `additionalProperties`, `propertyNames`, `required`, `minProperties`, `maxProperties`, \
`dependentRequired`, `dependentSchemas` |
| arrays | `items`, `prefixItems`, `contains`, `minContains`, `maxContains`, `minItems`, `maxItems`, `uniqueItems` |
| numbers | `minimum`, `maximum`, `exclusiveMinimum`, `exclusiveMaximum`, `multipleOf` |
| strings | `minLength`, `maxLength`, `pattern`, `format`: `date`, `time`, `date-time`, `uuid`, `email`, `ipv4`, `ipv6`, and `decimal` |
| no demands | `title`, `description`, `default`, `examples`, `deprecated`, `readOnly`, `writeOnly`, `$comment`, `$schema`, `content…`, \
`$id` of the document |

**Any other keyword, and any other format, is refused when the registry is loaded**, with its place: `unevaluatedProperties`, `$dynamicRef`,
`nullabel`, older drafts' lists in `items`. Nothing is passed over in silence, and nothing is fetched from anywhere. `format` is a demand,
not a remark.

What a row's values are to a schema:

- A **decimal** is a string in a change event, and so is an integer beyond 64 bits. `format: decimal` wants digits as JSON writes numbers,
  and makes of them a number to the keywords for numbers, digit by digit: `{format: decimal, minimum: 0.01, multipleOf: 0.01}`.
- Integers and floats are compared exactly; `multipleOf` goes by decimal digits (19.99 is a multiple of 0.01), of which it takes 30. A float
  without a fraction is an `integer`.
- Bytes are a `string` without characters: keywords for texts do not apply to them. NaN is a number that keeps to no bound.
- A value that the source did not send (large and unchanged) is there, and is right whatever is demanded of it.

`pattern` is a regular expression in RE2's syntax without Unicode classes, not anchored; its time grows with the text's length only. A
schema has 64 levels and 10,000 subschemas at most, an event 200 levels and 1,000,000 steps: one that has more is `invalid`. Deletes have no
`after`, and are held to nothing unless `before` is set (under PostgreSQL's default replica identity only the key is right there);
truncates, messages and tombstones go on.
""",
)
