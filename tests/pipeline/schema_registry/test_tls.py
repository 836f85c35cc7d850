"""A token and an authority of one's own, against a local HTTPS server that looks at both."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from pipeline.schema_registry.client import RegistryClient
from schemas.errors import ConfigError, TransportError
from schemas.sealed import Sealed
from schemas.specs import SchemaRegistrySpec
from tests.services.certificates import Authority


class Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        known = self.headers["Authorization"] == "Bearer t0ken"
        body = b'["AVRO"]' if known else b'{"error_code": 401, "message": "no"}'
        self.send_response(200 if known else 401)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Its URL, and the file of its authority."""
    authority = Authority(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.issue("localhost"))
    with HTTPServer(("127.0.0.1", 0), Answer) as made:
        made.socket = context.wrap_socket(made.socket, server_side=True)
        thread = threading.Thread(target=made.serve_forever, daemon=True)
        thread.start()
        yield f"https://localhost:{made.server_address[1]}", authority.file
        made.shutdown()
        thread.join()


def test_a_token_over_tls(server: tuple[str, Path]) -> None:
    url, ca = server
    right = SchemaRegistrySpec(url, token=Sealed("t0ken", "schema_registry"), ca_file=ca, timeout_ms=2_000)
    with closing(RegistryClient(right)) as client:
        client.probe()
    with (
        closing(RegistryClient(replace(right, token="other"))) as client,
        pytest.raises(ConfigError, match="let us in"),
    ):
        client.probe()
    with (
        closing(RegistryClient(replace(right, ca_file=None))) as client,
        pytest.raises(TransportError, match="out of reach"),
    ):
        client.probe()
