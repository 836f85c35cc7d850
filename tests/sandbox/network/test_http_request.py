"""`http_request` from a guest's point of view: codes, counts, secrets, ends; for core modules and for components."""

from __future__ import annotations

import logging
import re
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sandbox import Limits, Sandbox
from sandbox.epoch import EpochTicker
from sandbox.host import Services
from schemas.capabilities import Capability, Credential, Grant, Grants, HttpScope
from schemas.errors import ConfigError
from schemas.outcome import HostUse, Outcome, Report
from schemas.specs import IsolationLevel
from tests.sandbox.guests import FOLDER, batch, kinds, spec, values, violation, wat
from tests.sandbox.network.conftest import NAME
from tests.sandbox.network.servers import Heard, Server, redirect, reply, silence
from tests.services.certificates import Authority

Serve = Callable[..., Server]
DENIED, TOO_LARGE, UNAVAILABLE, DEADLINE, INVALID = -1, -3, -4, -5, -6
LIMITS = Limits(memory_bytes=16 << 20, deadline_ms=10_000, allocation_bytes_max=4 << 20, output_bytes_per_event=1 << 20)
SECRET = "Bearer correct-horse-battery"
ROOM = 8000


class Host:
    """A sandbox whose names lead where the test says, and whose clocks stand still."""

    def __init__(self) -> None:
        self.addresses: Sequence[str] = ["127.0.0.1"]
        self.looked_up: list[str] = []
        self.now_ms = 1_700_000_000_000
        services = Services(resolve=self._resolve, now_ms=lambda: self.now_ms)
        self.sandbox = Sandbox(
            cache=False, services=services, ticker=EpochTicker(auto=False), clock_ns=lambda: self.now_ms * 1_000_000
        )

    def _resolve(self, name: str) -> Sequence[str]:
        self.looked_up.append(name)
        return self.addresses

    def run(self, grants: Grants, *asked: bytes, limits: Limits = LIMITS, wasm: bytes | None = None) -> Report:
        transformer = self.sandbox.load(spec(capabilities=grants, limits=limits), wasm or _requester())
        with closing(transformer.session()) as session:
            return session.run(batch(asked))

    def ask(self, grants: Grants, url: str, limits: Limits = LIMITS, **more: Any) -> Any:
        """The answer, or the code."""
        return answered(
            self.run(
                grants, asking({"method": "GET", "url": url, "headers": [], "body": None} | more), limits=limits
            ).outcomes[0]
        )


@pytest.fixture
def host() -> Iterator[Host]:
    one = Host()
    with one.sandbox:
        yield one
        assert one.sandbox.stats().active_instances == 0


def _requester() -> bytes:
    text = (FOLDER / "requester.wat").read_text().replace("NAME", "http_request")
    return wat(re.sub(r"\(;include (\w+);\)", lambda found: (FOLDER / f"{found[1]}.wat").read_text(), text))


def asking(value: object, room: int = ROOM, times: int = 1) -> bytes:
    return struct.pack("<IB", room, times) + msgspec.msgpack.encode(value)


def answered(outcome: Outcome) -> Any:
    (value,) = values(outcome)
    assert value is not None
    status = struct.unpack_from("<i", value)[0]
    return status if status < 0 else msgspec.msgpack.decode(value[8 : 8 + status])


def granted(*servers: Server, strict: bool = False, uses: int | None = None, **changes: Any) -> Grants:
    scope: dict[str, Any] = {
        "hosts": (NAME, "*.cdn.example.com"), "ports": tuple(one.port for one in servers), "methods": ("GET", "POST"), "plain": True, "private": True,
    }  # fmt: skip
    return Grants(
        (Grant(frozenset({Capability.NETWORK_CLIENT}), HttpScope(**scope | changes), uses=uses),), strict=strict
    )


def at(server: Server, path: str = "/", name: str = NAME, scheme: str = "http") -> str:
    return f"{scheme}://{name}:{server.port}{path}"


def use(report: Report) -> HostUse:
    (one,) = report.uses
    return one


