"""Connections of one grant: so many at most, idle ones included, each to an address that was checked when its socket was made.

Threat: DNS rebinding. A name is looked up once for each new connection; all its addresses are checked, and the socket is made for
one of those and checked once more. There is no second look-up and no cache that could answer something else.

And servers that never stop talking: aiohttp reads interim answers and empty lines without end, and keeps some of what comes later. So
what a socket may receive is counted down where it is received, and a connection that goes beyond that ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from sandbox.host.gate import Denied
from sandbox.host.network.headers import ANSWER_HEADER_BYTES_MAX, ANSWER_HEADERS_MAX
from sandbox.host.network.lookup import Lookups
from sandbox.host.network.rules import address_objection
from sandbox.host.network.urls import Target
from sandbox.host.requests import HostFailure
from schemas.abi import ERROR_TOO_LARGE
from schemas.capabilities import HttpScope

if TYPE_CHECKING:
    from typing_extensions import Buffer

IDLE_S = 15
"""After which an idle connection is closed."""
CLOSE_S = 1.0
CONNECT_PARTS = 3
"""An address that swallows what is sent to it costs one such part of the grant's timeout; then the name's next one is tried."""
LINE_BYTES_MAX = 8190
"""Of a status line, a header's name and its value."""
BUFFER_BYTES = 64 << 10
"""Received and not yet taken, by connection: then the server waits."""
FRAMING_BYTES = 128 << 10
"""For one exchange beside headers and twice the body: TLS's handshake, interim answers. Half of what a body of small chunks takes is framing."""
IDLE_BYTES = 16 << 10
"""For what comes between two exchanges: TLS's tickets and its end."""


class Connections:
    """Lends connections for one exchange at a time. Lives on the loop."""

    def __init__(self, scope: HttpScope, lookups: Lookups, trust: ssl.SSLContext) -> None:
        self._scope = scope
        self._lookups = lookups
        self._trust = trust
        self._free = asyncio.Semaphore(scope.connections)
        self._idle: list[Line] = []
        """The one used last at the end."""
        self._lent = 0
        self._closed = False
        self._bytes_max = 2 * scope.response_bytes_max + ANSWER_HEADER_BYTES_MAX + FRAMING_BYTES

    @contextlib.asynccontextmanager
    async def lend(self, target: Target) -> AsyncIterator[aiohttp.ClientSession]:
        """A session that talks to the target's origin alone. It is closed, connection and all, unless all went well."""
        async with self._free, self._counted():
            line = await self._line(target)
            line.allow(self._bytes_max)
            try:
                yield line.session
            except BaseException as error:
                line.abort()
                await line.close()
                if line.overrun and isinstance(error, Exception):
                    raise HostFailure(
                        ERROR_TOO_LARGE, f"`{target.origin}` sends more than an answer may have"
                    ) from None
                raise
            line.allow(IDLE_BYTES)
            self._idle.append(line)
        if self._closed:
            await self.close()

    async def close(self) -> None:
        """Close the idle ones now, and those that are lent when they come back."""
        self._closed = True
        while self._idle:
            await self._idle.pop().close()

    @contextlib.asynccontextmanager
    async def _counted(self) -> AsyncIterator[None]:
        self._lent += 1
        try:
            yield
        finally:
            self._lent -= 1

    async def _line(self, target: Target) -> Line:
        for at in reversed(range(len(self._idle))):
            if self._idle[at].target.origin == target.origin:
                return self._idle.pop(at)
        while self._idle and self._lent + len(self._idle) > self._scope.connections:
            await self._idle.pop(0).close()  # the oldest makes room
        return Line(self._scope, target, self._lookups, self._trust)


class Line:
    """At most one connection, to one origin."""

    def __init__(self, scope: HttpScope, target: Target, lookups: Lookups, trust: ssl.SSLContext) -> None:
        self.target = target
        self._scope = scope
        self._sockets: list[_Socket] = []
        self._bytes_max = 0
        connector = aiohttp.TCPConnector(
            limit=1,
            ssl=trust,
            resolver=_Resolver(scope, target, lookups),
            use_dns_cache=False,
            happy_eyeballs_delay=None,  # one attempt after another: no more sockets than the grant has connections
            keepalive_timeout=IDLE_S,
            socket_factory=self._socket,
        )
        self.session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            skip_auto_headers=("Content-Type", "User-Agent", "Accept-Encoding"),
            timeout=aiohttp.ClientTimeout(
                total=None,  # whoever waits has a bound of its own
                sock_connect=scope.timeout_ms / 1000 / CONNECT_PARTS,
            ),
            max_line_size=LINE_BYTES_MAX,
            max_field_size=LINE_BYTES_MAX,
            max_headers=ANSWER_HEADERS_MAX,
            read_bufsize=BUFFER_BYTES,
        )

    @property
    def overrun(self) -> bool:
        """The server sent more than it was allowed."""
        return any(one.left < 0 for one in self._sockets)

    def allow(self, bytes_max: int) -> None:
        """So much may be received from now on."""
        self._bytes_max = bytes_max
        for one in self._sockets:
            one.left = bytes_max

    def abort(self) -> None:
        """Whatever is still to be sent is not: a server that does not read holds nothing open."""
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    async def close(self) -> None:
        """Close the connection. In this very task: one of its own could be cancelled before it has begun."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await self.session.close()

    def _socket(self, where: tuple[Any, ...]) -> _Socket:
        """The last look at an address, and the only way to a connection. Raises Denied."""
        family, kind, protocol, _, address = where
        why = address_objection(self._scope, self.target, ip_address(address[0]))
        if why is not None:
            raise Denied(why)
        self._sockets = [one for one in self._sockets if one.fileno() != -1]
        made = _Socket(family, kind, protocol)
        made.left = self._bytes_max
        self._sockets.append(made)
        return made


class _Socket(socket.socket):
    """Receives `left` bytes, and then no more."""

    left = 0

    def recv(self, count: int, flags: int = 0, /) -> bytes:
        """Raises ConnectionAbortedError beyond `left`."""
        received = super().recv(count, flags)
        self._count(len(received))
        return received

    def recv_into(self, buffer: Buffer, count: int = 0, flags: int = 0, /) -> int:
        """Raises ConnectionAbortedError beyond `left`."""
        received = super().recv_into(buffer, count, flags)
        self._count(received)
        return received

    def _count(self, received: int) -> None:
        self.left -= received
        if self.left < 0:
            raise ConnectionAbortedError("the server sends more than it may")


class _Resolver(AbstractResolver):
    """Checked addresses, or none: a name that leads anywhere it must not leads nowhere."""

    def __init__(self, scope: HttpScope, target: Target, lookups: Lookups) -> None:
        self._scope = scope
        self._target = target
        self._lookups = lookups

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Raises Denied, OSError."""
        found = [ip_address(one) for one in await self._lookups.addresses(host)]
        for one in found:
            why = address_objection(self._scope, self._target, one)
            if why is not None:
                raise Denied(why)
        return [
            ResolveResult(
                hostname=host,
                host=str(one),
                port=port,
                family=socket.AF_INET6 if one.version == 6 else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for one in found
        ]

    async def close(self) -> None:
        """Holds nothing."""
