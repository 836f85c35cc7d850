"""Says why a cluster cannot be used. aiokafka says `Unable to bootstrap` to everything and leaves the cause in its log.

Each broker is tried layer by layer (name, TCP, TLS, SASL, metadata, advertised addresses), so that the first layer that
fails gives the message. Messages name users and files, never passwords.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from aiokafka import errors
from aiokafka.conn import AIOKafkaConnection, get_ip_port_afi
from aiokafka.protocol.admin import SaslHandShakeRequest
from aiokafka.protocol.metadata import MetadataRequest

from pipeline.kafka.client import admin_options
from pipeline.kafka.security import token_source
from pipeline.kafka.tokens import TokenError
from pipeline.kafka.trouble import CERT, Trouble, certificate_trouble, validity_trouble
from schemas.errors import ConfigError, Fault, TransportError
from schemas.specs import KafkaSpec, Security

ANSWER_S_MAX = 10.0
"""How long one layer of one broker may take; `kafka.request_timeout` when that is less."""
CLOSE_S_MAX = 0.3
_PROTOCOL = "kafka.security.protocol"
_NOT_FOR_CONNECTIONS = ("bootstrap_servers", "retry_backoff_ms", "metadata_max_age_ms", "connections_max_idle_ms")
_FAILURES = (OSError, EOFError, errors.KafkaError, ssl.CertificateError)


async def probe(kafka: KafkaSpec) -> None:
    """Return when at least one broker of the list can be used with these settings.

    Raises ConfigError, with one fault per broker, when a setting has to change first; TransportError when the brokers
    are only out of reach, so that trying again can help. Does not look at topics or permissions.
    """
    options = {name: value for name, value in admin_options(kafka).items() if name not in _NOT_FOR_CONNECTIONS}
    answer_s = min(ANSWER_S_MAX, kafka.request_timeout_ms / 1000)
    options["request_timeout_ms"] = int(answer_s * 1000)
    troubles: dict[str, Trouble] = {}
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(_Broker(name, kafka.security, options, answer_s).examine()) for name in kafka.brokers
        ]
        for finished in asyncio.as_completed(tasks):
            name, trouble = await finished
            if trouble is None:
                for task in tasks:
                    task.cancel()
                return
            troubles[name] = trouble
    raise _error([(name, troubles[name]) for name in kafka.brokers])


def _error(troubles: list[tuple[str, Trouble]]) -> ConfigError | TransportError:
    if any(trouble.setting for _, trouble in troubles):
        return ConfigError(
            *(
                Fault(f"{name}: {each.problem}", each.remedy, path=each.setting or "kafka.brokers")
                for name, each in troubles
            )
        )
    return TransportError("; ".join(f"{name}: {each.problem} — {each.remedy}" for name, each in troubles))


@dataclass(frozen=True, slots=True)
class _Broker:
    """One address of `kafka.brokers` under examination."""

    name: str
    security: Security
    options: dict[str, Any]
    """For `AIOKafkaConnection`."""
    answer_s: float

    async def examine(self) -> tuple[str, Trouble | None]:
        """This broker's name, and the first layer's trouble."""
        return self.name, await self._reach() or await self._speak() or await self._use()

    async def _reach(self) -> Trouble | None:
        host, port, _ = get_ip_port_afi(self.name)
        return await _reach(host, port, self.answer_s)

    async def _speak(self) -> Trouble | None:
        """TLS and a first request, without logging in: an answer means that both sides speak the same protocol."""
        encrypted = self.security.protocol.endswith("SSL")
        try:
            async with self._connected("SSL" if encrypted else "PLAINTEXT"):
                return None
        except _FAILURES as error:
            return await (self._tls_trouble(error) if encrypted else self._plaintext_trouble(error))

    async def _tls_trouble(self, error: BaseException) -> Trouble:
        own = self.security.cert_file
        found = certificate_trouble(error, have_certificate=own is not None)
        if found is not None:
            dates = validity_trouble(own, datetime.now(UTC)) if own is not None and found.setting == CERT else None
            return dates or found
        if await self._answers_plaintext():
            remedy = "use PLAINTEXT" if self.security.protocol == "SSL" else "use SASL_PLAINTEXT"
            return Trouble(f"protocol {self.security.protocol}, but this port is not encrypted", remedy, _PROTOCOL)
        return _strange(error)

    async def _plaintext_trouble(self, error: BaseException) -> Trouble:
        if await self._answers_tls():
            remedy = "use SSL" if self.security.protocol == "PLAINTEXT" else "use SASL_SSL"
            problem = f"protocol {self.security.protocol}, but this port wants TLS"
            return Trouble(problem, f"{remedy}, or the broker's unencrypted port", _PROTOCOL)
        return _strange(error)

    async def _use(self) -> Trouble | None:
        """Log in if so configured, ask for metadata, and see whether the cluster can be reached where it says it is."""
        try:
            async with self._connected(self.security.protocol) as connection:
                metadata = await connection.send(MetadataRequest([]))
        except TokenError as error:
            return error.trouble
        except _FAILURES as error:
            return await self._login_trouble(error)
        except ValueError:  # from aiokafka's SCRAM: the broker's proof is wrong
            problem = "the broker could not prove that it knows the password"
            return Trouble(problem, "make sure that this is your broker", "kafka.brokers")
        except Exception as error:
            if self.security.mechanism != "OAUTHBEARER":
                raise
            problem = f"the token provider failed ({type(error).__name__})"
            return Trouble(problem, "see kafka.client.sasl_oauth_token_provider")
        return await self._reach_any([(broker[1], broker[2]) for broker in metadata.brokers])

    async def _login_trouble(self, error: BaseException) -> Trouble:
        security = self.security
        if isinstance(error, errors.SaslAuthenticationFailed | errors.AuthenticationFailedError):
            who = f"user {security.username!r}" if security.username else "this client"
            remedy = "check kafka.security.username and password, and that the user exists for this mechanism"
            return Trouble(f"the broker refused {who} ({security.mechanism})", remedy, "kafka.security.password")
        if isinstance(error, errors.IllegalSaslStateError):
            remedy = f"use {'SSL' if security.protocol == 'SASL_SSL' else 'PLAINTEXT'}, or the broker's SASL port"
            return Trouble(f"protocol {security.protocol}, but this port has no login (SASL)", remedy, _PROTOCOL)
        return await self._mechanism_trouble(error)

    async def _mechanism_trouble(self, error: BaseException) -> Trouble:
        mechanisms = await self._mechanisms()
        listed = " or ".join(mechanisms)
        if isinstance(error, errors.UnsupportedSaslMechanismError):
            remedy = f"use {listed or 'one that the broker has in sasl.enabled.mechanisms'}"
            problem = f"the broker does not have mechanism {self.security.mechanism} on this port"
            return Trouble(problem, remedy, "kafka.security.mechanism")
        if mechanisms and not self.security.protocol.startswith("SASL"):
            protocol = "SASL_SSL" if self.security.protocol == "SSL" else "SASL_PLAINTEXT"
            remedy = f"use {protocol} with mechanism {listed}, a username and a password"
            return Trouble(f"protocol {self.security.protocol}, but this port wants a login (SASL)", remedy, _PROTOCOL)
        return _strange(error)

    async def _mechanisms(self) -> list[str]:
        """The SASL mechanisms of this port; empty when it has none, or does not say."""
        protocol = "SSL" if self.security.protocol.endswith("SSL") else "PLAINTEXT"
        try:
            async with self._connected(protocol) as connection:
                answer = await connection.send(SaslHandShakeRequest("WHICH-ARE-THERE"))
        except _FAILURES:
            return []
        return list(answer.enabled_mechanisms)

    async def _reach_any(self, addresses: list[tuple[str, int]]) -> Trouble | None:
        troubles = [(f"{host}:{port}", await _reach(host, port, self.answer_s)) for host, port in addresses]
        if not troubles:
            return self._no_brokers()
        if any(trouble is None for _, trouble in troubles):
            return None
        listed = "; ".join(f"{name}: {trouble.problem}" for name, trouble in troubles if trouble)
        remedy = "fix the broker's advertised.listeners, or make those names resolve here"
        return Trouble(f"it answers, but the cluster advertises addresses out of reach from here ({listed})", remedy)

    def _no_brokers(self) -> Trouble:
        """aiokafka takes the refusal of a token for a success; the answer to the next request is then empty."""
        if self.security.mechanism == "OAUTHBEARER":
            source = token_source(self.security)
            remedy = (
                f"check what {source} hands out: its issuer, audience, scope and expiry must be what the broker expects"
            )
            return Trouble("the broker refused the token (OAUTHBEARER)", remedy, source)
        return Trouble("it answers, but knows no broker yet", "wait until the cluster has started")

    async def _answers_plaintext(self) -> bool:
        try:
            async with self._connected("PLAINTEXT"):
                return True
        except _FAILURES:
            return False

    async def _answers_tls(self) -> bool:
        """Whether a TLS handshake gets anywhere. Nothing is sent over it, so nothing needs to be verified."""
        host, port, _ = get_ip_port_afi(self.name)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        try:
            async with asyncio.timeout(self.answer_s), _opened(host, port, context):
                return True
        except ssl.SSLError as error:
            return "ALERT" in (error.reason or "")
        except OSError:
            return False

    @contextlib.asynccontextmanager
    async def _connected(self, protocol: str) -> AsyncIterator[AIOKafkaConnection]:
        host, port, _ = get_ip_port_afi(self.name)
        connection = AIOKafkaConnection(host, port, **(self.options | {"security_protocol": protocol}))
        try:
            await connection.connect()
            yield connection
        finally:
            await _closed(connection)


async def _closed(connection: AIOKafkaConnection) -> None:
    """Close, and give the socket a moment to go: a TLS peer may take its time, and a connection never made never ends."""
    closed = connection.close()
    if closed is not None:
        await asyncio.wait([closed], timeout=CLOSE_S_MAX)


@contextlib.asynccontextmanager
async def _opened(host: str, port: int, context: ssl.SSLContext | None = None) -> AsyncIterator[None]:
    _, writer = await asyncio.open_connection(host, port, ssl=context)
    try:
        yield
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _reach(host: str, port: int, answer_s: float) -> Trouble | None:
    """Name and TCP."""
    try:
        async with asyncio.timeout(answer_s), _opened(host, port):
            return None
    except socket.gaierror:
        return Trouble(f"the host name {host} does not resolve", "check the name, and DNS on this machine")
    except TimeoutError:
        return Trouble(f"no answer within {answer_s:g} s", "check the address, and firewalls on the way")
    except ConnectionRefusedError:
        return Trouble("connection refused: nothing listens there", "check the port, and that the broker runs")
    except OSError as error:
        return Trouble(f"cannot be reached ({error.strerror or error})", "check the address and the network")


def _strange(error: BaseException) -> Trouble:
    if isinstance(error, TimeoutError):
        return Trouble("accepts connections, but does not answer as Kafka does", "check that this is a Kafka port")
    return Trouble(
        f"closed the connection ({type(error).__name__})", "check that this is a Kafka port, and the broker's log"
    )