def test_a_guest_gets_an_answer_and_it_is_counted(host: Host, serve: Serve) -> None:
    server = serve(reply(b"hello", headers=[("X", "y")]))
    asked = asking(
        {"method": "post", "url": at(server, "/x", "a.cdn.example.com"), "headers": [["a", "b"]], "body": b"\xff\x00"}
    )
    report = host.run(granted(server), asked)
    assert answered(report.outcomes[0]) == {"status": 200, "headers": [["x", "y"]], "body": b"hello"}
    assert (server.heard[0].method, server.heard[0].body) == ("POST", b"\xff\x00")
    counted = use(report)
    assert (counted.capability, counted.scope, counted.allowed, counted.denied) == (
        "network-client",
        "*.cdn.example.com",
        1,
        0,
    )
    assert counted.bytes > len(asked)


def test_an_answer_that_does_not_fit_is_not_asked_of_the_server_again(host: Host, serve: Serve) -> None:
    server = serve(reply(bytes(5000)))
    report = host.run(granted(server), asking({"method": "GET", "url": at(server)}, room=8, times=2))
    assert answered(report.outcomes[0])["body"] == bytes(5000)
    assert (len(server.heard), use(report).allowed) == (1, 1)


@pytest.mark.parametrize("strict", [False, True])
def test_what_is_not_granted_is_denied_counted_and_strictly_a_violation(host: Host, serve: Serve, strict: bool) -> None:
    server = serve(reply())
    report = host.run(granted(server, strict=strict), asking({"method": "GET", "url": at(server, name="evil.example")}))
    assert (use(report).denied, use(report).scope, server.connections, host.looked_up) == (1, "", 0, [])
    if not strict:
        assert answered(report.outcomes[0]) == DENIED
        return
    told = violation(report.outcomes[0])
    assert str(told.kind) == "capability" and "the host `evil.example` is not among the grant's hosts" in told.message
    assert "hosts: [evil.example]" in told.message


def test_a_profile_alone_reaches_nothing(host: Host, serve: Serve) -> None:
    server = serve(reply())
    assert host.ask(Grants(profile="elevated"), at(server)) == DENIED
    assert host.ask(Grants.of({"network-client"}), at(server)) == DENIED


def test_uses_run_out_and_grants_end(host: Host, serve: Serve) -> None:
    server = serve(reply())
    one = asking({"method": "GET", "url": at(server)})
    report = host.run(granted(server, uses=2), one, one, one)
    assert [answered(each) == DENIED for each in report.outcomes] == [False, False, True]
    (grant,) = granted(server).grants
    ended = Grants((Grant(grant.capabilities, grant.scope, until_ms=host.now_ms),))
    assert host.ask(ended, at(server)) == DENIED
    assert len(server.heard) == 2


def test_a_request_out_of_scope_uses_nothing_up(host: Host, serve: Serve) -> None:
    server = serve(reply())
    bad, good = (asking({"method": "GET", "url": at(server, name=name)}) for name in ("evil.example", NAME))
    report = host.run(granted(server, uses=1), bad, bad, good)
    assert [answered(one) == DENIED for one in report.outcomes] == [True, True, False]


def test_the_grant_that_covers_a_request_serves_it(host: Host, serve: Serve) -> None:
    server = serve(reply())
    first, second = (granted(server, hosts=(name,)).grants[0] for name in ("other.example.com", NAME))
    assert host.ask(Grants((first, second)), at(server))["status"] == 200


SHAPES: dict[str, Any] = {
    "nothing": None,
    "a-text": "GET /",
    "an-array": ["GET", "https://api.example.com/", [], None],
    "no-url": {"method": "GET"},
    "no-method": {"url": "https://api.example.com/"},
    "an-unknown-member": {"method": "GET", "url": "https://api.example.com/", "proxy": "http://evil.example"},
    "a-text-as-body": {"method": "GET", "url": "https://api.example.com/", "body": "aGk="},
    "headers-as-a-map": {"method": "GET", "url": "https://api.example.com/", "headers": {"a": "b"}},
    "a-header-of-three": {"method": "GET", "url": "https://api.example.com/", "headers": [["a", "b", "c"]]},
    "a-header-of-bytes": {"method": "GET", "url": "https://api.example.com/", "headers": [["a", b"b"]]},
    "a-method-with-a-path": {"method": "GET /x HTTP/1.1\r\n", "url": "https://api.example.com/"},
    "an-empty-method": {"method": "", "url": "https://api.example.com/"},
    "a-method-beyond-ascii": {"method": "GÉT", "url": "https://api.example.com/"},
    "a-header-with-a-line-end": {"method": "GET", "url": "https://api.example.com/", "headers": [["a", "b\r\nc: d"]]},
    "a-url-with-a-line-end": {"method": "GET", "url": "https://api.example.com/ HTTP/1.1\r\nX: y"},
    "no-http": {"method": "GET", "url": "file:///etc/passwd"},
}


