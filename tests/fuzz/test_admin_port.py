"""The admin port under requests that are none: answered or closed, in bounded memory, and the next scrape is served."""

from __future__ import annotations

import asyncio
import json
import tracemalloc
from collections.abc import Awaitable, Callable

import pytest

from pipeline.observe.admin import Address, Admin
from pipeline.observe.health import Health
from pipeline.observe.meter import Meter
from tests.fuzz.effort import FACTOR, chance
from tests.pipeline.observe.facts import ManualClock

IDLE_S = 0.5
ANSWER_S = 20.0
Visit = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def serving(use: Callable[[Admin], Awaitable[None]]) -> None:
    clock, meter = ManualClock(), Meter()
    health = Health(["orders"], clock.monotonic)
    admin = Admin(Address("127.0.0.1", 0), lambda: meter.samples, health.report, idle_s=IDLE_S)
    await admin.start()
    try:
        await use(admin)
        status, body = await answer(admin, b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert status in (200, 503) and "live" in json.loads(body.partition(b"\r\n\r\n")[2]), body
    finally:
        await admin.close()


async def answer(admin: Admin, request: bytes) -> tuple[int, bytes]:
    """The status (0: none, only closed) and all that came until the server closed the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", admin.address.port)
    try:
        async with asyncio.timeout(ANSWER_S):
            try:
                writer.write(request)
                await writer.drain()
                said = await reader.read()
            except ConnectionError:  # closed while there was still something to send
                said = b""
    finally:
        writer.close()
    return int(said.split(b" ", 2)[1]) if said.startswith(b"HTTP/") else 0, said


GARBAGE = {
    "nothing of HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\xa5" * 200,
    "NULs": b"\0" * 10_000,
    "no version": b"GET /metrics\r\n\r\n",
    "a version of the future": b"GET /metrics HTTP/9.9\r\n\r\n",
    "a long line": b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
    "a long header": b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 1_000_000 + b"\r\n\r\n",
    "many headers": b"GET /metrics HTTP/1.1\r\n" + b"X: 1\r\n" * 100_000 + b"\r\n",
    "a header without end": b"GET /metrics HTTP/1.1\r\nX: 1\r\n 2\r\n 3\r\nX",
    "two lengths": b"POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
    "a negative length": b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    "a length of exabytes": b"POST /metrics HTTP/1.1\r\nContent-Length: 9999999999999999999\r\n\r\nx",
    "chunks of garbage": b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzzzz\r\n",
    "a chunk of exabytes": b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
    "paths upwards": b"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "a path that is no text": b"GET /\xff\xfe%00%ff HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "smuggled lines": b"GET /metrics HTTP/1.1\r\nHost: x\nX: y\r\nConnection: close\r\n\r\n",
    "an accept of garbage": b"GET /metrics HTTP/1.1\r\nAccept: " + b";q=,,;" * 1_000 + b"\r\nConnection: close\r\n\r\n",
    "a version that is none": b"GET /metrics HTTP/1.1\r\nAccept: text/plain;version=x.y\r\nConnection: close\r\n\r\n",
    "a version that is no text": b"GET /metrics HTTP/1.1\r\nAccept: text/plain;version=\xc3\r\nConnection: close\r\n\r\n",
    "an upgrade": b"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c, websocket\r\n\r\n",
}


@pytest.mark.parametrize("request_bytes", GARBAGE.values(), ids=GARBAGE.keys())
def test_garbage_is_answered_or_closed(request_bytes: bytes) -> None:
    async def use(admin: Admin) -> None:
        tracemalloc.start()
        try:
            status, said = await answer(admin, request_bytes)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert status in (0, 101, 200, 400, 404, 405, 431) or status // 100 == 4, (status, said[:300])
        assert b"Traceback" not in said
        assert peak < 16 << 20, peak

    asyncio.run(serving(use))


def test_requests_with_changed_bytes(caplog: pytest.LogCaptureFixture) -> None:
    drawn = chance("admin")
    good = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: text/plain;version=0.0.4\r\nConnection: close\r\n\r\n"

    async def use(admin: Admin) -> None:
        for _ in range(80 * FACTOR):
            request = bytearray(good)
            for _ in range(drawn.randint(1, 5)):
                request[drawn.randrange(len(request))] = drawn.randrange(256)
            status, said = await answer(admin, bytes(request) + b"\r\n\r\n")
            assert status == 0 or status < 500, (bytes(request), said[:300])

    asyncio.run(serving(use))
    assert not [record for record in caplog.records if record.exc_info], "no traceback in the log"


def test_a_slow_loris_is_let_go_and_others_are_served_meanwhile() -> None:
    """Connections that send a byte now and then, or nothing at all, are closed when their time is over."""

    async def use(admin: Admin) -> None:
        async def loris() -> float:
            reader, writer = await asyncio.open_connection("127.0.0.1", admin.address.port)
            began = asyncio.get_running_loop().time()
            writer.write(b"GET /metrics HTTP/1.1\r\nX-Slow: ")
            closed = asyncio.ensure_future(reader.read())
            while not closed.done():
                writer.write(b"x")
                await asyncio.wait({closed}, timeout=0.05)
            writer.close()
            return asyncio.get_running_loop().time() - began

        async with asyncio.timeout(ANSWER_S), asyncio.TaskGroup() as tasks:
            slow = [tasks.create_task(loris()) for _ in range(50)]
            status, _ = await answer(admin, b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert status == 200
            assert not any(task.done() for task in slow), "they were still at it"
        assert all(task.result() >= IDLE_S * 0.9 for task in slow)

    asyncio.run(serving(use))


def test_a_reader_that_never_reads_costs_no_other() -> None:
    async def use(admin: Admin) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", admin.address.port)
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 1_000)
        status, _ = await answer(admin, b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert status == 200
        writer.close()

    asyncio.run(serving(use))
