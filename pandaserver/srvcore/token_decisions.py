"""Bearer tokens of any kind: reading and verifying them, and remembering what was decided.

A decision is a row of checks, each of which has a name; ``panda-admin token inspect`` prints them.
"""

from __future__ import annotations

import hashlib
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from pandaserver.srvcore.errors import NotAuthenticated
from pandaserver.srvcore.oidc_keys import IssuerKeys, Key
from pandaserver.srvcore.principal import ANONYMOUS, Principal

#: Seconds that a decision about a token holds, unless the token ends before.
DECISION_LIFETIME: Final = 600.0

#: Decisions kept in memory at most.
MAX_DECISIONS: Final = 10_000

MAX_TOKEN: Final = 16_384

#: Seconds that clocks of issuers may differ from ours.
LEEWAY: Final = 10.0

#: Checks in the order in which they are made -> what each is about.
CHECKS: Final[Mapping[str, str]] = {
    "format": "it can be read, names its key, and asks for nothing that we do not know",
    "client": "a file of auth_config has its audience, client_id or subject",
    "vo": "the VO that is asked for is known, and this client may speak for it",
    "key": "its issuer publishes the key, of a type that is accepted",
    "signature": "it was signed with that key, by the algorithm that belongs to it",
    "claims": "exp, aud, iss and sub are there",
    "times": "it is valid now (exp, nbf, iat)",
    "issuer": "iss is the issuer's name",
    "audience": "aud contains an audience of the file",
    "groups": "its groups give the role that is asked for",
}

#: Learns of a check that was passed: its name, and what was found.
Note = Callable[[str, str], object]


def failed(check: str, message: str) -> NotAuthenticated:
    """Return the error of a check that was not passed."""
    return NotAuthenticated(message, check=check)


class TokenDecisions(ABC):
    """Decides about each token once, and keeps the answer for ten minutes or until the token ends."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._decisions: dict[bytes, tuple[float, Principal]] = {}
        self._lock = threading.Lock()

    @abstractmethod
    def _decide(
        self, token: str, origin: str, certificate: Principal, note: Note
    ) -> tuple[Mapping[str, Any], Principal]:
        """Return the claims of a valid token and whom it names; tell ``note`` of each check that was passed."""

    def principal(self, token: str, origin: str, certificate: Principal) -> Principal:
        """Return whom the token names. A certificate beside it keeps its DN, but the token must be valid.

        ``origin`` is the VO and perhaps the role that the client asks for. Raises :class:`NotAuthenticated`.
        """
        _check_size(token)
        parts = (token, origin, certificate.raw_dn, *certificate.fqans)
        name = hashlib.sha256("\0".join(parts).encode(errors="replace")).digest()
        known = self._decisions.get(name)
        if known is not None and self._clock() < known[0]:
            return known[1]
        claims, principal = self._decide(token, origin, certificate, lambda *_: None)
        self._remember(name, min(self._clock() + DECISION_LIFETIME, float(claims["exp"])), principal)
        return principal

    def examine(self, token: str, origin: str, note: Note) -> Principal:
        """Decide without remembering, telling ``note`` of each check that was passed.

        The error of the one that was not has its name in ``details["check"]``.
        """
        _check_size(token)
        return self._decide(token, origin, ANONYMOUS, note)[1]

    def _remember(self, name: bytes, until: float, principal: Principal) -> None:
        with self._lock:
            if len(self._decisions) >= MAX_DECISIONS:
                now = self._clock()
                self._decisions = {k: v for k, v in self._decisions.items() if v[0] > now}
            if len(self._decisions) >= MAX_DECISIONS:
                self._decisions.clear()  # they cost one signature each to make again
            self._decisions[name] = (until, principal)


# ---- reading ---------------------------------------------------------------------------------------------------------


def _check_size(token: str) -> None:
    if len(token) > MAX_TOKEN:
        raise failed("format", f"the token is longer than {MAX_TOKEN} characters")


def read_unverified(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return header and claims of a token, which prove nothing yet."""
    import jwt  # 8 MB with its cryptography, so only a token brings it in

    try:
        header = jwt.get_unverified_header(token)
        claims = jwt.decode(token, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as problem:
        raise failed("format", f"the token cannot be read: {problem}") from problem
    if not isinstance(header.get("kid"), str):
        raise failed("format", "the token does not name its key (kid)")
    if "crit" in header:
        raise failed("format", "the token asks for extensions (crit), and there are none here")
    return header, claims


def texts(value: Any) -> list[str]:
    """Return the texts in a claim that may be one or a list of them."""
    if isinstance(value, str):
        return [value]
    return [v for v in value if isinstance(v, str)] if isinstance(value, list) else []


def published_key(keys: IssuerKeys, config_url: str, kid: str) -> tuple[Key, str]:
    """Return the key that a token names, and the name of the issuer that publishes it."""
    try:
        return keys.find(config_url, kid)
    except NotAuthenticated as problem:
        raise failed("key", problem.message) from problem


def granted_fqans(claims: Mapping[str, Any], vo: str) -> list[str]:
    """Return the roles in the scope of a token. Its issuer speaks for its own VO only."""
    words = str(claims.get("scope", "")).split()
    granted = [word.rpartition(":")[2] for word in words if word.startswith("role:")]
    return [fqan for fqan in granted if fqan.startswith(f"/{vo}/")]


def dn_from_claims(claims: Mapping[str, Any]) -> str:
    """Return the DN that stands for a token's owner. A slash in a claim would begin another part of the DN."""
    name = claims.get("name")
    if not isinstance(name, str) or not name.strip():
        return str(claims["sub"]).replace("/", " ")
    dn = " ".join(word.capitalize() for word in name.replace("/", " ").split())
    nickname = claims.get("preferred_username")
    return f"{dn}/CN=nickname:{str(nickname).replace('/', ' ')}" if nickname else dn


def verified(token: str, key: Key, audiences: Collection[str], issuer: str, note: Note) -> dict[str, Any]:
    """Return the claims of a token that its key, its times, its audience and its issuer prove; note each check."""
    import jwt

    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            key.material,
            algorithms=[key.algorithm],  # as the key says, never as the token says
            audience=sorted(audiences),
            issuer=issuer,
            leeway=LEEWAY,
            options={"require": ["exp", "aud", "iss", "sub"]},
        )
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as problem:
        raise failed(_check_of(problem), f"the token is not valid: {problem}") from problem
    if not isinstance(claims["sub"], str) or not isinstance(claims["exp"], int | float):
        raise failed("claims", "the token is not valid: sub must be text, and exp a number")
    for check in ("signature", "claims", "times", "issuer", "audience"):
        note(check, CHECKS[check])
    return claims


def _check_of(problem: Exception) -> str:
    """Return which check an error of the library is about."""
    from jwt import exceptions as e

    about: dict[str, tuple[type[Exception], ...]] = {
        "times": (e.ExpiredSignatureError, e.ImmatureSignatureError, e.InvalidIssuedAtError),
        "issuer": (e.InvalidIssuerError,),
        "audience": (e.InvalidAudienceError,),
        "claims": (e.MissingRequiredClaimError, TypeError, OverflowError),
    }
    return next((check for check, kinds in about.items() if isinstance(problem, kinds)), "signature")
