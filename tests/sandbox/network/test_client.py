"""The client against real servers: what is sent, what comes back, what each bound does."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import socket
import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sandbox.host.gate import Denied
from sandbox.host.network.connections import Line
from sandbox.host.network.lookup import Lookups
from sandbox.host.network.pace import NS
from sandbox.host.network.thread import LoopThread
from sandbox.host.network.urls import read_url
from sandbox.host.requests import HostFailure
from schemas.abi import ERROR_DEADLINE, ERROR_TOO_LARGE, ERROR_UNAVAILABLE
from schemas.capabilities import Credential, HttpScope
from tests.sandbox.network.conftest import NAME, Browser
from tests.sandbox.network.servers import Heard, Server, redirect, reply, silence
from tests.services.certificates import Authority

Serve = Callable[..., Server]
Browse = Callable[..., Browser]


def fails(code: int, call: Callable[[], object]) -> str:
    """With this code; the message."""
    with pytest.raises(HostFailure) as failed:
        call()
    assert failed.value.code == code, failed.value.message
    return failed.value.message


def at(server: Server, path: str = "/", name: str = NAME, scheme: str = "http") -> str:
    return f"{scheme}://{name}:{server.port}{path}"


def test_a_request_and_its_answer(serve: Serve, browse: Browse) -> None:
    server = serve(
        reply(b"hello", headers=[("X-One", "1"), ("x-one", "2"), ("Set-Cookie", "a=b"), ("Keep-Alive", "9")])
    )
    answer = browse(server).ask("POST", at(server, "/a%2fb?x=%41"), (("X-A", "ü"), ("x-a", "c")), b"body")
    assert (answer.status, answer.body) == (200, b"hello")
    assert answer.headers == [("x-one", "1"), ("x-one", "2"), ("set-cookie", "a=b")]
    (heard,) = server.heard
    assert (heard.method, heard.path, heard.body) == ("POST", "/a%2fb?x=%41", b"body")
    assert [one for one in heard.headers if one[0] not in ("Accept", "Content-Length")] == [
        ("Host", f"{NAME}:{server.port}"), ("x-a", "ü".encode().decode("latin-1")), ("x-a", "c"), ("User-Agent", "penstock"),
        ("Accept-Encoding", "gzip, deflate"),
    ]  # fmt: skip


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified", "404 Not Found", "500 Oh", "599 X"])
def test_every_status_is_an_answer(serve: Serve, browse: Browse, status: str) -> None:
    server = serve(reply(status=status))
    assert browse(server).get(at(server)).status == int(status[:3])


def test_a_head_has_no_body(serve: Serve, browse: Browse) -> None:
    server = serve(
        reply(status="200 OK", headers=[("Content-Length", "99999999"), ("Content-Encoding", "gzip")], length=False)
    )
    assert browse(server, response_bytes_max=10).get(at(server), method="HEAD").body == b""


def test_headers_that_are_no_text_are_mended(serve: Serve, browse: Browse) -> None:
    server = serve(b"HTTP/1.1 200 OK\r\nX: \xff\xfe\r\nContent-Length: 0\r\n\r\n")
    assert browse(server).get(at(server)).headers == [("x", "\N{REPLACEMENT CHARACTER}" * 2)]


def test_a_connection_is_used_again(serve: Serve, browse: Browse) -> None:
    server = serve(reply(b"x"))
    browser = browse(server)
    for _ in range(5):
        browser.get(at(server))
    assert (server.connections, browser.looked_up) == (1, [NAME])


def test_nothing_is_remembered_between_requests(serve: Serve, browse: Browse) -> None:
    """Cookies above all."""
    server = serve(reply(headers=[("Set-Cookie", "session=1; Path=/")]))
    browser = browse(server)
    browser.get(at(server))
    browser.get(at(server))
    assert [one.header("Cookie") for one in server.heard] == [None, None]


def test_neither_proxies_nor_passwords_come_from_the_environment(
    serve: Serve, browse: Browse, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    server, proxy = serve(reply(b"direct")), serve(reply(b"proxied"))
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine {NAME} login me password secret-of-netrc\n")
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
    monkeypatch.setenv("NETRC", str(netrc))
    assert browse(server).get(at(server)).body == b"direct"
    assert proxy.connections == 0 and server.heard[0].header("Authorization") is None


def test_tls_with_an_authority_of_ones_own(
    serve: Serve, browse: Browse, authority: Authority, certificate: Path
) -> None:
    server = serve(reply(b"safe"), certificate=certificate)
    browser = browse(server, plain=False, ca_file=authority.file)
    assert browser.get(at(server, scheme="https")).body == b"safe"
    assert server.names == [NAME]


def test_tls_without_a_reason_to_trust(
    serve: Serve, browse: Browse, authority: Authority, certificate: Path, tmp_path: Path
) -> None:
    server = serve(reply(b"safe"), certificate=certificate)
    stranger = Authority(tmp_path, "stranger")
    secret = {NAME: Credential("Authorization", "Bearer correct-horse")}
    told = fails(
        ERROR_UNAVAILABLE,
        lambda: browse(server, ca_file=stranger.file, credentials=secret).get(at(server, scheme="https")),
    )
    assert "certificate is not trusted" in told
    fails(ERROR_UNAVAILABLE, lambda: browse(server, ca_file=None).get(at(server, scheme="https")))
    other = browse(server, ca_file=authority.file)
    assert "not trusted" in fails(
        ERROR_UNAVAILABLE, lambda: other.get(at(server, name="wrong.example.com", scheme="https"))
    )
    assert server.heard == []


@pytest.mark.parametrize("kind", ["expired", "self-signed"])
def test_tls_with_a_certificate_that_is_none(serve: Serve, browse: Browse, authority: Authority, kind: str) -> None:
    expired = kind == "expired"
    file = authority.issue(kind, hosts=(NAME,), age_days=3) if expired else authority.issue_self_signed(kind)
    server = serve(reply(b"safe"), certificate=file)
    fails(ERROR_UNAVAILABLE, lambda: browse(server, ca_file=authority.file).get(at(server, scheme="https")))
    assert server.heard == []


def test_an_authority_that_cannot_be_read(browse: Browse, tmp_path: Path) -> None:
    with pytest.raises(OSError):
        browse(ca_file=tmp_path / "none.pem")
    (tmp_path / "no.pem").write_text("no certificate")
    with pytest.raises(OSError):
        browse(ca_file=tmp_path / "no.pem")


def test_redirects_are_followed_and_looked_up_anew(serve: Serve, browse: Browse) -> None:
    second = serve(reply(b"there"))
    first = serve(redirect(f"http://other.example.com:{second.port}/x?y"))
    browser = browse(first, second)
    assert browser.get(at(first)).body == b"there"
    assert browser.looked_up == [NAME, "other.example.com"]
    assert second.heard[0].path == "/x?y" and second.heard[0].header("Host") == f"other.example.com:{second.port}"


def test_a_post_becomes_a_get_or_is_repeated(serve: Serve, browse: Browse) -> None:
    server = serve(redirect("/b", "307 Temporary Redirect"), redirect("/c", "303 See Other"), reply(b"end"))
    assert browse(server).ask("POST", at(server, "/a"), (("Content-Type", "text/x"),), b"body").body == b"end"
    assert [(one.method, one.path, one.body, one.header("Content-Type")) for one in server.heard] == [
        ("POST", "/a", b"body", "text/x"), ("POST", "/b", b"body", "text/x"), ("GET", "/c", b"", None),
    ]  # fmt: skip


def test_redirects_end(serve: Serve, browse: Browse) -> None:
    server = serve(redirect("/again"))
    assert "more than 3 redirects" in fails(ERROR_UNAVAILABLE, lambda: browse(server, redirects=3).get(at(server)))
    assert len(server.heard) == 4


def test_with_no_redirects_granted_the_guest_sees_them(serve: Serve, browse: Browse) -> None:
    server = serve(redirect("https://evil.example/"))
    answer = browse(server, redirects=0).get(at(server))
    assert (answer.status, dict(answer.headers)["location"]) == (302, "https://evil.example/")


def test_answers_are_unpacked(serve: Serve, browse: Browse) -> None:
    server = serve(reply(gzip.compress(b"packed"), headers=[("Content-Encoding", "gzip")]))
    answer = browse(server).get(at(server))
    assert (answer.body, answer.headers) == (b"packed", [])


@pytest.mark.parametrize(
    "said",
    [
        reply(b"x" * 1001),
        reply(b"x" * 1001, length=False),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"64\r\n" + b"x" * 100 + b"\r\n" + b"\r\n".join([b"64", b"x" * 100] * 11),
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        reply(gzip.compress(bytes(50 << 20)), headers=[("Content-Encoding", "gzip")]),
    ],
    ids=["length", "no-length", "chunks", "claimed", "bomb"],
)  # fmt: skip
def test_an_answer_that_is_too_large_is_none(serve: Serve, browse: Browse, said: bytes) -> None:
    server = serve(said)
    assert "more than" in fails(ERROR_TOO_LARGE, lambda: browse(server, response_bytes_max=1000).get(at(server)))


def test_an_answer_has_room_for_its_frame_in_one_mebibyte(serve: Serve, browse: Browse) -> None:
    fails(ERROR_TOO_LARGE, lambda: browse(big := serve(reply(bytes(1 << 20)))).get(at(big)))
    server = serve(reply(bytes((1 << 20) - 2000)))
    assert len(browse(server).get(at(server)).body) == (1 << 20) - 2000


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 101 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"b" * 10_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 " + b"b" * 10_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"".join(b"A%d: %s\r\n" % (n, b"b" * 8000) for n in range(20)) + b"\r\n",
        b"HTTP/1.1 200 OK\r\nno header\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nx",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nxx",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nxx",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 2\r\n\r\nxx",
        b"HTTP/9.9 200 OK\r\n\r\n",
        b"SSH-2.0-OpenSSH_9\r\n\r\n",
        b"\x00" * 100_000,
        b"",
    ],
    ids=[
        "many-headers", "long-header", "long-status", "headers-of-160-kb", "no-header", "two-lengths", "negative-length", "no-chunk",
        "negative-chunk", "ends-early", "switches", "no-gzip", "unknown-coding", "unknown-version", "ssh", "zeros", "nothing",
    ],
)  # fmt: skip
def test_what_a_server_may_say_instead_of_an_answer(serve: Serve, browse: Browse, said: bytes) -> None:
    async def once(heard: Heard, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        await writer.drain()
        writer.write_eof()

    server = serve(once)
    with pytest.raises(HostFailure) as failed:
        browse(server).get(at(server))
    assert failed.value.code in (ERROR_UNAVAILABLE, ERROR_TOO_LARGE)
    server.wait_until_closed()


def test_a_port_where_nobody_listens(serve: Serve, browse: Browse) -> None:
    with Server(silence) as gone:
        pass
    assert "no connection" in fails(ERROR_UNAVAILABLE, lambda: browse(gone).get(at(gone)))


def test_an_address_that_swallows_packets_costs_a_part_of_the_time(serve: Serve, browse: Browse) -> None:
    server = serve(reply(b"second"))
    with socket.socket() as full, contextlib.ExitStack() as stack:
        full.bind(("127.0.0.2", server.port))
        full.listen(0)
        for _ in range(4):  # more than its queue takes: the next one gets no answer
            one = stack.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        browser = browse(server, timeout_ms=600)
        browser.addresses = lambda name: ["127.0.0.2", "127.0.0.1"]
        assert browser.get(at(server)).body == b"second"


def test_a_name_without_an_address(serve: Serve, browse: Browse) -> None:
    server = serve(reply())
    browser = browse(server)
    browser.addresses = lambda name: []
    assert "no address" in fails(ERROR_UNAVAILABLE, lambda: browser.get(at(server)))

    def unknown(name: str) -> list[str]:
        raise OSError("Name or service not known")

    browser.addresses = unknown
    assert "Name or service not known" in fails(ERROR_UNAVAILABLE, lambda: browser.get(at(server)))


@pytest.mark.parametrize(
    "kind",
    [
        "silent",
        "drips-header",
        "drips-body",
        "endless-informational",
        "redirects",
        "reads-nothing",
        "look-up",
        "handshake",
    ],
)
def test_a_call_ends_with_its_time_whatever_the_other_side_does(serve: Serve, browse: Browse, kind: str) -> None:
    """And leaves nothing open."""
    drips = {
        "drips-header": b"HTTP/1.1 200 OK\r\nX: ",
        "drips-body": b"HTTP/1.1 200 OK\r\n\r\n",
        "endless-informational": b"",
    }
    piece = b"HTTP/1.1 103 Early Hints\r\n\r\n" if kind == "endless-informational" else b"x"

    async def drip(heard: Heard, writer: asyncio.StreamWriter) -> None:
        writer.write(drips[kind])
        while True:
            writer.write(piece)
            await asyncio.sleep(0.01)

    async def slowly_elsewhere(heard: Heard, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.02)
        writer.write(redirect("/again"))

    server = serve(
        drip if kind in drips else slowly_elsewhere if kind == "redirects" else silence, reads=kind != "reads-nothing"
    )
    browser = browse(server, redirects=1_000_000, request_bytes_max=1 << 20)
    go_on = threading.Event()
    if kind == "look-up":
        browser.addresses = lambda name: (go_on.wait(10), ["127.0.0.1"])[1]
    began = time.monotonic()
    url = at(server, scheme="https" if kind == "handshake" else "http")
    body = bytes(1 << 20) if kind == "reads-nothing" else None
    fails(ERROR_DEADLINE, lambda: browser.ask("POST", url, body=body, budget_ms=150))
    assert time.monotonic() - began < 8  # of which 0.15 are the budget: whoever waited for the server would wait 10
    go_on.set()
    server.wait_until_closed()


def test_what_a_server_does_not_read_holds_nothing_open(
    serve: Serve, browse: Browse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system would keep a mebibyte for a neighbour; over a real network it does not, and the rest waits in our process."""
    make = Line._socket
    made: list[socket.socket] = []

    def made_small(line: Line, where: tuple[object, ...]) -> socket.socket:
        made.append(make(line, where))
        made[-1].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        return made[-1]

    monkeypatch.setattr(Line, "_socket", made_small)
    server = serve(silence, reads=False)
    browser = browse(server, timeout_ms=10_000)
    fails(ERROR_DEADLINE, lambda: browser.ask("POST", at(server), body=bytes(1 << 20), budget_ms=200))
    server.wait_until_closed()
    browser.client.close()
    assert [one.fileno() for one in made] == [-1]


