"""Grants made by programs, with ends of their own: whoever makes one and forgets it has granted little, and not for long.

A registry states its own ends; there 1,000 uses would last milliseconds. The figures are the reference documents'.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from schemas.capabilities import Capability, EnvironmentScope, FileScope, Grant, HttpScope, Scope

LASTS_MS = 3_600_000
USES = 1_000
FILES = FileScope(
    read=(Path("/tmp/wasm"), Path("/data"), Path("/config")),  # noqa: S108  # the reference names it
    write=(Path("/tmp/wasm"),),  # noqa: S108
    file_bytes_max=10 << 20,
    descriptors=32,
)
"""/data and /config are read-only."""
ENVIRONMENT = EnvironmentScope(("PATH", "LANG", "TZ", "APP_CONFIG"))


def http(*hosts: str) -> HttpScope:
    """These hosts, at the usual ports; https unless `plain` is set."""
    return HttpScope(hosts=hosts, ports=(80, 443, 8080), connections=10, timeout_ms=30_000)


def granted(
    capabilities: Iterable[str], scope: Scope | None = None, *, now_ms: int, lasts_ms: int = LASTS_MS, uses: int = USES
) -> Grant:
    """A grant that ends `lasts_ms` after `now_ms` (milliseconds since 1970), or after so many uses. Raises ValueError for a name that is none."""
    names = frozenset(Capability(name) for name in capabilities)
    return Grant(names, scope, until_ms=now_ms + lasts_ms, uses=uses)
