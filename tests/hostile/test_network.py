"""Attacks with URLs, names and addresses: a real server on loopback counts who comes, and nobody may come who was not granted."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from schemas.capabilities import Credential, HttpScope
from tests.hostile.conftest import MakeWorld
from tests.hostile.rig import DEADLINE, DENIED, INVALID, TOO_LARGE, UNAVAILABLE, Answer, Stopped, Tenant, grant

NAME = "api.example.com"
TOKEN = "Bearer correct-horse"


class Canary(http.server.ThreadingHTTPServer):
    """Answers everything, and remembers it. `reply` is (status, headers, body)."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.heard: list[tuple[str, str, dict[str, str]]] = []
        self.reply: Callable[[str], tuple[int, Sequence[tuple[str, str]], bytes]] = lambda path: (200, (), b"canary")

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Canary
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        self.server.heard.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}))
        status, headers, body = self.server.reply(self.path)
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_HEAD = _answer  # noqa: N815 -- the base class calls them so

    def log_message(self, *_: Any) -> None:
        """Silent."""


@pytest.fixture
def canary() -> Iterator[Canary]:
    with Canary() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def enter(make: MakeWorld, addresses: Sequence[str] = ("127.0.0.1",), strict: bool = False, **scope: Any) -> Tenant:
    world = make(resolve=lambda name: addresses)
    wanted = HttpScope(**{"hosts": (NAME,), "plain": True, "timeout_ms": 3_000} | scope)
    return world.tenant("http_request", strict=strict, grants=[grant("network-client", scope=wanted)])


def get(
    tenant: Tenant, url: str, method: str = "GET", headers: Sequence[Sequence[str]] = (), body: bytes | None = None
) -> Answer:
    return tenant.ask(
        "http_request", {"method": method, "url": url, "headers": [list(one) for one in headers], "body": body}
    )


REFUSED = {DENIED, INVALID, UNAVAILABLE}

URLS = {
    "another host": "http://evil.example.com:{port}/",
    "loopback by name": "http://localhost:{port}/",
    "loopback by number": "http://127.0.0.1:{port}/",
    "loopback, short": "http://127.1:{port}/",
    "loopback as one number": "http://2130706433:{port}/",
    "loopback in hexadecimal": "http://0x7f000001:{port}/",
    "loopback in octal": "http://0177.0.0.1:{port}/",
    "loopback of version 6": "http://[::1]:{port}/",
    "loopback mapped into version 6": "http://[::ffff:127.0.0.1]:{port}/",
    "the address of no host": "http://0.0.0.0:{port}/",
    "nothing as a host": "http://:{port}/",
    "loopback in full-width digits": "http://１２７.0.0.1:{port}/",
    "loopback with circled digits": "http://①②⑦.⓪.⓪.①:{port}/",
    "the granted host as a user": "http://{name}@127.0.0.1:{port}/",
    "the granted host as a user with a password": "http://{name}:80@127.0.0.1:{port}/",
    "another host behind a fragment": "http://127.0.0.1:{port}#@{name}/",
    "another host before a backslash": "http://127.0.0.1:{port}\\@{name}/",
    "the granted host as a path": "http://127.0.0.1:{port}/{name}",
    "the granted host as a prefix": "http://{name}.evil.example.com:{port}/",
    "the granted host as a suffix": "http://evil{name}:{port}/",
    "below the granted host": "http://sub.{name}:{port}/",
    "the granted host with a NUL": "http://{name}\0.evil.com:{port}/",
    "the granted host with a percent-encoded NUL": "http://{name}%00.evil.com:{port}/",
    "a percent-encoded host": "http://%6c%6f%63alhost:{port}/",
    "a host with a line feed": "http://{name}\r\nHost: localhost:{port}/",
    "a host with a tab": "http://loc\talhost:{port}/",
    "a soft hyphen in another name": "http://ev\u00adil.example.com:{port}/",
    "a name in look-alike letters": "http://арі.example.com:{port}/",
    "a full-width dot": "http://api。evil。com:{port}/",
    "a metadata service": "http://169.254.169.254/latest/meta-data/",
    "a metadata service by name": "http://metadata.google.internal/",
    "a file": "file:///etc/passwd",
    "gopher": "gopher://{name}:{port}/_GET",
    "ftp": "ftp://{name}:{port}/",
    "a socket's path": "unix:///var/run/docker.sock",
    "data": "data:text/plain,hello",
    "javascript": "javascript:alert(1)",
    "no scheme": "//{name}:{port}/",
    "only a path": "/etc/passwd",
    "nothing": "",
    "a space before": " http://localhost:{port}/",
    "a scheme in a scheme": "http:http://localhost:{port}/",
    "port 0": "http://{name}:0/",
    "a port that is not granted": "http://{name}:1/",
    "a port beyond 65535": "http://{name}:99999/",
    "a port that is no number": "http://{name}:80a/",
    "a negative port": "http://{name}:-80/",
    "a path with a line feed": "http://{name}:{port}/x\r\nX-Injected: 1",
    "a path with a space": "http://{name}:{port}/x HTTP/1.1\r\n\r\n",
    "100,000 characters": "http://{name}:{port}/" + "x" * 100_000,
}


