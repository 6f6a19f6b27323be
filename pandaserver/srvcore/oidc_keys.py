"""Public keys of token issuers: discovery document and key set, fetched with limits and kept for ten minutes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from pandaserver.srvcore.errors import ExternalError, NotAuthenticated
from pandaserver.srvcore.json_source import read_json

if TYPE_CHECKING:
    from pandaserver.srvcore.key_store import KeyStore

#: Seconds that documents of an issuer serve.
LIFETIME: Final = 600.0

#: Seconds before an issuer is asked again after a failure, or for a key that its key set did not have.
PAUSE: Final = 30.0

#: Seconds that keys serve at most while their issuer does not answer: pilots outlive a night without it.
OUTAGE: Final = 12 * 3600.0

#: Longest wait for one document, in seconds, and largest document, in bytes.
FETCH_TIMEOUT: Final = 5.0
MAX_DOCUMENT: Final = 2**20

#: Bits of the smallest RSA key that counts.
MIN_RSA: Final = 2048

#: Key type and curve -> the only algorithm that a signature by it may have.
_ALGORITHMS: Final[dict[tuple[Any, Any], str]] = {("RSA", None): "RS256", ("EC", "P-256"): "ES256"}


@dataclass(frozen=True, slots=True)
class Key:
    """A public key, ready to verify with, and the algorithm that belongs to it."""

    material: Any
    algorithm: str


class _Issuer:
    """What is known of one issuer, and the lock of whoever asks it."""

    def __init__(self) -> None:
        self.name = ""
        self.jwks: dict[str, dict[str, Any]] = {}
        self.fetched: float | None = None
        self.failed: float | None = None
        self.problem = ""
        self.asking = threading.Lock()


class IssuerKeys:
    """The keys of all issuers, by the URL of their discovery document.

    An issuer is asked by one thread at a time. Others wait for it only if they cannot go on with what is there, and an
    issuer that does not answer holds up nobody who shows a token of another one. With a ``store``, processes ask once
    for all of them.
    """

    def __init__(
        self,
        fetch: Callable[[str], Any] | None = None,
        clock: Callable[[], float] = time.monotonic,
        store: KeyStore | None = None,
    ) -> None:
        self._fetch = fetch or fetch_json
        self._clock = clock
        self._store = store
        self._issuers: dict[str, _Issuer] = {}
        self._lock = threading.Lock()

    def find(self, config_url: str, kid: str) -> tuple[Key, str]:
        """Return the key of that number and the issuer's name.

        Raises :class:`NotAuthenticated` if the issuer has no such key, and :class:`ExternalError` if nobody can say,
        because the issuer does not answer.
        """
        with self._lock:
            issuer = self._issuers.setdefault(config_url, _Issuer())
        if self._is_old(issuer) or kid not in issuer.jwks:
            self._refresh(issuer, config_url, kid)
        if issuer.fetched is None or self._clock() - issuer.fetched >= OUTAGE:
            raise ExternalError(f"the keys of the issuer at {config_url} cannot be had: {issuer.problem}")
        if kid not in issuer.jwks:
            raise NotAuthenticated(f"the issuer at {config_url} has no key {kid[:100]!r}")
        return _key(issuer.jwks[kid]), issuer.name

    def _is_old(self, issuer: _Issuer) -> bool:
        return issuer.fetched is None or self._clock() - issuer.fetched >= LIFETIME

    def _refresh(self, issuer: _Issuer, config_url: str, kid: str) -> None:
        usable = kid in issuer.jwks and issuer.fetched is not None and self._clock() - issuer.fetched < OUTAGE
        if not issuer.asking.acquire(blocking=not usable):
            return  # somebody asks already, and what we have serves meanwhile
        try:
            now = self._clock()
            self._adopt(issuer, config_url, now)
            if issuer.failed is not None and now - issuer.failed < PAUSE:
                return
            # An issuer that rotates its keys signs with one that we have not seen. Whoever invents numbers of keys
            # makes us ask once in a while, too.
            if self._is_old(issuer) or (kid not in issuer.jwks and now - (issuer.fetched or 0.0) >= PAUSE):
                self._ask(issuer, config_url, now)
        finally:
            issuer.asking.release()

    def _adopt(self, issuer: _Issuer, config_url: str, now: float) -> None:
        """Take over what another process has heard, if that is news."""
        kept = self._store.load(config_url) if self._store else None
        if kept and (issuer.fetched is None or now - kept.age > issuer.fetched):
            issuer.name, issuer.jwks, issuer.fetched = kept.issuer, kept.jwks, now - kept.age

    def _ask(self, issuer: _Issuer, config_url: str, now: float) -> None:
        try:
            document = self._fetch(config_url)
            name, uri = document["issuer"], document["jwks_uri"]
            if not isinstance(name, str) or not isinstance(uri, str) or not name:
                raise ValueError("issuer and jwks_uri of the discovery document must be texts")
            keys = [key for key in self._fetch(uri)["keys"] if isinstance(key, dict) and key.get("use") != "enc"]
            jwks = {key["kid"]: key for key in keys if isinstance(key.get("kid"), str)}
        except (ExternalError, OSError, ValueError, KeyError, TypeError) as problem:
            issuer.failed, issuer.problem = now, str(problem)[:200]
            return
        issuer.name, issuer.jwks = name, jwks
        issuer.fetched, issuer.failed = now, None
        if self._store:
            self._store.save(config_url, name, jwks)


def fetch_json(url: str) -> Any:
    """Return the JSON document at a URL: https, or http on this machine, or a file. Redirections are not followed."""
    _check_url(url)
    return read_json(url, seconds=FETCH_TIMEOUT, most=MAX_DOCUMENT, follow=False)


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
        material = PyJWK.from_dict(jwk, algorithm).key
    except (PyJWTError, ValueError, TypeError) as problem:
        raise NotAuthenticated(f"the issuer's key is unusable: {problem}") from problem
    if algorithm == "RS256" and material.key_size < MIN_RSA:
        raise NotAuthenticated(f"the issuer's key has {material.key_size} bits, and {MIN_RSA} are needed")
    return Key(material, algorithm)
