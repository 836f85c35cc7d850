"""How `KafkaSpec` becomes aiokafka's keyword arguments, in one place. Opens no consumer and no producer.

aiokafka's own defaults lose data (auto-commit, acks=1, read_uncommitted, reset to latest), so everything that delivery
depends on is set here and may not be overridden through `kafka.client`.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.abc import AbstractTokenProvider
from aiokafka.admin import AIOKafkaAdminClient

from pipeline.kafka.errors import translate
from pipeline.kafka.security import has_tokens, security_faults, ssl_context
from pipeline.kafka.tokens import token_provider
from schemas.errors import ConfigError, Fault
from schemas.specs import KafkaSpec

PRODUCE_BYTES_MAX = 1_000_000
"""Largest batch and request by default: below the broker's 1,048,588, so that the client is the one who refuses."""

_OWNED = {
    "bootstrap_servers": "set kafka.brokers",
    "security_protocol": "set kafka.security.protocol",
    "ssl_context": "set kafka.security.ca, cert and key",
    "sasl_mechanism": "set kafka.security.mechanism",
    "sasl_plain_username": "set kafka.security.username",
    "sasl_plain_password": "set kafka.security.password",
    "request_timeout_ms": "set kafka.request_timeout",
    "session_timeout_ms": "set kafka.session_timeout",
    "rebalance_timeout_ms": "set kafka.rebalance_timeout",
    "max_poll_interval_ms": "set kafka.max_poll_interval",
    "transaction_timeout_ms": "set kafka.transaction_timeout",
    "compression_type": "set kafka.compression",
    "group_id": "set kafka.group or the route's group",
}
_OWN_SETTING = "delivery depends on it, so penstock sets it itself; remove it"
_FIXED = frozenset(
    {
        "acks",
        "auto_commit_interval_ms",
        "auto_offset_reset",
        "enable_auto_commit",
        "enable_idempotence",
        "group_instance_id",
        "isolation_level",
        "key_deserializer",
        "key_serializer",
        "partition_assignment_strategy",
        "partitioner",
        "transactional_id",
        "value_deserializer",
        "value_serializer",
    }
)
_DEAD = frozenset({"self", "topics", "loop", "api_version"})

Client = Callable[..., Any]


def consumer_options(kafka: KafkaSpec) -> dict[str, Any]:
    """Keyword arguments for `AIOKafkaConsumer`, without a group. Raises ConfigError with every fault of `kafka`.

    Reads the certificate files: make the options once and use them for all clients of a kind.
    """
    own = {
        "enable_auto_commit": False,
        "auto_offset_reset": "none",
        "isolation_level": "read_committed",
        "session_timeout_ms": kafka.session_timeout_ms,
        "rebalance_timeout_ms": kafka.rebalance_timeout_ms,
        "max_poll_interval_ms": kafka.max_poll_interval_ms,
    }
    return _options(kafka, AIOKafkaConsumer, own)


def producer_options(kafka: KafkaSpec) -> dict[str, Any]:
    """Keyword arguments for `AIOKafkaProducer`, idempotent, no transactional id. Raises as `consumer_options`."""
    own = {
        "acks": "all",
        "enable_idempotence": True,
        "compression_type": kafka.compression,
        "transaction_timeout_ms": kafka.transaction_timeout_ms,
        "max_batch_size": PRODUCE_BYTES_MAX,
        "max_request_size": PRODUCE_BYTES_MAX,
    }
    return _options(kafka, AIOKafkaProducer, own)


def admin_options(kafka: KafkaSpec) -> dict[str, Any]:
    """Keyword arguments for `AIOKafkaAdminClient`. Raises as `consumer_options`."""
    return _options(kafka, AIOKafkaAdminClient, {})


async def open_admin(kafka: KafkaSpec) -> AIOKafkaAdminClient:
    """A started admin client; the caller closes it. Raises ConfigError, or TransportError when no broker answers."""
    admin = AIOKafkaAdminClient(**admin_options(kafka))
    try:
        await admin.start()
    except BaseException as error:
        await admin.close()
        if isinstance(error, Exception):
            raise translate(error) from error
        raise
    return admin