@pytest.mark.parametrize("attack", URLS)
def test_a_url_that_leads_elsewhere_is_refused_and_nobody_comes(
    make_fast_world: MakeWorld, canary: Canary, attack: str
) -> None:
    """`private` is on here: nothing but names, ports and schemes stands between the guest and the server."""
    tenant = enter(make_fast_world, private=True, ports=(canary.port, 80))
    url = URLS[attack].replace("{port}", str(canary.port)).replace("{name}", NAME)
    answer = get(tenant, url)
    assert answer.status in REFUSED | {TOO_LARGE}, answer
    assert not canary.heard
    assert get(tenant, f"http://{NAME}:{canary.port}/").value["body"] == b"canary"


ADDRESSES = [
    "127.0.0.1", "127.255.255.254", "0.0.0.0", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254",
    "100.64.0.1", "192.0.0.1", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "fe80::1", "fe80::1%lo", "fc00::1",
    "fd00:ec2::254", "ff02::1", "2002:7f00:1::", "64:ff9b::7f00:1", "2001:db8::1", "2001::1",
]  # fmt: skip


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_granted_name_that_leads_inside_is_refused(make_fast_world: MakeWorld, canary: Canary, address: str) -> None:
    tenant = enter(make_fast_world, [address], ports=(canary.port,))
    assert get(tenant, f"http://{NAME}:{canary.port}/").status in {DENIED, UNAVAILABLE}
    assert not canary.heard


def test_a_name_with_one_good_and_one_bad_address_is_not_led_to_the_bad_one(
    make_fast_world: MakeWorld, canary: Canary
) -> None:
    tenant = enter(make_fast_world, ["127.0.0.1", "::1"], ports=(canary.port,))
    assert get(tenant, f"http://{NAME}:{canary.port}/").status in {DENIED, UNAVAILABLE}
    assert not canary.heard


def test_a_name_that_changes_its_address_between_check_and_use_is_refused(
    make_fast_world: MakeWorld, canary: Canary
) -> None:
    """DNS rebinding: public when it is checked, loopback when it is connected to."""
    asked: list[str] = []

    def resolve(name: str) -> Sequence[str]:
        asked.append(name)
        return ["127.0.0.1"]

    world = make_fast_world(resolve=resolve)
    scope = HttpScope(hosts=(NAME,), plain=True, ports=(canary.port,), timeout_ms=3_000)
    tenant = world.tenant("http_request", grants=[grant("network-client", scope=scope)])
    for _ in range(3):
        assert get(tenant, f"http://{NAME}:{canary.port}/").status in {DENIED, UNAVAILABLE}
    assert asked and not canary.heard


REDIRECTS = {
    "to another host": "http://evil.example.com:{port}/",
    "to loopback": "http://127.0.0.1:{port}/second",
    "to a port that is not granted": "http://{name}:1/",
    "to a file": "file:///etc/passwd",
    "to another scheme": "gopher://{name}:{port}/",
    "without a scheme to another host": "//evil.example.com:{port}/",
    "with the granted host as a user": "http://{name}@127.0.0.1:{port}/",
    "to itself for ever": "/loop",
}


@pytest.mark.parametrize("attack", REDIRECTS)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_checked_like_a_request(
    make_fast_world: MakeWorld, canary: Canary, attack: str, status: int
) -> None:
    target = REDIRECTS[attack].replace("{port}", str(canary.port)).replace("{name}", NAME)
    canary.reply = lambda path: (status, [("Location", target)], b"")
    tenant = enter(make_fast_world, private=True, ports=(canary.port,), redirects=3)
    answer = get(tenant, f"http://{NAME}:{canary.port}/")
    assert answer.status < 0 or answer.value["status"] == status
    assert all(path in ("/", "/loop") for _, path, _ in canary.heard)
    assert len(canary.heard) <= 4


def test_https_is_asked_for_unless_plain_is_granted(make_fast_world: MakeWorld, canary: Canary) -> None:
    tenant = enter(make_fast_world, private=True, plain=False, ports=(canary.port,))
    assert get(tenant, f"http://{NAME}:{canary.port}/").status == DENIED
    assert get(tenant, f"https://{NAME}:{canary.port}/").status in {UNAVAILABLE, DENIED}
    assert not canary.heard


@pytest.mark.parametrize(
    "method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "get\r\nX: 1", "G ET", "", "BREW" * 20]
)
def test_a_method_that_is_not_granted_is_refused(make_fast_world: MakeWorld, canary: Canary, method: str) -> None:
    tenant = enter(make_fast_world, private=True, ports=(canary.port,))
    assert get(tenant, f"http://{NAME}:{canary.port}/", method).status in {DENIED, INVALID}
    assert not canary.heard


