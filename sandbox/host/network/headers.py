"""Headers: what a guest may send, what the host adds, what the guest gets to see.

Threat: a header that ends early begins another one, or another request; one that frames the message, names another host or another
method makes the server do what was not checked; one of a credential's name replaces it or shadows it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from sandbox.host.network.rules import credential_for
from sandbox.host.network.urls import Target
from schemas.capabilities import HttpScope

HEADERS_MAX = 64
"""Of a request."""
HEADER_BYTES_MAX = 16 << 10
"""Of all of them: names and values."""
ANSWER_HEADERS_MAX = 100
ANSWER_HEADER_BYTES_MAX = 64 << 10
SECRET_CHARACTERS_MIN = 8
"""Shorter credentials occur by chance: an answer that holds one is let through."""

USER_AGENT = ("User-Agent", "penstock")
ACCEPT_ENCODING = ("Accept-Encoding", "gzip, deflate")

HOSTS_OWN = frozenset(
    {
        "host", "connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "content-length", "expect",
        "http2-settings", "x-http-method", "x-http-method-override", "x-method-override",
    }
)  # fmt: skip
"""They frame the message, belong to the connection, or stand for what was checked already."""
_PROXY = "proxy-"
_NOT_HANDED_BACK = HOSTS_OWN | {"content-encoding"}
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
Header = tuple[str, str]


class BadHeader(ValueError):
    """A header that cannot be sent, whoever it goes to."""


def malformed(headers: Sequence[Header]) -> str | None:
    """Why these headers are none."""
    if len(headers) > HEADERS_MAX:
        return f"{len(headers)} headers; {HEADERS_MAX} is the most"
    if not all(_TOKEN.fullmatch(name) for name, _ in headers):
        return "the name of a header is no token"
    if any(_CONTROLS.search(value) for _, value in headers):
        return "the value of a header has a line end, a NUL or another control character in it"
    size = sum(len(name) + len(value.encode()) for name, value in headers)
    return f"headers of {size} bytes; {HEADER_BYTES_MAX} is the most" if size > HEADER_BYTES_MAX else None


def objection(scope: HttpScope, headers: Iterable[Header]) -> str | None:
    """Why a guest may not send one of these. Servers that take `_` for `-` are thought of."""
    secret = {_plain(one.header) for one in scope.credentials.values()}
    for name, _ in headers:
        plain = _plain(name)
        if plain in HOSTS_OWN or plain.startswith(_PROXY):
            return f"the header `{plain}` is the host's own"
        if plain in secret:
            return f"the header `{plain}` is a credential of the grant"
    return None


def sent(scope: HttpScope, target: Target, given: Sequence[Header]) -> list[Header]:
    """What goes to `target`: the guest's own with names in lower case (aiohttp drops one of two that differ in case), and the host's."""
    headers = [(name.lower(), value) for name, value in given if _plain(name) != "accept-encoding"]
    if not any(_plain(name) == "user-agent" for name, _ in headers):
        headers.append(USER_AGENT)
    credential = credential_for(scope, target)
    if credential is not None:
        headers.append((credential.header, credential.reveal()))
    return [*headers, ACCEPT_ENCODING]


def handed_back(raw: Iterable[tuple[bytes, bytes]]) -> list[Header]:
    """A server's headers for the guest: names in lower case, without those of the connection and of the coding that is undone."""
    headers = [(_text(name).lower(), _text(value)) for name, value in raw]
    return [one for one in headers if one[0] not in _NOT_HANDED_BACK and not one[0].startswith(_PROXY)]


def echoes_secret(scope: HttpScope, headers: Iterable[Header], body: bytes) -> bool:
    """Whether an answer holds a credential of the scope as it is. In disguise (reversed, as base64) it is not found."""
    secrets = [_secret(one.reveal()) for one in scope.credentials.values()]
    texts = [value for _, value in headers]
    return any(
        len(one) >= SECRET_CHARACTERS_MIN and (one.encode() in body or any(one in text for text in texts))
        for one in secrets
    )


def _secret(value: str) -> str:
    """`Bearer abc` keeps `abc` secret."""
    return value.strip().rpartition(" ")[2]


def _plain(name: str) -> str:
    return name.lower().replace("_", "-")


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")
