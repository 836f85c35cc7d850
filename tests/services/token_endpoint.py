"""An OAuth 2.0 token endpoint for the tests: client credentials over HTTP Basic, as RFC 6749 has it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import unquote_plus

from aiohttp import web

from tests.services.secure_kafka import unsecured_token

CLIENT, SECRET = "shop:client", "s3cret/+ %"
"""Characters that a client has to encode."""


@dataclass
class TokenEndpoint:
    """What it does, and what it was asked. It runs on a thread of its own; the tests' loops come and go."""

    life_s: float = 3_600
    status: int = 200
    """Other than 200: it answers with this, and `error`."""
    error: str = "invalid_client"
    body: str | None = None
    """What it answers instead of a token."""
    silent: bool = False
    says_life: bool = True
    url: str = ""
    scopes: list[str | None] = field(default_factory=list)
    """Of each request that was granted."""
    closing: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, request: web.Request) -> web.Response:
        form = await request.post()
        if self.silent:
            await self.closing.wait()
        kind, _, login = request.headers["Authorization"].partition(" ")
        name, _, secret = base64.b64decode(login).decode().partition(":")
        known = (kind, unquote_plus(name), unquote_plus(secret)) == ("Basic", CLIENT, SECRET)
        if not known or self.status != 200:
            status, error = (self.status, self.error) if known else (401, "invalid_client")
            return web.json_response({"error": error, "error_description": secret}, status=status)
        assert form["grant_type"] == "client_credentials"
        scope = form.get("scope")
        self.scopes.append(scope if isinstance(scope, str) else None)
        if self.body is not None:
            return web.Response(text=self.body)
        document = {"access_token": unsecured_token("shop", self.life_s), "token_type": "Bearer"}
        return web.json_response(document | ({"expires_in": self.life_s} if self.says_life else {}))


@contextlib.contextmanager
def token_endpoint(tls: ssl.SSLContext | None = None) -> Iterator[TokenEndpoint]:
    """A running endpoint on a free port of localhost."""
    endpoint, ready, loop = TokenEndpoint(), threading.Event(), asyncio.new_event_loop()

    async def serve() -> web.AppRunner:
        app = web.Application()
        app.router.add_post("/token", endpoint.answer)
        runner = web.AppRunner(app, shutdown_timeout=0)
        await runner.setup()
        site = web.TCPSite(runner, "localhost", 0, ssl_context=tls)
        await site.start()
        endpoint.url = f"{'https' if tls else 'http'}://localhost:{runner.addresses[0][1]}/token"
        return runner

    def run() -> None:
        runner = loop.run_until_complete(serve())
        ready.set()
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert ready.wait(10)
        yield endpoint
    finally:
        loop.call_soon_threadsafe(endpoint.closing.set)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        assert not thread.is_alive()
