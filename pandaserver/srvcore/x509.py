"""The caller out of what the web server checked: a client certificate's DN and its VOMS attributes.

Only variables that the web server itself sets are read. What a client puts into headers arrives as ``HTTP_...`` and
is never looked at, whatever it is called.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from pandaserver.srvcore.principal import ANONYMOUS, Principal

DN_VARIABLE: Final = "SSL_CLIENT_S_DN"
CREDENTIAL_PREFIXES: Final = ("GRST_CRED_", "GRST_CONN_")


def principal_from_environ(environ: Mapping[str, Any], production_dns: Sequence[str] = ()) -> Principal:
    """Return the caller whom the web server's variables name, or the anonymous one."""
    dn = verified_dn(environ)
    if not dn:
        return ANONYMOUS
    found = ((k, str(v)) for k, v in environ.items() if k.startswith(CREDENTIAL_PREFIXES))
    credentials = tuple(sorted(found, key=lambda item: (len(item[0]), item)))  # 2 before 10: the first VO is the user's
    return Principal.of(dn, fqans_of(dict(credentials)), production_dns=production_dns, credentials=credentials)


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
