"""Public keys of token issuers: discovery document and key set, fetched with limits and kept for ten minutes."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import urlsplit

from pandaserver.srvcore.errors import NotAuthenticated

#: Seconds that documents of an issuer serve.
LIFETIME: Final = 600.0

#: Seconds before an issuer is asked again after a failure, or for a key that its key set did not have.
PAUSE: Final = 30.0

#: Longest wait for one document, in seconds, and largest document, in bytes.
FETCH_TIMEOUT: Final = 5.0
MAX_DOCUMENT: Final = 2**20

#: Key type and curve -> the only algorithm that a signature by it may have.
_ALGORITHMS: Final[dict[tuple[Any, Any], str]] = {("RSA", None): "RS256", ("EC", "P-256"): "ES256"}


@dataclass(frozen=True, slots=True)
class Key:
    """A public key, ready to verify with, and the algorithm that belongs to it."""

    material: Any
    algorithm: str


@dataclass(slots=True)
class _Issuer:
    name: str = ""
    jwks: dict[str, dict[str, Any]] | None = None
    fetched: float = 0.0
    failed: float | None = None
    problem: str = ""


class IssuerKeys:
    """The keys of all issuers, by the URL of their discovery document."""

    def __init__(self, fetch: Callable[[str], Any] | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._fetch = fetch or fetch_json
        self._clock = clock
        self._issuers: dict[str, _Issuer] = {}
        self._lock = threading.Lock()

    def find(self, config_url: str, kid: str) -> tuple[Key, str]:
        """Return the key of that number and the issuer's name, or raise :class:`NotAuthenticated`."""
        with self._lock:
            issuer = self._issuers.setdefault(config_url, _Issuer())
            now = self._clock()
            age = now - issuer.fetched
            missing = issuer.jwks is None or kid not in issuer.jwks
            # An issuer that rotates its keys signs with one that we have not seen.
            if issuer.jwks is None or age >= LIFETIME or (missing and age >= PAUSE):
                self._refresh(issuer, config_url, now)
            if issuer.jwks is None:
                raise NotAuthenticated(f"the keys of the issuer at {config_url} cannot be had: {issuer.problem}")
            if kid not in issuer.jwks:
                raise NotAuthenticated(f"the issuer at {config_url} has no key {kid[:100]!r}")
            return _key(issuer.jwks[kid]), issuer.name

    def _refresh(self, issuer: _Issuer, config_url: str, now: float) -> None:
        if issuer.failed is not None and now - issuer.failed < PAUSE:
            return
        try:
            document = self._fetch(config_url)
            issuer.name, uri = document["issuer"], document["jwks_uri"]
            keys = [key for key in self._fetch(uri)["keys"] if isinstance(key, dict) and key.get("use") != "enc"]
            issuer.jwks = {str(key["kid"]): key for key in keys if "kid" in key}
            issuer.fetched, issuer.failed = now, None
        except (OSError, ValueError, KeyError, TypeError) as problem:
            issuer.failed, issuer.problem = now, str(problem)[:200]


def fetch_json(url: str) -> Any:
    """Return the JSON document at a URL: https, or http on this machine, or a file."""
    import urllib.request  # only tokens need it

    _check_url(url)
    with urllib.request.urlopen(url, timeout=FETCH_TIMEOUT) as reply:
        _check_url(reply.geturl())  # a redirection must not lead out of https
        data = reply.read(MAX_DOCUMENT + 1)
    if len(data) > MAX_DOCUMENT:
        raise ValueError(f"{url} is larger than {MAX_DOCUMENT} bytes")
    return json.loads(data)


def _check_url(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme in ("https", "file") or (parts.scheme == "http" and _is_loopback(parts.hostname or "")):
        return
    raise ValueError(f"{url} must be https, or http on this machine, or a file")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _key(jwk: dict[str, Any]) -> Key:
    from jwt import PyJWK
    from jwt.exceptions import PyJWTError

    algorithm = _ALGORITHMS.get((jwk.get("kty"), jwk.get("crv")))
    if algorithm is None:
        raise NotAuthenticated(f"keys of type {jwk.get('kty')} {jwk.get('crv', '')} are not used")
    try:
        return Key(PyJWK.from_dict(jwk, algorithm).key, algorithm)
    except PyJWTError as problem:
        raise NotAuthenticated(f"the issuer's key is unusable: {problem}") from problem
