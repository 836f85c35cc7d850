"""Which addresses requests may go to: public ones, and one's own network's under a grant that says `private`.

Everything that is not known to be public is refused. The tables are IANA's special-purpose registries for IPv4 and IPv6; Python's own
(`is_global`) differs between its versions and is asked besides.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address

METADATA = frozenset(
    map(
        ip_address,
        (
            "169.254.169.254",  # AWS, Azure, Google, and most others
            "169.254.170.2",  # AWS: credentials of containers
            "169.254.170.23",
            "168.63.129.16",  # Azure: its agents' endpoint, in a public range
            "100.100.100.200",  # Alibaba
            "192.0.0.192",  # Oracle
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd20:ce::254",  # Google
        ),
    )
)
"""Where clouds hand credentials to whoever asks. Only an address that the grant spells out is reached."""

_NEVER_4 = {
    "an unspecified address": ("0.0.0.0/8",),
    "a multicast address": ("224.0.0.0/4",),
    "a reserved address": ("240.0.0.0/4",),
}
_PRIVATE_4 = {
    "a private address": ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"),
    "a loopback address": ("127.0.0.0/8",),
    "a link-local address": ("169.254.0.0/16",),
    "an address of no public host": (
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
    ),
}
_NEVER_6 = {"an unspecified address": ("::/128",), "a multicast address": ("ff00::/8",)}
_PRIVATE_6 = {
    "a loopback address": ("::1/128",),
    "a private address": ("fc00::/7", "fec0::/10"),
    "a link-local address": ("fe80::/10",),
    "an address of no public host": ("2001::/23", "2001:db8::/32", "3fff::/20"),
}
_PUBLIC_6 = IPv6Network("2000::/3")
_IN_LAST_BITS = tuple(map(IPv6Network, ("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48")))
"""IPv4-compatible, -mapped, -translated, NAT64, local NAT64: an IPv4 address in the last 32 bits."""
_6TO4 = IPv6Network("2002::/16")
_TEREDO = IPv6Network("2001::/32")
_ISATAP = (0x00005EFE, 0x02005EFE)
_U32 = 0xFFFFFFFF


def refusal(address: Address, *, private: bool = False, spelled_out: bool = False) -> str | None:
    """Why no connection goes to `address`, as "a loopback address"; None when one may.

    `private` lets loopback, private and link-local ones through, and IPv6 addresses that carry such an IPv4 one. `spelled_out`: the grant
    names this very address, which a metadata service needs even then.
    """
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        return "an address with a zone"
    if address in METADATA and not (private and spelled_out):
        return "the address of a metadata service"
    carried = next((why for one in _carried(address) if (why := _carried_refusal(one, private=private))), None)
    if carried:
        return carried
    never, inside = (_NEVER_4, _PRIVATE_4) if isinstance(address, IPv4Address) else (_NEVER_6, _PRIVATE_6)
    return _kind(address, never) or (None if private else _kind(address, inside) or _not_public(address))


def _carried_refusal(address: IPv4Address, *, private: bool) -> str | None:
    """Of an IPv4 address within an IPv6 one. Never without `private`: what carries it decides where it goes."""
    why = refusal(address, private=private)
    if why is None and private:
        return None
    return f"an IPv6 address that carries {why or 'an IPv4 address'}"


def _carried(address: Address) -> Iterator[IPv4Address]:
    if not isinstance(address, IPv6Address):
        return
    value = int(address)
    if (value > 1 and any(address in network for network in _IN_LAST_BITS)) or (value >> 32) & _U32 in _ISATAP:
        yield IPv4Address(value & _U32)
    elif address in _6TO4:
        yield IPv4Address((value >> 80) & _U32)
    elif address in _TEREDO:
        yield IPv4Address((value >> 64) & _U32)
        yield IPv4Address(~value & _U32)


def _kind(address: Address, kinds: Mapping[str, tuple[str, ...]]) -> str | None:
    return next((kind for kind, networks in kinds.items() if any(address in _network(one) for one in networks)), None)


def _not_public(address: Address) -> str | None:
    public = address.is_global and (isinstance(address, IPv4Address) or address in _PUBLIC_6)
    return None if public else "an address of no public host"


@cache
def _network(text: str) -> IPv4Network | IPv6Network:
    return ip_network(text)
