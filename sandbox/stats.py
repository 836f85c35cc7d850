"""Counts of what the sandbox did, added up once per run."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, fields


@dataclass(frozen=True, slots=True)
class SandboxStats:
    """A snapshot."""

    cached_modules: int = 0
    """Compiled modules in memory."""
    cache_hits: int = 0
    """Compiled modules taken from memory or disk."""
    cache_misses: int = 0
    cache_evictions: int = 0
    active_instances: int = 0
    instances_created: int = 0
    crossings: int = 0
    host_calls: int = 0
    escape_attempts: int = 0
    """Addresses outside its own memory that a guest accessed, returned or handed to the host."""
    escape_patterns: Mapping[str, int] = field(default_factory=dict)
    """The same attempts by what they looked like (`sandbox.escapes.Pattern`); they add up to `escape_attempts`."""
    pool_slots: int = 0
    """Instances that all pools together hold at most."""


_COUNTED = frozenset(one.name for one in fields(SandboxStats)) - {"escape_patterns"}


class Counters:
    """Thread-safe sums behind `SandboxStats`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = dict.fromkeys(_COUNTED, 0)
        self._patterns: dict[str, int] = {}

    def add(self, **amounts: int) -> None:
        """Add to these counts."""
        with self._lock:
            for name, amount in amounts.items():
                self._counts[name] += amount
            if attempts := amounts.get("escape_attempts"):
                self._name({}, attempts)

    def crossed(
        self, crossings: int, host_calls: int, escape_attempts: int, patterns: Mapping[str, int] | None = None
    ) -> None:
        """Add what one run did; `patterns` says what its attempts looked like.

        (`add` without its dictionary, as are the next two: this is done for every batch.)
        """
        counts = self._counts
        with self._lock:
            counts["crossings"] += crossings
            counts["host_calls"] += host_calls
            counts["escape_attempts"] += escape_attempts
            if escape_attempts:
                self._name(patterns or {}, escape_attempts)

    def escaped(self, patterns: Mapping[str, int]) -> None:
        """Add attempts, by pattern."""
        attempts = sum(patterns.values())
        with self._lock:
            self._counts["escape_attempts"] += attempts
            self._name(patterns, attempts)

    def started(self) -> None:
        """An instance more, and alive."""
        with self._lock:
            self._counts["instances_created"] += 1
            self._counts["active_instances"] += 1

    def ended(self) -> None:
        """One that is no more."""
        with self._lock:
            self._counts["active_instances"] -= 1

    def snapshot(self, **now: int) -> SandboxStats:
        """The counts, with these gauges."""
        with self._lock:
            return SandboxStats(**{**self._counts, **now}, escape_patterns=dict(self._patterns))

    def _name(self, patterns: Mapping[str, int], attempts: int) -> None:
        """What nobody gave a name to is `unnamed`: sums stay sums."""
        named = dict(patterns)
        unnamed = attempts - sum(named.values())
        if unnamed > 0:
            named["unnamed"] = unnamed
        for name, count in named.items():
            self._patterns[name] = self._patterns.get(name, 0) + count
