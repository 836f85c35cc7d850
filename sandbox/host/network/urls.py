"""URLs, read strictly. What cannot be understood in exactly one way is refused, and what was understood is what is sent.

Threat: two readers of one URL. `http://a@b`, `http://a\\@b`, `0x7f.1`, `127.1`, fullwidth digits, percent-encoded dots: one of them
checks `a`, the other connects to `b`. Here one function reads it; the request is built from its parts, never from the text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from urllib.parse import quote, urljoin

from sandbox.host.network.addresses import Address

URL_CHARACTERS_MAX = 8_000
HOST_CHARACTERS_MAX = 253
LABEL_CHARACTERS_MAX = 63
PORTS = {"https": 443, "http": 80}

_PARTS = re.compile(r"(https?)://([^/?#]*)(/[^?#]*)?(\?[^#]*)?(?:#.*)?", re.IGNORECASE | re.ASCII)
_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?", re.ASCII)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
_SLASHES = re.compile(r"(?:[a-z][a-z0-9+.-]*:)?///", re.IGNORECASE | re.ASCII)
_UNSENDABLE = re.compile(r"[\x00-\x20\x7f\\]")
_KEPT = "%!$&'()*+,;=:@/?~-._[]"
"""Beside letters and digits: what is sent as the guest wrote it."""


class BadUrl(ValueError):
    """A URL that has no one meaning here; the message says why, and holds nothing of its path."""


class Disguised(BadUrl):
    """A host that is spelled to be taken for another: user names, odd numbers, zones, escapes."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes."""

    scheme: str
    host: str
    """Lower-case ASCII without a trailing dot; an address in its one spelling, without brackets."""
    port: int
    path: str
    """With the query; begins with a slash; ASCII."""
    address: Address | None = None
    """When the host is an address."""

    @property
    def origin(self) -> str:
        """For messages and comparison: `https://api.example.com:443`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    @property
    def url(self) -> str:
        """All of it, in one spelling."""
        return self.origin + self.path


def read_url(text: str) -> Target:
    """Raises BadUrl for anything but an absolute http or https URL with one meaning."""
    if len(text) > URL_CHARACTERS_MAX:
        raise BadUrl(f"the URL has {len(text)} characters; {URL_CHARACTERS_MAX} is the most")
    if _UNSENDABLE.search(text):
        raise BadUrl("the URL has white space, control characters or a backslash in it")
    parts = _PARTS.fullmatch(text)
    if parts is None:
        raise BadUrl("it is no absolute http or https URL")
    scheme, (host, port) = parts[1].lower(), _authority(parts[2])
    name = canonical_host(host)
    path = _sendable((parts[3] or "/") + (parts[4] or ""))
    return Target(scheme, name, PORTS[scheme] if port is None else port, path, literal(name))


def joined(base: Target, location: str) -> Target:
    """Where a redirect from `base` leads. Raises BadUrl."""
    if len(location) > URL_CHARACTERS_MAX or _UNSENDABLE.search(location):
        raise BadUrl("the location is too long, or has white space, control characters or a backslash in it")
    if _SLASHES.match(location):  # a host to some readers, a path to others
        raise BadUrl("the location has too many slashes")
    try:
        return read_url(urljoin(base.url, location))
    except BadUrl:
        raise
    except ValueError:
        raise BadUrl("the location is no URL") from None


def canonical_host(text: str) -> str:
    """The one spelling of a host's name or address. Raises BadUrl."""
    if text.startswith("["):
        return _ipv6(text)
    if "%" in text:
        raise Disguised("the host has escapes in it")
    name = _ascii(text).lower().removesuffix(".")
    labels = name.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        return _ipv4(name)
    if len(name) > HOST_CHARACTERS_MAX or not all(
        len(one) <= LABEL_CHARACTERS_MAX and _LABEL.fullmatch(one) for one in labels
    ):
        raise BadUrl("the host is no name")
    return name


def literal(host: str) -> Address | None:
    """The address that a canonical host is; None for a name."""
    if ":" in host:
        return IPv6Address(host)
    return IPv4Address(host) if host[-1].isdigit() and _NUMBER.fullmatch(host.rpartition(".")[2]) else None


def _authority(text: str) -> tuple[str, int | None]:
    if "@" in text:
        raise Disguised("the URL has a user name in it")
    host, colon, port = text.rpartition(":") if not text.endswith("]") else (text, "", "")
    if not colon:
        return text, None
    if not port:  # `https://host:/` means the scheme's own
        return host, None
    if not _PORT.fullmatch(port) or not 1 <= int(port) <= 65_535:
        raise BadUrl("the port is no number from 1 to 65535")
    return host, int(port)


def _ascii(text: str) -> str:
    if text.isascii():
        return text
    if len(text) > HOST_CHARACTERS_MAX:
        raise BadUrl("the host is no name")
    import idna

    try:
        return idna.encode(text, uts46=True, std3_rules=True).decode()
    except UnicodeError:
        raise BadUrl("the host is no name that IDNA knows") from None


def _ipv4(text: str) -> str:
    try:
        return str(IPv4Address(text))
    except AddressValueError:
        raise Disguised("the host is a number, but no address of four decimal parts without leading zeros") from None


def _ipv6(text: str) -> str:
    if "%" in text:
        raise Disguised("the address has a zone")
    try:
        if not text.endswith("]"):
            raise BadUrl("the host is no address")
        return str(IPv6Address(text[1:-1]))
    except AddressValueError:
        raise BadUrl("the host is no address") from None


def _sendable(path: str) -> str:
    try:
        return quote(path, safe=_KEPT, encoding="utf-8")
    except UnicodeEncodeError:
        raise BadUrl("the URL is no text") from None
