"""What a scope covers: hosts, ports, methods, schemes, credentials, headers."""

from __future__ import annotations

import pytest

from sandbox.host.gate import Denied
from sandbox.host.network import headers
from sandbox.host.network.redirects import Request, following
from sandbox.host.network.rules import credential_for, objection
from sandbox.host.network.urls import read_url
from sandbox.host.requests import HostFailure
from schemas.capabilities import Credential, HttpScope

SECRET = "Bearer correct-horse-battery"
SCOPE = HttpScope(
    hosts=("api.example.com", "*.cdn.example.com"), credentials={"api.example.com": Credential("Authorization", SECRET)}
)


def why(url: str, method: str = "GET", **changes: object) -> str:
    scope = HttpScope(**{"hosts": SCOPE.hosts} | changes)  # type: ignore[arg-type]
    return objection(scope, read_url(url), method) or ""


@pytest.mark.parametrize(
    "url",
    [
        "https://api.example.com/",
        "https://API.EXAMPLE.COM./x",
        "https://a.cdn.example.com",
        "https://a.b.cdn.example.com",
        "https://x_y.cdn.example.com",
    ],
)
def test_granted_hosts(url: str) -> None:
    assert why(url) == ""


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/",
        "https://evil.example/",
        "https://api.example.com.evil.example/",
        "https://evilapi.example.com/",
        "https://x.api.example.com/",
        "https://cdn.example.com/",
        "https://evilcdn.example.com/",
        "https://аpi.example.com/",  # the first letter is Cyrillic
        "https://1.2.3.4/",
        "https://[::1]/",
    ],
)
def test_other_hosts_are_out_of_scope(url: str) -> None:
    assert "not among the grant's hosts" in why(url)


@pytest.mark.parametrize(
    "pattern",
    ["*", "*.", "**.example.com", "api.*.com", "", "*.1.2.3", "https://api.example.com", "api.example.com:443"],
)
def test_what_is_no_pattern_covers_nothing(pattern: str) -> None:
    assert "not among" in why("https://api.example.com/", hosts=(pattern,))


@pytest.mark.parametrize("url", ["https://10.1.2.3/", "https://8.8.8.8/"])
def test_no_wildcard_covers_an_address(url: str) -> None:
    last_three = url.split("//")[1].partition(".")[2].rstrip("/")
    assert "not among" in why(url, hosts=(f"*.{last_three}", "*.3", "*.8"))


@pytest.mark.parametrize(
    ("pattern", "url"),
    [
        ("BÜCHER.example", "https://xn--bcher-kva.example"),
        ("::1", "https://[0::1]"),
        ("[::1]", "https://[::1]"),
        ("a.example.", "https://a.example"),
    ],
)
def test_patterns_are_read_as_hosts_are(pattern: str, url: str) -> None:
    assert why(url, hosts=(pattern,), private=True) == ""


def test_ports_methods_and_schemes() -> None:
    assert "the port 8443" in why("https://api.example.com:8443/")
    assert "the method POST" in why("https://api.example.com/", "POST")
    assert "not https" in why("http://api.example.com:443/")
    assert "the port 80" in why("http://api.example.com/", plain=True)
    assert why("http://api.example.com/", plain=True, ports=(80,)) == ""


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "TRACK"])
def test_methods_that_no_grant_allows(method: str) -> None:
    assert "never granted" in why("https://api.example.com/", method, methods=(method,))


def test_granted_addresses_are_checked_at_once() -> None:
    assert why("https://8.8.8.8/", hosts=("8.8.8.8",)) == ""
    assert "loopback" in why("https://127.0.0.1/", hosts=("127.0.0.1",))
    assert why("https://127.0.0.1/", hosts=("127.0.0.1",), private=True) == ""
    assert why("https://169.254.169.254/", hosts=("169.254.169.254",), private=True) == ""


def test_a_credential_goes_to_its_host_alone() -> None:
    assert credential_for(SCOPE, read_url("https://API.example.com.")) == Credential("Authorization", SECRET)
    assert credential_for(SCOPE, read_url("https://a.cdn.example.com")) is None


def test_a_credential_goes_in_the_clear_in_ones_own_network_only() -> None:
    plain = HttpScope(hosts=SCOPE.hosts, credentials=SCOPE.credentials, plain=True)
    assert credential_for(plain, read_url("http://api.example.com")) is None
    inside = HttpScope(hosts=SCOPE.hosts, credentials=SCOPE.credentials, plain=True, private=True)
    assert credential_for(inside, read_url("http://api.example.com")) is not None


FORBIDDEN = (
    "Host", "hOsT", "Connection", "Keep-Alive", "TE", "Trailer", "Transfer-Encoding", "Transfer_Encoding", "Upgrade", "Content-Length", "Expect",
    "Proxy-Authorization", "Proxy-Connection", "proxy_anything", "HTTP2-Settings", "X-HTTP-Method-Override", "X-Method-Override",
)  # fmt: skip


@pytest.mark.parametrize("name", FORBIDDEN)
def test_headers_that_are_the_hosts_own(name: str) -> None:
    assert "the host's own" in str(headers.objection(SCOPE, [("Accept", "x"), (name, "x")]))


@pytest.mark.parametrize("name", ["Authorization", "AUTHORIZATION", "authorization"])
def test_a_guest_cannot_shadow_a_credential(name: str) -> None:
    assert "a credential" in str(headers.objection(SCOPE, [(name, "Bearer mine")]))


