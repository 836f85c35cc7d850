"""When a certificate is valid: the one thing about it that brokers do not say when they refuse it.

Reads just that field of the DER (RFC 5280, section 4.1: TBSCertificate is version, serial number, algorithm, issuer, validity).
Not a parser of certificates: what it cannot read counts as unknown.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_VERSION = 0xA0
_SEQUENCE = 0x30
_UTC_TIME = 0x17


def validity(path: Path) -> tuple[datetime, datetime] | None:
    """From when until when the first certificate of a PEM file is valid; None when it cannot be read."""
    try:
        found = _PEM.search(path.read_text(encoding="ascii", errors="replace"))
        if found is None:
            return None
        ((_, certificate),) = _elements(ssl.PEM_cert_to_DER_cert(found[0]))
        fields = list(_elements(next(_elements(certificate))[1]))
        if fields[0][0] == _VERSION:
            fields = fields[1:]
        kind, body = fields[3]
        (begin, end) = _elements(body)
        return (_time(*begin), _time(*end)) if kind == _SEQUENCE else None
    except (OSError, ValueError, IndexError, StopIteration):
        return None


def _elements(der: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and content of each element in a row. Raises IndexError for a length that leads outside."""
    at = 0
    while at < len(der):
        tag, length, at = der[at], der[at + 1], at + 2
        if length & 0x80:
            size = length & 0x7F
            length, at = int.from_bytes(der[at : at + size]), at + size
        if at + length > len(der):
            raise IndexError
        yield tag, der[at : at + length]
        at += length


def _time(tag: int, text: bytes) -> datetime:
    """UTCTime has two digits for the year: 50 to 99 are 1950 to 1999."""
    digits = text.decode("ascii")
    if tag == _UTC_TIME:
        digits = ("19" if digits[:2] >= "50" else "20") + digits
    return datetime.strptime(digits, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
