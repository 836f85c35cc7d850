"""The import `http_request`: `{method, url, headers, body}` to `{status, headers, body}`. Imports no client until a grant needs one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from sandbox.host.gate import Denied, Gate
from sandbox.host.imports import Services
from sandbox.host.network import headers
from sandbox.host.network.redirects import Request
from sandbox.host.network.rules import objection, pattern_of
from sandbox.host.network.urls import BadUrl, Disguised, read_url
from sandbox.host.requests import HostFailure, HostRequest, request_import
from schemas.abi import ERROR_INVALID, ERROR_TOO_LARGE
from schemas.capabilities import Capability, Grant, HttpScope
from schemas.errors import ConfigError, Fault

if TYPE_CHECKING:
    from sandbox.host.network.client import HttpClient

METHOD_CHARACTERS_MAX = 32


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A request as the guest wrote it."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None


def serve(request: HostRequest) -> object:
    """Raises Denied, HostFailure."""
    wanted = read(request.value)
    scope = _admitted(request, wanted)
    request.scope = pattern_of(scope, wanted.target) or ""
    why = headers.objection(scope, wanted.headers)
    if why is not None:
        raise Denied(why, "leave it out")
    if len(wanted.body or b"") > scope.request_bytes_max:
        raise HostFailure(
            ERROR_TOO_LARGE, f"a body of {len(wanted.body or b'')} bytes; {scope.request_bytes_max} is the most"
        )
    return _sent(request, scope, wanted)


def read(value: object) -> Request:
    """What the guest asks for, if that can be sent at all. Raises HostFailure; Denied for what is made to deceive."""
    try:
        asked = msgspec.convert(value, Asked, builtin_types=(bytes,))
        target = read_url(asked.url)
    except msgspec.ValidationError as error:
        raise HostFailure(ERROR_INVALID, f"the request is not as the ABI says: {error}") from None
    except Disguised as bad:
        raise Denied(str(bad), "write the host plainly") from None
    except BadUrl as bad:
        raise HostFailure(ERROR_INVALID, str(bad)) from None
    why = headers.malformed(asked.headers)
    if why is not None:
        raise HostFailure(ERROR_INVALID, why)
    method = asked.method.upper()
    if not (method.isascii() and method.isalpha() and len(method) <= METHOD_CHARACTERS_MAX):
        raise HostFailure(ERROR_INVALID, "the method is no word")
    return Request(method, target, asked.headers, asked.body)


def client_of(gate: Gate, services: Services, scope: HttpScope) -> HttpClient:
    """The transformer's client for one grant; connections are nobody else's. Raises OSError when its authority cannot be read."""
    from sandbox.host.network.client import HttpClient
    from sandbox.host.network.thread import LoopThread

    thread = services.hold("network", LoopThread)
    return gate.hold(("http", id(scope)), lambda: HttpClient(scope, thread, gate.clock_ns, services.resolve))


def prepare(gate: Gate, services: Services) -> None:
    """Import the client and read the authorities now, not within a guest's deadline. Raises ConfigError."""
    for scope in gate.scopes(Capability.NETWORK_CLIENT, HttpScope):
        try:
            client_of(gate, services, scope)
        except OSError as error:
            problem = f"the authority's file {scope.ca_file} cannot be read: {error.strerror or type(error).__name__}"
            raise ConfigError(
                Fault(
                    problem,
                    "name a PEM file with certificates under `ca`",
                    path=f"transformers.{gate.name}.capabilities",
                )
            ) from None


def _admitted(request: HostRequest, wanted: Request) -> HttpScope:
    """The first grant's scope that covers this. Raises Denied, which says what each of the others lacks."""
    objections: list[str] = []

    def in_scope(grant: Grant) -> bool:
        if not isinstance(grant.scope, HttpScope):
            objections.append("no hosts are granted")
            return False
        why = objection(grant.scope, wanted.target, wanted.method)
        if why is not None:
            objections.append(why)
        return why is None

    try:
        grant = request.admit(Capability.NETWORK_CLIENT, in_scope)
    except Denied as denied:
        reasons = "; ".join(dict.fromkeys([denied.reason, *objections]))
        raise Denied(reasons, _remedy(wanted)) from None
    assert isinstance(grant.scope, HttpScope)
    return grant.scope


def _remedy(wanted: Request) -> str:
    target = wanted.target
    more = "" if target.scheme == "https" else ", plain: true"
    return f"grant `{{http: {{hosts: [{target.host}], ports: [{target.port}], methods: [{wanted.method}]{more}}}}}`"


def _sent(request: HostRequest, scope: HttpScope, wanted: Request) -> object:
    from sandbox.host.network.client import Traffic

    client = client_of(request.gate, request.services, scope)
    traffic = Traffic()
    kept = 0
    try:
        answer = client.request(wanted, min(scope.timeout_ms, request.remaining_ms()), traffic)
        kept = len(wanted.body or b"") + len(answer.body)
    finally:
        request.bytes += max(0, traffic.sent + traffic.received - kept)
    return {"status": answer.status, "headers": answer.headers, "body": answer.body}


IMPORTS = (request_import("http_request", Capability.NETWORK_CLIENT, serve, prepare),)
