"""Tokens for OAUTHBEARER: from a file that someone else keeps fresh, or from an OAuth 2.0 token endpoint (client credentials).

Threat: the client's secret and its tokens end up in logs, or travel to someone else. No message here shows either, redirects
are not followed, and an answer is read up to a bound. A token is not verified here, which is the broker's business; its
expiry is read, where it is a JWT, because brokers do not say why they refuse one.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import logging
import re
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

from aiokafka.abc import AbstractTokenProvider
from aiokafka.errors import KafkaError

from pipeline.kafka.trouble import Trouble
from schemas.specs import Security

ANSWER_S_MAX = 10.0
ANSWER_BYTES_MAX = 64 << 10
REFRESH_SHARE = 0.8
"""Of a token's life, after which a new one is fetched; Kafka's own clients do the same (`sasl.login.refresh.window.factor`)."""
_WHERE = "kafka.security"
_TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]+=*", re.ASCII)  # RFC 6750, section 2.1
_log = logging.getLogger(__name__)


class TokenError(KafkaError):  # type: ignore[misc]
    """There is no token to log in with. Of aiokafka's family, so that its clients take it for a connection that failed."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(f"{trouble.problem} — {trouble.remedy}")
        self.trouble = trouble


@dataclass(frozen=True, slots=True)
class Token:
    """What to log in with, and how long it lasts."""

    text: str
    fetched: float
    """Seconds since the epoch, as is `expires`."""
    expires: float | None
    """None when nobody said."""

    def is_fresh(self, now: float) -> bool:
        """Whether it need not be replaced yet; one that does not say how long it lasts is used once."""
        return self.expires is not None and now < self.fetched + REFRESH_SHARE * (self.expires - self.fetched)


def token_provider(security: Security) -> AbstractTokenProvider:
    """The provider that the registry declares. Call only when it declares one. Raises OSError for a bad `token_ca`."""
    return FileTokens(security.token_file) if security.token_file is not None else EndpointTokens(security)


class FileTokens(AbstractTokenProvider):  # type: ignore[misc]
    """Reads the file for every login, so whoever keeps it fresh (a sidecar, a mounted secret) need not tell."""

    def __init__(self, path: Path, now: Callable[[], float] = time.time) -> None:
        self._path = path
        self._now = now

    async def token(self) -> str:
        """Raises TokenError when there is none, or it has expired."""
        where = f"{_WHERE}.token_file"
        text = _read(self._path, where)
        if _TOKEN.fullmatch(text) is None:
            remedy = "it must hold the bare token and nothing else"
            raise TokenError(Trouble(f"there is no token in {self._path}", remedy, where))
        expires, now = expiry(text), self._now()
        if expires is not None and expires <= now:
            remedy = "see to whatever keeps that file fresh (or check this machine's clock)"
            raise TokenError(Trouble(f"the token in {self._path} expired {now - expires:.0f} s ago", remedy, where))
        return text


