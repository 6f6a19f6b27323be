"""Bearer tokens: what a token must prove, and whom it names."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pandaserver.srvcore.caching import CachedObject
from pandaserver.srvcore.errors import NotAuthenticated
from pandaserver.srvcore.oidc_config import AuthConfig, Client, load_auth_config, split_vo
from pandaserver.srvcore.oidc_keys import IssuerKeys, Key
from pandaserver.srvcore.principal import Principal

#: Seconds that a decision about a token holds, unless the token ends before.
DECISION_LIFETIME: Final = 600.0

#: Decisions kept in memory at most.
MAX_DECISIONS: Final = 10_000

MAX_TOKEN: Final = 16_384

#: Seconds that clocks of issuers may differ from ours.
LEEWAY: Final = 10.0


@dataclass(frozen=True, slots=True)
class Membership:
    """What a valid token says about its owner's place in the VO."""

    vo: str
    role: str  # of the policy; "user" for plain members
    requested_role: str | None


class OidcTokens:
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
        self._config = CachedObject(lambda: load_auth_config(directory, policy_file, logger), DECISION_LIFETIME)
        self._production_dns = production_dns
        self._keys = keys or IssuerKeys()
        self._clock = clock
        self._decisions: dict[bytes, tuple[float, Principal]] = {}
        self._lock = threading.Lock()

    def principal(self, token: str, origin: str, certificate: Principal) -> Principal:
        """Return whom the token names. A certificate beside it keeps its DN, but the token must be valid.

        ``origin`` is the VO and perhaps the role that the client asks for. Raises :class:`NotAuthenticated`.
        """
        if len(token) > MAX_TOKEN:
            raise NotAuthenticated(f"the token is longer than {MAX_TOKEN} characters")
        parts = (token, origin, certificate.raw_dn, *certificate.fqans)
        name = hashlib.sha256("\0".join(parts).encode(errors="replace")).digest()
        known = self._decisions.get(name)
        if known is not None and self._clock() < known[0]:
            return known[1]
        claims, principal = self._decide(token, origin, certificate)
        self._remember(name, min(self._clock() + DECISION_LIFETIME, float(claims["exp"])), principal)
        return principal

    def _remember(self, name: bytes, until: float, principal: Principal) -> None:
        with self._lock:
            if len(self._decisions) >= MAX_DECISIONS:
                now = self._clock()
                self._decisions = {k: v for k, v in self._decisions.items() if v[0] > now}
            if len(self._decisions) >= MAX_DECISIONS:
                self._decisions.clear()  # they cost one signature each to make again
            self._decisions[name] = (until, principal)

    def _decide(self, token: str, origin: str, certificate: Principal) -> tuple[Mapping[str, Any], Principal]:
        config = self._config.get()
        header, unverified = _unverified(token)
        # A browser's Origin is a URL and says nothing about a VO.
        wanted = split_vo(origin) if origin and "://" not in origin else None
        client = _client_for(config, unverified, wanted)
        vo, role = wanted or split_vo(client.fallback)
        if vo not in config.policies:
            raise NotAuthenticated(f"unknown VO {vo[:100]!r}")
        key, issuer = self._keys.find(client.config_url, header["kid"])
        claims = _verified(token, key, client, _accepted_issuer(issuer, unverified.get("iss")))
        claims = _completed(claims, client, vo, role)
        member = _membership(config, client, claims, vo, role)
        return claims, self._principal(claims, member, certificate)

    def _principal(self, claims: Mapping[str, Any], member: Membership, certificate: Principal) -> Principal:
        words = str(claims.get("scope", "")).split()
        granted = [word.rpartition(":")[2] for word in words if word.startswith("role:")]
        # An issuer speaks for its own VO only.
        fqans = [fqan for fqan in granted if fqan.startswith(f"/{member.vo}/")]
        if member.requested_role:
            fqans.append(f"/{member.vo}/Role={member.requested_role}")
        credentials = [
            *certificate.credentials,
            *((f"GRST_CRED_AUTH_TOKEN_{i}", f"VOMS {fqan}") for i, fqan in enumerate(fqans)),
            ("PANDA_OIDC_VO", member.vo),
            ("PANDA_OIDC_GROUP", member.role),
            ("PANDA_OIDC_ROLE", member.role),
        ]
        return Principal.of(
            certificate.raw_dn or dn_from_claims(claims),
            (*certificate.fqans, *fqans),
            vo=member.vo,
            production_dns=self._production_dns,
            credentials=credentials,
        )


