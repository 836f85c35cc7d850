"""The admin port: `/metrics`, `/livez`, `/readyz`. Read-only, without authentication: bind it to where only you can reach it."""

from __future__ import annotations

import errno
import logging
import os
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from pipeline.observe.exposition import Exposition
from pipeline.observe.health import HealthReport
from pipeline.observe.meter import Samples
from schemas.errors import ConfigError, Fault

_ADDRESS = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.%\w]+)\]|(?P<host>[^\s:\[\]/]+)):(?P<port>[0-9]{1,5})")
_WRITE = "write HOST:PORT, e.g. 127.0.0.1:9464, or [::1]:9464 for IPv6"
_ABSENT = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
_IDLE_S = 30.0
"""How long a connection may take until its first request is there, and between two: longer than scrapes are apart as a rule."""
_INDEX = "penstock: /metrics /livez /readyz\n"


@dataclass(frozen=True, slots=True)
class Address:
    """Where the admin port listens."""

    host: str
    port: int
    """0 lets the system choose."""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_address(text: str, *, path: str = "--admin") -> Address:
    """`HOST:PORT` or `[IPv6]:PORT`. Raises ConfigError, under the name `path`."""
    found = _ADDRESS.fullmatch(text.strip())
    if found is None:
        raise ConfigError(Fault(f"{text!r} is not an address", _WRITE, path=path))
    port = int(found["port"])
    if port > 65_535:
        raise ConfigError(Fault(f"there is no port {port}", "ports end at 65535", path=path))
    return Address(found["v6"] or found["host"], port)


class Admin:
    """The server. `samples` and `health` are asked at each request: a worker's own, or a fleet's."""

    def __init__(
        self,
        address: Address,
        samples: Callable[[], Samples],
        health: Callable[[], HealthReport],
        *,
        idle_s: float = _IDLE_S,
    ) -> None:
        self.address = address
        """As asked for; once started, with the port that was taken."""
        self._exposition = Exposition(samples)
        self._health = health
        self._idle_s = idle_s
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen. Raises ConfigError when the address cannot be had."""
        sockets = bind_all(self.address, _resolve(self.address))
        self.address = Address(self.address.host, sockets[0].getsockname()[1])
        log = logging.getLogger(f"{__name__}.http")
        log.addFilter(_is_ours)
        self._runner = web.AppRunner(
            self._app(), access_log=None, logger=log, handle_signals=False, keepalive_timeout=self._idle_s
        )
        await self._runner.setup()
        for each in sockets:
            await web.SockSite(self._runner, each).start()

    async def close(self) -> None:
        """Stop listening; a request under way is answered first."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def _app(self) -> web.Application:
        app = web.Application()
        app.on_response_prepare.append(_add_headers)
        app.add_routes(
            [
                web.get("/", self._index),
                web.get("/metrics", self._metrics),
                web.get("/livez", self._livez),
                web.get("/readyz", self._readyz),
            ]
        )
        return app

    async def _index(self, request: web.Request) -> web.Response:
        return web.Response(text=_INDEX)

    async def _metrics(self, request: web.Request) -> web.Response:
        body, content_type = self._exposition.render(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def _livez(self, request: web.Request) -> web.Response:
        report = self._health()
        return _verdict(report.live, report)

    async def _readyz(self, request: web.Request) -> web.Response:
        report = self._health()
        return _verdict(report.ready, report)


def _is_ours(record: logging.LogRecord) -> bool:
    """Whether a failed request is worth a line: a request that is no HTTP is its sender's mistake, and anyone can send a thousand."""
    return record.exc_info is None or not isinstance(record.exc_info[1], HttpProcessingError)


def _verdict(good: bool, report: HealthReport) -> web.Response:
    body = msgspec.json.encode(report) + b"\n"
    return web.Response(body=body, status=200 if good else 503, content_type="application/json")


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"


Place = tuple[socket.AddressFamily, str]


def bind_all(address: Address, places: list[Place]) -> list[socket.socket]:
    """One listening socket per place, all on one port. Raises ConfigError when none can be had, or one is in use.

    A place that this machine does not have is left out: `localhost` says ::1 on machines without IPv6, too.
    """
    sockets: list[socket.socket] = []
    absent: OSError | None = None
    port = address.port
    for family, host in places:
        try:
            sockets.append(_bind(family, host, port))
        except OSError as error:
            if error.errno not in _ABSENT:
                _close(sockets)
                raise ConfigError(_fault(address, error)) from error
            absent = error
        else:
            port = sockets[-1].getsockname()[1]
    if absent is not None and not sockets:
        raise ConfigError(_fault(address, absent)) from absent
    return sockets


def _close(sockets: list[socket.socket]) -> None:
    for each in sockets:
        each.close()


def _resolve(address: Address) -> list[Place]:
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise ConfigError(Fault(f"the host of {address} is unknown", _WRITE, path="--admin")) from error
    return list(dict.fromkeys((family, str(where[0])) for family, _, _, _, where in found))


def _bind(family: socket.AddressFamily, host: str, port: int) -> socket.socket:
    created = socket.socket(family, socket.SOCK_STREAM)
    try:
        created.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            created.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        created.bind((host, port))
        created.listen(128)
        created.setblocking(False)
    except OSError:
        created.close()
        raise
    return created


def _fault(address: Address, error: OSError) -> Fault:
    match error.errno:
        case errno.EADDRINUSE:
            problem, remedy = (
                f"{address} is in use",
                "stop what listens there, or choose another port (0: any free one)",
            )
        case errno.EADDRNOTAVAIL | errno.EAFNOSUPPORT:
            problem, remedy = (
                f"{address} is no address of this machine",
                "use 127.0.0.1, or 0.0.0.0 for every interface",
            )
        case errno.EACCES:
            problem, remedy = f"no permission to listen on {address}", "choose a port above 1023"
        case _:
            problem, remedy = f"cannot listen on {address}: {os.strerror(error.errno or 0)}", _WRITE
    return Fault(problem, remedy, path="--admin")
