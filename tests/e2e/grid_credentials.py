"""Certificates as they exist on the grid: proxies of two generations, and attribute certificates of a VO."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID

from pandaserver.testing.development_ca import key_usage

#: RFC 3820: a proxy says so in this extension, and by its policy how much of its owner's rights it has.
PROXY_INFO: Final = "1.3.6.1.5.5.7.1.14"
ALL_RIGHTS: Final = "1.3.6.1.5.5.7.21.1"
LIMITED_RIGHTS: Final = "1.3.6.1.4.1.3536.1.1.1.9"

#: VOMS: the extension of a proxy that holds attribute certificates, and what these hold.
AC_SEQUENCE: Final = "1.3.6.1.4.1.8005.100.100.5"
FQAN_ATTRIBUTE: Final = "1.3.6.1.4.1.8005.100.100.4"
AC_CERTIFICATES: Final = "1.3.6.1.4.1.8005.100.100.10"
NO_REVOCATION: Final = "2.5.29.56"
SHA256_WITH_RSA: Final = "1.2.840.113549.1.1.11"

_HOUR: Final = dt.timedelta(hours=1)
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True, slots=True)
class Credential:
    """A certificate, its key and what stands between it and the authority."""

    certificate: x509.Certificate
    key: Key
    chain: tuple[x509.Certificate, ...] = ()

    def text(self) -> bytes:
        """Return certificate, key and chain in one file, the form of X509_USER_PROXY."""
        key = self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        pem = [one.public_bytes(serialization.Encoding.PEM) for one in (self.certificate, *self.chain)]
        return b"".join([pem[0], key, *pem[1:]])


class Authority:
    """A certificate authority of the grid, with names in the order of the grid."""

    def __init__(self, name: str = "/DC=org/DC=test/CN=Test CA") -> None:
        self.key = rsa.generate_private_key(65537, 2048)
        self.name = _name(name)
        self.certificate = self._certify(self.name, self.key, is_authority=True)

    def certify(self, subject: str, *, expired: bool = False) -> Credential:
        """Return the certificate of a user or a service, and its key."""
        key = rsa.generate_private_key(65537, 2048)
        return Credential(self._certify(_name(subject), key, is_authority=False, expired=expired), key)

    def _certify(
        self, subject: x509.Name, key: rsa.RSAPrivateKey, *, is_authority: bool, expired: bool = False
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC) - (3 * _HOUR if expired else dt.timedelta())
        builder = x509.CertificateBuilder(
            self.name, subject, key.public_key(), x509.random_serial_number(), now - _HOUR, now + 2 * _HOUR
        )
        builder = builder.add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        builder = builder.add_extension(
            key_usage(signs_certificates=is_authority, enciphers_keys=not is_authority), critical=True
        )
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        return (
            builder.add_extension(identifier, critical=False)
            .add_extension(authority, critical=False)
            .sign(self.key, hashes.SHA256())
        )


def proxy(
    owner: Credential,
    *,
    legacy: bool = False,
    limited: bool = False,
    attributes: Sequence[bytes] = (),
    forged: bool = False,
) -> Credential:
    """Return a proxy of somebody's certificate or proxy, with attribute certificates in it.

    ``forged`` names the owner as issuer, and is signed by somebody else.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    serial = x509.random_serial_number() >> 100
    label = ("limited proxy" if limited else "proxy") if legacy else str(serial)
    issuer = owner.certificate.subject
    subject = x509.Name(
        [*issuer.rdns, x509.RelativeDistinguishedName([x509.NameAttribute(NameOID.COMMON_NAME, label)])]
    )
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder(issuer, subject, key.public_key(), serial, now - _HOUR / 12, now + _HOUR)
    builder = builder.add_extension(key_usage(signs_certificates=False, enciphers_keys=True), critical=True)
    if not legacy:
        info = sequence(sequence(oid(LIMITED_RIGHTS if limited else ALL_RIGHTS)))
        builder = builder.add_extension(
            x509.UnrecognizedExtension(x509.ObjectIdentifier(PROXY_INFO), info), critical=True
        )
    if attributes:
        held = sequence(sequence(*attributes))
        builder = builder.add_extension(x509.UnrecognizedExtension(x509.ObjectIdentifier(AC_SEQUENCE), held), False)
    signer = ec.generate_private_key(ec.SECP256R1()) if forged else owner.key
    return Credential(builder.sign(signer, hashes.SHA256()), key, (owner.certificate, *owner.chain))


