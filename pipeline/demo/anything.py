"""Change events of a table that does not exist: rows of a few columns that are created, updated and deleted.

The same table, seed and envelope give the same events, byte for byte.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from pipeline.demo.envelope import Envelope

LIVE_MAX: Final = 2_000
"""Rows that may still change; then some go before others come."""
_WORDS: Final = ("new", "open", "paid", "shipped", "closed", "Zoë", "健", 'quoted "so"')


@dataclass(frozen=True, slots=True)
class Change:
    """One record."""

    key: bytes
    value: bytes | None
    """None is the tombstone behind a delete."""


class AnyTable:
    """An endless stream of changes of one table, with full before images: one record each, a delete with its tombstone. Iterate once."""

    def __init__(self, table: str, envelope: Envelope, *, seed: int = 7) -> None:
        """`envelope` may be shared with other tables; who owns it says when a transaction begins."""
        self._table = table
        self._chance = Random(seed)  # noqa: S311 - made-up rows, no secrets
        self._envelope = envelope
        self._rows: list[dict[str, Any]] = []
        self._last = 0

    def __iter__(self) -> Iterator[tuple[Change, ...]]:
        while True:
            draw = self._chance.random()
            if len(self._rows) < 2 or (draw < 0.55 and len(self._rows) < LIVE_MAX):
                yield (self._created(),)
            elif draw < 0.9:
                yield (self._updated(),)
            else:
                yield self._deleted()

    def _created(self) -> Change:
        self._last += 1
        row = {"id": self._last, "name": self._word(), "amount": self._amount(), "active": self._chance.random() < 0.5}
        self._rows.append(row)
        return self._change("c", None, row)

    def _updated(self) -> Change:
        at = self._chance.randrange(len(self._rows))
        before = self._rows[at]
        after = {**before, "name": self._word(), "amount": self._amount()}
        self._rows[at] = after
        return self._change("u", before, after)

    def _deleted(self) -> tuple[Change, Change]:
        at = self._chance.randrange(len(self._rows))
        self._rows[at], self._rows[-1] = self._rows[-1], self._rows[at]
        gone = self._change("d", self._rows.pop(), None)
        return gone, Change(gone.key, None)

    def _change(self, op: str, before: dict[str, Any] | None, after: dict[str, Any] | None) -> Change:
        row = after if after is not None else before
        assert row is not None
        value = self._envelope.value(op, self._table, _json(before), _json(after))
        return Change(b'{"id":%d}' % row["id"], value)

    def _word(self) -> str | None:
        return None if self._chance.random() < 0.1 else self._chance.choice(_WORDS)

    def _amount(self) -> str:
        return f"{self._chance.randrange(100_000)}.{self._chance.randrange(100):02}"


def _json(row: dict[str, Any] | None) -> str:
    return json.dumps(row, ensure_ascii=False, separators=(",", ":"))
