"""What keeps a broker from being used, in a user's words: pure tables from what the layers below said."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pipeline.kafka.validity import validity


@dataclass(frozen=True, slots=True)
class Trouble:
    """One reason, and what to do about it."""

    problem: str
    remedy: str
    setting: str = ""
    """The setting that has to change first; empty when trying again may help as well."""


_CA = "kafka.security.ca"
CERT = "kafka.security.cert"
_HOST = "use a name that the certificate has in kafka.brokers, or set kafka.security.check_hostname: false"

# X509_V_ERR_* of OpenSSL's x509_vfy.h, as ssl.SSLCertVerificationError.verify_code carries them
_VERIFICATION = {
    9: Trouble(
        "the broker's certificate is not valid yet", "check this machine's clock and the broker's certificate", _CA
    ),
    10: Trouble("the broker's certificate has expired", "renew it on the broker (or check this machine's clock)", _CA),
    18: Trouble("the broker's certificate is self-signed", "set kafka.security.ca to that certificate", _CA),
    19: Trouble(
        "the broker's certificate comes from an authority that is not trusted here",
        "set kafka.security.ca to the authority's certificate",
        _CA,
    ),
    20: Trouble(
        "the broker's certificate was not signed by an authority trusted here",
        "set kafka.security.ca to the certificate of the authority that signed it",
        _CA,
    ),
    62: Trouble("the broker's certificate is for another host name", _HOST, "kafka.brokers"),
    64: Trouble("the broker's certificate is not for this IP address", _HOST, "kafka.brokers"),
}


def validity_trouble(path: Path, now: datetime) -> Trouble | None:
    """What is wrong with the dates of our own certificate: a broker that refuses it does not say so."""
    found = validity(path)
    if found is None or found[0] <= now <= found[1]:
        return None
    begin, end = found
    said = f"expired on {end:%Y-%m-%d %H:%M} UTC" if now > end else f"is not valid before {begin:%Y-%m-%d %H:%M} UTC"
    return Trouble(f"the client certificate {path} {said}", "renew it (or check this machine's clock)", CERT)


def certificate_trouble(error: BaseException, *, have_certificate: bool) -> Trouble | None:
    """What is wrong with either side's certificate; None when `error` is about something else."""
    for cause in _chain(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            said = Trouble(f"the broker's certificate was refused ({cause.verify_message})", f"check {_CA}", _CA)
            return _VERIFICATION.get(cause.verify_code, said)
        if isinstance(cause, ssl.SSLError) and "ALERT" in (cause.reason or ""):
            return _alert_trouble(cause.reason, have_certificate)
    return None


def _alert_trouble(reason: str, have_certificate: bool) -> Trouble:
    """The broker ended the handshake; TLS 1.3 brokers say so only after our side is done."""
    said = reason.partition("ALERT_")[2].replace("_", " ").lower()
    if "PROTOCOL_VERSION" in reason:
        return Trouble(
            f"the broker refused the TLS version ({said})", "allow TLS 1.2 or 1.3 on the broker", "kafka.security"
        )
    if have_certificate:
        remedy = "use a certificate that the broker's truststore accepts"
        return Trouble(f"the broker refused the client certificate ({said})", remedy, CERT)
    return Trouble(f"the broker wants a client certificate ({said})", "set kafka.security.cert and key", CERT)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__
