"""What a caller leaves of a registry's grants. Nothing here ever adds to them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from difflib import get_close_matches

from schemas.capabilities import PROFILES, Capability, Grant, Grants
from schemas.errors import ConfigError, Fault

EVERYTHING = frozenset(Capability)
WITHOUT_EFFECT = frozenset(
    {
        Capability.DATABASE_READ,
        Capability.DATABASE_QUERY,
        Capability.LOG,
        Capability.CLOCK,
        Capability.RANDOM,
        Capability.FILESYSTEM_READ,
        Capability.ENVIRONMENT,
    }
)
"""What a guest may do inside a statement: nothing that would stay when the statement is rolled back."""


def capabilities_of(profile: str | None) -> frozenset[Capability]:
    """What this profile leaves; None leaves everything. Raises ConfigError for a name that is no profile."""
    if profile is None:
        return EVERYTHING
    if profile not in PROFILES:
        guess = "".join(f"did you mean '{one}'? " for one in get_close_matches(profile, PROFILES, n=1))
        shown = repr(profile[:40])
        raise ConfigError(Fault(f"{shown} is no profile", f"{guess}(one of: {', '.join(PROFILES)})", path="profile"))
    return PROFILES[profile]


def narrowed(grants: Grants, left: Collection[Capability]) -> Grants:
    """The grants without everything that is not in `left`: scopes, ends and `strict` stay as they are."""
    kept = [replace(one, capabilities=one.capabilities & frozenset(left)) for one in grants.grants]
    scoped = frozenset[Capability]().union(*(one.capabilities for one in kept))
    by_profile = (grants.names & frozenset(left)) - scoped
    bare = [Grant(by_profile)] if by_profile else []
    return Grants(tuple(one for one in kept if one.capabilities) + tuple(bare), None, grants.strict)
