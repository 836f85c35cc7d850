"""Certificates for the tests: an authority, and what it signs (or should not have signed)."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

_DAY = datetime.timedelta(days=1)


class Authority:
    """A certificate authority whose files live in `folder`; every file holds PEM that Java and OpenSSL both read."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self.folder = folder
        self._name = _name(name)
        self._key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign(self._name, self._key.public_key(), age_days=0, ca=True, hosts=())
        self.file = _write(folder / f"{name}.pem", _pem(certificate))
        """The authority's own certificate: what clients trust."""

    def issue(
        self, name: str, *, hosts: tuple[str, ...] = ("localhost",), age_days: int = 0, password: str = ""
    ) -> Path:
        """A file with a new key (encrypted with `password`) and its certificate; valid for a day, `age_days` ago."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign(_name(name), key.public_key(), age_days=age_days, ca=False, hosts=hosts)
        return _write(self.folder / f"{name}.pem", _key_pem(key, password) + _pem(certificate))

    def issue_self_signed(self, name: str) -> Path:
        """A file with a key and a certificate that vouches for itself."""
        other = Authority.__new__(Authority)
        other._name, other._key = _name(name), ec.generate_private_key(ec.SECP256R1())
        certificate = other._sign(other._name, other._key.public_key(), age_days=0, ca=False, hosts=("localhost",))
        return _write(self.folder / f"{name}.pem", _key_pem(other._key) + _pem(certificate))

    def _sign(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, *, age_days: int, ca: bool, hosts: tuple[str, ...]
    ) -> x509.Certificate:
        start = datetime.datetime.now(datetime.UTC) - _DAY * (age_days + 0.5)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + _DAY)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        if hosts:
            names = x509.SubjectAlternativeName([_host(host) for host in hosts])
            builder = builder.add_extension(names, critical=False)
        return builder.sign(self._key, hashes.SHA256())


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey, password: str = "") -> bytes:
    how = serialization.BestAvailableEncryption(password.encode()) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how)


def _write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    path.chmod(0o600)
    return path
