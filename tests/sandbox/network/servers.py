"""Web servers as these tests need them: real sockets on 127.0.0.1, and every byte of an answer is the test's choice."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

WAIT_S = 60


@dataclass(frozen=True)
class Heard:
    """One request as it came."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    connection: int
    """The first is 1."""

    def header(self, name: str) -> str | None:
        return next((value for one, value in self.headers if one.lower() == name.lower()), None)


Answer = Callable[[Heard, asyncio.StreamWriter], Awaitable[None]]


def reply(
    body: bytes = b"", status: str = "200 OK", headers: Iterable[tuple[str, str]] = (), *, length: bool = True
) -> bytes:
    """An answer's bytes; without `length` it ends when somebody closes."""
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers)]
    if length:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def redirect(location: str, status: str = "302 Found") -> bytes:
    return reply(b"elsewhere", status, [("Location", location)])


def always(*answers: bytes) -> Answer:
    """Says these, one for each request; the last one from then on. An empty one ends the connection."""
    left = list(answers)

    async def answer(heard: Heard, writer: asyncio.StreamWriter) -> None:
        said = left.pop(0) if len(left) > 1 else left[0]
        writer.write(said)
        if not said:
            writer.close()

    return answer


async def silence(heard: Heard, writer: asyncio.StreamWriter) -> None:
    """Never answers."""
    await asyncio.Event().wait()


@dataclass
class Server:
    """Use `with`. `certificate` is a file with key and certificate."""

    answer: Answer
    certificate: Path | None = None
    reads: bool = True
    """Or it takes connections and nothing from them."""
    heard: list[Heard] = field(default_factory=list)
    connections: int = 0
    open: int = 0
    open_most: int = 0
    names: list[str] = field(default_factory=list)
    """That TLS clients asked for."""

    def __enter__(self) -> Server:
        self._loop = asyncio.new_event_loop()
        self._changed = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_forever, name="test server", daemon=True)
        self._thread.start()
        listening = socket.create_server(("127.0.0.1", 0))
        if not self.reads:  # so that a request does not fit into what the system keeps between the two
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.port: int = listening.getsockname()[1]
        self._server = self._call(asyncio.start_server(self._accept, sock=listening, ssl=self._tls()))
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(WAIT_S)
        self._loop.close()

    def wait_until_closed(self) -> None:
        """Until no connection is open."""
        self._call(self._closed())

    def _call(self, work):  # type: ignore[no-untyped-def]
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(WAIT_S)

    def _tls(self) -> ssl.SSLContext | None:
        if self.certificate is None:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate)
        context.sni_callback = lambda _socket, name, _context: self.names.append(name or "")
        return context

    async def _stop(self) -> None:
        self._server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _closed(self) -> None:
        while self.open:
            self._changed.clear()
            await self._changed.wait()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        self.open_most = max(self.open, self.open_most)
        try:
            with contextlib.suppress(
                ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError, ssl.SSLError
            ):
                await self._talk(reader, writer, self.connections)
        finally:
            self.open -= 1
            self._changed.set()
            writer.transport.abort()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: int) -> None:
        if not self.reads:
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            while not writer.is_closing():  # a reset is seen by who writes
                writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n")
                await asyncio.sleep(0.01)
            return
        while True:
            heard = await _hear(reader, connection)
            self.heard.append(heard)
            answering = asyncio.ensure_future(self.answer(heard, writer))
            ended = asyncio.ensure_future(reader.read(1))
            ended.add_done_callback(lambda one: one.cancelled() or one.exception())
            done, _ = await asyncio.wait((answering, ended), return_when=asyncio.FIRST_COMPLETED)
            if answering not in done:
                answering.cancel()
                return
            await answering
            await writer.drain()
            more = await ended
            if not more:
                return
            reader._buffer[:0] = more  # type: ignore[attr-defined]


async def _hear(reader: asyncio.StreamReader, connection: int) -> Heard:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head[:-4].split("\r\n")
    headers = tuple((name, value.strip()) for name, _, value in (line.partition(":") for line in lines))
    method, path, _ = first.split(" ")
    length = next((int(value) for name, value in headers if name.lower() == "content-length"), 0)
    return Heard(method, path, headers, await reader.readexactly(length), connection)