def test_a_guest_cannot_shadow_a_credential_for_servers_that_take_underscores_for_hyphens() -> None:
    scope = HttpScope(credentials={"a.example": Credential("X-Api-Key", "k")})
    assert "a credential" in str(headers.objection(scope, [("X_Api_Key", "mine")]))


MALFORMED = {
    "line-end-in-value": [("A", "b\r\nHost: evil.example")],
    "line-feed-in-value": [("A", "b\nc")],
    "return-in-value": [("A", "b\rc")],
    "nul-in-value": [("A", "b\0c")],
    "escape-in-value": [("A", "\x1b[2J")],
    "line-end-in-name": [("A\r\nB", "c")],
    "space-in-name": [("Host ", "evil.example")],
    "colon-in-name": [("Host:", "evil.example")],
    "empty-name": [("", "x")],
    "name-beyond-ascii": [("Ｈost", "evil.example")],
    "nul-in-name": [("A\0", "x")],
    "folded": [("A", "b\r\n c")],
    "too-many": [("A", "b")] * 65,
    "too-long": [("A", "b" * (16 << 10))],
    "too-long-beyond-ascii": [("A", "\N{SNOWMAN}" * 6000)],
}


@pytest.mark.parametrize("given", MALFORMED.values(), ids=MALFORMED)
def test_headers_that_cannot_be_sent(given: list[tuple[str, str]]) -> None:
    assert headers.malformed(given)


def test_what_is_sent_is_the_guests_and_the_hosts() -> None:
    given = [("Accept", "x"), ("Accept-Encoding", "br"), ("user-agent", "mine")]
    assert headers.malformed(given) is None and headers.objection(SCOPE, given) is None
    assert headers.sent(SCOPE, read_url("https://api.example.com"), given) == [
        ("accept", "x"), ("user-agent", "mine"), ("Authorization", SECRET), ("Accept-Encoding", "gzip, deflate"),
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["correct-horse-battery", SECRET, "xx correct-horse-battery xx"])
def test_answers_that_repeat_a_credential_are_noticed(text: str) -> None:
    assert headers.echoes_secret(SCOPE, [("x", text)], b"")
    assert headers.echoes_secret(SCOPE, [], text.encode())
    assert not headers.echoes_secret(SCOPE, [("x", "Bearer")], b"correct-horse")


def test_nothing_of_a_credential_is_in_a_scopes_text() -> None:
    assert "horse" not in repr(SCOPE)


BASE = Request(
    "POST",
    read_url("https://api.example.com/a"),
    (("Authorization", "mine"), ("Cookie", "c"), ("Content-Type", "t"), ("X-A", "b")),
    b"body",
)
BOTH = HttpScope(hosts=("*.example.com",), methods=("GET", "HEAD", "POST", "PUT"))


def follow(location: str, status: int = 307, scope: HttpScope = BOTH, method: str = "POST") -> Request:
    request = Request(method, BASE.target, BASE.headers, BASE.body)
    found = following(request, status, [location], scope)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("method", "status", "then"),
    [
        ("POST", 301, "GET"), ("POST", 302, "GET"), ("POST", 303, "GET"), ("POST", 307, "POST"), ("POST", 308, "POST"),
        ("PUT", 301, "PUT"), ("PUT", 303, "GET"), ("HEAD", 303, "HEAD"), ("HEAD", 302, "HEAD"), ("GET", 301, "GET"),
    ],
)  # fmt: skip
def test_methods_and_bodies_after_a_redirect(method: str, status: int, then: str) -> None:
    found = follow("/b", status, method=method)
    assert found.method == then
    assert (found.body is None, "Content-Type" not in dict(found.headers)) == (then != method,) * 2
    assert dict(found.headers)["X-A"] == "b"


def test_what_a_guest_sent_for_one_origin_stays_there() -> None:
    assert dict(follow("/b").headers) == dict(BASE.headers)
    assert set(dict(follow("https://b.example.com/").headers)) == {"Content-Type", "X-A"}
    other_port = HttpScope(hosts=BOTH.hosts, methods=BOTH.methods, ports=(443, 8443))
    assert "Cookie" not in dict(follow("https://api.example.com:8443/", scope=other_port).headers)


@pytest.mark.parametrize(
    "location",
    [
        "https://evil.example/",
        "//evil.example",
        "http://api.example.com/",
        "https://api.example.com:22/",
        "https://127.0.0.1/",
        "https://user@api.example.com/",
        "https://2130706433/",
    ],
)
def test_redirects_out_of_scope_are_denied(location: str) -> None:
    with pytest.raises(Denied, match="redirects, but"):
        follow(location)


def test_a_redirect_to_another_method_needs_that_method() -> None:
    with pytest.raises(Denied, match="the method GET"):
        follow("/b", 303, HttpScope(hosts=BOTH.hosts, methods=("POST",)))


def test_redirects_that_are_none() -> None:
    assert following(BASE, 304, ["/b"], BOTH) is None
    assert following(BASE, 302, [], BOTH) is None
    assert following(BASE, 200, ["/b"], BOTH) is None


@pytest.mark.parametrize("locations", [["/a", "/b"], ["\\\\evil"], ["x" * 9000], ["javascript:x"]])
def test_redirects_that_cannot_be_understood_fail(locations: list[str]) -> None:
    with pytest.raises(HostFailure):
        following(BASE, 302, locations, BOTH)
