"""The breakable network does to an echo what it says."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.services.proxy import Network, Proxy


@pytest.fixture
def echo() -> Iterator[tuple[str, int]]:
    """A server that sends back what it gets."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    peer, _ = server.accept()
                except OSError:
                    return
                threading.Thread(target=answer, args=(peer,), daemon=True).start()

        def answer(peer: socket.socket) -> None:
            with peer:
                try:
                    while data := peer.recv(4_096):
                        peer.sendall(data)
                except OSError:
                    return

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()
        server.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def proxy(echo: tuple[str, int]) -> Iterator[Proxy]:
    with Proxy() as proxy:
        proxy.target = echo
        yield proxy


def client(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), 5)


def test_it_passes_bytes_on_and_delays_them_when_told(proxy: Proxy) -> None:
    with client(proxy) as peer:
        peer.sendall(b"one")
        assert peer.recv(10) == b"one"
        proxy.set(Network.PASS, delay_s=0.1)
        began = time.monotonic()
        peer.sendall(b"two")
        assert peer.recv(10) == b"two"
        assert time.monotonic() - began >= 0.2


@pytest.mark.parametrize("mode", [Network.BLACKHOLE, Network.HALF_OPEN])
def test_silence_that_heals_delivers_what_was_held_back(proxy: Proxy, mode: Network) -> None:
    with client(proxy) as peer:
        peer.sendall(b"up")
        assert peer.recv(10) == b"up"
        proxy.set(mode)
        peer.sendall(b"late")
        peer.settimeout(0.2)
        with pytest.raises(TimeoutError):
            peer.recv(10)
        proxy.set(Network.PASS)
        peer.settimeout(5)
        assert peer.recv(10) == b"late"


def test_a_cut_resets_what_is_open_and_what_comes(proxy: Proxy) -> None:
    with client(proxy) as peer:
        peer.sendall(b"up")
        assert peer.recv(10) == b"up"
        proxy.set(Network.CUT)
        with pytest.raises(ConnectionResetError):
            peer.recv(10)
    with pytest.raises(ConnectionError), client(proxy) as peer:
        peer.sendall(b"x")
        if peer.recv(10) == b"":
            raise ConnectionError("closed")
    proxy.set(Network.PASS)
    with client(proxy) as peer:
        peer.sendall(b"again")
        assert peer.recv(10) == b"again"
