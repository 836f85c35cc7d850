"""What a scope says about one request: where to, how. Pure; asked before a request and again for each redirect."""

from __future__ import annotations

from functools import lru_cache

from sandbox.host.network.addresses import Address, refusal
from sandbox.host.network.urls import BadUrl, Target, canonical_host, literal
from schemas.capabilities import Credential, HttpScope

FORBIDDEN_METHODS = frozenset({"CONNECT", "TRACE", "TRACK"})
"""They open tunnels, or send back the headers that the host added."""


def pattern_of(scope: HttpScope, target: Target) -> str | None:
    """The entry of `scope.hosts` that covers the target's host; an address is covered by itself alone."""
    return next((one for one in scope.hosts if _covers(one, target)), None)


def objection(scope: HttpScope, target: Target, method: str) -> str | None:
    """Why this request is out of scope, by everything that is known before the name is looked up; None when it is not."""
    if pattern_of(scope, target) is None:
        return f"the host `{target.host}` is not among the grant's hosts"
    if target.scheme != "https" and not scope.plain:
        return f"`{target.origin}` is not https, and the grant does not say `plain`"
    if target.port not in scope.ports:
        return f"the port {target.port} of `{target.host}` is not among the grant's ports"
    if method in FORBIDDEN_METHODS:
        return f"{method} is never granted"
    if method not in scope.methods:
        return f"the method {method} is not among the grant's methods"
    return None if target.address is None else address_objection(scope, target, target.address)


def address_objection(scope: HttpScope, target: Target, address: Address) -> str | None:
    """Why no connection for `target` goes to `address`."""
    why = refusal(address, private=scope.private, spelled_out=target.address == address)
    if why is None:
        return None
    remedy = ", and the grant does not say `private`" if refusal(address, private=True) is None else ""
    return f"`{target.host}` is {why}{remedy}" if target.address else f"`{target.host}` leads to {why}{remedy}"


def credential_for(scope: HttpScope, target: Target) -> Credential | None:
    """What the host adds to requests to this very host. Never in clear text, but in one's own network (`plain` and `private`)."""
    if target.scheme != "https" and not scope.private:
        return None
    return next((one for host, one in scope.credentials.items() if _canonical(host) == target.host), None)


def _covers(pattern: str, target: Target) -> bool:
    if pattern.startswith("*."):
        below = _canonical(pattern[2:])
        return below is not None and target.address is None and literal(below) is None and _is_below(target.host, below)
    return _canonical(pattern) == target.host


def _is_below(host: str, parent: str) -> bool:
    return host.endswith(f".{parent}")


@lru_cache(maxsize=4096)
def _canonical(host: str) -> str | None:
    """The operator may write an IPv6 address with or without brackets. None for what is no host: it covers nothing."""
    try:
        return canonical_host(f"[{host}]" if ":" in host and not host.startswith("[") else host)
    except BadUrl:
        return None
