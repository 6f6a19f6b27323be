"""A certificate authority for one development instance: host and user certificates that nobody else trusts."""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

ORGANISATION: Final = "PanDA Development"
_DAY: Final = dt.timedelta(days=1)


class DevelopmentCA:
    """The authority in ``directory``, created at first use. ``certificates`` is laid out as grid clients expect it."""

    def __init__(self, directory: Path) -> None:
        self.certificate_file = directory / "ca.pem"
        self.certificates = directory / "certificates"
        self._key_file = directory / "ca-key.pem"
        if self._key_file.exists():
            self._key = _read_key(self._key_file)
            self._certificate = x509.load_pem_x509_certificate(self.certificate_file.read_bytes())
        else:
            directory.mkdir(parents=True, exist_ok=True)
            self._create()

    @staticmethod
    def exists(directory: Path) -> bool:
        """Say whether there is an authority in ``directory``."""
        return (directory / "ca-key.pem").exists()

    def certify_host(self, names: Sequence[str], certificate: Path, key: Path) -> None:
        """Write certificate and key of a server known by ``names``, which may be addresses."""
        alternatives = x509.SubjectAlternativeName([_general_name(name) for name in names])
        host_key = ec.generate_private_key(ec.SECP256R1())
        builder = self._builder(_subject("Hosts", names[0]), host_key.public_key()).add_extension(alternatives, False)
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
        write_private(key, _key_text(host_key))
        certificate.write_bytes(_text(self._signed(builder.add_extension(usage, critical=False))))

    def certify_user(self, name: str) -> bytes:
        """Return certificate and key of a user in one text, the form of X509_USER_PROXY."""
        user_key = ec.generate_private_key(ec.SECP256R1())
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
        builder = self._builder(_subject("Users", name), user_key.public_key()).add_extension(usage, critical=False)
        return _text(self._signed(builder)) + _key_text(user_key)

    def _create(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        name = _subject("", f"{ORGANISATION} CA")
        usage = key_usage(signs_certificates=True)
        public = self._key.public_key()
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateBuilder(name, name, public, x509.random_serial_number(), now - _DAY, now + 3650 * _DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        )
        self._certificate = builder.sign(self._key, hashes.SHA256())
        self.certificate_file.write_bytes(_text(self._certificate))
        self._link_by_hash()
        write_private(self._key_file, _key_text(self._key))  # last: its presence says that the rest is there

    def _link_by_hash(self) -> None:
        """Make the certificate findable in a directory: OpenSSL looks for the hash of the name."""
        command = ["openssl", "x509", "-noout", "-subject_hash", "-in", str(self.certificate_file)]
        name = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
        self.certificates.mkdir(exist_ok=True)
        (self.certificates / f"{name}.0").write_bytes(self.certificate_file.read_bytes())

    def _builder(self, subject: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        serial, issuer = x509.random_serial_number(), self._certificate.subject
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return (
            x509.CertificateBuilder(issuer, subject, public, serial, now - _DAY, now + 365 * _DAY)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(key_usage(signs_certificates=False), critical=True)
            .add_extension(authority, critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        )

    def _signed(self, builder: x509.CertificateBuilder) -> x509.Certificate:
        return builder.sign(self._key, hashes.SHA256())


def write_private(path: Path, text: bytes) -> None:
    """Write a file that only its owner can read, at no moment anybody else."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(text)


def _read_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"{path} holds no elliptic curve key")
    return key


def _subject(unit: str, common_name: str) -> x509.Name:
    parts = [(NameOID.ORGANIZATION_NAME, ORGANISATION), (NameOID.ORGANIZATIONAL_UNIT_NAME, unit)]
    return x509.Name(
        [x509.NameAttribute(oid, value) for oid, value in (*parts, (NameOID.COMMON_NAME, common_name)) if value]
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def key_usage(*, signs_certificates: bool, enciphers_keys: bool = False) -> x509.KeyUsage:
    """Return what the key of an authority, or of somebody else, is for; keys of RSA may encipher others, too."""
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=enciphers_keys,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _text(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_text(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
