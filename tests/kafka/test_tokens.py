"""Tokens are fetched before they are needed, kept no longer than they last, and every failure says what and where."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from aiokafka.errors import KafkaError

from pipeline.kafka import tokens
from pipeline.kafka.tokens import EndpointTokens, FileTokens, TokenError, expiry, token_provider
from schemas.specs import Security
from tests.services.certificates import Authority
from tests.services.kafka import free_ports
from tests.services.secure_kafka import unsecured_token
from tests.services.token_endpoint import CLIENT, SECRET, TokenEndpoint, token_endpoint

OAUTH = Security("SASL_SSL", "OAUTHBEARER")


@pytest.fixture
def endpoint() -> Iterator[TokenEndpoint]:
    with token_endpoint() as running:
        yield running


def asking(endpoint: TokenEndpoint, **changes: object) -> Security:
    told = replace(OAUTH, token_endpoint=endpoint.url, client_id=CLIENT, client_secret=SECRET)
    return replace(told, **changes)  # type: ignore[arg-type]


def trouble(security: Security, *, secret: str = SECRET) -> TokenError:
    with pytest.raises(TokenError) as raised:
        asyncio.run(token_provider(security).token())
    assert secret not in f"{raised.value} {raised.value!r}"
    return raised.value


class Clock:
    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def test_a_token_is_kept_for_most_of_its_life(endpoint: TokenEndpoint) -> None:
    endpoint.life_s = 100
    clock = Clock(1_000)

    async def ask() -> list[str]:
        provider = EndpointTokens(asking(endpoint), clock)
        found = [await provider.token()]
        for clock.now in (1_079, 1_081, 1_160, 1_162):
            found.append(await provider.token())
        return found

    asyncio.run(ask())
    assert len(endpoint.scopes) == 3  # at the start, at 1,081 and at 1,162


def test_many_connections_at_once_are_one_request(endpoint: TokenEndpoint) -> None:
    async def ask() -> set[str]:
        provider = EndpointTokens(asking(endpoint))
        return set(await asyncio.gather(*(provider.token() for _ in range(20))))

    assert len(asyncio.run(ask())) == len(endpoint.scopes) == 1


@pytest.mark.parametrize("says", [True, False])
def test_how_long_it_lasts_is_what_the_endpoint_says_or_the_token(endpoint: TokenEndpoint, says: bool) -> None:
    endpoint.says_life = says

    async def ask() -> None:
        provider = EndpointTokens(asking(endpoint))
        await provider.token()
        await provider.token()

    asyncio.run(ask())
    assert len(endpoint.scopes) == 1


def test_one_that_does_not_say_is_used_once(endpoint: TokenEndpoint) -> None:
    endpoint.body = '{"access_token": "opaque-token"}'

    async def ask() -> set[str]:
        provider = EndpointTokens(asking(endpoint))
        return {await provider.token(), await provider.token()}

    assert asyncio.run(ask()) == {"opaque-token"}
    assert len(endpoint.scopes) == 2


def test_the_scope_and_a_secret_from_a_file_are_sent(endpoint: TokenEndpoint, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(f"{SECRET}\n")
    security = asking(endpoint, client_secret=None, client_secret_file=secret, scope="kafka")
    asyncio.run(token_provider(security).token())
    assert endpoint.scopes == ["kafka"]


def test_an_endpoint_that_goes_away_is_bridged_while_the_last_token_lasts(
    endpoint: TokenEndpoint, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint.life_s = 100
    clock = Clock(1_000)

    async def ask() -> None:
        provider = EndpointTokens(asking(endpoint), clock)
        first = await provider.token()
        endpoint.status, clock.now = 503, 1_090
        with caplog.at_level(logging.WARNING):
            assert await provider.token() == first
        clock.now = 1_101
        with pytest.raises(TokenError, match="answered 503"):
            await provider.token()

    asyncio.run(ask())
    assert "good for another 10 s" in caplog.text


REFUSALS = {
    "unknown client": ({}, {"client_id": "who"}, "refused client 'who' (401, invalid_client)", "client_id"),
    "wrong secret": ({}, {"client_secret": "wrong"}, f"refused client '{CLIENT}' (401, invalid_client)", "client_id"),
    "scope": ({"status": 400, "error": "invalid_scope"}, {"scope": "all"}, "(400, invalid_scope)", "scope"),
    "not the endpoint": ({"status": 404, "error": "not found"}, {}, "answered 404", "token_endpoint"),
    "no token": ({"body": "<html>"}, {}, "answered without an access_token", "token_endpoint"),
    "a token of line breaks": ({"body": '{"access_token": "a\\nb"}'}, {}, "without an access_token", "token_endpoint"),
}


@pytest.mark.parametrize(("does", "changes", "says", "setting"), REFUSALS.values(), ids=REFUSALS.keys())
def test_each_refusal_names_its_setting(
    endpoint: TokenEndpoint, does: dict[str, object], changes: dict[str, object], says: str, setting: str
) -> None:
    vars(endpoint).update(does)
    error = trouble(asking(endpoint, **changes))
    assert says in error.trouble.problem and endpoint.url in error.trouble.problem
    assert error.trouble.setting == f"kafka.security.{setting}"
    assert isinstance(error, KafkaError)  # aiokafka takes it for a failed connection, and tries again


def test_an_endpoint_that_is_down_is_worth_another_try(
    endpoint: TokenEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    (port,) = free_ports(1)
    error = trouble(asking(endpoint, token_endpoint=f"http://localhost:{port}/token"))
    assert "cannot be reached" in str(error) and error.trouble.setting == ""
    monkeypatch.setattr(tokens, "ANSWER_S_MAX", 0.2)
    endpoint.silent = True
    error = trouble(asking(endpoint))
    assert "did not answer within 0.2 s" in str(error) and error.trouble.setting == ""


def test_its_certificate_is_checked(authority: Authority) -> None:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(authority.issue("endpoint"))
    with token_endpoint(tls) as endpoint:
        error = trouble(asking(endpoint))
        assert "the certificate of the token endpoint" in str(error)
        assert error.trouble.setting == "kafka.security.token_ca"
        asyncio.run(token_provider(asking(endpoint, token_ca_file=authority.file)).token())


def test_a_token_file_is_read_anew_each_time(tmp_path: Path) -> None:
    path = tmp_path / "token"

    async def ask(provider: FileTokens) -> list[str]:
        found = []
        for text in ("first", "second"):
            path.write_text(f"{text}\n")
            found.append(await provider.token())
        return found

    assert asyncio.run(ask(FileTokens(path))) == ["first", "second"]


def test_each_fault_of_a_token_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "token"
    security = replace(OAUTH, token_file=path)
    assert f"there is no file {path}" in str(trouble(security))
    path.write_bytes(b"\xff")
    assert "cannot be read (not text)" in str(trouble(security))
    for text in ("", "two words", "a\x01b"):
        path.write_text(text)
        assert f"there is no token in {path}" in str(trouble(security))
    path.write_text(unsecured_token("shop", life_s=-30))
    assert "expired 30 s ago" in str(trouble(security))
    assert trouble(security).trouble.setting == "kafka.security.token_file"


@pytest.mark.parametrize("token", ["opaque", "a.b.c", "..", "a.W10.c", "a.eyJleHAiOnRydWV9.c", "a.eyJleHAiOiJ4In0.c"])
def test_a_token_that_is_no_jwt_has_no_known_expiry(token: str) -> None:
    assert expiry(token) is None
