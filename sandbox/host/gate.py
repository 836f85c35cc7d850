"""The gate: every host call of a transformer passes it, is counted there, and is denied there.

One gate per transformer and process, shared by its lanes: uses and budgets are counted together. What a gate decides it decides
from the grants alone; whether a path, host or table is in scope is for the provider that knows what they mean, which says so
with `Denied`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Hashable
from copy import copy
from dataclasses import dataclass, field
from typing import TypeVar

from sandbox.host.holding import Holder
from schemas.capabilities import Capability, Grant, Grants, Scope

S = TypeVar("S", bound=Scope)
T = TypeVar("T")
Uses = dict[tuple[Capability, str], "Use"]
"""By capability and scope."""
NS_PER_MS = 1_000_000


class Denied(Exception):
    """A call is not granted: `reason` for the operator, and the line of the registry that would grant it."""

    def __init__(self, reason: str, remedy: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy


@dataclass(slots=True)
class Window:
    """The uses of one grant."""

    used: int = 0
    began_ns: int | None = None
    """Of the monotonic clock; with the first use."""
    ended: bool = False
    """Its end was reached once: a clock that is set back does not bring it back."""


@dataclass(slots=True)
class Use:
    """How often a capability was used within one scope, or denied; sums over a batch or over a gate's life."""

    allowed: int = 0
    denied: int = 0
    bytes: int = 0
    """Of requests and answers, or of what was read and written."""
    elapsed_ns: int = 0

    def add(self, other: Use) -> None:
        """Sum up."""
        self.allowed += other.allowed
        self.denied += other.denied
        self.bytes += other.bytes
        self.elapsed_ns += other.elapsed_ns


def add_uses(sums: Uses, uses: Uses) -> None:
    """Add `uses` to `sums`."""
    for key, use in uses.items():
        sums.setdefault(key, Use()).add(use)


@dataclass(slots=True, eq=False, weakref_slot=True)
class Gate:
    """What one transformer may do, and what it did. Safe from any thread."""

    name: str = ""
    """The transformer's, for messages."""
    grants: Grants = field(default_factory=Grants)
    now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    """Wall clock, for ends: they are dates."""
    clock_ns: Callable[[], int] = time.monotonic_ns
    """For deadlines, durations and windows; the same that the guest's deadline is measured by. Nobody sets it."""
    _by_capability: dict[Capability, list[tuple[Grant, Window]]] = field(init=False)
    _bounded: frozenset[Capability] = field(init=False)
    """Capabilities with an end or a number of uses: only these need a look at clocks and windows."""
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _totals: Uses = field(default_factory=dict, init=False)
    _holder: Holder = field(default_factory=Holder, init=False)

    def __post_init__(self) -> None:
        windows = {id(one): Window() for one in self.grants.grants}
        self._by_capability = {
            name: [(one, windows.setdefault(id(one), Window())) for one in self.grants.of_capability(name)]
            for name in self.grants.names
        }
        self._bounded = frozenset(
            name
            for name, found in self._by_capability.items()
            if any(one.until_ms is not None or one.uses is not None for one, _ in found)
        )

    def admit(self, capability: Capability, in_scope: Callable[[Grant], bool] | None = None) -> Grant:
        """Count a use of the first grant that allows it, and return that grant. Raises Denied.

        `in_scope` says whether a grant's scope covers what is asked for; a grant that does not is not used up.
        """
        found = self._by_capability.get(capability)
        if not found:
            raise Denied(f"`{capability}` is not granted", self._remedy(capability))
        why = ""
        for grant, window in found:
            if in_scope is not None and not in_scope(grant):
                continue
            why = self._spend(grant, window) if capability in self._bounded else ""
            if not why:
                return grant
        raise Denied(
            (why and f"`{capability}`: {why}") or f"`{capability}` is granted, but not for this",
            self._remedy(capability),
        )

    def is_free(self, capability: Capability) -> bool:
        """Granted without an end and a number of uses: there is nothing to count down."""
        return capability in self._by_capability and capability not in self._bounded

    def narrowed(self, capabilities: Collection[Capability]) -> Gate:
        """The same gate for a caller that may do less: uses, windows, sums and what is held are this one's."""
        gate = copy(self)
        kept = {name: found for name, found in self._by_capability.items() if name in capabilities}
        gate._by_capability = kept  # noqa: SLF001  # it is of this class
        return gate

    def hold(self, key: Hashable, make: Callable[[], T]) -> T:
        """What this transformer keeps under `key` between its calls, made when first wanted and closed with the gate."""
        return self._holder.get(key, make)

    def close(self) -> None:
        """Close what is held."""
        self._holder.close()

    def scopes(self, capability: Capability, kind: type[S]) -> tuple[S, ...]:
        """The scopes of this kind under which the capability is granted."""
        found = self._by_capability.get(capability, ())
        return tuple(one.scope for one, _ in found if isinstance(one.scope, kind))

    def record(self, uses: Uses) -> None:
        """Add what one batch did to the sums."""
        with self._lock:
            add_uses(self._totals, uses)

    def totals(self) -> Uses:
        """Sums since the gate was made, by capability and scope."""
        with self._lock:
            return {key: Use(use.allowed, use.denied, use.bytes, use.elapsed_ns) for key, use in self._totals.items()}

    def _spend(self, grant: Grant, window: Window) -> str:
        """Why the grant is used up, or nothing: then one more use is counted."""
        if window.ended or (grant.until_ms is not None and self.now_ms() >= grant.until_ms):
            window.ended = True
            return "the grant has ended"
        if grant.uses is None:
            return ""
        with self._lock:
            if grant.per_ms is not None:
                now = self.clock_ns()
                if window.began_ns is None or now - window.began_ns >= grant.per_ms * NS_PER_MS:
                    window.used, window.began_ns = 0, now
            if window.used >= grant.uses:
                return f"its {grant.uses} uses are used up"
            window.used += 1
        return ""

    def _remedy(self, capability: Capability) -> str:
        return f"see transformers.{self.name}.capabilities, `{capability}`"
