"""`http_request`: whatever a guest asks and a server answers, there is an answer or a code, and the next request is served."""

from __future__ import annotations

import asyncio
import gzip
import random
import time
import zlib
from contextlib import closing

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from sandbox.host.gate import Denied
from sandbox.host.network.client import Answer, HttpClient, Traffic
from sandbox.host.network.headers import ANSWER_HEADER_BYTES_MAX
from sandbox.host.network.redirects import Request
from sandbox.host.network.rules import objection
from sandbox.host.network.serve import read
from sandbox.host.network.thread import LoopThread
from sandbox.host.network.urls import read_url
from sandbox.host.requests import HostFailure
from schemas.abi import ERROR_INVALID, ERROR_TOO_LARGE, ERROR_UNAVAILABLE
from schemas.capabilities import HttpScope
from tests.fuzz.effort import FACTOR, chance, examples
from tests.sandbox.network.servers import Heard, Server, redirect, reply

BODY_BYTES_MAX = 2000
BUDGET_MS = 5000
ANSWERS = (
    reply(b"hello", headers=[("X", "y"), ("Set-Cookie", "a=b")]),
    reply(b"hello" * 400, length=False),
    reply(gzip.compress(b"hello" * 100), headers=[("Content-Encoding", "gzip")]),
    reply(zlib.compress(b"hello" * 100), headers=[("Content-Encoding", "deflate")]),
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + reply(b"then"),
    redirect("/again?x=y"),
    redirect("//other.example.com/"),
    reply(status="304 Not Modified"),
)
SPLICES = (
    b"\r\n",
    b"\0",
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Location: //evil.example\r\n",
    b"HTTP/1.1 ",
    b"99999999999",
    b"-1",
    b"\xff",
)


def mutated(draw: random.Random) -> bytes:
    """One of the answers with some of its bytes changed, cut out, doubled or put in."""
    said = bytearray(draw.choice(ANSWERS))
    for _ in range(draw.randint(0, 4)):
        at = draw.randrange(len(said) + 1)
        match draw.randrange(5):
            case 0:
                said[at : at + 1] = bytes([draw.randrange(256)])
            case 1:
                del said[at : at + draw.randint(1, 20)]
            case 2:
                said[at:at] = said[at : at + draw.randint(1, 40)]
            case 3:
                said[at:at] = draw.choice(SPLICES)
            case _:
                del said[at:]
    return bytes(said)


def test_mutated_answers_are_answers_or_failures() -> None:
    draw = chance("http answers")

    async def answer(heard: Heard, writer: asyncio.StreamWriter) -> None:
        writer.write(reply(b"well") if heard.path == "/well" else mutated(draw))
        await writer.drain()
        if heard.path != "/well":
            writer.write_eof()

    with Server(answer) as server, closing(LoopThread()) as thread:
        scope = HttpScope(
            hosts=("api.example.com",), ports=(server.port,), plain=True, private=True, response_bytes_max=BODY_BYTES_MAX, connections=2
        )  # fmt: skip
        client = HttpClient(scope, thread, time.monotonic_ns, lambda name: ["127.0.0.1"])
        for _ in range(200 * FACTOR):
            _told(client, f"http://api.example.com:{server.port}/")
            well = _told(client, f"http://api.example.com:{server.port}/well")
            assert isinstance(well, Answer) and well.body == b"well"
        client.close()


def _told(client: HttpClient, url: str) -> Answer | None:
    try:
        answer = client.request(Request("GET", read_url(url)), BUDGET_MS, Traffic())
    except Denied:
        return None
    except HostFailure as failure:
        assert failure.code in (ERROR_UNAVAILABLE, ERROR_TOO_LARGE), failure.message
        return None
    assert 200 <= answer.status <= 999 and len(answer.body) <= BODY_BYTES_MAX
    assert sum(len(name) + len(value) for name, value in answer.headers) <= ANSWER_HEADER_BYTES_MAX
    msgspec.msgpack.encode(answer)
    return answer


TEXTS = st.text(max_size=20) | st.sampled_from(
    ["GET", "Host", "a\r\nb", "https://api.example.com/", "https://2130706433/", "http://[::1%25lo]"]
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.binary(max_size=10) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
REQUESTS = st.fixed_dictionaries(
    {"method": TEXTS | ANYTHING, "url": TEXTS | ANYTHING},
    optional={
        "headers": st.lists(st.tuples(TEXTS, TEXTS), max_size=3) | ANYTHING,
        "body": st.binary() | ANYTHING,
        "x": ANYTHING,
    },
)


@examples(300)
@given(REQUESTS | ANYTHING)
def test_any_request_is_one_or_none(value: object) -> None:
    scope = HttpScope(hosts=("api.example.com",))
    try:
        found = read(value)
    except Denied:
        return
    except HostFailure as failure:
        assert failure.code == ERROR_INVALID
        return
    if objection(scope, found.target, found.method) is None:
        assert (found.target.host, found.target.port, found.target.scheme) == ("api.example.com", 443, "https")
        assert not any(set(name + value) & set("\r\n\0") for name, value in found.headers)