def attribute_certificate(
    server: Credential, holder: x509.Certificate, vo: str, fqans: Sequence[str], *, expired: bool = False
) -> bytes:
    """Return what a VOMS server hands out: these attributes belong to the holder of that certificate (RFC 5755)."""
    now = dt.datetime.now(dt.UTC) - (3 * _HOUR if expired else dt.timedelta())
    algorithm = sequence(oid(SHA256_WITH_RSA), tagged(0x05, b""))
    issuer_serial = sequence(sequence(_directory_name(holder.issuer)), integer(holder.serial_number))
    values = sequence(*(tagged(0x04, fqan.encode()) for fqan in fqans))
    syntax = sequence(tagged(0xA0, tagged(0x86, f"{vo}://voms.test:15000".encode())), values)
    certificates = sequence(sequence(server.certificate.public_bytes(serialization.Encoding.DER)))
    info = sequence(
        integer(1),
        sequence(tagged(0xA0, _content(issuer_serial))),
        tagged(0xA0, sequence(_directory_name(server.certificate.subject))),
        algorithm,
        integer(4711),
        sequence(_time(now - _HOUR), _time(now + 2 * _HOUR)),
        sequence(sequence(oid(FQAN_ATTRIBUTE), tagged(0x31, syntax))),
        sequence(
            sequence(oid(NO_REVOCATION), tagged(0x04, tagged(0x05, b""))),
            sequence(oid(AC_CERTIFICATES), tagged(0x04, certificates)),
        ),
    )
    assert isinstance(server.key, rsa.RSAPrivateKey)
    signature = server.key.sign(info, padding.PKCS1v15(), hashes.SHA256())
    return sequence(info, algorithm, tagged(0x03, b"\0" + signature))


def dn(name: x509.Name) -> str:
    """Return a name in the slash form."""
    short = {NameOID.DOMAIN_COMPONENT: "DC", NameOID.COMMON_NAME: "CN", NameOID.ORGANIZATION_NAME: "O"}
    return "".join(f"/{short[part.oid]}={part.value!s}" for part in name)


# ---- DER, as much as is needed


def tagged(tag: int, content: bytes) -> bytes:
    """Return a value of DER."""
    size = len(content)
    length = (
        bytes([size])
        if size < 0x80
        else (lambda b: bytes([0x80 | len(b)]) + b)(size.to_bytes((size.bit_length() + 7) // 8))
    )
    return bytes([tag]) + length + content


def sequence(*parts: bytes) -> bytes:
    """Return a SEQUENCE."""
    return tagged(0x30, b"".join(parts))


def integer(value: int) -> bytes:
    """Return a positive INTEGER."""
    return tagged(0x02, value.to_bytes(value.bit_length() // 8 + 1))


def oid(dotted: str) -> bytes:
    """Return an OBJECT IDENTIFIER."""
    first, second, *others = (int(number) for number in dotted.split("."))
    content = bytes([40 * first + second])
    for number in others:
        groups = [number & 0x7F]
        while number := number >> 7:
            groups.insert(0, 0x80 | number & 0x7F)
        content += bytes(groups)
    return tagged(0x06, content)


def _content(value: bytes) -> bytes:
    """Return what is inside of a value of DER."""
    return value[2 + (value[1] & 0x7F if value[1] & 0x80 else 0) :]


def _time(moment: dt.datetime) -> bytes:
    return tagged(0x18, moment.strftime("%Y%m%d%H%M%SZ").encode())


def _directory_name(name: x509.Name) -> bytes:
    return tagged(0xA4, name.public_bytes())


def _name(text: str) -> x509.Name:
    kinds = {"DC": NameOID.DOMAIN_COMPONENT, "CN": NameOID.COMMON_NAME, "O": NameOID.ORGANIZATION_NAME}
    parts = (part.split("=", 1) for part in text.split("/")[1:])
    return x509.Name([x509.NameAttribute(kinds[kind], value) for kind, value in parts])
