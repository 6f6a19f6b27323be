"""SciTokens: tokens of listed issuers that carry roles in their scope.

The rules are those of OIDC tokens. The library of that name is not used: it asks whatever issuer a token names for the
keys to verify it with, and looks at no audience.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from pandaserver.srvcore.oidc_keys import IssuerKeys
from pandaserver.srvcore.principal import Principal, voms_credentials
from pandaserver.srvcore.token_decisions import (
    Note,
    TokenDecisions,
    dn_from_claims,
    failed,
    granted_fqans,
    published_key,
    read_unverified,
    verified,
)

_DISCOVERY: Final = "/.well-known/openid-configuration"


def issuers_of(words: Sequence[str]) -> dict[str, str]:
    """Return the VO of each issuer out of the words ``<vo>=<issuer>`` of the setting."""
    pairs = (word.partition("=") for word in words)
    return {issuer.strip(): vo.strip() for vo, sign, issuer in pairs if sign and issuer.strip() and vo.strip()}


class SciTokens(TokenDecisions):
    """Decides about SciTokens for one audience."""

    def __init__(
        self,
        audience: str,
        issuers: Mapping[str, str],
        production_dns: Sequence[str] = (),
        *,
        keys: IssuerKeys | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(clock)
        self._audience = audience
        self._issuers = issuers
        self._production_dns = production_dns
        self._keys = keys or IssuerKeys()

    def _decide(
        self, token: str, origin: str, certificate: Principal, note: Note
    ) -> tuple[Mapping[str, Any], Principal]:
        del origin  # the issuer alone decides about the VO
        header, unverified = read_unverified(token)
        note("format", f"kid={header['kid'][:100]}")
        issuer = unverified.get("iss")
        if not isinstance(issuer, str) or issuer not in self._issuers:
            raise failed("client", f"token_issuers does not list the issuer {str(issuer)[:200]!r}")
        vo = self._issuers[issuer]
        note("client", f"issuer {issuer} of VO {vo}")
        note("vo", f"vo={vo}")
        key, published = published_key(self._keys, f"{issuer.rstrip('/')}{_DISCOVERY}", header["kid"])
        if published.rstrip("/") != issuer.rstrip("/"):
            raise failed("issuer", f"{issuer} publishes the keys of {published[:200]!r}")
        note("key", f"{key.algorithm} of {issuer}")
        claims = verified(token, key, [self._audience], issuer, note)
        fqans = granted_fqans(claims, vo)
        note("groups", " ".join(fqans) or "no role")
        credentials = [
            *certificate.credentials,
            *voms_credentials(fqans),
            ("PANDA_OIDC_VO", vo),
        ]
        return claims, Principal.of(
            certificate.raw_dn or dn_from_claims(claims),
            (*certificate.fqans, *fqans),
            vo=vo,
            production_dns=self._production_dns,
            credentials=credentials,
        )
