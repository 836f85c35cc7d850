"""Rows that were looked up, and that there was none: kept encoded, for a while, within bounds."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec

from sandbox.host.database.values import Key, Row

CACHE_BYTES_MAX = 64 << 20
"""Of one scope, whatever the number of its entries."""
ENTRY_BYTES = 200
"""What an entry takes beside its row."""
Raw = msgspec.Raw
_encode = msgspec.msgpack.Encoder().encode


def encode_row(row: Row | None) -> Raw:
    """As it goes to the guest."""
    return Raw(_encode(row))


@dataclass(slots=True)
class LookupCache:
    """Of one scope of one transformer. When it is full the oldest entries go. Safe from any thread."""

    ttl_ms: int
    entries_max: int
    clock_ns: Callable[[], int]
    bytes_max: int = CACHE_BYTES_MAX
    _held: OrderedDict[tuple[str, Key], tuple[int, Raw]] = field(default_factory=OrderedDict, init=False)
    """When it is to be forgotten, and the row; in the order they came."""
    _bytes: int = field(default=0, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def __len__(self) -> int:
        return len(self._held)

    def get_many(self, table: str, keys: Sequence[Key]) -> list[Raw | None]:
        """What is remembered of each key; None when nothing is (a row that is not there is remembered as nil)."""
        now_ns = self.clock_ns()
        found: list[Raw | None] = []
        with self._lock:
            held = self._held
            for key in keys:
                entry = held.get((table, key))
                found.append(entry[1] if entry is not None and now_ns < entry[0] else None)
        return found

    def put_many(self, table: str, rows: Sequence[tuple[Key, Raw]]) -> None:
        """Remember these from now on."""
        ends_ns = self.clock_ns() + self.ttl_ms * 1_000_000
        with self._lock:
            for key, row in rows:
                self._forget((table, key))
                self._held[table, key] = (ends_ns, row)
                self._bytes += len(memoryview(row)) + ENTRY_BYTES
            while self._held and (len(self._held) > self.entries_max or self._bytes > self.bytes_max):
                self._forget(next(iter(self._held)))

    def _forget(self, key: tuple[str, Key]) -> None:
        entry = self._held.pop(key, None)
        if entry is not None:
            self._bytes -= len(memoryview(entry[1])) + ENTRY_BYTES
