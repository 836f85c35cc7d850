"""Grants that could never do what they say: found when the registry is read, not by the first call that is denied."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pipeline.registry.document import Document, Steps
from schemas.capabilities import EnvironmentScope, FileScope, Grant, HttpScope, Scope
from schemas.errors import Fault

_NAMES: dict[type[Scope], str] = {HttpScope: "http", FileScope: "files", EnvironmentScope: "environment"}
_LINE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
"""What no header's value may hold."""
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)


def futile_faults(document: Document, steps: Steps, grant: Grant) -> Iterator[Fault]:
    """What of the grant at `steps` cannot be meant."""
    if grant.per_ms is not None and grant.uses is None:
        yield document.fault(steps, "has `per` without `uses`, which bounds nothing", "add uses:, or leave per: out")
    scope = grant.scope
    inside = (*steps, _NAMES.get(type(scope), "")) if scope is not None else steps
    if isinstance(scope, HttpScope):
        yield from _http(document, inside, scope)
    elif isinstance(scope, FileScope):
        yield from _files(document, inside, scope)
    elif isinstance(scope, EnvironmentScope):
        yield from _environment(document, inside, scope)


def _http(document: Document, steps: Steps, scope: HttpScope) -> Iterator[Fault]:
    from sandbox.host.network.rules import FORBIDDEN_METHODS
    from sandbox.host.network.urls import BadUrl, canonical_host, literal

    for index, host in enumerate(scope.hosts):
        below = host.removeprefix("*.")
        try:
            name = canonical_host(f"[{below}]" if ":" in below else below)
            why = "there is nothing below an address" if below != host and literal(name) else ""
        except BadUrl as bad:
            why = str(bad)
        if why:
            problem = f"{{shown}} is no host that a request can go to: {why}"
            yield document.fault(
                (*steps, "hosts", index), problem, "write api.example.com, *.example.com or an address"
            )
    for key, given in (("ports", scope.ports), ("methods", scope.methods)):
        if not given:
            yield document.fault((*steps, key), "is empty, so that no request is allowed", "name one, or leave it out")
    for index, method in enumerate(scope.methods):
        if method in FORBIDDEN_METHODS:
            yield document.fault((*steps, "methods", index), f"{method} is never granted", "take it out")
    for host in scope.credentials:
        yield from _credential(document, (*steps, "credentials", host), host, scope)


def _credential(document: Document, steps: Steps, host: str, scope: HttpScope) -> Iterator[Fault]:
    from sandbox.host.network.headers import HOSTS_OWN
    from sandbox.host.network.rules import pattern_of
    from sandbox.host.network.urls import BadUrl, Target, canonical_host, literal

    try:
        name = canonical_host(f"[{host}]" if ":" in host else host)
    except BadUrl:
        yield document.fault(steps, "is a credential for what is no host", "name one host exactly, without stars")
        return
    if pattern_of(scope, Target("https", name, 443, "/", literal(name))) is None:
        yield document.fault(steps, "is a credential for a host that is not among `hosts`", "add it to hosts:")
    credential = scope.credentials[host]
    header = credential.header
    if not _TOKEN.fullmatch(header) or header.lower() in HOSTS_OWN or header.lower().startswith("proxy-"):
        remedy = "name one of letters, digits and hyphens that does not frame the message: Authorization, X-Api-Key"
        yield document.fault((*steps, "header"), f"{header[:40]!r} is no header that can be added", remedy)
    if _LINE.search(credential.reveal()):
        problem = "the credential has a line end or another control character in it"
        remedy = "take it out; variables that are read from files often end in a line end"
        yield document.fault((*steps, "value"), problem, remedy)


def _files(document: Document, steps: Steps, scope: FileScope) -> Iterator[Fault]:
    if not (scope.read or scope.write or scope.denied):
        yield document.fault(steps, "names no folder", "add read:, write: or deny:")
    for key, paths in (("read", scope.read), ("write", scope.write), ("deny", scope.denied)):
        for index, path in enumerate(paths):
            if "\0" in str(path):
                yield document.fault((*steps, key, index), "is a path with a NUL in it", "take it out")


def _environment(document: Document, steps: Steps, scope: EnvironmentScope) -> Iterator[Fault]:
    if not scope.names:
        yield document.fault(steps, "names no variable", "name one, or leave the grant out")
    for index, name in enumerate(scope.names):
        if "=" in name or "\0" in name:
            yield document.fault((*steps, index), "{shown} is no variable's name", "write the name alone: TZ")
