"""Proxy certificates (RFC 3820): whose they are, and whether their rights are limited.

The web server has verified the whole chain up to a CA before anything here is asked. What it hands over are the
certificates as the client sent them; the links between them are checked again, so that an attribute or a limit is
never read out of a certificate that has nothing to do with the caller.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pandaserver.srvcore.errors import NotAuthenticated

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

#: Extensions that make a certificate a proxy: of the RFC, and of the draft before it.
PROXY_INFO: Final = ("1.3.6.1.5.5.7.1.14", "1.3.6.1.4.1.3536.1.222")

#: DER of 1.3.6.1.4.1.3536.1.1.1.9, the policy of a proxy that may be used for files and not for jobs.
LIMITED_POLICY: Final = bytes.fromhex("060b2b060104019b5001010109")

#: Certificates of a chain that are looked at: the depth that the web server admits.
LONGEST: Final = 10

_CHAIN: Final = re.compile(r"SSL_CLIENT_CERT_CHAIN_(\d+)")


@dataclass(frozen=True, slots=True)
class Delegation:
    """The certificate of a person or robot, and the proxies made from it, the caller's own one first."""

    owner: Certificate
    proxies: tuple[Certificate, ...]
    is_limited: bool


def looks_like_proxy(environ: Mapping[str, Any]) -> bool:
    """Tell from the names whether the caller's certificate was issued by its own owner, without parsing it."""
    issuer = str(environ.get("SSL_CLIENT_I_DN", ""))
    return bool(issuer) and str(environ.get("SSL_CLIENT_S_DN", "")).startswith(f"{issuer}/CN=")


def chain_of(environ: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the certificates that the client sent, as text, its own one first."""
    numbers = sorted(int(found[1]) for name in environ if (found := _CHAIN.fullmatch(name)))
    names = ("SSL_CLIENT_CERT", *(f"SSL_CLIENT_CERT_CHAIN_{number}" for number in numbers[:LONGEST]))
    return tuple(dict.fromkeys(str(environ[name]) for name in names if environ.get(name)))


def delegation(texts: Sequence[str]) -> Delegation | None:
    """Return who stands behind a chain, None if it begins with no proxy.

    Raises :class:`NotAuthenticated` for a proxy that nobody in the chain has signed.
    """
    from cryptography import x509  # 8 MB, so only certificates bring it in

    try:
        chain = [x509.load_pem_x509_certificate(text.encode()) for text in texts]
        if not chain or _policy(chain[0]) is None:
            return None
        links = list(_links(chain))
    except (ValueError, TypeError) as problem:
        raise NotAuthenticated(f"a certificate of the proxy cannot be read: {problem}") from problem
    *proxies, owner = links
    if _policy(owner) is not None:
        raise NotAuthenticated(
            "the certificate that signed the proxy did not come along: send the whole chain, and let the web server "
            "resume no sessions (SSLSessionCache none, SSLSessionTickets off)"
        )
    limited = any(LIMITED_POLICY in (_policy(one) or b"") or _is_named_limited(one) for one in proxies)
    return Delegation(owner, tuple(proxies), limited)


def _links(chain: Sequence[Certificate]) -> Iterator[Certificate]:
    """Yield the caller's certificate and whoever signed it, up to the first one that is no proxy."""
    current = chain[0]
    yield current
    while _policy(current) is not None:
        signers = (one for one in chain if one is not current and has_signed(one, current))
        found = next(signers, None)
        if found is None:
            return
        current = found
        yield current


def has_signed(issuer: Certificate, certificate: Certificate) -> bool:
    """Tell whether one certificate was signed with the key of another, and names it as its issuer."""
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _is_named_limited(certificate: Certificate) -> bool:
    return any(part.value == "limited proxy" for part in certificate.subject)


def extension(certificate: Certificate, dotted: str) -> bytes | None:
    """Return the content of an extension that the library has no class for, None if the certificate lacks it."""
    from cryptography import x509

    for one in certificate.extensions:
        if one.oid.dotted_string == dotted and isinstance(one.value, x509.UnrecognizedExtension):
            return one.value.value
    return None


def _policy(certificate: Certificate) -> bytes | None:
    """Return what a proxy says about its rights, b"" for one that says nothing, None for what is no proxy.

    Proxies of the first generation have no extension. What they have is a name: that of their issuer and one more part.
    Some front ends forgive a missing issuer to whatever is named like that, so we do not.
    """
    for dotted in PROXY_INFO:
        held = extension(certificate, dotted)
        if held is not None:
            return held
    subject = certificate.subject.rdns
    return b"" if subject and subject[:-1] == certificate.issuer.rdns else None