@pytest.mark.parametrize("value", SHAPES.values(), ids=SHAPES)
def test_requests_that_are_none(host: Host, serve: Serve, value: object) -> None:
    report = host.run(granted(serve(reply()), ports=(443,)), asking(value))
    assert answered(report.outcomes[0]) == INVALID
    assert host.looked_up == []


@pytest.mark.parametrize(
    "more",
    [
        {"url": "http://2130706433/"}, {"url": "http://0x7f.1/"}, {"url": "http://api.example.com@evil.example/"}, {"url": "http://[::1%25lo]/"},
        {"headers": [["Host", "evil.example"]]}, {"headers": [["transfer-encoding", "chunked"]]}, {"headers": [["Proxy-Authorization", "x"]]},
        {"headers": [["X-HTTP-Method-Override", "DELETE"]]}, {"headers": [["x_api_key", "mine"]]}, {"method": "DELETE"}, {"method": "TRACE"},
    ],
    ids=lambda more: str(next(iter(more.values()))),
)  # fmt: skip
def test_requests_that_no_grant_covers(host: Host, serve: Serve, more: dict[str, Any]) -> None:
    server = serve(reply())
    grants = granted(server, credentials={NAME: Credential("X-Api-Key", "k")}, methods=("GET", "TRACE"))
    assert host.ask(grants, **{"url": at(server)} | more) == DENIED
    assert server.connections == 0


def test_a_body_beyond_the_grant(host: Host, serve: Serve) -> None:
    server = serve(reply())
    assert host.ask(granted(server, request_bytes_max=10), at(server), method="POST", body=bytes(11)) == TOO_LARGE
    assert server.connections == 0


def test_an_answer_beyond_the_grant(host: Host, serve: Serve) -> None:
    server = serve(reply(bytes(1001)))
    assert host.ask(granted(server, response_bytes_max=1000), at(server)) == TOO_LARGE


@pytest.mark.parametrize(
    ("limits", "timeout_ms"), [(LIMITS.with_(deadline_ms=100), 30_000), (LIMITS, 100)], ids=["deadline", "timeout"]
)
def test_the_sooner_of_deadline_and_timeout_ends_a_call(
    host: Host, serve: Serve, limits: Limits, timeout_ms: int
) -> None:
    server = serve(silence)
    assert host.ask(granted(server, timeout_ms=timeout_ms), at(server), limits) == DEADLINE
    server.wait_until_closed()