def test_no_more_connections_than_granted(serve: Serve, browse: Browse) -> None:
    """Idle ones count: they are closed to make room for another host."""
    arrived = 0
    both = asyncio.Event()

    async def two_at_once(heard: Heard, writer: asyncio.StreamWriter) -> None:
        nonlocal arrived
        arrived += 1
        if arrived % 2 == 0:
            both.set()
        await both.wait()
        writer.write(reply(b"x"))

    server = serve(two_at_once)
    browser = browse(server, connections=2)
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda n: browser.get(at(server, name=f"n{n}.example.com")), range(12)))
    assert [one.status for one in answers] == [200] * 12
    assert server.connections > 2 and server.open_most <= 4  # a server sees an end later than it was made


FLOODS = {
    "answers-behind-the-answer": (reply(b"x"), b"HTTP/1.1 204 No Content\r\n\r\n"),
    "noise-behind-the-answer": (reply(b"x"), b"\0"),
    "interim-answers": (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    "header-without-end": (b"HTTP/1.1 200 OK\r\nX: ", b"x"),
    "empty-lines": (b"", b"\r\n"),
    "chunk-extensions": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1;%s\r\nx\r\n" % (b"x" * 500)),
    "trailers": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n"),
}


@pytest.mark.parametrize("kind", FLOODS)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_server_that_never_stops_talking_is_cut_off(
    serve: Serve, browse: Browse, authority: Authority, certificate: Path, kind: str, scheme: str
) -> None:
    """Within the call or behind it, and after few bytes."""
    first, more = FLOODS[kind]
    poured = 0

    async def flood(heard: Heard, writer: asyncio.StreamWriter) -> None:
        nonlocal poured
        writer.write(first)
        piece = more * (1 + 4096 // len(more))
        while not writer.is_closing():
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
            poured += len(piece)

    server = serve(flood, certificate=certificate if scheme == "https" else None)
    browser = browse(server, response_bytes_max=1000, ca_file=authority.file)
    with contextlib.suppress(HostFailure):
        browser.get(at(server, scheme=scheme))
    browser.client.close()  # an idle connection may also stand still, unread, for as long as it may be idle
    server.wait_until_closed()
    assert poured < 32 << 20  # nearly all of it in the buffers of two sockets


def test_look_ups_that_hang_are_bounded(serve: Serve, browse: Browse) -> None:
    server = serve(reply())
    browser = browse(server, connections=1)
    go_on = threading.Event()
    browser.addresses = lambda name: (go_on.wait(10), ["127.0.0.1"])[1]
    fails(ERROR_DEADLINE, lambda: browser.get(at(server), budget_ms=50))
    assert "name servers" in fails(ERROR_UNAVAILABLE, lambda: browser.get(at(server), budget_ms=5000))
    go_on.set()


def test_bytes_per_second_by_a_clock_from_outside(serve: Serve, browse: Browse) -> None:
    now = [0]
    server = serve(reply(bytes(200)))
    browser = browse(server, clock_ns=lambda: now[0], bytes_per_second=1000)
    answers = []
    with pytest.raises(HostFailure, match="1000 bytes per second are used up"):
        while len(answers) < 100:
            answers.append(browser.get(at(server), budget_ms=100))
    assert 1 <= len(answers) <= 5
    moved = browser.traffic.sent + browser.traffic.received
    assert moved <= 1000 + 100 + 300  # what was there already is not given back
    now[0] += NS
    assert browser.get(at(server), budget_ms=100).status == 200


def test_a_request_beyond_the_pace_is_not_begun(serve: Serve, browse: Browse) -> None:
    server = serve(reply())
    browser = browse(server, clock_ns=lambda: 0, bytes_per_second=10)
    fails(ERROR_DEADLINE, lambda: browser.ask("POST", at(server), body=bytes(10_000), budget_ms=1000))
    assert (server.connections, browser.looked_up, browser.traffic.sent) == (0, [], 0)


def test_traffic_is_counted_whatever_comes_of_it(serve: Serve, browse: Browse) -> None:
    server = serve(redirect("/b", "307 Temporary Redirect"), reply(bytes(5000)))
    browser = browse(server, response_bytes_max=4000)
    fails(ERROR_TOO_LARGE, lambda: browser.ask("PUT", at(server), body=bytes(3000)))
    assert browser.traffic.sent > 6000


def test_a_stopped_thread_ends_its_calls_and_takes_no_more(serve: Serve, browse: Browse, thread: LoopThread) -> None:
    server = serve(silence)
    browser = browse(server)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(lambda: fails(ERROR_UNAVAILABLE, lambda: browser.get(at(server))))
        while not server.heard:
            time.sleep(0.001)
        thread.close()
        assert "stopped" in waiting.result(5)
    assert "stopped" in fails(ERROR_UNAVAILABLE, lambda: browser.get(at(server)))
    server.wait_until_closed()
    thread.close()
    assert not thread.is_running


def test_a_thread_is_started_when_it_is_needed(serve: Serve, browse: Browse, thread: LoopThread) -> None:
    server = serve(reply())
    browser = browse(server)
    assert not thread.is_running
    browser.get(at(server))
    assert thread.is_running
    browser.client.close()
    browser.client.close()
    server.wait_until_closed()


def test_denied_by_address_after_all(serve: Serve, browse: Browse) -> None:
    server = serve(reply())
    with pytest.raises(
        Denied, match=r"`api\.example\.com` leads to a loopback address, and the grant does not say `private`"
    ):
        browse(server, private=False).get(at(server))
    assert server.connections == 0


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "169.254.169.254"])
def test_a_socket_is_made_for_no_address_that_was_not_checked(address: str) -> None:
    """Whatever resolver, cache or library stands before it: the last look is at what is connected to."""
    target = read_url(f"https://{NAME}/")

    async def connect() -> None:
        line = Line(HttpScope(hosts=(NAME,)), target, Lookups(lambda name: [], 1), ssl.create_default_context())
        line.session.connector._resolve_host = lied  # type: ignore[union-attr]
        try:
            with pytest.raises(Denied, match=rf"`{NAME}` leads to"):
                await line.session.get(target.url)
        finally:
            await line.close()

    async def lied(host: str, port: int, traces: object = None) -> list[dict[str, object]]:
        return [{"hostname": host, "host": address, "port": port, "family": socket.AF_INET, "proto": 0, "flags": 0}]

    asyncio.run(connect())
