"""A network that can be broken: a TCP proxy in front of one broker listener, with a thread and a loop of its own.

`PASS` forwards; `CUT` resets every connection and refuses new ones; `BLACKHOLE` keeps connections open and forwards
nothing, as a firewall that drops packets does; `HALF_OPEN` forwards requests but no answers: the broker hears the client,
the client hears nobody. What arrives while nothing is forwarded is held back by TCP, and goes on when the mode allows it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from enum import Enum, auto

_CHUNK = 1 << 16
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER of zero seconds: closing sends RST."""


class Network(Enum):
    """What the proxy does with bytes."""

    PASS = auto()
    CUT = auto()
    BLACKHOLE = auto()
    HALF_OPEN = auto()


class Proxy:
    """Listens on `port` of 127.0.0.1 from its construction on; forwards to `target` once that is set. Use `with`."""

    def __init__(self) -> None:
        self.target: tuple[str, int] | None = None
        self._mode = Network.PASS
        self._delay_s = 0.0
        self._changed: asyncio.Event = asyncio.Event()
        self._pairs: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"proxy {self.port}", daemon=True)

    @property
    def address(self) -> str:
        """`host:port` for clients."""
        return f"localhost:{self.port}"

    def __enter__(self) -> Proxy:
        self._thread.start()
        self._call(self._open())
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def set(self, mode: Network, delay_s: float = 0.0) -> None:
        """Change the network, for present and new connections; `delay_s` is added to every chunk in each direction."""
        self._call(self._set(mode, delay_s))

    def _call(self, coroutine: object) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)  # type: ignore[arg-type]

    async def _open(self) -> None:
        self._server = await asyncio.start_server(self._accept, sock=self._socket)

    async def _close(self) -> None:
        self._server.close()
        self._cut()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _set(self, mode: Network, delay_s: float) -> None:
        self._mode, self._delay_s = mode, delay_s
        if mode is Network.CUT:
            self._cut()
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _cut(self) -> None:
        for writer in list(self._pairs):
            with contextlib.suppress(OSError):
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._pairs.add(writer)
        try:
            await self._connect(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # either end going away is what this is about; cancelled only when the proxy closes
        finally:
            self._tasks.discard(task)
            self._let_go(writer)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._mode is Network.CUT:
            self._cut()
            return
        assert self.target is not None, "the proxy has no target yet"
        far_reader, far_writer = await asyncio.open_connection(*self.target)
        self._pairs.add(far_writer)
        try:
            ways = (
                asyncio.create_task(self._forward(reader, far_writer, self._requests_pass)),
                asyncio.create_task(self._forward(far_reader, writer, self._answers_pass)),
            )
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.wait(ways)
        finally:
            self._let_go(far_writer)

    async def _forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, passes: Callable[[], bool]
    ) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(_CHUNK):
                if self._delay_s:
                    await asyncio.sleep(self._delay_s)
                while not passes():
                    await self._changed.wait()
                writer.write(chunk)
                await writer.drain()

    def _requests_pass(self) -> bool:
        return self._mode in (Network.PASS, Network.HALF_OPEN)

    def _answers_pass(self) -> bool:
        return self._mode is Network.PASS

    def _let_go(self, writer: asyncio.StreamWriter) -> None:
        self._pairs.discard(writer)
        writer.transport.abort()