def kafka_faults(kafka: KafkaSpec) -> tuple[Fault, ...]:
    """Everything wrong with the `kafka` section that shows without asking a broker; certificate files are read."""
    return (*_broker_faults(kafka.brokers), *security_faults(kafka), *_client_faults(kafka.client))


def _options(kafka: KafkaSpec, client: Client, own: Mapping[str, Any]) -> dict[str, Any]:
    faults = kafka_faults(kafka)
    if faults:
        raise ConfigError(*faults)
    known = _parameters(client)
    passed = {name: value for name, value in kafka.client.items() if name in known}
    return {**own, **_common(kafka), **passed}


def _common(kafka: KafkaSpec) -> dict[str, Any]:
    security = kafka.security
    options: dict[str, Any] = {
        "bootstrap_servers": list(kafka.brokers),
        "client_id": "penstock",
        "request_timeout_ms": kafka.request_timeout_ms,
        "security_protocol": security.protocol,
    }
    if security.protocol.endswith("SSL"):
        options["ssl_context"] = ssl_context(security)
    if security.protocol.startswith("SASL"):
        options["sasl_mechanism"] = security.mechanism
        options["sasl_plain_username"] = security.username
        options["sasl_plain_password"] = security.password
    if security.mechanism == "OAUTHBEARER" and has_tokens(security):
        options["sasl_oauth_token_provider"] = token_provider(security)
    return options


def _parameters(client: Client) -> dict[str, inspect.Parameter]:
    parameters = inspect.signature(client).parameters
    return {name: parameter for name, parameter in parameters.items() if name not in _DEAD}


def _broker_faults(brokers: tuple[str, ...]) -> Iterator[Fault]:
    if not brokers:
        yield Fault("no broker is named", "name at least one as host:port", path="kafka.brokers")
    for broker in brokers:
        if not _is_address(broker):
            remedy = "write host:port, e.g. localhost:9092"
            yield Fault(f"{broker!r} is not a broker's address", remedy, path="kafka.brokers")


def _is_address(broker: str) -> bool:
    host, colon, port = broker.rpartition(":")
    return bool(broker) if not colon else bool(host) and port.isdecimal() and 0 < int(port) < 65_536


def _client_faults(client: Mapping[str, Any]) -> Iterator[Fault]:
    known: dict[str, inspect.Parameter] = {}
    for kind in (AIOKafkaAdminClient, AIOKafkaProducer, AIOKafkaConsumer):
        known |= _parameters(kind)
    for name, value in client.items():
        problem, remedy = _client_fault(name, value, known)
        if problem:
            yield Fault(problem, remedy, path=f"kafka.client.{name}")


def _client_fault(name: str, value: object, known: Mapping[str, inspect.Parameter]) -> tuple[str, str]:
    """What is wrong with one pass-through option, and what to do; an empty problem is none. Does not show the value."""
    if name in _OWNED:
        return "this option has a setting of its own", _OWNED[name]
    if name in _FIXED:
        return "this option may not be changed", _OWN_SETTING
    if name not in known:
        close = difflib.get_close_matches(name, known.keys() - _OWNED.keys() - _FIXED, n=1)
        return "aiokafka has no such option", f"did you mean {close[0]}?" if close else "see aiokafka's documentation"
    if name == "sasl_oauth_token_provider":
        ours = isinstance(value, AbstractTokenProvider)
        return (
            ("", "") if ours else ("this is no token provider", "pass an aiokafka.abc.AbstractTokenProvider from code")
        )
    default = known[name].default
    if value is not None and isinstance(default, int | str) and not _same_type(value, default):
        return (
            f"expected {_TYPE_NAMES[type(default)]}, got {type(value).__name__}",
            f"aiokafka's default is {default!r}",
        )
    return "", ""


_TYPE_NAMES = {bool: "true or false", int: "a whole number", str: "a text"}


def _same_type(value: object, default: bool | int | str) -> bool:
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(value, bool) and isinstance(default, bool)
    return isinstance(value, type(default))
