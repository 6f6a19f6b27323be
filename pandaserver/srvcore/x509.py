"""The caller out of what the web server checked: a client certificate's DN and its VOMS attributes.

Only variables that the web server itself sets are read. What a client puts into headers arrives as ``HTTP_...`` and
is never looked at, whatever it is called.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from pandaserver.srvcore.errors import NotAuthenticated
from pandaserver.srvcore.mail_address import address_in
from pandaserver.srvcore.principal import ANONYMOUS, LIMITED, Principal, voms_credentials
from pandaserver.srvcore.proxies import chain_of, delegation, looks_like_proxy
from pandaserver.srvcore.voms import VomsTrust

DN_VARIABLE: Final = "SSL_CLIENT_S_DN"
MAIL_VARIABLE: Final = "SSL_CLIENT_SAN_Email_0"
_MAIL_PART: Final = re.compile(r"/(?:emailAddress|Email|E)=([^/]+)", re.IGNORECASE)
CREDENTIAL_PREFIXES: Final = ("GRST_CRED_", "GRST_CONN_")

#: Seconds that what a proxy says holds, and proxies that are remembered at most.
MEMORY: Final = 300.0
MAX_REMEMBERED: Final = 2000


class ProxyReader:
    """Says what stands in the proxies of callers; remembers it, as each reading costs several signatures."""

    def __init__(self, voms: VomsTrust | None = None) -> None:
        self._voms = voms
        self._known: dict[bytes, tuple[dt.datetime, bool, tuple[str, ...]]] = {}
        self._lock = threading.Lock()

    def read(self, environ: Mapping[str, Any], now: dt.datetime | None = None) -> tuple[bool, tuple[str, ...]]:
        """Return whether the caller's certificate is a limited proxy, and its VOMS attributes.

        Raises :class:`NotAuthenticated` for a proxy whose owner's certificate did not come along: nobody knows then
        who has signed it.
        """
        now = now or dt.datetime.now(dt.UTC)
        texts = chain_of(environ)
        if not texts:
            raise NotAuthenticated("the web server hands no certificates over: set SSLOptions +ExportCertData")
        name = hashlib.sha256("\0".join(texts).encode()).digest()
        known = self._known.get(name)
        if known is not None and now < known[0]:
            return known[1:]
        found = delegation(texts)
        limited = found is not None and found.is_limited
        fqans = self._voms.fqans(found, now) if found is not None and self._voms is not None else ()
        with self._lock:
            if len(self._known) >= MAX_REMEMBERED:
                self._known.clear()
            self._known[name] = (now + dt.timedelta(seconds=MEMORY), limited, fqans)
        return limited, fqans


def principal_from_environ(
    environ: Mapping[str, Any], production_dns: Sequence[str] = (), proxies: ProxyReader | None = None
) -> Principal:
    """Return the caller whom the web server's variables name, or the anonymous one.

    Raises :class:`NotAuthenticated` for a proxy that cannot be traced to its owner.
    """
    dn = verified_dn(environ)
    if not dn:
        return ANONYMOUS
    found = {k: str(v) for k, v in environ.items() if k.startswith(CREDENTIAL_PREFIXES)}
    if looks_like_proxy(environ):
        limited, fqans = (proxies or ProxyReader()).read(environ)
        if limited and LIMITED not in dn:
            dn += LIMITED  # proxies of the first generation said so in their names, and all rules ask for that
        found |= dict(voms_credentials(fqans))
    # 2 before 10: the user's VO first
    credentials = tuple(sorted(found.items(), key=lambda item: (len(item[0]), item)))
    return Principal.of(
        dn,
        fqans_of(dict(credentials)),
        production_dns=production_dns,
        email=_email_in(environ, dn),
        credentials=credentials,
    )


def _email_in(environ: Mapping[str, Any], dn: str) -> str:
    """Return the mail address in a certificate: an alternative name, or a part of the DN, as old CAs have it."""
    part = _MAIL_PART.search(dn)
    return address_in(environ.get(MAIL_VARIABLE)) or address_in(part[1] if part else "")


def verified_dn(environ: Mapping[str, Any]) -> str:
    """Return the DN of the client certificate, "" if there is none or the web server could not verify it."""
    if environ.get("SSL_CLIENT_VERIFY", "SUCCESS") != "SUCCESS":
        return ""
    return str(environ.get(DN_VARIABLE, ""))


def fqans_of(credentials: Mapping[str, str]) -> Iterator[str]:
    """Yield the VOMS attributes in the web server's variables, in the order of the variables."""
    for name, value in credentials.items():
        if name.startswith("GRST_CRED_") and value.startswith("VOMS") and len(value.split()) > 1:
            yield value.split()[-1]
        elif name.startswith("GRST_CONN_") and value.startswith("fqan:") and value.count(":") == 1:
            yield value.removeprefix("fqan:")
