"""Callers of every kind, as the application meets them: certificates that Apache checked, tokens that it has not.

What concerns proxies and VOMS is Apache's, so it is asked of a real one in ``tests/e2e/test_access_matrix.py``.
"""

from __future__ import annotations

import base64
import hmac
import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives import serialization

from pandaserver.srvcore.oidc_keys import IssuerKeys
from pandaserver.srvcore.oidc_utils import OidcTokens
from tests.api.access_world import BERND, JANE, JANES_DN, OTTO, OWNER_OF_PILOTS, PETRA
from tests.unit.oidc_fixture import EC_KEY, OTHER_RSA_KEY, RSA_KEY, Issuer, jwk, token, write

#: The VO all of whose members may run pilots.
PILOT_VO: Final = "pilotsvo"

OTHER_DISCOVERY: Final = "https://other.example.org/.well-known/openid-configuration"

#: What a client may write into headers, hoping that the application takes it for Apache's word.
FORGERY: Final = {
    "SSL_CLIENT_S_DN": JANES_DN,
    "SSL-Client-S-DN": JANES_DN,
    "SSL_CLIENT_VERIFY": "SUCCESS",
    "GRST_CRED_0": f"X509USER 1 2 0 {JANES_DN}",
    "GRST-CRED-AUTH-TOKEN-0": "VOMS /testvo/Role=production",
    "GRST_CONN_0": "fqan:/testvo/Role=production",
    "PANDA_OIDC_VO": "testvo",
    "PANDA-OIDC-ROLE": "production",
    "X-Forwarded-User": JANE,
    "Remote-User": JANE,
}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and what the tables know the caller as.

    ``kind`` is the column of ``access_levels`` and ``access_rows``; "nobody" stands for credentials that are refused.
    """

    name: str
    kind: str
    environ: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def token(self) -> str:
        """Return the token, "" if the caller has none."""
        return self.headers.get("Authorization", "").removeprefix("Bearer ")


def issuers(directory: Path) -> OidcTokens:
    """Return what checks tokens: two VOs of one issuer, and one that has an issuer of its own."""
    for vo in ("testvo", "testvo.production", "testvo.pilot", "atlas", PILOT_VO):
        write(directory, vo, vo=vo)
    write(directory, "othervo", vo="othervo", client_id="client-o", secondary_ids=[], oidc_config_url=OTHER_DISCOVERY)
    issuer = Issuer()
    issuer.documents[OTHER_DISCOVERY] = {
        "issuer": "https://other.example.org/",
        "jwks_uri": "https://other.example.org/k",
    }
    issuer.documents["https://other.example.org/k"] = {"keys": [jwk(OTHER_RSA_KEY, "other")]}
    return OidcTokens(directory, logging.getLogger("tests.access"), keys=IssuerKeys(issuer.fetch, lambda: issuer.now))


def bearer(text: str, origin: str = "testvo") -> dict[str, str]:
    """Return the headers of a caller with that token."""
    return {"Authorization": f"Bearer {text}", "Origin": origin}


def member(name: str, nickname: str, *groups: str, origin: str = "testvo", **claims: Any) -> dict[str, str]:
    """Return the headers of a member of the VO with a good token."""
    said = {"name": name, "preferred_username": nickname, "sub": nickname, "groups": ["testvo", *groups]}
    return bearer(token(**said | claims), origin)


def certificate(dn: str, verified: str = "SUCCESS") -> dict[str, str]:
    """Return what Apache says about a certificate."""
    return {"SSL_CLIENT_S_DN": dn, "SSL_CLIENT_VERIFY": verified, "SSL_CLIENT_V_END": "Jan  1 00:00:00 2099 GMT"}


def callers() -> list[Caller]:
    """Return one caller of each kind."""
    otto = member(OTTO, "otto")
    good = [
        Caller("anonymous", "anonymous"),
        Caller("anonymous with forged headers", "anonymous", headers=FORGERY),
        Caller("certificate of an unknown authority", "anonymous", certificate(JANES_DN, "GENEROUS")),
        Caller("certificate that failed", "anonymous", certificate(JANES_DN, "FAILED:certificate has expired")),
        Caller("no certificate", "anonymous", certificate(JANES_DN, "NONE")),
        Caller("password", "anonymous", headers={"Authorization": "Basic amRvZTp4"}),
        Caller("owner", "owner", certificate(JANES_DN)),
        Caller("owner by another certificate", "twin", certificate("/C=DE/O=Other/CN=jdoe/CN=Jane Doe")),
        Caller("owner by a token", "namesake", headers=member(JANE, "jdoe")),
        Caller("limited proxy of the owner", "limited", certificate(f"{JANES_DN}/CN=limited proxy")),
        Caller("other user", "other", headers=otto),
        Caller("other user with forged headers", "other", headers=FORGERY | otto),
        Caller("other user by a certificate", "other", certificate("/DC=org/DC=test/CN=otto/CN=Otto Other")),
        Caller("user without letters in the CN", "other", certificate("/DC=org/CN=4711/CN=Otto Other")),
        Caller(
            "other user whose certificate failed, with a token", "other", certificate(JANES_DN, "FAILED:expired"), otto
        ),
        Caller("owner with the token of another", "owner", certificate(JANES_DN), otto),
        Caller("user with grants", "permitted", headers=member(PETRA, "petra")),
        Caller("owner of pilots of a queue", "pilotowner", certificate(OWNER_OF_PILOTS)),
        Caller(
            "production of a working group",
            "group",
            headers=member(
                "Gina Group", "gina", "atlas", origin="atlas", scope="openid role:/atlas/higgs/Role=production"
            ),
        ),
        Caller(
            "production of another working group",
            "other",
            headers=member("Tom Top", "tom", "atlas", origin="atlas", scope="openid role:/atlas/top/Role=production"),
        ),
        Caller(
            "role of another VO in the scope",
            "other",
            headers=member(OTTO, "otto", scope="role:/othervo/Role=production role:/atlas/higgs/Role=production"),
        ),
        Caller(
            "member of a VO whose members run pilots",
            "pilotmember",
            headers=member("Mia Member", "mia", PILOT_VO, origin=PILOT_VO, scope=f"role:/{PILOT_VO}/Role=NULL"),
        ),
        Caller("pilot", "pilot", headers=member("Robot Pilot", "robot", "testvo/pilot", origin="testvo.pilot")),
        Caller(
            "production",
            "production",
            headers=member("Paula Prod", "paula", "testvo/production", origin="testvo.production"),
        ),
    ]
    return good + [Caller(name, "nobody", *facts) for name, facts in _refused().items()]


def _refused() -> dict[str, tuple[dict[str, str], dict[str, str]]]:
    """Return credentials that prove nothing: name -> environment and headers."""
    now = time.time()
    claims: dict[str, Any] = {"aud": "client-1", "sub": "s", "iss": "https://iam.example.org/", "exp": now + 24 * 3600}
    claims["groups"] = ["testvo", "testvo/production"]
    tokens = {
        "banned user": token(name=BERND),
        "expired": token(exp=now - 60),
        "not yet valid": token(nbf=now + 600),
        "issued in the future": token(iat=now + 600),
        "without an end": token(exp=None),
        "wrong audience": token(aud="somebody", client_id="client-1"),
        "wrong issuer": token(iss="https://evil.example.org/"),
        "unknown kid": token(kid="unknown"),
        "without kid": token(kid=None),
        "another key with a known kid": token(OTHER_RSA_KEY),
        "no signature": token().rpartition(".")[0] + ".",
        "alg none": f"{_part({'alg': 'none', 'kid': 'rsa'})}.{_part(claims)}.",
        "HMAC with the public key": _hmac(claims),
        "ES256 with the kid of an RSA key": token(EC_KEY, "rsa", "ES256"),
        "RS256 with the kid of an EC key": token(RSA_KEY, "ec"),
        "PS256": token(algorithm="PS256"),
        "issuer of another VO": token(OTHER_RSA_KEY, "other", aud="client-o", iss="https://other.example.org/"),
        "role without its group": token(groups=["testvo"]),
        "no token at all": "not.a.token",
        "nothing in place of a token": "",
    }
    found: dict[str, tuple[dict[str, str], dict[str, str]]] = {
        name: ({}, bearer(text, "testvo" if name == "banned user" else "testvo.production"))
        for name, text in tokens.items()
    }
    expired = bearer(tokens["expired"])
    return found | {
        "banned user by a certificate": (certificate(f"/DC=org/CN=bernd/CN={BERND}"), {}),
        "banned user by a proxy": (certificate(f"/DC=org/CN=bernd/CN={BERND}/CN=123/CN=proxy"), {}),
        "banned certificate with a good token": (certificate(f"/DC=org/CN={BERND}"), bearer(token())),
        "good certificate with an expired token": (certificate(JANES_DN), expired),
        "limited proxy with an expired token": (certificate(f"{JANES_DN}/CN=limited proxy"), expired),
    }


def _part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def _hmac(claims: Any) -> str:
    public = RSA_KEY.public_key()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    text = f"{_part({'alg': 'HS256', 'kid': 'rsa'})}.{_part(claims)}"
    made = hmac.digest(public.public_bytes(serialization.Encoding.PEM, form), text.encode(), "sha256")
    return f"{text}.{base64.urlsafe_b64encode(made).decode().rstrip('=')}"
