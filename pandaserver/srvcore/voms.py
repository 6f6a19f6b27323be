"""Attribute certificates of VOMS (RFC 5755): what a VO says about the owner of a proxy.

An attribute counts if the certificate that holds it is valid now, is about the owner of this very proxy, and is signed
by a server that ``vomsdir/<VO>/*.lsc`` names (its DN, then the DNs of those who certified it) and that a trusted CA
stands behind.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pandaserver.srvcore.errors import NotAuthenticated
from pandaserver.srvcore.proxies import Delegation, extension, has_signed

if TYPE_CHECKING:
    from cryptography.x509 import Certificate, Name

#: Extension of a proxy that holds attribute certificates; attribute and extension inside of these.
AC_SEQUENCE: Final = "1.3.6.1.4.1.8005.100.100.5"
FQANS: Final = "1.3.6.1.4.1.8005.100.100.4"
CERTIFICATES: Final = "1.3.6.1.4.1.8005.100.100.10"

#: Clocks of VOMS servers may differ by this.
LEEWAY: Final = dt.timedelta(minutes=5)

#: Bytes of attribute certificates in one proxy, and attributes in one of them, at most.
MAX_SIZE: Final = 256 * 1024
MAX_FQANS: Final = 1000

_SHORT: Final = {
    "2.5.4.3": "CN",
    "2.5.4.6": "C",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "0.9.2342.19200300.100.1.1": "UID",
    "0.9.2342.19200300.100.1.25": "DC",
    "1.2.840.113549.1.9.1": "emailAddress",
}


class VomsTrust:
    """Which servers may speak for which VO: LSC files below ``vomsdir``, and the CAs in ``authorities``."""

    def __init__(self, vomsdir: Path, authorities: Path, logger: logging.Logger) -> None:
        self._vomsdir = vomsdir
        self._authorities = authorities
        self._logger = logger

    def fqans(self, delegation: Delegation, now: dt.datetime) -> tuple[str, ...]:
        """Return the attributes of the caller, of the proxy nearest to the caller that has any.

        What cannot be trusted counts as absent and is logged: the proxy is valid, it only says nothing about a VO.
        """
        for proxy in delegation.proxies:
            held = extension(proxy, AC_SEQUENCE)
            if held is None:
                continue
            try:
                return tuple(fqan for one in _certificates_in(held) for fqan in self._believed(one, delegation, now))
            except (NotAuthenticated, ValueError, TypeError, KeyError, ImportError) as problem:
                owner = slash_form(delegation.owner.subject)
                self._logger.warning("attributes of the proxy of %s are ignored: %s", owner, problem)
                return ()
        return ()

    def _believed(self, ac: Any, delegation: Delegation, now: dt.datetime) -> Sequence[str]:
        info = ac["ac_info"]
        _check_time(info["att_cert_validity_period"], now)
        _check_holder(info["holder"], delegation.owner)
        fqans = _fqans(info)
        vo = fqans[0].removeprefix("/").partition("/")[0]
        if not vo or vo.startswith(".") or not all(fqan == f"/{vo}" or fqan.startswith(f"/{vo}/") for fqan in fqans):
            raise NotAuthenticated(f"the attributes {', '.join(fqans)[:200]!r} are not those of one VO")
        signers = self._signers(ac, now)
        names = [slash_form(one.subject) for one in signers] + [slash_form(signers[-1].issuer)]
        if not any(names[: len(known)] == known for known in self._known(vo)):
            raise NotAuthenticated(f"no file {self._vomsdir / vo}/*.lsc names {names[0]}, certified by {names[1]}")
        _check_signature(ac, signers[0])
        return fqans

    def _signers(self, ac: Any, now: dt.datetime) -> list[Certificate]:
        """Return the certificate of the server and those between it and a trusted CA."""
        sent = _sent_with(ac)
        if not sent:
            raise NotAuthenticated("the VOMS server's certificate is not part of the attribute certificate")
        names = [name.chosen.chosen.dump() for name in ac["ac_info"]["issuer"].chosen["issuer_name"]]
        if sent[0].subject.public_bytes() not in names:
            raise NotAuthenticated("the attribute certificate names another issuer than the certificate in it")
        chain = [sent[0]]
        while len(chain) <= len(sent):
            last = chain[-1]
            if not last.not_valid_before_utc <= now <= last.not_valid_after_utc:
                raise NotAuthenticated(f"{slash_form(last.subject)} is not valid now")
            if any(has_signed(one, last) for one in self._trusted(last.issuer, now)):
                return chain
            above = next((one for one in sent if _is_authority(one) and has_signed(one, last)), None)
            if above is None:
                break
            chain.append(above)
        raise NotAuthenticated(f"no CA in {self._authorities} stands behind {slash_form(chain[0].subject)}")

    def _trusted(self, name: Name, now: dt.datetime) -> Iterator[Certificate]:
        from cryptography import x509

        for path in sorted(self._authorities.glob("*.[0-9]")):
            try:
                found = x509.load_pem_x509_certificate(path.read_bytes())
            except (OSError, ValueError):
                continue  # Apache reads the same directory and tells about it
            valid = found.not_valid_before_utc <= now <= found.not_valid_after_utc
            if found.subject == name and valid and _is_authority(found):
                yield found

    def _known(self, vo: str) -> Iterator[list[str]]:
        for path in sorted((self._vomsdir / vo).glob("*.lsc")):
            try:
                lines = [line.strip() for line in path.read_text("utf-8").splitlines()]
            except (OSError, ValueError) as problem:
                self._logger.error("%s is skipped: %s", path, problem)
                continue
            names = [line for line in lines if line.startswith("/")]
            if len(names) >= 2:  # the server and who certified it
                yield names


def slash_form(name: Name) -> str:
    """Return a name as the grid writes it."""
    return "".join(f"/{_SHORT.get(part.oid.dotted_string, part.oid.dotted_string)}={part.value!s}" for part in name)


def _certificates_in(held: bytes) -> list[Any]:
    from asn1crypto import cms, core  # of the extra "proxies"

    if len(held) > MAX_SIZE:
        raise NotAuthenticated(f"the attribute certificates are longer than {MAX_SIZE} bytes")

    class Certificates(core.SequenceOf):  # type: ignore[misc]  # the library has no types
        _child_spec = cms.AttributeCertificateV2

    class Extension(core.SequenceOf):  # type: ignore[misc]
        _child_spec = Certificates

    return [one for certificates in Extension.load(held, strict=True) for one in certificates]


def _check_time(period: Any, now: dt.datetime) -> None:
    begin, end = period["not_before_time"].native, period["not_after_time"].native
    if not begin - LEEWAY <= now <= end:
        raise NotAuthenticated(f"they are valid from {begin} to {end}")


def _check_holder(holder: Any, owner: Certificate) -> None:
    about = holder["base_certificate_id"]
    if not about:
        raise NotAuthenticated("they do not say whose they are")
    names = [name.chosen.chosen.dump() for name in about["issuer"] if name.name == "directory_name"]
    if about["serial"].native != owner.serial_number or owner.issuer.public_bytes() not in names:
        raise NotAuthenticated("they belong to another certificate")


def _fqans(info: Any) -> list[str]:
    from asn1crypto import cms

    found: list[str] = []
    for attribute in info["attributes"]:
        if attribute["type"].dotted != FQANS:
            continue
        for syntax in cms.SetOfIetfAttrSyntax.load(attribute["values"].dump()):
            found += [bytes(value.chosen).decode("ascii") for value in syntax["values"]]
    if not 0 < len(found) <= MAX_FQANS:
        raise NotAuthenticated(f"{len(found)} attributes")
    if any(not fqan.isprintable() or " " in fqan for fqan in found):
        raise NotAuthenticated("an attribute has a character that none has")
    return found


def _sent_with(ac: Any) -> list[Certificate]:
    from asn1crypto import core
    from cryptography import x509

    class Certificates(core.SequenceOf):  # type: ignore[misc]
        _child_spec = core.Any

    class Extension(core.SequenceOf):  # type: ignore[misc]
        _child_spec = Certificates

    for one in ac["ac_info"]["extensions"] or ():
        if one["extn_id"].dotted == CERTIFICATES:
            held = Extension.load(one["extn_value"].contents, strict=True)
            return [x509.load_der_x509_certificate(der.dump()) for inner in held for der in inner]
    return []


def _check_signature(ac: Any, signer: Certificate) -> None:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

    algorithm = ac["signature_algorithm"]
    digests = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha512": hashes.SHA512()}
    if ac["ac_info"]["signature"].dump() != algorithm.dump() or algorithm.hash_algo not in digests:
        raise NotAuthenticated(f"signatures by {algorithm['algorithm'].native} are not accepted")
    signature, signed = ac["signature"].native, ac["ac_info"].dump()
    digest, key = digests[algorithm.hash_algo], signer.public_key()
    try:
        if isinstance(key, rsa.RSAPublicKey) and algorithm.signature_algo == "rsassa_pkcs1v15":
            key.verify(signature, signed, padding.PKCS1v15(), digest)
        elif isinstance(key, ec.EllipticCurvePublicKey) and algorithm.signature_algo == "ecdsa":
            key.verify(signature, signed, ec.ECDSA(digest))
        else:
            raise NotAuthenticated(f"the key of {slash_form(signer.subject)} does not sign by {algorithm.native}")
    except InvalidSignature as problem:
        raise NotAuthenticated(f"they are not signed by {slash_form(signer.subject)}") from problem


def _is_authority(certificate: Certificate) -> bool:
    from cryptography import x509

    try:
        return bool(certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)
    except x509.ExtensionNotFound:
        return False
