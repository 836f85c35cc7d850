"""Redirects: where an answer sends a request next, and what of the request goes there. Followed by us, one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sandbox.host.gate import Denied
from sandbox.host.network.headers import Header
from sandbox.host.network.rules import objection
from sandbox.host.network.urls import BadUrl, Disguised, Target, joined
from sandbox.host.requests import HostFailure
from schemas.abi import ERROR_UNAVAILABLE
from schemas.capabilities import HttpScope

REDIRECTS = frozenset({301, 302, 303, 307, 308})
_OF_THE_BODY = "content-"
_OF_ONE_ORIGIN = frozenset({"authorization", "cookie", "cookie2"})


@dataclass(frozen=True, slots=True)
class Request:
    """One message to one target; `headers` are the guest's."""

    method: str
    target: Target
    headers: tuple[Header, ...] = ()
    body: bytes | None = None


def following(request: Request, status: int, locations: Sequence[str], scope: HttpScope) -> Request | None:
    """The request that a redirect asks for, checked as the first one was; None when the answer is no redirect.

    A POST becomes a GET without a body where browsers do the same (301, 302, 303); 307 and 308 repeat it as it is. Nothing that a guest
    sent for one origin (authorization, cookies) goes to another. Raises Denied, HostFailure.
    """
    if status not in REDIRECTS or not locations:
        return None
    if len(set(locations)) > 1:
        raise HostFailure(ERROR_UNAVAILABLE, f"`{request.target.origin}` redirects to several places at once")
    target = _target(request.target, locations[0])
    method = _method(request.method, status)
    why = objection(scope, target, method)
    if why is not None:
        raise Denied(f"`{request.target.origin}` redirects, but {why}")
    if method != request.method:
        request = replace(
            request, body=None, headers=_without(request.headers, lambda name: name.startswith(_OF_THE_BODY))
        )
    if target.origin != request.target.origin:
        request = replace(request, headers=_without(request.headers, _OF_ONE_ORIGIN.__contains__))
    return replace(request, method=method, target=target)


def _target(base: Target, location: str) -> Target:
    try:
        return joined(base, location)
    except Disguised as bad:
        raise Denied(f"`{base.origin}` redirects, but {bad}") from None
    except BadUrl as bad:
        raise HostFailure(ERROR_UNAVAILABLE, f"`{base.origin}` redirects, but {bad}") from None


def _method(method: str, status: int) -> str:
    if status == 303 and method != "HEAD":
        return "GET"
    return "GET" if status in (301, 302) and method == "POST" else method


def _without(headers: tuple[Header, ...], unwanted: Callable[[str], bool]) -> tuple[Header, ...]:
    return tuple(one for one in headers if not unwanted(one[0].lower()))
