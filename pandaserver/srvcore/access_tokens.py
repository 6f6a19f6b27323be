"""Access tokens that this server gets from token issuers for its clients, and the keys with which they ask for them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import urlencode

from pandaserver.srvcore.errors import ExternalError, NotFound
from pandaserver.srvcore.json_source import MB, parse_json, read_json

#: Seconds that an issuer may take, within the patience of a caller.
PATIENCE: Final = 20.0

#: A token is asked for again when this part of its life is left, and at least so many seconds.
RENEWED_AT: Final = 0.25
SHORTEST_REST: Final = 60.0

#: Life of a token of which the issuer does not tell.
USUAL_LIFETIME: Final = 600.0

#: Seconds for which a key of a client is the current one; it is accepted for as long again.
KEY_PERIOD: Final = 86_400

_DISCOVERY: Final = "/.well-known/"


class Fetch(Protocol):
    """``read_json``, or what stands for it in a test."""

    def __call__(self, source: str, /, *, seconds: float, most: int, form: bytes | None = None) -> Any:
        """Return the document, or what a POST of the form is answered; raise ExternalError."""


@dataclass(frozen=True, slots=True)
class TokenClient:
    """One client of the configuration file."""

    name: str
    client_id: str
    secret: str
    endpoint: str  # of tokens, or the discovery document that names it
    use_token_key: bool = False  # whether who asks for its token must show a current key


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    renewal: float  # when a new one is asked for
    expiry: float


class AccessTokens:
    """The clients of one configuration file, read again when it changes, and the tokens that they have now.

    NotFound: no such client, or no configuration. ExternalError: its issuer gave no token.
    """

    def __init__(
        self, config: Path | None, *, fetch: Fetch = read_json, clock: Callable[[], float] = time.time
    ) -> None:
        self._config = config
        self._fetch = fetch
        self._clock = clock
        self._lock = threading.Lock()  # of the maps below; fetching has a lock for each client
        self._read: tuple[tuple[int, int], dict[str, TokenClient]] | None = None
        self._tokens: dict[TokenClient, _Token] = {}
        self._fetching: dict[TokenClient, threading.Lock] = {}

    def client(self, name: str) -> TokenClient:
        """Return the client of that name."""
        found = self._clients().get(name)
        if found is None:
            raise NotFound(f"there is no client {name[:100]!r} in token_cache_config")
        return found

    def token(self, client: TokenClient) -> str:
        """Return an access token of the client that is good for a while; one request at a time asks the issuer."""
        with self._lock:
            gate = self._fetching.setdefault(client, threading.Lock())
        if not gate.acquire(timeout=PATIENCE):
            raise ExternalError(f"the issuer of {client.name} does not answer")
        try:
            token = self._tokens.get(client)
            if token is None or self._clock() >= token.renewal:
                token = self._tokens[client] = self._renewed(client, token)
            return token.text
        finally:
            gate.release()

    def current_key(self, client: TokenClient) -> str:
        """Return the key with which the client's token may be asked for today and tomorrow.

        It is made of the client's secret and the day, so all machines with the same configuration agree on it.
        """
        return _key(client, int(self._clock() // KEY_PERIOD))

    def is_key(self, client: TokenClient, key: str) -> bool:
        """Tell whether a key is the client's current one, or was until a day ago."""
        today = int(self._clock() // KEY_PERIOD)
        return any(hmac.compare_digest(key.encode(), _key(client, day).encode()) for day in (today, today - 1))

    def _renewed(self, client: TokenClient, old: _Token | None) -> _Token:
        """Return a new token, or the old one if there is none to be had and it is still good."""
        try:
            return self._granted(client)
        except ExternalError:
            if old is None or self._clock() >= old.expiry:
                raise
            return old

    def _granted(self, client: TokenClient) -> _Token:
        asked = self._clock()
        endpoint = client.endpoint
        if _DISCOVERY in endpoint:
            endpoint = _text(self._fetch(endpoint, seconds=PATIENCE, most=MB), "token_endpoint", endpoint)
        grant = {
            "grant_type": "client_credentials",
            "client_id": client.client_id,
            "client_secret": client.secret,
        }
        reply = self._fetch(endpoint, seconds=PATIENCE, most=MB, form=urlencode(grant).encode())
        token = _text(reply, "access_token", endpoint)
        life = reply.get("expires_in")
        seconds = float(life) if isinstance(life, int | float) and life > 0 else USUAL_LIFETIME
        rest = max(seconds * RENEWED_AT, SHORTEST_REST)
        return _Token(token, asked + max(0.0, seconds - rest), asked + seconds)

    def _clients(self) -> dict[str, TokenClient]:
        if self._config is None:
            raise NotFound("this server has no access tokens: token_cache_config is not set")
        try:
            facts = self._config.stat()
            stamp = facts.st_mtime_ns, facts.st_size
            with self._lock:
                if self._read is None or self._read[0] != stamp:
                    self._read = stamp, read_clients(self._config.read_bytes())
                return self._read[1]
        except (OSError, ValueError) as problem:
            raise NotFound(f"token_cache_config cannot be used: {problem}") from problem


def read_clients(data: bytes) -> dict[str, TokenClient]:
    """Return the clients of a configuration file; ValueError names what is wrong, never a secret."""
    try:
        content = parse_json(data)
    except (ValueError, RecursionError):
        raise ValueError("it is no JSON") from None  # the message of the parser may show a secret
    if not isinstance(content, dict):
        raise ValueError("it must be a JSON object of clients by name")
    return {name: _client(name, facts) for name, facts in content.items()}


def _client(name: str, facts: Any) -> TokenClient:
    if not isinstance(facts, dict):
        raise ValueError(f"client {name} must be an object")
    for key in ("client_id", "secret", "endpoint"):
        if not isinstance(facts.get(key), str) or not facts[key]:
            raise ValueError(f"client {name} needs a text {key}")
    return TokenClient(
        name, facts["client_id"], facts["secret"], facts["endpoint"], facts.get("use_token_key") in (True, "True")
    )


def _key(client: TokenClient, day: int) -> str:
    message = json.dumps([client.name, client.client_id, day]).encode()
    digest = hmac.new(client.secret.encode(), message, hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def _text(document: Any, name: str, source: str) -> str:
    found = document.get(name) if isinstance(document, dict) else None
    if not isinstance(found, str) or not found:
        raise ExternalError(f"{source}: the answer has no {name}")
    return found