def dn_from_claims(claims: Mapping[str, Any]) -> str:
    """Return the DN that stands for a token's owner. A slash in a claim would begin another part of the DN."""
    name = claims.get("name")
    if not isinstance(name, str) or not name.strip():
        return str(claims["sub"]).replace("/", " ")
    dn = " ".join(word.capitalize() for word in name.replace("/", " ").split())
    nickname = claims.get("preferred_username")
    return f"{dn}/CN=nickname:{str(nickname).replace('/', ' ')}" if nickname else dn


# ---- steps of a decision ---------------------------------------------------------------------------------------------


def _unverified(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    import jwt  # 8 MB with its cryptography, so only a token brings it in

    try:
        header = jwt.get_unverified_header(token)
        claims = jwt.decode(token, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError, RecursionError) as problem:
        raise NotAuthenticated(f"the token cannot be read: {problem}") from problem
    if not isinstance(header.get("kid"), str):
        raise NotAuthenticated("the token does not name its key (kid)")
    return header, claims


def _client_for(config: AuthConfig, claims: Mapping[str, Any], wanted: tuple[str, str | None] | None) -> Client:
    """Return the client that the token belongs to; among several the one nearest to what is asked for."""
    shown = {*_texts(claims.get("aud")), str(claims.get("client_id")), str(claims.get("sub"))}
    candidates = [client for client in config.clients if client.ids & shown]
    if not candidates:
        raise NotAuthenticated("the token is of an unknown client")
    if wanted is None:
        return candidates[0]
    return max(candidates, key=lambda client: (client.vo == wanted[0], client.role == wanted[1]))


def _accepted_issuer(issuer: str, claimed: Any) -> str:
    # Some issuers leave the slash at the end of their name out of their tokens.
    return issuer.removesuffix("/") if claimed == issuer.removesuffix("/") else issuer


def _verified(token: str, key: Key, client: Client, issuer: str) -> dict[str, Any]:
    import jwt

    try:
        return jwt.decode(
            token,
            key.material,
            algorithms=[key.algorithm],  # as the key says, never as the token says
            audience=sorted(client.audiences),
            issuer=issuer,
            leeway=LEEWAY,
            options={"require": ["exp", "aud", "iss", "sub"]},
        )
    except (jwt.PyJWTError, ValueError) as problem:
        raise NotAuthenticated(f"the token is not valid: {problem}") from problem


def _completed(claims: dict[str, Any], client: Client, vo: str, role: str | None) -> dict[str, Any]:
    """Return the claims with what robots do not have: a name, and groups."""
    ids = {str(claims.get("client_id")), str(claims["sub"])}
    if not client.robot_ids & ids:
        return claims
    robot = {"name": f"robot {role or vo}", client.group_claim: [f"{vo}/{role}" if role else vo]}
    return robot | {key: value for key, value in claims.items() if value}


def _membership(config: AuthConfig, client: Client, claims: Mapping[str, Any], vo: str, role: str | None) -> Membership:
    groups = {group.removeprefix("/") for group in _texts(claims.get(client.group_claim))}
    if role is not None:
        if f"{vo}/{role}" not in groups:
            raise NotAuthenticated(f"the owner of the token is not in group {vo}/{role}")
        return Membership(vo, role, role)
    for candidate in client.auto_roles:
        if f"{vo}/{candidate}" in groups:
            return Membership(vo, candidate, candidate)
    for policy in config.policies[vo]:
        if policy.group.removeprefix("/") in groups:
            return Membership(vo, policy.role, None)
    raise NotAuthenticated(f"the owner of the token is in no group of VO {vo}")


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [v for v in value if isinstance(v, str)] if isinstance(value, list) else []
