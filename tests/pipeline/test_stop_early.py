"""A pipeline that is told to stop before it reached its brokers."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

from pipeline import Pipeline
from tests.e2e.stream import registry_text


def test_stop_does_not_wait_for_brokers_that_do_not_answer(tmp_path: Path) -> None:
    registry = tmp_path / "registry.yaml"

    async def scene() -> None:
        called = asyncio.Event()

        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            called.set()
            await reader.read()
            writer.close()

        server = await asyncio.start_server(silent, "127.0.0.1", 0, family=socket.AF_INET)
        async with server:
            registry.write_text(registry_text(f"127.0.0.1:{server.sockets[0].getsockname()[1]}", "early"))
            pipeline = Pipeline(registry)
            running = asyncio.create_task(pipeline.run())
            async with asyncio.timeout(60):
                await called.wait()
            assert not running.done()
            pipeline.stop()
            async with asyncio.timeout(5):
                await running

    asyncio.run(scene())
