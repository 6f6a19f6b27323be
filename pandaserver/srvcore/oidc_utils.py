"""OIDC tokens: what a token must prove, and whom it names."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pandaserver.srvcore.caching import CachedObject
from pandaserver.srvcore.mail_address import address_in
from pandaserver.srvcore.oidc_config import AuthConfig, Client, load_auth_config, split_vo
from pandaserver.srvcore.oidc_keys import IssuerKeys
from pandaserver.srvcore.principal import Principal, voms_credentials
from pandaserver.srvcore.token_decisions import (
    DECISION_LIFETIME,
    Note,
    TokenDecisions,
    dn_from_claims,
    failed,
    granted_fqans,
    published_key,
    read_unverified,
    texts,
    verified,
)

#: Characters of a claim that requests see.
MAX_CLAIM: Final = 500


@dataclass(frozen=True, slots=True)
class Membership:
    """What a valid token says about its owner's place in the VO."""

    vo: str
    role: str  # of the policy; "user" for plain members
    requested_role: str | None


class OidcTokens(TokenDecisions):
    """Decides about bearer tokens by the files of ``auth_config``."""

    def __init__(
        self,
        directory: Path,
        logger: logging.Logger,
        *,
        policy_file: Path | None = None,
        production_dns: Sequence[str] = (),
        keys: IssuerKeys | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(clock)
        self._config = CachedObject(lambda: load_auth_config(directory, policy_file, logger), DECISION_LIFETIME)
        self._production_dns = production_dns
        self._keys = keys or IssuerKeys()

    def _decide(
        self, token: str, origin: str, certificate: Principal, note: Note
    ) -> tuple[Mapping[str, Any], Principal]:
        config = self._config.get()
        header, unverified = read_unverified(token)
        note("format", f"kid={header['kid'][:100]} alg={str(header.get('alg'))[:20]}")
        # A browser's Origin is a URL and says nothing about a VO.
        wanted = split_vo(origin) if origin and "://" not in origin else None
        client = _client_for(config, unverified, wanted)
        note("client", f"client_id={client.client_id} of VO {client.vo}")
        vo, role = wanted or split_vo(client.fallback)
        _check_vo(config, client, vo)
        note("vo", f"vo={vo} role={role or '-'}")
        key, issuer = published_key(self._keys, client.config_url, header["kid"])
        note("key", f"{key.algorithm} of {issuer}")
        claims = verified(token, key, client.audiences, _accepted_issuer(issuer, unverified.get("iss")), note)
        claims = _completed(claims, client, vo, role)
        member = _membership(config, client, claims, vo, role)
        note("groups", f"role={member.role}")
        return claims, self._principal(claims, member, certificate)

    def _principal(self, claims: Mapping[str, Any], member: Membership, certificate: Principal) -> Principal:
        fqans = granted_fqans(claims, member.vo)
        if member.requested_role:
            fqans.append(f"/{member.vo}/Role={member.requested_role}")
        credentials = [
            *certificate.credentials,
            *voms_credentials(fqans),
            ("PANDA_OIDC_VO", member.vo),
            ("PANDA_OIDC_GROUP", member.role),
            ("PANDA_OIDC_ROLE", member.role),
            *((f"PANDA_OIDC_CLAIM_{name}"[:100], str(value)[:MAX_CLAIM]) for name, value in claims.items()),
        ]
        return Principal.of(
            certificate.raw_dn or dn_from_claims(claims),
            (*certificate.fqans, *fqans),
            vo=member.vo,
            production_dns=self._production_dns,
            email=_email_in(claims) or certificate.email,
            credentials=credentials,
        )


def _email_in(claims: Mapping[str, Any]) -> str:
    """Return the mail address of a token's owner, unless the issuer says that nobody has checked it."""
    return "" if claims.get("email_verified") is False else address_in(claims.get("email"))


# ---- steps of a decision ---------------------------------------------------------------------------------------------


def _client_for(config: AuthConfig, claims: Mapping[str, Any], wanted: tuple[str, str | None] | None) -> Client:
    """Return the client that the token belongs to; among several the one nearest to what is asked for."""
    shown = {*texts(claims.get("aud")), *texts(claims.get("client_id")), *texts(claims.get("sub"))}
    candidates = [client for client in config.clients if client.ids & shown]
    if not candidates:
        raise failed("client", "the token is of an unknown client")
    if wanted is None:
        return candidates[0]
    return max(candidates, key=lambda client: (client.vo == wanted[0], client.role == wanted[1]))


def _check_vo(config: AuthConfig, client: Client, vo: str) -> None:
    """Refuse a VO that nobody has configured, and a client that has nothing to do with it.

    The issuer of one VO could otherwise write the groups of another into its tokens. A VO that stands in the policy
    file only has no client of its own, so that all clients serve it.
    """
    if vo not in config.policies:
        raise failed("vo", f"unknown VO {vo[:100]!r}")
    if client.vo != vo and any(other.vo == vo for other in config.clients):
        raise failed("vo", f"the token is of VO {client.vo}, and VO {vo} has clients of its own")


def _accepted_issuer(issuer: str, claimed: Any) -> str:
    # Some issuers leave the slash at the end of their name out of their tokens.
    return issuer.removesuffix("/") if claimed == issuer.removesuffix("/") else issuer


def _completed(claims: dict[str, Any], client: Client, vo: str, role: str | None) -> dict[str, Any]:
    """Return the claims with what robots do not have: a name, and groups."""
    # Only the file of this very VO and role says who its robots are.
    ids = {*texts(claims.get("client_id")), str(claims["sub"])}
    if (client.vo, client.role) != (vo, role) or not client.robot_ids & ids:
        return claims
    robot = {"name": f"robot {role or vo}", client.group_claim: [f"{vo}/{role}" if role else vo]}
    return robot | {key: value for key, value in claims.items() if value}


def _membership(config: AuthConfig, client: Client, claims: Mapping[str, Any], vo: str, role: str | None) -> Membership:
    groups = {group.removeprefix("/") for group in texts(claims.get(client.group_claim))}
    if role is not None:
        if f"{vo}/{role}" not in groups:
            raise failed("groups", f"the owner of the token is not in group {vo}/{role}")
        return Membership(vo, role, role)
    for candidate in client.auto_roles:
        if f"{vo}/{candidate}" in groups:
            return Membership(vo, candidate, candidate)
    for policy in config.policies[vo]:
        if policy.group.removeprefix("/") in groups:
            return Membership(vo, policy.role, None)
    raise failed("groups", f"the owner of the token is in no group of VO {vo}")