@pytest.mark.parametrize(
    "header",
    [("Authorization", "Bearer mine"), ("authorization", "x"), ("AUTHORIZATION", "x"), ("Host", "evil.example.com"), ("Content-Length", "5"),
     ("Transfer-Encoding", "chunked"), ("Connection", "upgrade"), ("Proxy-Authorization", "x"), ("X\r\nAuthorization", "x"), ("X", "y\r\nAuthorization: x"),
     ("X", "y\n"), ("X", "y\0"), ("", "x"), ("X Y", "z"), ("X:", "z"), ("Ünïcode", "z")],
    ids=repr,
)  # fmt: skip
def test_a_header_that_is_the_hosts_or_no_header_is_refused(
    make_fast_world: MakeWorld, canary: Canary, header: tuple[str, str]
) -> None:
    credentials = {NAME: Credential("Authorization", TOKEN)}
    tenant = enter(make_fast_world, private=True, ports=(canary.port,), credentials=credentials)
    assert get(tenant, f"http://{NAME}:{canary.port}/", headers=[header]).status in {DENIED, INVALID}
    assert not canary.heard


def test_a_credential_reaches_its_host_and_never_the_guest(make_fast_world: MakeWorld, canary: Canary) -> None:
    credentials = {NAME: Credential("Authorization", TOKEN)}
    tenant = enter(make_fast_world, private=True, ports=(canary.port,), credentials=credentials)
    answer = get(tenant, f"http://{NAME}:{canary.port}/")
    assert canary.heard[0][2]["authorization"] == TOKEN
    assert TOKEN not in repr((answer, tenant.report, tenant.world.sandbox, credentials))


def test_a_credential_is_not_carried_along_by_a_redirect(make_fast_world: MakeWorld, canary: Canary) -> None:
    other = "other.example.com"
    canary.reply = lambda path: (
        (302, [("Location", f"http://{other}:{canary.port}/b")], b"") if path == "/a" else (200, (), b"")
    )
    credentials = {NAME: Credential("Authorization", TOKEN)}
    tenant = enter(make_fast_world, private=True, ports=(canary.port,), hosts=(NAME, other), credentials=credentials)
    get(tenant, f"http://{NAME}:{canary.port}/a")
    assert [path for _, path, _ in canary.heard] == ["/a", "/b"]
    assert "authorization" not in canary.heard[1][2]


def test_a_response_larger_than_granted_is_too_large(make_fast_world: MakeWorld, canary: Canary) -> None:
    canary.reply = lambda path: (200, (), b"x" * 1_001)
    tenant = enter(make_fast_world, private=True, ports=(canary.port,), response_bytes_max=1_000)
    assert get(tenant, f"http://{NAME}:{canary.port}/").status == TOO_LARGE


def test_a_request_larger_than_granted_is_too_large_and_not_sent(make_fast_world: MakeWorld, canary: Canary) -> None:
    tenant = enter(make_fast_world, private=True, ports=(canary.port,), methods=("POST",), request_bytes_max=1_000)
    assert get(tenant, f"http://{NAME}:{canary.port}/", "POST", body=b"x" * 1_001).status == TOO_LARGE
    assert not canary.heard


def test_a_name_that_nobody_has_is_unavailable(make_fast_world: MakeWorld) -> None:
    def resolve(name: str) -> Sequence[str]:
        raise OSError("no such name")

    world = make_fast_world(resolve=resolve)
    tenant = world.tenant("http_request", grants=[grant("network-client", scope=HttpScope(hosts=(NAME,)))])
    assert get(tenant, f"https://{NAME}/").status == UNAVAILABLE


def test_a_wild_card_does_not_cover_the_name_above_it(make_fast_world: MakeWorld, canary: Canary) -> None:
    tenant = enter(make_fast_world, private=True, ports=(canary.port,), hosts=("*.example.com",))
    assert get(tenant, f"http://example.com:{canary.port}/").status == DENIED
    assert get(tenant, f"http://evilexample.com:{canary.port}/").status == DENIED
    assert get(tenant, f"http://a.b.example.com:{canary.port}/").status > 0


def test_with_strict_a_denied_request_is_a_violation_and_counted(make_fast_world: MakeWorld, canary: Canary) -> None:
    tenant = enter(make_fast_world, strict=True, private=True, ports=(canary.port,))
    with pytest.raises(Stopped) as caught:
        get(tenant, f"http://evil.example.com:{canary.port}/")
    assert caught.value.kind == "capability"
    assert tenant.used("network-client") == (0, 1)


def test_a_guest_whose_time_is_over_sends_nothing(make_fast_world: MakeWorld, canary: Canary) -> None:
    world = make_fast_world(resolve=lambda name: ["127.0.0.1"], reading_ns=6_000_000_000)
    scope = HttpScope(hosts=(NAME,), plain=True, private=True, ports=(canary.port,))
    tenant = world.tenant("http_request", grants=[grant("network-client", scope=scope)])
    assert get(tenant, f"http://{NAME}:{canary.port}/").status == DEADLINE
    assert not canary.heard
