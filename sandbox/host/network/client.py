"""The client of one grant: a request in, an answer out, within a time. Everything else it knows is in the scope.

Does not decide who may ask; that was done when `request` is called. Redirects and addresses are decided on here, by `redirects` and
`rules`, because they are known only on the way.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from yarl import URL

from sandbox.host.gate import Denied
from sandbox.host.network import headers
from sandbox.host.network.connections import Connections
from sandbox.host.network.decoding import BadCoding, Content, TooLarge, UnknownCoding
from sandbox.host.network.headers import Header
from sandbox.host.network.lookup import Lookups
from sandbox.host.network.names import Resolve, system_addresses
from sandbox.host.network.pace import NS, Pace
from sandbox.host.network.redirects import Request, following
from sandbox.host.network.thread import LoopThread, Stopped
from sandbox.host.requests import HostFailure
from sandbox.memory import CALL_BYTES_MAX
from schemas.abi import ERROR_DEADLINE, ERROR_TOO_LARGE, ERROR_UNAVAILABLE
from schemas.capabilities import HttpScope

FRAME_BYTES = 1024
"""Room that an answer's frame takes in msgpack, beside headers and body; five bytes of it for each header."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of it."""

    status: int
    headers: list[Header]
    body: bytes


@dataclass(slots=True)
class Traffic:
    """Bytes that one call moved, all redirects together; headers as they are, without the lines around them."""

    sent: int = 0
    received: int = 0


@dataclass(frozen=True, slots=True)
class _Call:
    """One call on its way."""

    ends_s: float
    """By the loop's clock."""
    traffic: Traffic = field(default_factory=Traffic)


