"""The registry's `config:` against a dataclass."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from typing import Any, Literal

import pytest
from penstock_guest import ConfigError
from penstock_guest.config import read


class Action(Enum):
    HASH = "hash"
    REDACT = "redact"


@dataclass(frozen=True)
class Field:
    path: str
    action: Action = Action.HASH


@dataclass(frozen=True)
class Config:
    salt: str
    fields: list[Field] = field(default_factory=list)
    limit: Decimal | None = None
    ratio: float = 1.0
    count: int = 0
    strict: bool = False
    mode: Literal["a", "b"] = "a"
    names: dict[str, int] = field(default_factory=dict)
    tags: frozenset[str] = frozenset()
    other: Any = None


def test_everything_that_fits() -> None:
    given = {
        "salt": "s",
        "fields": [{"path": "email"}, {"path": "phone", "action": "redact"}],
        "limit": "10000.00",
        "ratio": 2,
        "count": 3,
        "strict": True,
        "mode": "b",
        "names": {"x": 1},
        "tags": ["t"],
        "other": [1, {}],
    }
    expected = Config(
        "s",
        [Field("email"), Field("phone", Action.REDACT)],
        Decimal("10000.00"),
        2.0,
        3,
        True,
        "b",
        {"x": 1},
        frozenset("t"),
        [1, {}],
    )
    assert read(Config, given) == expected
    assert read(Config, {"salt": "s", "limit": 7}).limit == Decimal(7)
    assert read(dict, given) == given


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "config.salt: is missing"),
        ([], "config: keys and values were expected, not a list"),
        ({"salt": 1}, "config.salt: a text was expected, not 1"),
        ({"salt": "s", "feilds": []}, "config.feilds: there is no such key; did you mean `fields`?"),
        ({"salt": "s", "xyz": []}, "config.xyz: there is no such key; it has salt, fields"),
        (
            {"salt": "s", "fields": [{"path": "a"}, {"path": None}]},
            "config.fields[1].path: a text was expected, not null",
        ),
        (
            {"salt": "s", "fields": [{"path": "a", "action": "hush"}]},
            "config.fields[0].action: 'hush' is none of hash, redact",
        ),
        ({"salt": "s", "fields": {}}, "config.fields: a list was expected, not keys and values"),
        (
            {"salt": "s", "limit": 1.5},
            'config.limit: a decimal number in quotes was expected, such as "10000.00", not 1.5',
        ),
        ({"salt": "s", "limit": "1,5"}, "config.limit: a decimal number in quotes"),
        ({"salt": "s", "count": True}, "config.count: a whole number was expected, not true"),
        ({"salt": "s", "strict": 1}, "config.strict: true or false was expected, not 1"),
        ({"salt": "s", "mode": "c"}, "config.mode: 'c' is none of a, b"),
        ({"salt": "s", "names": {"x": "y"}}, "config.names.x: a whole number was expected, not 'y'"),
    ],
)
def test_every_fault_names_its_key(given: Any, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        read(Config, given)
    assert words in str(error.value)
