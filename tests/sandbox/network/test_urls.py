"""URLs have one meaning here, or none. Each case is a way to make two readers disagree."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from sandbox.host.network.urls import BadUrl, Disguised, Target, joined, read_url

DISGUISED = {
    "user-name": "https://api.example.com@evil.example/",
    "user-and-password": "https://api.example.com:443@evil.example/",
    "empty-user": "https://@evil.example/",
    "two-users": "https://a@b@evil.example/",
    "decimal": "https://2130706433/",
    "hex": "https://0x7f000001/",
    "hex-parts": "https://0x7f.0.0.0x1/",
    "octal": "https://017700000001/",
    "octal-parts": "https://0177.0.0.01/",
    "leading-zeros": "https://127.000.000.001/",
    "two-parts": "https://127.1/",
    "three-parts": "https://127.0.1/",
    "five-parts": "https://1.2.3.4.5/",
    "part-too-large": "https://127.0.0.256/",
    "number-under-a-name": "https://api.example.1/",
    "hex-prefix-alone": "https://a.0x/",
    "zone": "https://[fe80::1%eth0]/",
    "zone-escaped": "https://[fe80::1%25eth0]/",
    "escaped-host": "https://%31%32%37.0.0.1/",
    "escaped-dot": "https://api.example.com%2eevil.example/",
    "escaped-slash": "https://api.example.com%2f.evil.example/",
    "escaped-nul": "https://api.example.com%00.evil.example/",
    "fullwidth-decimal": "https://２１３０７０６４３３/",
}  # fmt: skip
BAD = {
    "backslash": "https://evil.example\\@api.example.com/",
    "backslash-for-slash": "https:\\\\api.example.com\\",
    "space-before": " https://api.example.com/",
    "space-within": "https://api.example .com/",
    "tab": "https://api\t.example.com/",
    "line-end": "https://api.example.com/\r\nHost: evil.example",
    "line-feed-in-query": "https://api.example.com/?a=\nb",
    "nul": "https://api.example.com\x00.evil.example/",
    "no-scheme": "api.example.com/",
    "no-slashes": "https:api.example.com/",
    "one-slash": "https:/api.example.com/",
    "scheme-relative": "//api.example.com/",
    "relative": "/path",
    "empty": "",
    "file": "file:///etc/passwd",
    "ftp": "ftp://api.example.com/",
    "gopher": "gopher://api.example.com:25/_x",
    "unix-socket": "http+unix://%2Frun%2Fdocker.sock/",
    "websocket": "wss://api.example.com/",
    "javascript": "javascript:alert(1)",
    "no-host": "https:///path",
    "port-only": "https://:443/",
    "dot-host": "https://./",
    "empty-label": "https://api..example.com/",
    "two-trailing-dots": "https://api.example.com../",
    "port-0": "https://api.example.com:0/",
    "port-too-large": "https://api.example.com:65536/",
    "port-wraps": "https://api.example.com:4294967739/",
    "port-signed": "https://api.example.com:+443/",
    "port-fullwidth": "https://api.example.com:４４３/",
    "two-ports": "https://api.example.com:443:80/",
    "bracket-unclosed": "https://[::1/",
    "bracket-behind": "https://[::1]evil.example/",
    "brackets-around-a-name": "https://[api.example.com]/",
    "brackets-around-ipv4": "https://[127.0.0.1]/",
    "ipv6-bare": "https://::1/",
    "ipvfuture": "https://[v1.a]/",
    "fullwidth-slash": "https://evil.example／.api.example.com/",
    "fullwidth-question": "https://evil.example？.api.example.com/",
    "fullwidth-at": "https://a＠evil.example/",
    "account-of": "https://evil.c℀.api.example.com/",
    "bidi": "https://api\u202e.example.com/",
    "label-too-long": f"https://{'a' * 64}.example.com/",
    "name-too-long": f"https://{'a.' * 127}com/",
    "hyphen-first": "https://-a.example.com/",
    "semicolon-in-host": "https://api.example.com;evil.example/",
    "quote-in-host": "https://api.example.com'.evil.example/",
    "surrogate": "https://api.example.com/\ud800",
    "too-long": "https://api.example.com/" + "a" * 8000,
}  # fmt: skip
SAME = {
    "https://API.Example.COM": "https://api.example.com:443/",
    "HTTPS://api.example.com./": "https://api.example.com:443/",
    "https://api.example.com:443?q": "https://api.example.com:443/?q",
    "https://api.example.com:/x#fragment@evil.example": "https://api.example.com:443/x",
    "https://api.example.com?@evil.example/": "https://api.example.com:443/?@evil.example/",
    "https://api.example.com/@evil.example": "https://api.example.com:443/@evil.example",
    "https://api.example.com:0443/": "https://api.example.com:443/",
    "http://bücher.example/ü?ü=%2f": "http://xn--bcher-kva.example:80/%C3%BC?%C3%BC=%2f",
    "https://ａｐｉ。example．com/": "https://api.example.com:443/",
    "https://faß.example/": "https://xn--fa-hia.example:443/",
    "https://１２７.0.0.1/": "https://127.0.0.1:443/",
    "https://①②⑦.0.0.1./": "https://127.0.0.1:443/",
    "https://[0:0::1]:8443/a/../b": "https://[::1]:8443/a/../b",
    "https://[::FFFF:7f00:1]/": "https://[::ffff:7f00:1]:443/",
    'https://api.example.com/"<x>"': "https://api.example.com:443/%22%3Cx%3E%22",
}  # fmt: skip


@pytest.mark.parametrize("url", DISGUISED.values(), ids=DISGUISED)
def test_hosts_in_disguise(url: str) -> None:
    with pytest.raises(Disguised):
        read_url(url)


@pytest.mark.parametrize("url", BAD.values(), ids=BAD)
def test_urls_without_one_meaning(url: str) -> None:
    with pytest.raises(BadUrl):
        read_url(url)


@pytest.mark.parametrize(("url", "meant"), SAME.items())
def test_one_spelling(url: str, meant: str) -> None:
    assert read_url(url).url == meant


def test_addresses_are_known_as_such() -> None:
    assert str(read_url("https://[::ffff:127.0.0.1]/").address) == "::ffff:7f00:1"
    assert str(read_url("https://127.0.0.1./").address) == "127.0.0.1"
    assert read_url("https://api.example.com/").address is None
    assert read_url("https://0x7f.example.com/").address is None


@pytest.mark.parametrize(
    ("location", "meant"),
    [
        ("/x?y", "https://api.example.com:8443/x?y"),
        ("x", "https://api.example.com:8443/a/x"),
        ("//evil.example/x", "https://evil.example:443/x"),
        ("https://evil.example", "https://evil.example:443/"),
        ("?q", "https://api.example.com:8443/a/b?q"),
        ("", "https://api.example.com:8443/a/b"),
        ("http:/x", None),
        ("\\\\evil.example", None),
        ("///evil.example", None),
        ("https:///evil.example", None),
        ("/\t/evil.example", None),
        ("https://user@evil.example", None),
        ("https://[x", None),
        ("data:text/plain,x", None),
    ],
)
def test_locations_are_read_as_strictly(location: str, meant: str | None) -> None:
    base = read_url("https://api.example.com:8443/a/b")
    if meant is not None:
        assert joined(base, location).url == meant
        return
    with pytest.raises(BadUrl):
        joined(base, location)


def _agreed(target: Target) -> None:
    """Three other readers of what we send come to the same host and port."""
    seen = URL(target.url, encoded=True)
    assert (seen.raw_host, seen.port, seen.scheme, seen.user) == (target.host, target.port, target.scheme, None)
    split = urlsplit(target.url)
    assert (split.hostname, split.port, split.username) == (target.host, target.port, None)
    assert read_url(target.url) == target


PIECES = st.sampled_from(
    [
        *"@:/?#[]%\\.\t 0x17",
        "https://",
        "http://",
        "api.example.com",
        "127.0.0.1",
        "::1",
        "%2e",
        "。",
        "１",
        "ß",
        "\u200d",
        "443",
        "//",
        "xn--",
        "-",
    ]
)


@given(st.lists(PIECES, max_size=12).map("".join) | st.text(max_size=40))
def test_any_text_is_one_url_or_none(text: str) -> None:
    for url in (text, f"https://{text}", f"https://api.example.com{text}"):
        try:
            target = read_url(url)
        except BadUrl:
            continue
        _agreed(target)


@given(st.lists(PIECES, max_size=12).map("".join) | st.text(max_size=40))
def test_any_location_is_one_url_or_none(text: str) -> None:
    try:
        target = joined(read_url("https://api.example.com/a"), text)
    except BadUrl:
        return
    _agreed(target)
