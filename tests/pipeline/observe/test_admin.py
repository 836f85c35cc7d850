"""The admin port over real HTTP."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import aiohttp
import pytest

from pipeline.observe.admin import Address, Admin, bind_all, parse_address
from pipeline.observe.health import Health
from pipeline.observe.meter import Meter
from pipeline.observe.metrics import PrometheusObserver
from pipeline.ports import LaneState
from schemas.errors import ConfigError
from tests.pipeline.observe.facts import LANE, ManualClock, commit
from tests.pipeline.observe.scraping import parse, value


class Service:
    """A process with an admin port on a free port."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.meter = Meter()
        self.observer = PrometheusObserver(self.meter, self.clock.monotonic)
        self.health = Health(["orders"], self.clock.monotonic)

    def visit(self, use: Callable[[aiohttp.ClientSession], Awaitable[None]], host: str = "127.0.0.1") -> None:
        asyncio.run(self._visit(use, host))

    async def _visit(self, use: Callable[[aiohttp.ClientSession], Awaitable[None]], host: str) -> None:
        admin = Admin(Address(host, 0), lambda: self.meter.samples, self.health.report)
        await admin.start()
        try:
            async with aiohttp.ClientSession(f"http://{admin.address}") as session:
                await use(session)
        finally:
            await admin.close()


@pytest.fixture
def service() -> Service:
    return Service()


def test_metrics_as_text(service: Service) -> None:
    async def use(session: aiohttp.ClientSession) -> None:
        service.observer.committed(LANE, commit())
        async with session.get("/metrics") as response:
            assert response.status == 200
            assert response.content_type == "text/plain"
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            scraped = parse(await response.text())
        assert value(scraped, "penstock_records_total", route="orders", outcome="emitted") == 10

    service.visit(use)


def test_metrics_as_openmetrics(service: Service) -> None:
    async def use(session: aiohttp.ClientSession) -> None:
        accept = {"Accept": "application/openmetrics-text; version=1.0.0, text/plain; q=0.5"}
        async with session.get("/metrics", headers=accept) as response:
            assert response.content_type == "application/openmetrics-text"
            assert (await response.text()).endswith("# EOF\n")

    service.visit(use)


def test_ready_and_alive_with_reasons(service: Service) -> None:
    async def ask(session: aiohttp.ClientSession, path: str) -> tuple[int, dict[str, object]]:
        async with session.get(path) as response:
            assert response.headers["Cache-Control"] == "no-store"
            return response.status, await response.json()

    async def use(session: aiohttp.ClientSession) -> None:
        status, body = await ask(session, "/readyz")
        assert (status, body["reasons"]) == (503, ["route orders has not joined its consumer group"])
        assert (await ask(session, "/livez"))[0] == 200
        service.health.joined("orders")
        service.health.lane(LANE, LaneState.STOPPED, "offsets are gone")
        status, body = await ask(session, "/readyz")
        assert (status, body["ready"], body["live"]) == (200, True, True)
        assert body["lanes"] == [{"lane": "orders:shop.orders/3", "state": "stopped", "reason": "offsets are gone"}]
        service.clock.advance(61)
        assert (await ask(session, "/livez"))[0] == 503
        assert (await ask(session, "/readyz"))[0] == 503

    service.visit(use)


def test_nothing_else_is_served(service: Service) -> None:
    async def use(session: aiohttp.ClientSession) -> None:
        for method, path, status in (("GET", "/secret", 404), ("POST", "/metrics", 405), ("GET", "/", 200)):
            async with session.request(method, path) as response:
                assert response.status == status
                assert response.headers["X-Content-Type-Options"] == "nosniff"

    service.visit(use)


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    "host", ["localhost", pytest.param("::1", marks=pytest.mark.skipif(not _has_ipv6(), reason="no IPv6 here"))]
)
def test_names_and_ipv6(service: Service, host: str) -> None:
    async def use(session: aiohttp.ClientSession) -> None:
        async with session.get("/livez") as response:
            assert response.status == 200

    service.visit(use, host)


def test_a_closed_port_can_be_had_again_at_once(service: Service) -> None:
    """A restart must not wait for the kernel to forget connections that the server closed first."""

    async def run() -> None:
        address = Address("127.0.0.1", 0)
        for _ in range(2):
            admin = Admin(address, lambda: service.meter.samples, service.health.report)
            await admin.start()
            address = admin.address
            async with aiohttp.ClientSession() as session:
                async with session.get(f"http://{address}/livez") as response:
                    assert response.status == 200
                await admin.close()

    asyncio.run(run())


@contextmanager
def _taken() -> Iterator[int]:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def _start(service: Service, text: str) -> None:
    async def run() -> None:
        admin = Admin(parse_address(text), lambda: service.meter.samples, service.health.report)
        await admin.start()
        await admin.close()

    asyncio.run(run())


def test_a_port_in_use_is_refused_with_a_way_out(service: Service) -> None:
    with _taken() as port, pytest.raises(ConfigError, match=rf"--admin: 127.0.0.1:{port} is in use — .*another port"):
        _start(service, f"127.0.0.1:{port}")


LOOPBACKS = [(socket.AF_INET6, "::1"), (socket.AF_INET, "127.0.0.1")]


@pytest.mark.skipif(not _has_ipv6(), reason="no IPv6 here")
@pytest.mark.parametrize(("family", "host"), LOOPBACKS)
def test_one_address_in_use_refuses_them_all(family: socket.AddressFamily, host: str) -> None:
    with socket.socket(family) as other:
        other.bind((host, 0))
        other.listen()
        with pytest.raises(ConfigError, match="is in use"):
            bind_all(Address("localhost", other.getsockname()[1]), LOOPBACKS)


@pytest.mark.skipif(not _has_ipv6(), reason="no IPv6 here")
def test_a_chosen_port_is_the_same_on_all_addresses() -> None:
    sockets = bind_all(Address("localhost", 0), LOOPBACKS)
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    assert len(ports) == 2 and len(set(ports)) == 1


def test_an_address_the_machine_does_not_have_is_left_out() -> None:
    places = [(socket.AF_INET, "192.0.2.1"), (socket.AF_INET, "127.0.0.1")]
    (only,) = bind_all(Address("localhost", 0), places)
    with only:
        assert only.getsockname()[0] == "127.0.0.1"


def test_an_address_of_another_machine_is_refused(service: Service) -> None:
    with pytest.raises(ConfigError, match=r"is no address of this machine — use 127.0.0.1"):
        _start(service, "192.0.2.1:9464")


def test_an_unknown_host_is_refused(service: Service) -> None:
    with pytest.raises(ConfigError, match=r"the host of nowhere.invalid:9464 is unknown"):
        _start(service, "nowhere.invalid:9464")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:9464", Address("127.0.0.1", 9464)),
        (" localhost:0 ", Address("localhost", 0)),
        ("[::1]:9464", Address("::1", 9464)),
        ("[fe80::1%eth0]:80", Address("fe80::1%eth0", 80)),
        ("my-host.example:65535", Address("my-host.example", 65_535)),
    ],
)
def test_addresses(text: str, address: Address) -> None:
    assert parse_address(text) == address
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "9464",
        ":9464",
        "localhost",
        "localhost:",
        "::1:9464",
        "http://localhost:9464",
        "a b:1",
        "h:-1",
        "h:٣",
        "h:99999",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--admin"):
        parse_address(text)
