"""A config that makes no sense is refused when the module starts, in words an operator can act on."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox import Sandbox
from schemas.errors import ModuleFault
from tests.transformers import shipped


def mask(*fields: dict[str, Any], **rest: Any) -> dict[str, Any]:
    return {"fields": list(fields), **rest}


NAME = {"path": "name", "action": "redact"}
REFUSED = [
    ("enrich-order", {"curency": "EUR"}, "unknown field `curency`"),
    ("enrich-order", {"currency": "euro"}, "ISO 4217"),
    ("enrich-order", {"currency": 7}, "currency: 7"),
    ("enrich-order", {"drop_statuses": ["a", 1]}, "drop_statuses[1]: 1"),
    ("enrich-order", {"flag_above": "much", "flag_topic": "t"}, 'flag_above: "much"'),
    ("enrich-order", {"flag_above": 10.5, "flag_topic": "t"}, "in quotes"),
    ("enrich-order", {"flag_above": "1"}, "flag_topic"),
    ("enrich-order", {"flag_topic": "t"}, "flag_above"),
    ("mask-pii", {}, "missing field `fields`"),
    ("mask-pii", mask(), "fields is empty"),
    ("mask-pii", mask({"path": "email", "action": "hsh"}), "fields[0].action: unknown variant `hsh`"),
    ("mask-pii", mask(NAME, {"path": "x"}), "fields[1]: missing field `action`"),
    ("mask-pii", mask({"path": "email", "action": "hash"}), "salt"),
    ("mask-pii", mask(NAME, NAME), '"name"'),
    ("mask-pii", mask(NAME, {"path": "after.name.first", "action": "redact"}), '"after.name.first"'),
    ("mask-pii", mask({"path": "after", "action": "redact"}), "whole row"),
    ("mask-pii", mask({"path": "after.", "action": "redact"}), "empty step"),
]


@pytest.mark.parametrize(("guest", "config", "words"), REFUSED, ids=lambda part: part if isinstance(part, str) else "")
def test_refused(sandbox: Sandbox, guest: str, config: dict[str, Any], words: str) -> None:
    with pytest.raises(ModuleFault) as refusal:
        shipped.load(sandbox, guest, config)
    assert words in str(refusal.value)


@pytest.mark.parametrize("above", ["10.50", 10, "1e3"])
def test_a_limit_is_an_integer_or_a_text(sandbox: Sandbox, above: str | int) -> None:
    shipped.load(sandbox, "enrich-order", {"flag_above": above, "flag_topic": "t"})
