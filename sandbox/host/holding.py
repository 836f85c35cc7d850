"""Live things that host functions keep between calls: made when first wanted, closed together."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Hashable
from typing import Any, Protocol, TypeVar, runtime_checkable

_log = logging.getLogger("penstock.sandbox")

T = TypeVar("T")


@runtime_checkable
class Closable(Protocol):
    """Has something to give back."""

    def close(self) -> None:
        """Give it back. Safe to repeat."""
        ...


class Holder:
    """One of each. Safe from any thread; after `close` it makes nothing any more."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[Hashable, Any] = {}
        self._closed = False

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """What is held under `key`, made by the first who asks. Raises what `make` raises, and RuntimeError after `close`."""
        found: T | None = self._held.get(key)
        if found is not None:
            return found
        with self._lock:
            if self._closed:
                raise RuntimeError("the sandbox is closed")
            if key not in self._held:
                self._held[key] = make()
            held: T = self._held[key]
            return held

    def close(self) -> None:
        """Close what can be closed, the last made first. Safe to repeat."""
        with self._lock:
            self._closed = True
            held, self._held = list(self._held.values()), {}
        for one in reversed(held):
            if isinstance(one, Closable):
                try:
                    one.close()
                except Exception:
                    _log.exception("%s did not close", type(one).__name__)
