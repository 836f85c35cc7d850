"""Which addresses are public, which are never, and which are one's own network."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.host.network.addresses import refusal

PUBLIC = (
    "93.184.216.34",
    "1.1.1.1",
    "8.8.8.8",
    "172.15.255.255",
    "172.32.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "2606:2800:220:1::1",
    "2a00::1",
)
INSIDE = {
    "a private address": (
        "10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "fc00::1", "fd12:3456::1", "fec0::1",
    ),
    "a loopback address": ("127.0.0.1", "127.1.2.3", "127.255.255.255", "::1"),
    "a link-local address": ("169.254.0.1", "fe80::1"),
    "an address of no public host": (
        "192.0.0.8", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "192.88.99.1", "2001:db8::1", "2001:2::1", "3fff::1",
        "100::1", "5f00::1", "4000::1", "::2:0:0:1",
    ),
}  # fmt: skip
NEVER = {
    "an unspecified address": ("0.0.0.0", "0.1.2.3", "::"),
    "a multicast address": ("224.0.0.1", "239.255.255.255", "ff02::1", "ff0e::1"),
    "a reserved address": ("240.0.0.1", "255.255.255.255"),
}
METADATA = (
    "169.254.169.254",
    "169.254.170.2",
    "168.63.129.16",
    "100.100.100.200",
    "192.0.0.192",
    "fd00:ec2::254",
    "fd20:ce::254",
)
CARRIERS = {
    "mapped": "::ffff:{0:x}:{1:x}",
    "compatible": "::{0:x}:{1:x}",
    "translated": "::ffff:0:{0:x}:{1:x}",
    "nat64": "64:ff9b::{0:x}:{1:x}",
    "nat64-local": "64:ff9b:1::{0:x}:{1:x}",
    "6to4": "2002:{0:x}:{1:x}::1",
    "teredo-server": "2001:0:{0:x}:{1:x}:0:0:a247:28dd",
    "isatap": "2606:2800::5efe:{0:x}:{1:x}",
}


def carried(form: str, address: str) -> IPv6Address:
    value = int(IPv4Address(address))
    return IPv6Address(CARRIERS[form].format(value >> 16, value & 0xFFFF))


@pytest.mark.parametrize("text", PUBLIC)
def test_public_addresses_are_reached(text: str) -> None:
    assert refusal(ip_address(text)) is None


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in INSIDE.items() for text in texts])
def test_ones_own_network_takes_a_word_in_the_grant(kind: str, text: str) -> None:
    assert refusal(ip_address(text)) == kind
    assert refusal(ip_address(text), private=True) is None


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in NEVER.items() for text in texts])
def test_some_addresses_no_grant_reaches(kind: str, text: str) -> None:
    assert refusal(ip_address(text)) == refusal(ip_address(text), private=True, spelled_out=True) == kind


@pytest.mark.parametrize("text", METADATA)
def test_metadata_services_take_their_address_in_the_grant(text: str) -> None:
    assert "metadata" in str(refusal(ip_address(text)))
    assert "metadata" in str(refusal(ip_address(text), private=True))
    assert refusal(ip_address(text), private=True, spelled_out=True) is None


@pytest.mark.parametrize("form", CARRIERS)
@pytest.mark.parametrize("text", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "8.8.8.8"])
def test_ipv4_addresses_inside_ipv6_ones_are_found(form: str, text: str) -> None:
    assert "carries" in str(refusal(carried(form, text)))


@pytest.mark.parametrize("form", CARRIERS)
def test_no_ipv6_form_carries_a_request_to_the_metadata_service(form: str) -> None:
    assert "metadata" in str(refusal(carried(form, "169.254.169.254"), private=True, spelled_out=True))
    assert refusal(carried(form, "0.0.0.0"), private=True) is not None
    assert refusal(carried(form, "10.0.0.1"), private=True) is None


def test_the_client_that_a_teredo_address_hides_is_found() -> None:
    hidden = int(IPv4Address("169.254.169.254")) ^ 0xFFFFFFFF
    address = IPv6Address(f"2001:0:808:808::{hidden >> 16:x}:{hidden & 0xFFFF:x}")
    assert "metadata" in str(refusal(address, private=True))


def test_zones_are_refused() -> None:
    assert refusal(IPv6Address("fe80::1%eth0"), private=True) == "an address with a zone"


@given(st.ip_addresses())
def test_what_is_let_through_is_global_by_pythons_own_table_too(address: IPv4Address | IPv6Address) -> None:
    if refusal(address) is None:
        assert address.is_global and not address.is_multicast and not address.is_private


@given(st.ip_addresses(v=4), st.sampled_from(sorted(CARRIERS)))
def test_nothing_carried_goes_to_the_public_network(address: IPv4Address, form: str) -> None:
    assert refusal(carried(form, str(address))) is not None