def test_a_guest_never_sees_a_credential(
    host: Host, serve: Serve, certificate: Path, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    said = {
        "/fine": reply(b"fine"),
        "/away": redirect("https://evil.example/"),
        "/nonsense": b"HTTP/1.1 nonsense\r\n\r\n",
        "/broken": reply(b"x" * 9, headers=[("Content-Encoding", "gzip")]),
    }

    async def answer(heard: Heard, writer: Any) -> None:
        writer.write(said[heard.path])

    server = serve(answer, certificate=certificate)
    secret = {NAME: Credential("Authorization", SECRET)}
    grants = granted(server, plain=False, ca_file=authority.file, credentials=secret, strict=True)
    asked = [asking({"method": "GET", "url": at(server, path, scheme="https")}) for path in said]
    report = host.run(grants, *asked)
    assert kinds(report.outcomes) == ["emitted", "capability", "emitted", "emitted"]
    assert {one.header("Authorization") for one in server.heard} == {SECRET}
    assert "horse" not in caplog.text and "horse" not in repr(report) and "horse" not in repr(grants)


def test_a_credential_stays_with_its_host_when_a_redirect_leaves(host: Host, serve: Serve) -> None:
    second = serve(reply(b"there"))
    first = serve(redirect(at(second, name="a.cdn.example.com")))
    grants = granted(first, second, credentials={NAME: Credential("X-Api-Key", SECRET)})
    assert host.ask(grants, at(first))["body"] == b"there"
    assert (first.heard[0].header("X-Api-Key"), second.heard[0].header("X-Api-Key")) == (SECRET, None)


def test_a_server_that_echoes_a_credential_is_not_heard(host: Host, serve: Serve) -> None:
    async def echo(heard: Heard, writer: Any) -> None:
        writer.write(reply(repr(heard.headers).encode()))

    server = serve(echo)
    grants = granted(server, credentials={NAME: Credential("X-Api-Key", SECRET)})
    assert host.ask(grants, at(server)) == UNAVAILABLE
    assert host.ask(granted(server), at(server))["status"] == 200


def test_rebinding_a_name_between_two_requests(host: Host, serve: Serve) -> None:
    """What led to a granted address leads to the metadata service with the next look-up."""
    server = serve(reply(headers=[("Connection", "close")]))
    grants = granted(server)
    assert host.ask(grants, at(server))["status"] == 200
    host.addresses = ["169.254.169.254"]
    assert host.ask(grants, at(server)) == DENIED
    assert (len(host.looked_up), server.connections) == (2, 1)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "fe80::1", "fd00:ec2::254", "::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1",
        "2002:7f00:1::", "0.0.0.0", "::", "224.0.0.1", "255.255.255.255", "fe80::1%1",
    ],
)  # fmt: skip
@pytest.mark.parametrize("beside", [(), ("93.184.216.34",)], ids=["alone", "beside-a-public-one"])
def test_names_that_lead_inside(host: Host, serve: Serve, address: str, beside: tuple[str, ...]) -> None:
    """One such address among a name's is enough: the public one beside it is not tried."""
    server = serve(reply())
    host.addresses = [*beside, address]
    assert host.ask(granted(server, private=False), at(server)) == DENIED
    assert (host.looked_up, server.connections) == ([NAME], 0)


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1:{}/",
        "http://[::ffff:7f00:1]:{}/",
        "http://localhost:{}/",
        "http://evil.example:{}/",
        "//2130706433:{}/",
        "http://api.example.com@evil.example:{}/",
    ],
)
def test_redirects_that_lead_inside(host: Host, serve: Serve, location: str) -> None:
    inside = serve(reply(b"secret"))
    server = serve(redirect(location.format(inside.port)))
    assert host.ask(granted(server, inside), at(server)) == DENIED
    assert inside.connections == 0


@pytest.mark.parametrize("level", IsolationLevel)
def test_the_same_at_every_level_of_isolation(host: Host, serve: Serve, level: IsolationLevel) -> None:
    """A guest's own process has no network: the host asks for it there, too."""
    server = serve(reply(bytes(5000)))
    transformer = host.sandbox.load(spec(capabilities=granted(server), limits=LIMITS, isolation=level), _requester())
    asked = [
        asking({"method": "GET", "url": at(server, name=name)}, room=8, times=2) for name in (NAME, "evil.example")
    ]
    with closing(transformer.session()) as session:
        report = session.run(batch(asked))
    assert answered(report.outcomes[0])["body"] == bytes(5000) and answered(report.outcomes[1]) == DENIED
    assert [(one.scope, one.allowed, one.denied) for one in report.uses] == [(NAME, 1, 0), ("", 0, 2)]  # it asks twice
    assert len(server.heard) == 1


def test_two_transformers_share_a_thread_and_no_connection(host: Host, serve: Serve) -> None:
    server = serve(reply())
    host.ask(granted(server), at(server))
    host.ask(granted(server), at(server))
    assert (len(server.heard), server.connections) == (2, 2)