class EndpointTokens(AbstractTokenProvider):  # type: ignore[misc]
    """Fetches tokens from the endpoint and keeps each for most of its life. One task fetches, others wait for it."""

    def __init__(self, security: Security, now: Callable[[], float] = time.time) -> None:
        """Raises OSError when `token_ca` cannot be used."""
        assert security.token_endpoint is not None and security.client_id is not None, "checked by security_faults"
        self._security = security
        self._endpoint = security.token_endpoint
        self._client_id = security.client_id
        self._now = now
        self._token: Token | None = None
        self._fetching = asyncio.Lock()
        self._tls = ssl.create_default_context(cafile=security.token_ca_file)

    async def token(self) -> str:
        """A token with some life left. Raises TokenError when there is none and none can be had."""
        async with self._fetching:
            kept = self._token
            if kept is not None and kept.is_fresh(self._now()):
                return kept.text
            try:
                self._token = await self._fetch()
            except TokenError as error:
                if kept is None or kept.expires is None or kept.expires <= self._now():
                    raise
                _log.warning("%s; the last token is good for another %.0f s", error, kept.expires - self._now())
                return kept.text
            return self._token.text

    async def _fetch(self) -> Token:
        import aiohttp  # 0.1 s, which a start without a token endpoint need not take

        asked = self._now()
        try:
            status, body = await self._ask()
        except TimeoutError as error:
            raise self._away(f"did not answer within {ANSWER_S_MAX:g} s") from error
        except aiohttp.ClientConnectorCertificateError as error:
            remedy = f"set {_WHERE}.token_ca to the authority that signed its certificate"
            said = getattr(error.certificate_error, "verify_message", "") or "not trusted"
            problem = f"the certificate of the token endpoint {self._endpoint} was refused ({said})"
            raise TokenError(Trouble(problem, remedy, f"{_WHERE}.token_ca")) from error
        except (aiohttp.ClientError, OSError) as error:
            raise self._away(f"cannot be reached ({_reason(error)})") from error
        document = _object(body)
        if status != 200:
            raise self._refusal(status, document)
        text, life_s = document.get("access_token"), document.get("expires_in")
        if not isinstance(text, str) or _TOKEN.fullmatch(text) is None:
            problem = f"the token endpoint {self._endpoint} answered without an access_token"
            raise TokenError(Trouble(problem, "check that it is the token endpoint", f"{_WHERE}.token_endpoint"))
        if isinstance(life_s, int | float) and not isinstance(life_s, bool):
            return Token(text, asked, asked + float(life_s))
        return Token(text, asked, expiry(text))

    async def _ask(self) -> tuple[int, bytes]:
        """RFC 6749, sections 2.3.1 and 4.4.2."""
        import aiohttp

        # Both parts are form-encoded before they are joined, so that a colon in either does not end the first.
        login = f"{quote_plus(self._client_id)}:{quote_plus(self._secret())}"
        form = {"grant_type": "client_credentials"}
        if self._security.scope is not None:
            form["scope"] = self._security.scope
        headers = {
            "Authorization": f"Basic {base64.b64encode(login.encode()).decode()}",
            "Accept": "application/json",
        }
        timeout = aiohttp.ClientTimeout(total=ANSWER_S_MAX)
        async with (
            aiohttp.ClientSession(timeout=timeout, trust_env=True) as session,
            session.post(self._endpoint, data=form, headers=headers, ssl=self._tls, allow_redirects=False) as response,
        ):
            return response.status, await response.content.read(ANSWER_BYTES_MAX)

    def _secret(self) -> str:
        """Read anew for each token: secrets are rotated."""
        if self._security.client_secret_file is None:
            return self._security.client_secret or ""
        return _read(self._security.client_secret_file, f"{_WHERE}.client_secret_file")

    def _refusal(self, status: int, document: dict[str, Any]) -> TokenError:
        """RFC 6749, section 5.2; a server's own trouble is worth another try."""
        code = document.get("error")
        said = f"{status}, {code}" if isinstance(code, str) and _TOKEN.fullmatch(code) else f"{status}"
        problem = f"the token endpoint {self._endpoint} refused client {self._client_id!r} ({said})"
        if status >= 500 or status == 429:
            return self._away(f"answered {said}")
        if code == "invalid_scope":
            return TokenError(Trouble(problem, f"check {_WHERE}.scope", f"{_WHERE}.scope"))
        if status in (400, 401, 403):
            remedy = f"check {_WHERE}.client_id and its secret, and that the client may use client_credentials"
            return TokenError(Trouble(problem, remedy, f"{_WHERE}.client_id"))
        remedy = "check that it is the token endpoint (often …/token)"
        problem = f"the token endpoint {self._endpoint} answered {said}"
        return TokenError(Trouble(problem, remedy, f"{_WHERE}.token_endpoint"))

    def _away(self, what: str) -> TokenError:
        remedy = f"check {_WHERE}.token_endpoint, and that the authorization server runs"
        return TokenError(Trouble(f"the token endpoint {self._endpoint} {what}", remedy))


def expiry(token: str) -> float | None:
    """When a JWT expires (RFC 7519, `exp`), in seconds since the epoch; None for other tokens, or when it does not say."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        return None
    found = claims.get("exp") if isinstance(claims, dict) else None
    return float(found) if isinstance(found, int | float) and not isinstance(found, bool) else None


def _read(path: Path, setting: str) -> str:
    try:
        with path.open("rb") as file:
            return file.read(ANSWER_BYTES_MAX).decode().strip()
    except FileNotFoundError as error:
        raise TokenError(Trouble(f"there is no file {path}", "check the path", setting)) from error
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else "not text"
        remedy = "let this user read it; it must hold the bare text"
        raise TokenError(Trouble(f"{path} cannot be read ({said})", remedy, setting)) from error


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _reason(error: BaseException) -> str:
    """Why, in the system's words; aiohttp's own repeat the address."""
    inner = getattr(error, "os_error", error)
    return getattr(inner, "strerror", None) or type(error).__name__
