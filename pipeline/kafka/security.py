"""TLS and SASL settings: what is wrong with them before any broker is asked, and the TLS context they amount to.

Threat: secrets end up in logs through error messages. No message here shows a password, and OpenSSL is never left to
prompt for a passphrase on the terminal.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from schemas.errors import Fault
from schemas.specs import KafkaSpec, Security

PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
PASSWORD_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
MECHANISMS = (*PASSWORD_MECHANISMS, "OAUTHBEARER", "GSSAPI")
_WHERE = "kafka.security"


def ssl_context(security: Security) -> ssl.SSLContext:
    """The client's TLS context. Call only when `security_faults` found nothing. Raises OSError as `ssl` does.

    Without `ca_file` the system's authorities are trusted. Does not turn verification off: `check_hostname=False` still
    wants a certificate of a known authority.
    """
    context = ssl.create_default_context(cafile=security.ca_file)
    context.check_hostname = security.check_hostname
    if security.cert_file is not None:
        secret = security.key_password or ""
        context.load_cert_chain(security.cert_file, security.key_file, password=lambda: secret)
    return context


def has_tokens(security: Security) -> bool:
    """Whether the registry itself says where tokens come from."""
    endpoint = security.token_endpoint is not None and security.client_id is not None
    return endpoint or security.token_file is not None


def token_source(security: Security) -> str:
    """The setting that tokens come from, for messages."""
    if security.token_file is not None:
        return f"{_WHERE}.token_file"
    endpoint = security.token_endpoint is not None
    return f"{_WHERE}.token_endpoint" if endpoint else "kafka.client.sasl_oauth_token_provider"


def security_faults(kafka: KafkaSpec) -> Iterator[Fault]:
    """Every fault of `kafka.security` that shows on this machine alone."""
    security = kafka.security
    if security.protocol not in PROTOCOLS:
        yield Fault(
            f"unknown protocol {security.protocol!r}", f"use one of {', '.join(PROTOCOLS)}", path=f"{_WHERE}.protocol"
        )
        return
    if security.protocol.startswith("SASL"):
        yield from _sasl_faults(kafka)
    elif security.mechanism is not None:
        remedy = f"use SASL_{'SSL' if security.protocol == 'SSL' else 'PLAINTEXT'}, or remove mechanism"
        yield Fault(f"protocol {security.protocol} has no SASL mechanism", remedy, path=f"{_WHERE}.protocol")
    if security.protocol.endswith("SSL"):
        yield from _tls_faults(security)
    elif security.ca_file or security.cert_file:
        remedy = f"use {'SASL_SSL' if security.protocol.startswith('SASL') else 'SSL'}, or remove the certificate files"
        yield Fault(f"protocol {security.protocol} is not encrypted", remedy, path=f"{_WHERE}.protocol")


def _sasl_faults(kafka: KafkaSpec) -> Iterator[Fault]:
    security, mechanism = kafka.security, kafka.security.mechanism
    if mechanism not in MECHANISMS:
        problem = "a SASL protocol needs a mechanism" if mechanism is None else f"unknown mechanism {mechanism!r}"
        yield Fault(problem, f"use one of {', '.join(MECHANISMS)}", path=f"{_WHERE}.mechanism")
    if mechanism in PASSWORD_MECHANISMS:
        for name in ("username", "password"):
            if not getattr(security, name):
                yield Fault(f"mechanism {mechanism} needs a {name}", f"set {_WHERE}.{name}", path=f"{_WHERE}.{name}")
    if mechanism == "OAUTHBEARER" and not (has_tokens(security) or "sasl_oauth_token_provider" in kafka.client):
        remedy = (
            f"set {_WHERE}.token_file, or token_endpoint with client_id and client_secret_file; "
            "or, from code, kafka.client.sasl_oauth_token_provider"
        )
        yield Fault("mechanism OAUTHBEARER needs tokens", remedy, path=f"{_WHERE}.mechanism")
    if security.token_ca_file is not None:
        yield from _authority_faults("token_ca", security.token_ca_file)
    if mechanism == "GSSAPI" and find_spec("gssapi") is None:
        yield Fault("mechanism GSSAPI needs the gssapi package", "pip install gssapi", path=f"{_WHERE}.mechanism")


def _tls_faults(security: Security) -> Iterator[Fault]:
    if security.ca_file is not None:
        yield from _authority_faults("ca", security.ca_file)
    if security.cert_file is not None:
        yield from _pair_faults(security)
    elif security.key_file is not None:
        yield Fault("a key without its certificate", f"set {_WHERE}.cert", path=f"{_WHERE}.key")


def _authority_faults(name: str, path: Path) -> Iterator[Fault]:
    try:
        ssl.create_default_context(cafile=path)
    except OSError as error:
        yield _file_fault(name, path, error, "it must hold the authority's certificate as PEM")


def _pair_faults(security: Security) -> Iterator[Fault]:
    for name in ("cert_file", "key_file"):
        path = getattr(security, name)
        if path is not None and not path.is_file():
            yield _file_fault(name, path, FileNotFoundError(), "")
            return
    try:
        ssl_context(
            Security(cert_file=security.cert_file, key_file=security.key_file, key_password=security.key_password)
        )
    except OSError as error:
        name, remedy = _pair_problem(error, security)
        yield _file_fault(name, getattr(security, name) or security.cert_file, error, remedy)


def _pair_problem(error: OSError, security: Security) -> tuple[str, str]:
    reason = getattr(error, "reason", None) or ""
    if "MISMATCH" in reason:
        return "key_file", "the key does not belong to the certificate"
    if "DECRYPT" in reason or "PASSWORD" in reason.upper() or "EMPTY" in reason.upper():
        return "key_file", "the key is encrypted: " + (
            f"{_WHERE}.key_password is wrong" if security.key_password else f"set {_WHERE}.key_password"
        )
    return "cert_file", "certificate and key must be PEM (the key may be in the same file)"


def _file_fault(name: str, path: object, error: OSError, remedy: str) -> Fault:
    name = name.removesuffix("_file")  # as the registry calls it
    if isinstance(error, FileNotFoundError):
        return Fault(f"there is no file {path}", "check the path", path=f"{_WHERE}.{name}")
    if isinstance(error, PermissionError):
        return Fault(f"{path} cannot be read", "let this user read it", path=f"{_WHERE}.{name}")
    said = getattr(error, "reason", None) or error.strerror or "no PEM data"
    return Fault(f"{path} cannot be used ({said})", remedy, path=f"{_WHERE}.{name}")