def test_the_thread_ends_with_the_sandbox(host: Host, serve: Serve) -> None:
    import threading

    server = serve(reply())
    names = lambda: [one.name for one in threading.enumerate()]  # noqa: E731
    host.run(granted(server))
    assert "penstock network" not in names()
    host.ask(granted(server), at(server))
    assert "penstock network" in names()
    host.sandbox.close()
    assert "penstock network" not in names()
    server.wait_until_closed()


def test_an_authority_that_cannot_be_read_is_told_at_load(host: Host, serve: Serve, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.pem cannot be read: No such file"):
        host.run(granted(serve(reply()), ca_file=tmp_path / "none.pem"))


COMPONENT = """
(component
  (import "penstock-http-request" (func $ask (param "request" string) (result (tuple s32 string))))
  (core module $Store
    (memory (export "memory") 4)
    (global $free (mut i32) (i32.const 8192))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (global.get $free) (global.set $free (i32.add (global.get $free) (i32.and (i32.add (local.get 3) (i32.const 15)) (i32.const -8))))))
  (core instance $store (instantiate $Store))
  (alias core export $store "memory" (core memory $memory))
  (alias core export $store "realloc" (core func $realloc))
  (core func $ask' (canon lower (func $ask) (memory $memory) (realloc (core func $realloc))))
  (core module $Guest
    (import "store" "memory" (memory 4))
    (import "host" "ask" (func $ask (param i32 i32 i32)))
    (data (i32.const 16) "[]\\n")
    (data (i32.const 32) "REQUEST")
    (data (i32.const 4096) "HEAD")
    ;; an empty batch has no results; else the answer is the first event's new value, if it is as long as HEAD says
    (func (export "transform") (param $batch i32) (param $length i32) (result i32)
      (i32.store (i32.const 0) (i32.const 16))
      (i32.store (i32.const 4) (i32.const 3))
      (if (i32.eq (i32.load (i32.sub (i32.add (local.get $batch) (local.get $length)) (i32.const 4))) (i32.const 0x0a5d5d5b))
        (then (return (i32.const 0))))
      (call $ask (i32.const 32) (i32.const REQUEST_BYTES) (i32.const 8))
      (memory.copy (i32.const HEAD_END) (i32.load (i32.const 12)) (i32.load (i32.const 16)))
      (i32.store (i32.const 0) (i32.const 4096))
      (i32.store (i32.const 4) (i32.add (i32.const HEAD_BYTES) (i32.load (i32.const 16))))
      (i32.const 0)))
  (core instance $guest (instantiate $Guest
    (with "store" (instance $store)) (with "host" (instance (export "ask" (func $ask'))))))
  (func (export "penstock-v1-transform") (param "batch" string) (result string)
    (canon lift (core func $guest "transform") (memory $memory) (realloc (core func $realloc)))))
"""


def component(request: object, answer_bytes: int) -> bytes:
    """Asks this, and emits an answer of so many bytes."""
    asked = msgspec.msgpack.encode(request).decode("latin-1").encode()
    head = f"[[1,-{answer_bytes}]]\n"
    text = (
        COMPONENT.replace("REQUEST_BYTES", str(len(asked)))
        .replace("HEAD_BYTES", str(len(head)))
        .replace("HEAD_END", str(4096 + len(head)))
    )
    return wat(
        text.replace("REQUEST", "".join(f"\\{one:02x}" for one in asked)).replace("HEAD", head.replace("\n", "\\n"))
    )


@pytest.mark.parametrize("size", [10, 6000], ids=["fits", "asked-for-again"])
def test_components_reach_it_through_the_bridge(host: Host, serve: Serve, size: int) -> None:
    body = bytes(range(256)) * 40
    server = serve(reply(body[:size]))
    expected = {"status": 200, "headers": [], "body": body[:size]}
    request = {"method": "POST", "url": at(server), "headers": [["x-a", "ü"]], "body": b"\x00\xff"}
    guest = component(request, len(msgspec.msgpack.encode(expected)))
    report = host.run(granted(server), b"~", wasm=guest)
    (value,) = values(report.outcomes[0])
    assert value is not None and msgspec.msgpack.decode(value) == expected
    assert ([one.body for one in server.heard], use(report).allowed) == ([b"\x00\xff"], 1)
