"""Certificates that others check, and lists of revoked ones that Apache checks: none may be out of date."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509

from pandaserver.health.httpd_conf import NAME, HttpdConf
from pandaserver.health.result import Result, failure, ok, skipped, warning
from pandaserver.health.scene import Scene

DAY: Final = 86400.0
#: Days before its end at which a certificate should be replaced; a proxy is short-lived by nature.
SOON: Final = 14.0
SOON_FOR_PROXY: Final = 1.0


def certificates(scene: Scene) -> Iterator[Result]:
    """Host certificate, proxy of the service and lists of revoked certificates are in date, and there are CAs."""
    conf = HttpdConf.find(scene.environ)
    if conf.path is None:
        yield skipped(f"there is no readable {NAME}, which names the host certificate")
    for path in conf.paths("SSLCertificateFile"):
        yield from _file(path, scene.now, SOON)
    for path in conf.paths("SSLCertificateKeyFile"):
        if not os.path.exists(path):
            yield failure(f"{path}, the key of the host certificate, does not exist")
    for directory in conf.paths("SSLCACertificatePath"):
        if not any(directory.glob("*.[0-9]")):
            remedy = "put the CAs of users there, each named by its hash (openssl rehash); with tokens only, any one"
            yield failure(f"there is no CA of users in {directory}, and Apache does not start without", remedy)
    for directory in conf.paths("SSLCARevocationPath"):
        yield from _revocations(directory, scene.now)
    if proxy := scene.environ.get("X509_USER_PROXY"):
        yield from _file(Path(proxy), scene.now, SOON_FOR_PROXY)


def lifetime(certificate: x509.Certificate, what: str, now: float, soon: float) -> Result:
    """Judge the dates of one certificate; ``soon`` is in days."""
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if begin.timestamp() > now:
        return failure(f"{what} is not valid before {begin:%Y-%m-%d %H:%M} UTC", "see whether the clock is right")
    days = (end.timestamp() - now) / DAY
    if days <= 0:
        return failure(f"{what} expired on {end:%Y-%m-%d %H:%M} UTC", "replace it, then reload Apache")
    message = f"{what} is valid until {end:%Y-%m-%d %H:%M} UTC, for {days:.0f} days"
    return warning(message, "replace it in time, then reload Apache") if days < soon else ok(message)


def _file(path: Path, now: float, soon: float) -> Iterator[Result]:
    try:
        found = x509.load_pem_x509_certificates(path.read_bytes())
    except PermissionError:
        yield skipped(f"{path} is for other eyes")
    except (OSError, ValueError) as error:
        yield failure(f"{path} cannot be read as a certificate: {error}")
    else:  # those after the first are its issuers
        yield lifetime(min(found, key=lambda one: one.not_valid_after_utc), str(path), now, soon)


def _revocations(directory: Path, now: float) -> Iterator[Result]:
    """Apache refuses every user of a CA whose list is out of date."""
    old = []
    for path in sorted(directory.glob("*.r[0-9]")):
        try:
            end = x509.load_pem_x509_crl(path.read_bytes()).next_update_utc
        except (OSError, ValueError) as error:
            yield warning(f"{path} cannot be read as a list of revoked certificates: {error}")
            continue
        if end is not None and end < datetime.fromtimestamp(now, UTC):
            old.append(path.name)
    if old:
        names = ", ".join(old[:5]) + (", ..." if len(old) > 5 else "")
        message = f"{len(old)} lists of revoked certificates in {directory} are out of date ({names})"
        yield failure(f"{message}: users of those CAs are refused", "run fetch-crl")
