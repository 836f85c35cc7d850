"""The dates of a certificate are read as OpenSSL's own library reads them, and nothing else breaks over it."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from pipeline.kafka.validity import _elements, validity
from tests.services.certificates import Authority


@pytest.mark.parametrize("age_days", [0, 30, 365 * 20, -365 * 40])
def test_dates_are_those_of_the_certificate(tmp_path: Path, age_days: int) -> None:
    path = Authority(tmp_path).issue("client", age_days=age_days)
    certificate = x509.load_pem_x509_certificate(path.read_bytes()[path.read_bytes().index(b"-----BEGIN CERT") :])
    assert validity(path) == (certificate.not_valid_before_utc, certificate.not_valid_after_utc)


@pytest.mark.parametrize("text", ["", "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----", "é"])
def test_what_is_no_certificate_has_no_dates(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.pem"
    path.write_text(text)
    assert validity(path) is None
    assert validity(tmp_path / "none.pem") is None


@given(st.binary(max_size=40))
def test_any_bytes_end(der: bytes) -> None:
    try:
        found = list(_elements(der))
    except IndexError:
        return
    assert sum(len(content) for _, content in found) <= len(der)