class HttpClient:
    """Sends requests under one scope. `request` from any thread; the rest is on the loop."""

    def __init__(
        self, scope: HttpScope, thread: LoopThread, clock_ns: Callable[[], int], resolve: Resolve = system_addresses
    ) -> None:
        """Raises OSError (ssl.SSLError too) when the scope's authority cannot be read."""
        self._scope = scope
        self._thread = thread
        self._trust = _trust(scope.ca_file)
        self._pace = Pace(scope.bytes_per_second, clock_ns)
        self._lookups = Lookups(resolve, scope.connections)
        self._connections: Connections | None = None
        thread.attach(self)

    def request(self, request: Request, budget_ms: float, traffic: Traffic) -> Answer:
        """Blocks for `budget_ms` at most. `traffic` is added to, whatever comes of it. Raises Denied, HostFailure."""
        late = HostFailure(ERROR_DEADLINE, f"`{request.target.origin}` took longer than {budget_ms:.0f} ms")
        try:
            return self._thread.run(self._answer(request, budget_ms / 1000, traffic), budget_ms / 1000)
        except TimeoutError:
            raise late from None
        except Stopped as stopped:
            raise HostFailure(ERROR_UNAVAILABLE, str(stopped)) from None

    def close(self) -> None:
        """Close its connections. Safe to repeat."""
        self._thread.detach(self)

    async def stop(self) -> None:
        """The same, on the loop."""
        if self._connections is not None:
            await self._connections.close()

    async def _answer(self, request: Request, budget_s: float, traffic: Traffic) -> Answer:
        call = _Call(asyncio.get_running_loop().time() + budget_s, traffic)
        origin = request.target.origin
        try:
            return await self._followed(request, call)
        except (Denied, HostFailure):
            raise
        except Exception as error:  # whatever a server can bring about: it must not end more than its own call
            raise _failure(origin, error) from None

    async def _followed(self, request: Request, call: _Call) -> Answer:
        for _ in range(self._scope.redirects + 1):
            came = await self._exchange(request, call)
            if isinstance(came, Answer):
                return came
            request = came
        raise HostFailure(ERROR_UNAVAILABLE, f"`{request.target.origin}`: more than {self._scope.redirects} redirects")

    async def _exchange(self, request: Request, call: _Call) -> Answer | Request:
        """The answer, or the request that it redirects to."""
        if self._connections is None:
            self._connections = Connections(self._scope, self._lookups, self._trust)
        sending = headers.sent(self._scope, request.target, request.headers)
        await self._send_slowly(len(request.target.path) + _size(sending) + len(request.body or b""), call)
        url = URL(request.target.url, encoded=True)
        assert (url.raw_host, url.port) == (request.target.host, request.target.port)
        async with (
            self._connections.lend(request.target) as session,
            session.request(request.method, url, headers=sending, data=request.body, allow_redirects=False) as response,
        ):
            received = _size(response.raw_headers)
            await self._receive_slowly(received, call)
            if received > headers.ANSWER_HEADER_BYTES_MAX:
                raise HostFailure(
                    ERROR_TOO_LARGE, f"`{request.target.origin}` answers with {received} bytes of headers"
                )
            if response.status < 200:
                raise HostFailure(ERROR_UNAVAILABLE, f"`{request.target.origin}` wants to go on with another protocol")
            if self._scope.redirects:
                further = following(request, response.status, response.headers.getall("Location", ()), self._scope)
                if further is not None:
                    return further
            return await self._read(request, response, call)

    async def _read(self, request: Request, response: aiohttp.ClientResponse, call: _Call) -> Answer:
        origin = request.target.origin
        given = headers.handed_back(response.raw_headers)
        bytes_max = self._scope.response_bytes_max
        room = min(bytes_max, CALL_BYTES_MAX - FRAME_BYTES - sum(len(n.encode()) + len(v.encode()) for n, v in given))
        try:
            content = Content(response.headers.get("Content-Encoding", ""), room)
            if request.method != "HEAD" and (response.content_length or 0) > room:
                raise TooLarge
            async for piece in response.content.iter_any():
                content.take(piece)
                await self._receive_slowly(len(piece), call)
            body = content.end()
        except TooLarge:
            raise HostFailure(ERROR_TOO_LARGE, f"`{origin}` answers with more than {room} bytes") from None
        except UnknownCoding:
            raise HostFailure(ERROR_UNAVAILABLE, f"`{origin}` answers in a coding that was not asked for") from None
        except BadCoding:
            raise HostFailure(
                ERROR_UNAVAILABLE, f"`{origin}` answers with content that its coding does not fit"
            ) from None
        if headers.echoes_secret(self._scope, given, body):
            raise HostFailure(
                ERROR_UNAVAILABLE, f"`{origin}` answers with a credential of the grant: kept from the guest"
            )
        return Answer(response.status, given, body)

    async def _send_slowly(self, count: int, call: _Call) -> None:
        await self._wait(self._pace.wait_ns(count), call)
        self._pace.moved(count)
        call.traffic.sent += count

    async def _receive_slowly(self, count: int, call: _Call) -> None:
        self._pace.moved(count)
        call.traffic.received += count
        await self._wait(self._pace.wait_ns(), call)

    async def _wait(self, wait_ns: int, call: _Call) -> None:
        """Not at all when the time would be over: then the call is."""
        if wait_ns == 0:
            return
        if wait_ns / NS > call.ends_s - asyncio.get_running_loop().time():
            rate = self._scope.bytes_per_second
            raise HostFailure(
                ERROR_DEADLINE, f"the grant's {rate} bytes per second are used up for longer than there is time"
            )
        await asyncio.sleep(wait_ns / NS)


def _trust(ca_file: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca_file)
    context.set_alpn_protocols(["http/1.1"])
    return context


def _size(raw: Iterable[tuple[str | bytes, str | bytes]]) -> int:
    return sum(len(name) + len(value) for name, value in raw)


def _failure(origin: str, error: Exception) -> HostFailure:
    """A third party's error as ours. Their own texts may repeat what was sent, so only those of the system are told."""
    match error:
        case aiohttp.ClientConnectorCertificateError(certificate_error=ssl.SSLCertVerificationError() as bad):
            problem = f"its certificate is not trusted: {bad.verify_message}"
        case aiohttp.ClientSSLError():
            problem = "there is no TLS with it"
        case aiohttp.ClientConnectorDNSError():
            problem = f"its name has no address: {error.os_error.strerror or error.os_error}"
        case aiohttp.ClientConnectorError():
            problem = f"no connection: {error.os_error.strerror or 'failed'}"
        case TimeoutError():
            problem = "no connection within its part of the grant's timeout"
        case aiohttp.ServerDisconnectedError() | ConnectionError():
            problem = "it ended the connection"
        case _:
            problem = f"what it answers is no HTTP that is understood ({type(error).__name__})"
    return HostFailure(ERROR_UNAVAILABLE, f"`{origin}`: {problem}")
