"""What a transformer asks for, is granted and uses, side by side, and what least privilege would make of it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from pipeline.observe.host_calls import Calls
from sandbox.host import WASI
from sandbox.inspection import Inspection
from schemas.capabilities import PROFILES, SCOPED, Capability, Grant, Grants, describe_scope

_WASI: Mapping[str, tuple[Capability, ...]] = {
    "fd_write": (Capability.LOG,),
    "clock_time_get": (Capability.CLOCK,),
    "clock_res_get": (Capability.CLOCK,),
    "poll_oneoff": (Capability.CLOCK,),
    "random_get": (Capability.RANDOM,),
    "environ_get": (Capability.ENVIRONMENT,),
    "path_open": (
        Capability.FILESYSTEM_READ,
        Capability.FILESYSTEM_WRITE,
        Capability.FILESYSTEM_CREATE,
    ),
    "path_create_directory": (Capability.FILESYSTEM_CREATE,),
    "path_unlink_file": (Capability.FILESYSTEM_DELETE,),
    "path_remove_directory": (Capability.FILESYSTEM_DELETE,),
}
"""Functions of WASI that link without a grant and do more with one."""
SECTION, IMPORTS, THROUGH_WASI = "section", "imports", "wasi"


@dataclass(frozen=True, slots=True)
class Granted:
    """One grant, as far as it concerns one capability."""

    scope: str
    until: str | None
    """ISO 8601, UTC."""
    ended: bool
    uses: int | None
    per_ms: int | None
    profile: str | None = None
    """The profile that alone brings it, without a scope."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One transformer and one capability."""

    capability: Capability
    asked: tuple[str, ...]
    """How the module asks: `section`, `imports`, `wasi` (which only makes use of it)."""
    granted: tuple[Granted, ...]
    in_ceiling: bool
    calls: Calls | None
    """None where nothing was measured."""
    advice: tuple[str, ...]

    @property
    def effective(self) -> bool:
        """Asked for, granted, and left by the ceiling."""
        return bool(self.asked and self.granted) and self.in_ceiling


def findings(
    grants: Grants,
    asked: Mapping[Capability, tuple[str, ...]],
    ceiling: Collection[Capability] | None,
    calls: Mapping[Capability, Calls] | None,
    now_ms: int,
) -> list[Finding]:
    """Of every capability that is asked for, granted, or was called for."""
    called = {name for name, one in (calls or {}).items() if one.allowed or one.denied}
    found = []
    for capability in Capability:
        granted = tuple(_granted(one, grants, now_ms) for one in grants.of_capability(capability))
        if not granted and capability not in asked and capability not in called:
            continue
        one = Finding(
            capability,
            asked.get(capability, ()),
            granted,
            ceiling is None or capability in ceiling,
            None if calls is None else calls.get(capability, Calls()),
            (),
        )
        found.append(_advised(one, grants))
    return found


def asked_for(module: Inspection) -> dict[Capability, tuple[str, ...]]:
    """What the module's section, its imports and its use of WASI ask for. Names that are no capability are left out."""
    said = module.metadata.capabilities if module.metadata else ()
    needed = {one.capability for one in module.imports if one.capability}
    wasi = {one.name.removeprefix(f"{WASI}.") for one in module.imports if one.name.startswith(f"{WASI}.")}
    usable = {capability for name in wasi for capability in _WASI.get(name, ())}
    ways = {SECTION: frozenset(said), IMPORTS: frozenset(needed), THROUGH_WASI: frozenset(usable)}
    found = {one: tuple(way for way, names in ways.items() if one in names) for one in Capability}
    return {one: ways_found for one, ways_found in found.items() if ways_found}


def _granted(grant: Grant, grants: Grants, now_ms: int) -> Granted:
    until = None if grant.until_ms is None else datetime.fromtimestamp(grant.until_ms / 1000, UTC).isoformat()
    ended = grant.until_ms is not None and grant.until_ms <= now_ms
    by_profile = None if grant in grants.grants else grants.profile
    return Granted(describe_scope(grant.scope), until, ended, grant.uses, grant.per_ms, by_profile)


def _advised(one: Finding, grants: Grants) -> Finding:
    return Finding(one.capability, one.asked, one.granted, one.in_ceiling, one.calls, tuple(_advice(one, grants)))


def _advice(one: Finding, grants: Grants) -> Iterator[str]:
    name = one.capability
    if one.granted and not one.in_ceiling:
        yield "beyond the operator's ceiling: the registry is refused"
    if not one.granted and set(one.asked) - {THROUGH_WASI}:
        yield f"asked for and not granted: the module is refused; grant `{name}`, or take another build"
    if one.granted and not one.asked:
        yield f"granted and not asked for: {_without(name, one, grants)}"
        return
    if one.granted and all(grant.ended for grant in one.granted):
        yield "its grant has ended: every call is denied"
    elif name in SCOPED and one.granted and not any(grant.scope for grant in one.granted):
        yield "granted without a scope: every call is denied; add a grant that says what of it"
    if one.calls is not None and one.granted and not one.calls.allowed and not one.calls.denied:
        yield f"never used: {_without(name, one, grants)} if the events that were seen are all there are"
    if one.calls is not None and one.calls.denied:
        yield _denied(one, grants)


def _denied(one: Finding, grants: Grants) -> str:
    assert one.calls is not None
    total = one.calls.allowed + one.calls.denied
    how = "" if grants.strict else "; with `strict: true` such an event would be a violation"
    if not one.granted:
        return f"{one.calls.denied} of {total} calls denied: it is not granted{how}"
    return f"{one.calls.denied} of {total} calls denied: beyond its scope, its end or its uses{how}"


def _without(name: Capability, one: Finding, grants: Grants) -> str:
    if one.granted[0].profile is None:
        return f"take `{name}` out"
    others = ", ".join(sorted(PROFILES[grants.profile or "minimal"] - {name}))
    return f"name single grants ({others or 'none'}) in place of the profile `{grants.profile}`"
