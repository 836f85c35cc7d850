"""`mask`: personal data hidden."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from schemas.builtins.builtin import Builtin
from schemas.builtins.rules import ColumnPaths, Tables, tables_field
from schemas.fields import Count, refuse
from schemas.shape import Shape

Action = Literal["redact", "hash", "hmac", "keep-last", "tokenize"]


class MaskRule(Shape):
    """What is done to which columns."""

    columns: ColumnPaths = Field(
        description="A column or a list of them, in `before` and `after`: `email`, `*_email`, `address.street` for what is inside "
        "of an object or of each object in a list, also where the column is a text in JSON, as columns of that type come. A column that is "
        "an object or a list has everything in it masked."
    )
    action: Action = Field(
        description="`redact` puts `with` in its place; `hash` SHA-256 of salt and value, in hex; `hmac` HMAC-SHA-256 under `key`, "
        "in hex; `keep-last` leaves the last `keep` characters and `*` for the others; `tokenize` puts digits for digits and "
        "letters for letters, the same for the same value under the same `key`."
    )
    tables: Tables = tables_field()
    keep: Annotated[int, Count(1, 64)] = Field(
        default=4,
        description="Characters that `keep-last` leaves; a value with no more than that is hidden altogether.",
    )
    with_: str | int | bool | None = Field(
        default="***",
        alias="with",
        description="What `redact` writes: a number, true or false, null, or a text. A text stands in for texts; a value of another "
        "type becomes null then.",
    )


class MaskConfig(Shape):
    """`config` of `builtin: mask`."""

    rules: Annotated[tuple[MaskRule, ...], Field(min_length=1)] = Field(
        description="What to mask. The first rule that a column fits is the one that counts."
    )
    salt: str = Field(default="", repr=False, description="For `hash`; a secret: take it from the environment.")
    key: str = Field(
        default="", repr=False, description="For `hmac` and `tokenize`; a secret: take it from the environment."
    )

    @model_validator(mode="after")
    def _has_secrets(self) -> Self:
        actions = {rule.action for rule in self.rules}
        if "hash" in actions and not self.salt:
            refuse(
                "action: hash needs a salt", 'add salt: "${MASK_SALT}"; without one, hashes can be looked up in a table'
            )
        if actions & {"hmac", "tokenize"} and not self.key:
            refuse("action: hmac and action: tokenize need a key", 'add key: "${MASK_KEY}"')
        return self


BUILTIN = Builtin(
    name="mask",
    summary="Hides personal data: redacted, hashed, cut to its last characters or replaced by tokens of the same form.",
    config=MaskConfig,
    example="""\
salt: "${MASK_SALT:-example}"
key: "${MASK_KEY:-example}"
rules:
  - { columns: email, action: hash }
  - { columns: [phone, "*_phone"], action: keep-last, keep: 2 }
  - { columns: address.street, action: redact }
  - { columns: iban, tables: public.customers, action: tokenize }
""",
    before={
        "key": '{"id":1}',
        "value": {
            "op": "c",
            "before": None,
            "after": {
                "id": 1,
                "email": "ada@example.org",
                "phone": "+49 30 1234",
                "address": {"street": "Main St 1", "city": "London"},
                "iban": "DE02 1203 0000",
            },
            "source": {"schema": "public", "table": "customers"},
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
                    "email": "82895463489f457c2a075f94baa9b590bf9b2f99a6b42e120fa33ef3a3885646",
                    "phone": "*********34",
                    "address": {"street": "***", "city": "London"},
                    "iban": "HT41 6942 5913",
                },
                "source": {"schema": "public", "table": "customers"},
                "ts_ms": 1795353061265,
            }
        },
    ),
    notes="""\
`null` stays `null`, and a large value that the source did not send stays unsent. `before` is masked like `after`: a delete hides
what an insert hid.

A text that looks like JSON and is none is masked altogether where a path leads into it: nobody can say what is in it.

The record's **key is not masked**, nor are its headers, `source`, or the content of a message (`m`), which no built-in sees. A column that is part of
the key stands there as it is, and is what the topic is compacted and
partitioned by: choose keys that say nothing about anybody (Debezium's `message.key.columns`), or mask at the source.

What is written instead must fit the column where the source's format has a schema: a hash is a text, so a column of numbers takes
`tokenize`, or `redact` with a number. What does not fit is a dead letter, never a value that is not masked.

`tokenize` cannot be undone. Two values may get the same token, the likelier the fewer digits and letters they have: it is no
substitute for a key. Booleans become null; letters beyond a to z become letters from a to z; bytes become as many other bytes.
`hash` and `hmac` are of a text's UTF-8, of bytes themselves, of numbers as JSON writes them.
""",
)
