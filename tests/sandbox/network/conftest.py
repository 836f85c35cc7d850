"""Servers that run for one test, and clients that are closed behind it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from sandbox.host.network.client import Answer, HttpClient, Traffic
from sandbox.host.network.redirects import Request
from sandbox.host.network.thread import LoopThread
from sandbox.host.network.urls import read_url
from schemas.capabilities import HttpScope
from tests.sandbox.network import servers
from tests.sandbox.network.servers import Server
from tests.services.certificates import Authority

NAME = "api.example.com"


@pytest.fixture
def thread() -> Iterator[LoopThread]:
    one = LoopThread()
    yield one
    one.close()


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Start a server that answers like this."""
    with ExitStack() as running:
        yield lambda *answers, **options: running.enter_context(
            Server(servers.always(*answers) if isinstance(answers[0], bytes) else answers[0], **options)
        )


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def certificate(authority: Authority) -> Path:
    return authority.issue("server", hosts=(NAME, "other.example.com"))


class Browser:
    """A client whose names all lead to 127.0.0.1, unless a test says where."""

    def __init__(self, thread: LoopThread, scope: HttpScope, clock_ns: Callable[[], int]) -> None:
        self.looked_up: list[str] = []
        self.addresses: Callable[[str], Sequence[str]] = lambda name: ["127.0.0.1"]
        self.traffic = Traffic()
        self.client = HttpClient(scope, thread, clock_ns, self._resolve)

    def get(self, url: str, **changes: Any) -> Answer:
        """Or another method."""
        return self.ask(**{"method": "GET", "url": url} | changes)

    def ask(
        self,
        method: str,
        url: str,
        headers: tuple[tuple[str, str], ...] = (),
        body: bytes | None = None,
        budget_ms: float = 10_000,
    ) -> Answer:
        return self.client.request(Request(method, read_url(url), headers, body), budget_ms, self.traffic)

    def _resolve(self, name: str) -> Sequence[str]:
        self.looked_up.append(name)
        return self.addresses(name)


@pytest.fixture
def browse(thread: LoopThread) -> Callable[..., Browser]:
    """A client for the names below example.com on these servers, in one's own network; a scope's field changes that."""

    def browse(*at: Server, clock_ns: Callable[[], int] = time.monotonic_ns, **changes: Any) -> Browser:
        scope: dict[str, Any] = {
            "hosts": ("*.example.com",),
            "ports": tuple(one.port for one in at),
            "methods": ("GET", "HEAD", "POST", "PUT"),
            "plain": True,
            "private": True,
        }
        return Browser(thread, HttpScope(**scope | changes), clock_ns)

    return browse
