"""The `kafka` section: addresses, security, and the client options that would undo what penstock promises."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from pipeline.registry.document import Document, Steps
from schemas.errors import Fault
from schemas.specs import KafkaSpec, Registry, Security

_BROKER = re.compile(r"(?:\[[0-9a-fA-F:.%]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})", re.ASCII)
_SECURITY: Steps = ("kafka", "security")
TOKEN_PROVIDER = "sasl_oauth_token_provider"
_TOKEN_KEYS = {
    "token_file": "token_file",
    "token_endpoint": "token_endpoint",
    "client_id": "client_id",
    "client_secret": "client_secret",
    "client_secret_file": "client_secret_file",
    "scope": "scope",
    "token_ca": "token_ca_file",
}
"""Keys of the file that only OAUTHBEARER reads, and their names in `Security`."""
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

_OWN_KEY = {
    "bootstrap_servers": "brokers",
    "group_id": "group",
    "compression_type": "compression",
    "transaction_timeout_ms": "transaction_timeout",
    "request_timeout_ms": "request_timeout",
    "rebalance_timeout_ms": "rebalance_timeout",
    "max_poll_interval_ms": "max_poll_interval",
    "session_timeout_ms": "session_timeout",
    "security_protocol": "security.protocol",
    "ssl_context": "security.ca, cert and key",
    "sasl_mechanism": "security.mechanism",
    "sasl_plain_username": "security.username",
    "sasl_plain_password": "security.password",
}
_GUARANTEE = {
    "enable_auto_commit": "offsets are committed with the outputs, in one transaction; auto-commit would lose events",
    "auto_commit_interval_ms": "offsets are committed with the outputs, in one transaction",
    "isolation_level": "read_committed is what keeps aborted records out",
    "auto_offset_reset": "a lost offset stops the lane instead of skipping events; a route's `start` says where a first start begins",
    "key_deserializer": "events are handled as bytes; a deserializer that fails would stop the lane for ever",
    "value_deserializer": "events are handled as bytes; a deserializer that fails would stop the lane for ever",
    "key_serializer": "events are handled as bytes",
    "value_serializer": "events are handled as bytes",
    "acks": "acks=all is what makes a commit durable",
    "enable_idempotence": "idempotence is what keeps retries from duplicating",
    "transactional_id": "each lane has its own, made of topic, partition and group",
    "group_instance_id": "two members with one id rejoin for ever, without an error",
    "partition_assignment_strategy": "partitions move lane by lane, as the pipeline expects it",
    "partitioner": "records keep their partition, or go by murmur2 of the key",
    "check_crcs": "a damaged record must not pass",
    "loop": "the pipeline runs in its own event loop",
    "consumer_timeout_ms": "the pipeline decides how long it waits",
    "sasl_kerberos_service_name": "GSSAPI is not supported",
    "sasl_kerberos_domain_name": "GSSAPI is not supported",
}


def cluster_faults(document: Document, registry: Registry) -> Iterator[Fault]:
    """Every broken rule of the `kafka` section. Whether the client knows an option is for `pipeline.kafka` to say."""
    yield from _brokers(document, registry.kafka)
    yield from _client(document, registry.kafka)
    yield from _mechanism(document, registry.kafka)
    yield from _credentials(document, registry.kafka.security)
    yield from _tokens(document, registry.kafka)
    yield from _certificates(document, registry.kafka.security)


def _brokers(document: Document, kafka: KafkaSpec) -> Iterator[Fault]:
    for index, broker in enumerate(kafka.brokers):
        found = _BROKER.fullmatch(broker)
        if found is None or not 1 <= int(found[1]) <= 65535:
            remedy = "write localhost:9092, or several: a:9092,b:9092"
            yield document.fault(("kafka", "brokers", index), "{shown} is not host:port", remedy)


def _client(document: Document, kafka: KafkaSpec) -> Iterator[Fault]:
    for option in kafka.client:
        steps: Steps = ("kafka", "client", option)
        if option in _OWN_KEY:
            yield document.fault(steps, "has a key of its own", f"write it as kafka.{_OWN_KEY[option]}", at_key=True)
        elif option in _GUARANTEE:
            yield document.fault(steps, f"may not be changed: {_GUARANTEE[option]}", "leave it out", at_key=True)
    batch, request = kafka.client.get("max_batch_size"), kafka.client.get("max_request_size")
    if isinstance(batch, int) and isinstance(request, int) and batch > request:
        yield document.fault(
            ("kafka", "client", "max_batch_size"),
            "is larger than max_request_size",
            "lower it, or raise max_request_size",
        )


def _mechanism(document: Document, kafka: KafkaSpec) -> Iterator[Fault]:
    security, steps = kafka.security, (*_SECURITY, "mechanism")
    sasl = security.protocol.startswith("SASL_")
    if sasl and security.mechanism is None:
        remedy = "add mechanism: SCRAM-SHA-512 (or PLAIN, SCRAM-SHA-256, OAUTHBEARER), as the brokers are set up"
        yield document.fault((*_SECURITY, "protocol"), "{shown} needs a mechanism", remedy)
    if not sasl and security.mechanism is not None:
        remedy = "use protocol: SASL_SSL (or SASL_PLAINTEXT), or leave mechanism out"
        yield document.fault(steps, f"a mechanism has no effect with protocol {security.protocol}", remedy)


def _credentials(document: Document, security: Security) -> Iterator[Fault]:
    needed = security.protocol.startswith("SASL_") and security.mechanism not in {None, "OAUTHBEARER"}
    for key, value in (("username", security.username), ("password", security.password)):
        if needed and not value:
            steps, empty = ((*_SECURITY, key), "empty") if value == "" else (_SECURITY, "missing")
            remedy = f'add {key}: "${{KAFKA_{key.upper()}}}"'
            yield document.fault(steps, f"{key} is {empty}: mechanism {security.mechanism} needs it", remedy)
        if not needed and value is not None:
            remedy = "leave it out, or use protocol: SASL_SSL with a mechanism"
            yield document.fault((*_SECURITY, key), f"has no effect with protocol {security.protocol}", remedy)


def _tokens(document: Document, kafka: KafkaSpec) -> Iterator[Fault]:
    """Where OAUTHBEARER has its tokens from: a file, an endpoint, or the program (client option)."""
    security = kafka.security
    given = [key for key in _TOKEN_KEYS if getattr(security, _TOKEN_KEYS[key]) is not None]
    if not security.protocol.startswith("SASL_") or security.mechanism != "OAUTHBEARER":
        for key in given:
            yield document.fault((*_SECURITY, key), "has no effect without mechanism OAUTHBEARER", "leave it out")
        return
    here = [key for key in ("token_file", "token_endpoint") if key in given]
    if len(here) + (TOKEN_PROVIDER in kafka.client) != 1:
        steps = (*_SECURITY, here[0] if here else "mechanism")
        problem = "OAUTHBEARER has more than one source of tokens" if here else "OAUTHBEARER needs tokens"
        remedy = f"set token_file, or token_endpoint with client_id and client_secret_file (or, from code, client option {TOKEN_PROVIDER})"
        yield document.fault(steps, problem, remedy)
    elif security.token_endpoint is not None:
        yield from _endpoint(document, security)
    else:
        for key in given:
            if key != "token_file":
                yield document.fault((*_SECURITY, key), "has no effect without token_endpoint", "leave it out")


def _endpoint(document: Document, security: Security) -> Iterator[Fault]:
    steps: Steps = (*_SECURITY, "token_endpoint")
    url = urlsplit(security.token_endpoint or "")
    if url.scheme not in ("https", "http") or not url.hostname:
        yield document.fault(steps, "{shown} is not a URL", "write https://host/path")
    elif url.scheme == "http" and url.hostname not in _LOOPBACK:
        problem = "{shown} is not encrypted: the client's secret and its tokens could be read on the way"
        yield document.fault(steps, problem, "use https")
    if security.client_id is None:
        yield document.fault(steps, "token_endpoint needs a client_id", "add client_id")
    secrets = [key for key in ("client_secret", "client_secret_file") if getattr(security, key)]
    if not secrets:
        remedy = 'add client_secret_file, or client_secret: "${KAFKA_CLIENT_SECRET}"'
        yield document.fault(steps, "token_endpoint needs the client's secret", remedy)
    elif len(secrets) > 1:
        yield document.fault((*_SECURITY, "client_secret"), "there is a client_secret_file as well", "keep one of them")


def _certificates(document: Document, security: Security) -> Iterator[Fault]:
    files = (("ca", security.ca_file), ("cert", security.cert_file), ("key", security.key_file))
    for key, path in files:
        if path is not None and not security.protocol.endswith("SSL"):
            remedy = "use protocol: SSL or SASL_SSL, or leave it out"
            yield document.fault((*_SECURITY, key), f"has no effect with protocol {security.protocol}", remedy)
    if (security.cert_file is None) != (security.key_file is None):
        present, absent = ("key", "cert") if security.cert_file is None else ("cert", "key")
        yield document.fault((*_SECURITY, present), f"{present} without {absent}", f"add {absent}: a PEM file")
    if security.key_password is not None and security.key_file is None:
        yield document.fault(
            (*_SECURITY, "key_password"), "there is no key to open with it", "add cert and key, or leave it out"
        )
